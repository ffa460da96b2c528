// What an agent says, in and out, without an agent.
#include "mesos/adapter.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "mesos/json.h"
#include "mesos/scopes.h"

namespace dvdi_mesos {
namespace {

const char* NoEnv(const char*) { return nullptr; }

Options Of(const Pairs& parameters, const std::string& flags = "mesos-agent --work_dir=/var/lib/mesos",
           const std::function<const char*(const char*)>& env = NoEnv) {
  std::string line = flags;
  for (char& c : line)
    if (c == ' ') c = '\0';
  Options options;
  EXPECT_EQ(ReadOptions(parameters, line, env, &options), "");
  return options;
}

std::string Wrong(const Pairs& parameters, const std::string& flags = "--work_dir=/w") {
  std::string line = flags;
  for (char& c : line)
    if (c == ' ') c = '\0';
  Options options;
  return ReadOptions(parameters, line, NoEnv, &options);
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Container Simple() {
  Container c;
  c.scope = "c1", c.sandbox = "/var/lib/mesos/slaves/s/frameworks/f/executors/e/runs/c1";
  return c;
}

Json Request(const Container& container, const Options& options) {
  std::string error;
  std::string text = PrepareRequest(container, options, &error);
  EXPECT_EQ(error, "");
  return Parse(text);
}

TEST(OptionsTest, TheAgentsFlagsSayWhatIsNotGiven) {
  Options o = Of({});
  EXPECT_EQ(o.owner, "mesos:/var/lib/mesos");
  EXPECT_EQ(o.sandbox_directory, "/mnt/mesos/sandbox");
  EXPECT_TRUE(o.docker_volumes);
  EXPECT_FALSE(o.kill_on_loss);
  EXPECT_EQ(o.engine, "{}");
  EXPECT_EQ(Of({}, "a --sandbox_directory=/box --work_dir=/w//").sandbox_directory, "/box");
  EXPECT_EQ(Of({}, "a --work_dir=/w//").owner, "mesos:/w");
}

// The volumes of an agent's containers are found again by their owner, however its folder is named.
TEST(OptionsTest, AnAgentIsTheSameByEachNameOfItsFolder) {
  std::string folder = std::filesystem::temp_directory_path() / "dvdi-mesos-test-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::filesystem::create_directory(folder + "/work");
  std::filesystem::create_directory_symlink("work", folder + "/link");
  const std::string owner = Of({}, "a --work_dir=" + folder + "/work").owner;
  EXPECT_EQ(owner, "mesos:" + std::filesystem::canonical(folder + "/work").string());
  EXPECT_EQ(Of({}, "a --work_dir=" + folder + "/link/").owner, owner);
  std::filesystem::remove_all(folder);
}

TEST(OptionsTest, TheAgentsEnvironmentComesAfterItsFlags) {
  auto env = [](const char* name) -> const char* {
    return std::string(name) == "MESOS_WORK_DIR" ? "/from/env" : nullptr;
  };
  EXPECT_EQ(Of({}, "mesos-agent", env).owner, "mesos:/from/env");
  EXPECT_EQ(Of({}, "mesos-agent --work_dir=/flag", env).owner, "mesos:/flag");
  EXPECT_EQ(Of({{"work_dir", "/given"}}, "mesos-agent --work_dir=/flag", env).owner, "mesos:/given");
}

TEST(OptionsTest, EngineSettingsAreHandedOn) {
  Json engine = Parse(Of({{"config", "/etc/x.yaml"},
                          {"state_dir", "/s"},
                          {"policy_dir", "/p"},
                          {"settings", R"({"deadlines":{"prepare_ms":"5m"}})"}})
                          .engine);
  EXPECT_EQ(engine["config"], "/etc/x.yaml");
  EXPECT_EQ(engine["settings"]["state_dir"], "/s");
  EXPECT_EQ(engine["settings"]["policy_dir"], "/p");
  EXPECT_EQ(engine["settings"]["deadlines"]["prepare_ms"], "5m");
}

TEST(OptionsTest, OneOfTwoOwnsTheDockerVolumes) {
  const std::string both = "a --work_dir=/w --isolation=filesystem/linux,docker/volume,org_dvdi_X";
  EXPECT_FALSE(Of({}, both).docker_volumes);
  EXPECT_FALSE(Of({{"docker_volumes", "leave"}}, both).docker_volumes);
  EXPECT_FALSE(Of({{"docker_volumes", "leave"}}).docker_volumes);
  EXPECT_TRUE(Of({{"docker_volumes", "take"}}).docker_volumes);
  EXPECT_TRUE(Has(Wrong({{"docker_volumes", "take"}}, both), "both would mount"));
}

// SubprocessLauncher::fork refuses what clones a namespace, when the volume is already mounted.
TEST(OptionsTest, ALauncherWithoutNamespacesIsRefused) {
  EXPECT_TRUE(Has(Wrong({}, "a --work_dir=/w --launcher=posix"), "set --launcher=linux"));
  EXPECT_EQ(Of({}, "a --work_dir=/w --launcher=linux").owner, "mesos:/w");
  Options options;
  auto env = [](const char* name) -> const char* {
    return std::string(name) == "MESOS_LAUNCHER" ? "posix" : nullptr;
  };
  EXPECT_TRUE(Has(ReadOptions({{"work_dir", "/w"}}, "a", env, &options), "set --launcher=linux"));
}

TEST(OptionsTest, AWrongParameterIsToldInOneLine) {
  EXPECT_TRUE(Has(Wrong({{"state-dir", "/x"}}), "\"state-dir\" is not known; known are config, state_dir"));
  EXPECT_TRUE(Has(Wrong({{"state_dir", "x"}}), "\"state_dir\" wants an absolute path, not \"x\""));
  EXPECT_TRUE(Has(Wrong({{"settings", "[1]"}}), "\"settings\" wants a JSON object"));
  EXPECT_TRUE(Has(Wrong({{"settings", "{"}}), "\"settings\" wants a JSON object"));
  EXPECT_TRUE(Has(Wrong({{"docker_volumes", "x"}}), "take or leave"));
  EXPECT_TRUE(Has(Wrong({{"lost_volume", "x"}}), "report or kill"));
  EXPECT_TRUE(Has(Wrong({{"node", "a"}, {"node", "b"}}), "\"node\" is given twice"));
  EXPECT_TRUE(Has(Wrong({}, "a"), "parameter \"work_dir\""));
  EXPECT_TRUE(Has(Wrong({}, "a --work_dir=file:///etc/w"), "parameter \"work_dir\""));
}

TEST(PrepareTest, NothingDeclaredIsNothingAsked) {
  Container c = Simple();
  c.labels = {{"owner", "me"}};
  c.environment = {{"PATH", "/bin", false}, {"TOKEN", "", true}};
  std::string error;
  EXPECT_EQ(PrepareRequest(c, Of({}), &error), "");
  EXPECT_EQ(error, "");
}

TEST(PrepareTest, EachFormBecomesASource) {
  Container c = Simple();
  c.user = "web";
  c.volumes = {
      R"({"mode":"RW","container_path":"data","source":{"type":"DOCKER_VOLUME","docker_volume":{"name":"a"}}})"};
  c.labels = {{"dvdi.volume.x", "b:/b"},
              {"dvdi.statement", "{}"},
              {"dvdi.mount", "type=volume"},
              {"dvdi.driver", "red"},
              {"dvdi.statement", "{}"}};
  c.environment = {
      {"DVDI_VOLUME_NAME", "task", false}, {"DVDI_VOLUME_NAME", "executor", false}, {"HOME", "/", false}};
  Json r = Request(c, Of({{"default_driver", "blue"}}));
  EXPECT_EQ(r["owner"], "mesos:/var/lib/mesos");
  EXPECT_EQ(r["scope"], "c1");
  EXPECT_EQ(r["user"]["name"], "web");
  EXPECT_EQ(r["default_driver"], "red");
  EXPECT_EQ(r["targets"], "make");
  EXPECT_EQ(r["target_base"]["relative"], c.sandbox);
  EXPECT_FALSE(r["target_base"].contains("absolute"));
  ASSERT_EQ(r["sources"].size(), 5u);
  EXPECT_EQ(r["sources"][0]["form"], "mesos");
  EXPECT_EQ(Parse(r["sources"][0]["text"].get<std::string>())["volumes"][0]["container_path"], "data");
  EXPECT_EQ(r["sources"][1]["form"], "mount");
  EXPECT_EQ(r["sources"][2]["form"], "statement");
  EXPECT_EQ(r["sources"][3]["form"], "volume");
  EXPECT_EQ(r["sources"][4]["env"], Json({{"DVDI_VOLUME_NAME", "task"}}));
  c.labels.clear();
  EXPECT_EQ(Request(c, Of({{"default_driver", "blue"}}))["default_driver"], "blue");
}

// The agent hands an executor's labels on with each container that is nested in it.
TEST(PrepareTest, AnExecutorsLabelsAreItsOwn) {
  Container c = Simple();
  c.labels = {{"dvdi.volume", "task:/t"}};
  c.executor_labels = {{"dvdi.driver", "red"}, {"dvdi.volume.logs", "logs:/l"}};
  Json r = Request(c, Of({}));
  EXPECT_EQ(r["sources"].size(), 2u);
  EXPECT_EQ(r["default_driver"], "red");
  c.nested = true;
  r = Request(c, Of({}));
  ASSERT_EQ(r["sources"].size(), 1u);
  EXPECT_EQ(r["sources"][0]["text"], "task:/t");
  EXPECT_FALSE(r.contains("default_driver"));
  c.labels.clear();
  c.executor_labels = {{"dvdi.typo", "x"}};
  std::string error;
  EXPECT_EQ(PrepareRequest(c, Of({}), &error), "");
  EXPECT_EQ(error, "");
  c.nested = false;
  EXPECT_EQ(PrepareRequest(c, Of({}), &error), "");
  EXPECT_TRUE(Has(error, "label dvdi.typo is not known"));
}

TEST(PrepareTest, WhatCannotBeADeclarationIsRefused) {
  Container c = Simple();
  std::string error;
  c.labels = {{"dvdi.volumes", "a:/a"}};
  EXPECT_EQ(PrepareRequest(c, Of({}), &error), "");
  EXPECT_TRUE(Has(error, "label dvdi.volumes is not known: known are dvdi.volume"));
  c.labels = {{"dvdi.volume.", "a:/a"}};
  EXPECT_EQ(PrepareRequest(c, Of({}), &error), "");
  EXPECT_TRUE(Has(error, "label dvdi.volume. is not known"));
  c.labels.clear();
  c.environment = {{"DVDI_VOLUME_NAME", "", true}};
  EXPECT_EQ(PrepareRequest(c, Of({}), &error), "");
  EXPECT_TRUE(Has(error, "DVDI_VOLUME_NAME is a secret"));
}

TEST(PrepareTest, TheWorkFoldersSymlinkIsTheOperators) {
  Options o = Of({});
  o.real_work_dir = "/disk/mesos";
  Container c = Simple();
  c.rootfs = "/var/lib/mesos/provisioner/c1/rootfs";
  c.labels = {{"dvdi.volume", "a:/a"}};
  Json r = Request(c, o);
  EXPECT_EQ(r["target_base"]["relative"], "/disk/mesos/slaves/s/frameworks/f/executors/e/runs/c1");
  EXPECT_EQ(r["target_base"]["absolute"], "/disk/mesos/provisioner/c1/rootfs");
  c.sandbox = "/var/lib/mesos-old/slaves/s/runs/c1";
  EXPECT_EQ(Request(c, o)["target_base"]["relative"], c.sandbox) << "another folder, of a longer name";
}

std::string Answer(const std::string& sandbox) {
  return Dump({{"notes", {"the variables yield"}},
               {"volumes",
                {{{"driver", "d"},
                  {"name", "inner"},
                  {"stage", "/s/2"},
                  {"target", "/data/inner"},
                  {"mode", "rw"},
                  {"what", "shared"}},
                 {{"driver", "d"},
                  {"name", "outer"},
                  {"stage", "/s/1"},
                  {"target", "/data"},
                  {"mode", "ro"},
                  {"what", "created"},
                  {"message", "new"}},
                 {{"driver", "d"},
                  {"name", "own"},
                  {"stage", "/s/3"},
                  {"target", sandbox + "/own"},
                  {"mode", "rw"},
                  {"what", "created"}}}}});
}

TEST(AnswerTest, StagesBecomeMountsOuterFirst) {
  Container c = Simple();
  Prepared p = ReadPrepared(Answer(c.sandbox), c, Of({}));
  EXPECT_EQ(p.error, "");
  ASSERT_EQ(p.mounts.size(), 3u);
  EXPECT_EQ(p.mounts[0].target, "/data");
  EXPECT_EQ(p.mounts[0].source, "/s/1");
  EXPECT_EQ(p.mounts[1].target, "/data/inner");
  EXPECT_EQ(p.mounts[2].target, c.sandbox + "/own");
  ASSERT_EQ(p.lines.size(), 4u);
  EXPECT_EQ(p.lines[0], "the variables yield");
  EXPECT_EQ(p.lines[2], "volume \"outer\" (driver d, ro, created) at /data: new");
}

TEST(AnswerTest, InARootOfItsOwnTheSandboxIsElsewhere) {
  Container c = Simple();
  c.rootfs = "/var/lib/mesos/provisioner/c1/rootfs";
  Prepared p = ReadPrepared(Answer(c.sandbox), c, Of({{"sandbox_directory", "/box"}}));
  ASSERT_EQ(p.mounts.size(), 3u);
  EXPECT_EQ(p.mounts[2].target, c.rootfs + "/box/own");
}

TEST(AnswerTest, AnErrorIsOneLineThatSaysAll) {
  Container c = Simple();
  Prepared p = ReadPrepared(
      R"({"error":{"code":"driver","message":"the driver said\nno","hint":"ask it","volume":"data","driver":"red","path":"/x"}})",
      c, Of({}));
  EXPECT_EQ(p.error, "DVDI: the driver said no (volume data, driver red, path /x). What to do: ask it");
  EXPECT_TRUE(p.mounts.empty());
  EXPECT_EQ(
      ErrorLine(R"({"error":{"message":"volume \"data\" of red is gone","volume":"data","driver":"red"}})"),
      "DVDI: volume \"data\" of red is gone");
  EXPECT_TRUE(Has(ErrorLine("nonsense"), "gave no reason: nonsense"));
  for (const char* half : {"", R"(,"stage":"/s")", R"(,"target":"/t")"})
    EXPECT_TRUE(Has(
        ReadPrepared(R"({"volumes":[{"name":"v","driver":"d")" + std::string(half) + "}]}", c, Of({})).error,
        "named no folder for volume \"v\""))
        << half;
}

TEST(EndTest, WhatIsLeftIsTold) {
  auto lines = ReadEnded(
      R"({"taken":["t"],"ended":["c9"],"pending":[{"driver":"d","name":"n","why":"busy"},{"why":"odd"},{"driver":"d","name":"m"}],"reported":["r"],"notes":["n"]})");
  EXPECT_EQ(lines,
            (std::vector<std::string>{
                "t", "container c9 has ended: its volumes are given back", "volume \"n\" (driver d): busy",
                "odd", "volume \"m\" (driver d): giving it back is under way", "not touched: r", "n"}));
  EXPECT_TRUE(ReadEnded("").empty());
}

TEST(EndTest, RequestsNameOwnerAndScopes) {
  Options o = Of({});
  EXPECT_EQ(Parse(CleanupRequest(o, "a.b")), Json({{"owner", o.owner}, {"scope", "a.b"}}));
  EXPECT_EQ(Parse(RecoverRequest(o, {"a", "b"}))["live"], Json({"a", "b"}));
  EXPECT_EQ(Parse(RecoverRequest(o, {}))["live"], Json::array());
  EXPECT_EQ(Parse(RecoverRequest(o, {}))["original"], "/var/lib/mesos/dvdimounts.pb");
  EXPECT_EQ(
      ReadScopes(R"({"scopes":[{"owner":"mesos:/var/lib/mesos","scope":"a"},{"owner":"run","scope":"b"}]})",
                 o),
      std::vector<std::string>{"a"});
}

TEST(SamplesTest, UsageAndGauges) {
  const std::string answer =
      R"({"volumes":[{"driver":"d","name":"n","state":"ok","total_bytes":100,"used_bytes":40,"users":[{"scope":"c","target":"/t"}]},
                     {"driver":"d","name":"m","state":"lost","why":"gone","users":[]}],"values":{"volume/d/n/inodes":7,"x":"y"}})";
  auto volumes = ReadUsage(answer);
  ASSERT_EQ(volumes.size(), 2u);
  EXPECT_EQ(volumes[0].total_bytes, 100u);
  EXPECT_EQ(volumes[0].used_bytes, 40u);
  EXPECT_EQ(volumes[0].users, (Pairs{{"c", "/t"}}));
  EXPECT_EQ(volumes[1].state, "lost");
  EXPECT_EQ(ReadGauges(answer), (std::map<std::string, double>{{"dvdi/volume/d/n/inodes", 7}}));
  EXPECT_TRUE(ReadUsage("{}").empty());
}

