// The policy that is built in, on much of what the documentation lets people write (docs/statement.md): each
// operation ends within the limits that a node has unless its settings say otherwise. Each byte costs; to
// compare all with all costs too much.
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "policy/answer.h"
#include "policy/runtime.h"

namespace dvdi {
namespace {

const PolicyModule& Builtin() {
  static const auto* module = [] {
    auto runtime = PolicyRuntime::Create(SystemEnv(), PolicyLimits{}, "");
    EXPECT_TRUE(runtime.ok()) << runtime.status().message();
    auto loaded = (*runtime)->Load(BuiltinPolicy());
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    return new std::shared_ptr<const PolicyModule>(*loaded);
  }();
  return **module;
}

// What an export answers to an input, which must not be too much for it.
std::string Answer(const std::string& name, const Json& input) {
  auto host = [](std::string_view, std::string_view) { return Result<std::string>(R"({"ok":{}})"); };
  CallStats stats;
  auto answer = Builtin().Call(name, Dump(input), host, &stats);
  EXPECT_TRUE(answer.ok()) << answer.status().message();
  ::testing::Test::RecordProperty(name + "_fuel", std::to_string(stats.fuel_used));
  return answer.ok() ? *answer : "";
}

// The `ok` of an export's answer; null where it gives none.
Json Ask(const std::string& name, const Json& input) {
  auto ok = ParsePolicyAnswer(name, Answer(name, input));
  EXPECT_TRUE(ok.ok()) << ok.status().message();
  return ok.ok() ? *ok : Json();
}

// `count` options with names that begin like this.
Json Options(int count, const std::string& prefix) {
  Json options = Json::object();
  for (int i = 0; i < count; ++i) options[prefix + std::to_string(i)] = "v" + std::to_string(i);
  return options;
}

Json Parse(const Json& config, const Json& volumes) {
  Json statement = {{"volumes", volumes}};
  return Ask("parse",
             {{"config", config}, {"sources", {{{"form", "statement"}, {"text", Dump(statement)}}}}});
}

TEST(Builtin, OneVolumeOnManyPaths) {
  for (const char* prefix : {"option", "Option"}) {
    Json volumes = Json::array();
    for (int i = 0; i < 100; ++i)
      volumes.push_back({{"name", "v"},
                         {"driver", "own"},
                         {"container_path", "/d" + std::to_string(i)},
                         {"options", Options(128, prefix)}});
    EXPECT_EQ(Parse(Json::object(), volumes)["volumes"].size(), volumes.size()) << prefix;
  }
}

TEST(Builtin, ManyVolumes) {
  Json volumes = Json::array();
  for (int i = 0; i < 1024; ++i)
    volumes.push_back({{"name", "v" + std::to_string(i)},
                       {"driver", "own"},
                       {"container_path", "/d" + std::to_string(i)},
                       {"options", Options(16, "Option")}});
  EXPECT_EQ(Parse(Json::object(), volumes)["volumes"].size(), volumes.size());
}

TEST(Builtin, MoreOptionsThanAreTaken) {
  std::string pairs, mount = "src=v,dst=/d";
  Json parameters = Json::array();
  for (int i = 0; i < 25'000; ++i) {
    const std::string name = "option" + std::to_string(i);
    pairs += name + "=v,";
    mount += ",volume-opt=" + name + "=v";
    parameters.push_back({{"key", name}, {"value", "v"}});
  }
  const Json docker = {{"name", "v"}, {"driver_options", {{"parameter", parameters}}}};
  const Json source = {{"type", "DOCKER_VOLUME"}, {"docker_volume", docker}};
  const Json info = {{"volumes", {{{"container_path", "d"}, {"mode", "RW"}, {"source", source}}}}};
  const Json sources[] = {
      {{"form", "env"}, {"env", {{"DVDI_VOLUME_NAME", "v"}, {"DVDI_VOLUME_OPTS", pairs}}}},
      {{"form", "mount"}, {"text", mount}},
      {{"form", "mesos"}, {"text", Dump(info)}},
  };
  for (const Json& form : sources) {
    const std::string answer = Answer("parse", {{"config", Json::object()}, {"sources", {form}}});
    EXPECT_NE(answer.find(" has more than 128 options"), std::string::npos) << answer.substr(0, 200);
  }
}

// Each is the longest that a command reads (1 MiB), and is made of what has to be read with care.
TEST(Builtin, LongTexts) {
  auto repeated = [](const std::string& part) {
    std::string out;
    while (out.size() < (1 << 20) - 4096) out += part;
    return out;
  };
  auto answer = [](const std::string& form, const std::string& text) {
    return Answer("parse", {{"config", Json::object()}, {"sources", {{{"form", form}, {"text", text}}}}});
  };
  auto statement = [&](const std::string& path) {
    return answer("statement",
                  R"({"volumes":[{"name":"v","driver":"own","container_path":")" + path + "\"}]}");
  };
  EXPECT_NE(statement(repeated("\\/a")).find("at most 4095 are taken"), std::string::npos);
  EXPECT_NE(statement(repeated("\\n")).find("at most 4095 are taken"), std::string::npos);
  EXPECT_NE(answer("mount", "src=v,dst=/d,volume-driver=own,\"volume-opt=o=" + repeated("\"\"") + "\"")
                .find("is longer than 16384 characters"),
            std::string::npos);
  EXPECT_NE(answer("volume", "v:/d:" + repeated("z,") + "z").find("\"notes\":["), std::string::npos);
  Json volumes = Json::array();
  for (int i = 0; i < 12; ++i)
    volumes.push_back({{"containerPath", "d" + std::to_string(i)},
                       {"external", {{"name", "v"}, {"provider", "dvdi"}, {"options", Options(4000, "o")}}}});
  EXPECT_NE(
      answer("marathon", Dump({{"container", {{"volumes", volumes}}}})).find("has more than 128 options"),
      std::string::npos);
}

TEST(Builtin, ManyPools) {
  Json pools = Json::array();
  for (int i = 0; i < 256; ++i) {
    std::string number = std::to_string(i);
    pools.push_back({{"name", "p" + number},
                     {"driver", "own"},
                     {"options", Options(60, "Option")},
                     {"attributes", {{"media", "m" + number}, {"size", {{"max", "16TB"}}}}}});
  }
  const Json config = Ask("configure", {{"settings", {{"pools", pools}}}, {"engine", {{"abi", 1}}}});
  EXPECT_GT(Ask("canary", {{"config", config}})["checks"], 0);
  Json volumes = {{{"name", "v"}, {"container_path", "/d"}, {"class", {{"media", "m255"}}}}};
  EXPECT_EQ(Parse(config, volumes)["volumes"][0]["class"]["pool"], "p255");
}

}  // namespace
}  // namespace dvdi
