// Secrets that the operator binds to drivers (drivers.*.secrets, promise 10).
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "engine/secrets.h"
#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class BoundSecretsTest : public SimEngineTest {
 protected:
  using List = std::vector<std::string>;

  void WriteSecret(const std::string& name) {
    std::filesystem::create_directory(settings_.secrets_dir);
    ASSERT_EQ(::chmod(settings_.secrets_dir.c_str(), 0700), 0);
    const std::string path = settings_.secrets_dir + "/" + name;
    std::ofstream(path, std::ios::binary) << ValueOf(name);
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  }
  static std::string ValueOf(const std::string& name) { return "hunter2-of-" + name; }
  // What a Create with that secret comes to: "sent", or why it was refused.
  std::string Create(const std::string& driver, const std::string& secret) {
    transport_.requests.clear();
    Json create;
    Hostile({Volume(driver, "v" + std::to_string(++volumes_))},
            [&](const Json&, ScriptHost& host) -> Result<std::string> {
              host.Plugin({{"method", "Get"}, {"volume", 0}});
              host.Plugin({{"method", "List"}, {"driver", driver}});
              create = host.Plugin(
                  {{"method", "Create"}, {"volume", 0}, {"options", {{"key", {{"secret", secret}}}}}});
              return SaysError("refused", "enough");
            });
    bool sent = false, told = false;
    for (const auto& r : transport_.requests) {
      sent |= r.path.find("Create") != std::string::npos;
      told |= r.body.find(ValueOf(secret)) != std::string::npos;
    }
    EXPECT_EQ(sent, told) << create;
    EXPECT_EQ(sent, GetString(create, "kind") != "refused") << create;
    return sent ? "sent" : GetString(create, "error");
  }

  int volumes_ = 0;
};

TEST_F(BoundSecretsTest, WhoMayHaveWhich) {
  struct Case {
    const char* driver;
    const char* secret;
    bool allowed;
  };
  auto expect = [&](std::initializer_list<Case> cases) {
    for (const Case& c : cases)
      EXPECT_EQ(settings_.SecretAllowed(c.driver, c.secret), c.allowed) << c.driver << " " << c.secret;
  };
  expect({{"red", "a", true}, {"blue", "b", true}});
  settings_.drivers["red"].max_in_flight = 1;  // a group without a list binds nothing
  expect({{"red", "a", true}, {"blue", "b", true}});
  settings_.drivers["red"].secrets = List{"a", "shared"};
  expect({{"red", "a", true}, {"red", "shared", true}, {"red", "b", false}, {"red", "A", false}});
  expect({{"blue", "a", false}, {"blue", "shared", false}, {"blue", "b", true}});
  settings_.drivers["blue"].secrets = List{"shared"};
  expect(
      {{"red", "shared", true}, {"blue", "shared", true}, {"blue", "b", false}, {"green", "shared", false}});
  settings_.drivers["green"].secrets = List{};
  expect({{"green", "b", false}, {"other", "b", true}, {"other", "a", false}});
}

TEST_F(BoundSecretsTest, OnesThatAreBoundGoToTheirDriversAlone) {
  for (const char* name : {"db", "free"}) WriteSecret(name);
  for (const char* driver : {"red", "blue"})
    for (const char* name : {"db", "free"}) EXPECT_EQ(Create(driver, name), "sent") << "nothing is bound";
  Close();
  settings_.drivers["red"].secrets = List{"db"};
  EXPECT_EQ(Create("red", "db"), "sent");
  EXPECT_EQ(Create("blue", "free"), "sent");
  for (const auto& [driver, secret] : {std::pair<std::string, std::string>("blue", "db"), {"red", "free"}}) {
    const std::string why = Create(driver, secret);
    for (const std::string& part : {"secret " + secret, "driver " + driver, "drivers." + driver + ".secrets"})
      EXPECT_HAS(why, part);
    EXPECT_HAS_NOT(why, "hunter2");
  }
  // Whether it is there is not told to who may not have it.
  EXPECT_HAS(Create("red", "none"), "do not let secret none go to driver red");
}

// What a user wrote into the statement is the user's own to give away.
TEST_F(BoundSecretsTest, AValueOfTheRequestItselfIsNotBound) {
  settings_.secret_options = {"password"};
  settings_.drivers["red"].secrets = List{};
  EXPECT_EQ(ResolveSecret(env(), settings_, {{"handle", "inline"}}, "red", "handle").value(), "inline");
  bool sent = false;
  transport_.hook = [&](const std::string& method, const PluginRequest& r, PluginReply*) {
    sent |= method == "Create" && r.body.find("of-the-user") != std::string::npos;
    return false;
  };
  Json answer = Prepare("one", {Volume("red", "a", {{"options", {{"password", "of-the-user"}}}})});
  EXPECT_TRUE(answer.contains("ok")) << answer;
  EXPECT_TRUE(sent);
}

// Any user can write the reference into a statement: the shipped policy passes it on, and the reason back.
TEST_F(BoundSecretsTest, TheUserIsToldWhy) {
  stock_ = true;
  settings_.policy_dir = DVDI_TEST_POLICY_DIR;  // compiled once for all tests
  WriteSecret("db");
  settings_.drivers["red"].secrets = List{"db"};
  auto prepare = [&](const std::string& driver) {
    const std::string text = R"({"volumes":[{"driver":")" + driver +
                             R"(","name":"data","container_path":"/a","options":{"key":{"secret":"db"}}}]})";
    return Prepare(driver, {}, {{"sources", Json::array({{{"form", "statement"}, {"text", text}}})}});
  };
  EXPECT_TRUE(prepare("red").contains("ok"));
  const Json refused = prepare("blue");
  EXPECT_EQ(CodeOf(refused), "refused") << refused;
  for (const char* part :
       {"volume \"data\"", "do not let secret db go to driver blue", "drivers.blue.secrets"})
    EXPECT_HAS(MessageOf(refused), part);
  EXPECT_EQ(refused["error"]["volume"], "data");
  EXPECT_EQ(Count("blue Create"), 0);
}

}  // namespace
}  // namespace dvdi