TEST(ScopesTest, OfContainersWithoutVolumesNothingIsAsked) {
  Scopes scopes;
  EXPECT_FALSE(scopes.Any());
  scopes.Begin("c1");
  EXPECT_TRUE(scopes.MayHave("c1"));
  EXPECT_FALSE(scopes.MayHave("c2"));
  scopes.End("c1", scopes.Launch("c1"));
  EXPECT_FALSE(scopes.MayHave("c1"));
  EXPECT_FALSE(scopes.Any());
}

TEST(ScopesTest, WhereTheEngineCouldNotSayEachContainerMayHaveVolumes) {
  Scopes scopes;
  scopes.SetUnread();
  EXPECT_TRUE(scopes.Any());
  EXPECT_TRUE(scopes.MayHave("of-before"));
  const uint64_t launch = scopes.Launch("of-before");
  EXPECT_TRUE(scopes.Still("of-before", launch));  // a failed cleanup is tried again
  scopes.End("of-before", launch);
  EXPECT_TRUE(scopes.MayHave("another-of-before"));
}

TEST(ScopesTest, ACleanupThatIsTriedAgainIsNotForTheNextContainerOfThatName) {
  Scopes scopes;
  scopes.Begin("c1");
  const uint64_t first = scopes.Launch("c1");
  scopes.Begin("c1");
  EXPECT_FALSE(scopes.Still("c1", first));
  scopes.End("c1", first);  // its answer comes late
  EXPECT_TRUE(scopes.MayHave("c1"));
}

TEST(PrepareTest, ANameInAnotherEncodingIsNoOtherName) {
  for (const char* where : {"variable", "label"}) {
    Container c = Simple();
    if (std::string(where) == "variable")
      c.environment = {{"DVDI_VOLUME_NAME", "caf\xE9", false}};
    else
      c.labels = {{"dvdi.volume", "caf\xE9:/data"}};
    std::string error;
    EXPECT_EQ(PrepareRequest(c, Of({}), &error), "") << where;
    EXPECT_TRUE(Has(error, "is not valid UTF-8")) << where << ": " << error;
  }
}

}  // namespace
}  // namespace dvdi_mesos
