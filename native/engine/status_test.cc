// What the engine says about itself.
#include <sys/statfs.h>

#include <cerrno>
#include <string_view>

#include "engine/testing/sim_engine.h"
#include "helper/helper.h"

namespace dvdi {
namespace {

class StatusOfTest : public SimEngineTest {};

TEST_F(StatusOfTest, SummaryOfAnEmptyNode) {
  Json s = Ask("summary");
  EXPECT_EQ(s["node"], "sim");
  EXPECT_EQ(s["ledger"]["ok"], true);
  EXPECT_EQ(s["policy"]["name"], "scripted");
  for (const char* count : {"volumes", "scopes", "operations"}) EXPECT_EQ(s[count], 0) << count;
  for (const char* list : {"pending", "reported"}) EXPECT_EQ(s[list], Json::array()) << list;
}

TEST_F(StatusOfTest, TheSummaryHasTheRoomOfTheStateFolder) {
  const Json s = Ask("summary");
  struct statfs st = {};
  ASSERT_EQ(::statfs(settings_.state_dir.c_str(), &st), 0);
  ASSERT_TRUE(s.contains("state_free_bytes")) << s;
  EXPECT_FALSE(GetBool(s, "state_reserve", true)) << "nothing was begun";
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  EXPECT_TRUE(GetBool(Ask("summary"), "state_reserve"));
  EXPECT_LE(s["state_free_bytes"].get<uint64_t>(), st.f_blocks * static_cast<uint64_t>(st.f_bsize));
  world_.sys.look_fault = [](const char* call) { return std::string_view(call) == "statfs" ? EIO : 0; };
  EXPECT_FALSE(Ask("summary").contains("state_free_bytes")) << "where the system does not tell";
  world_.sys.look_fault = nullptr;
}

TEST_F(StatusOfTest, VolumesScopesAndUsers) {
  MakeVolume("red", "a");
  pid_t pid = world_.sys.StartProcess();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("blue", "new")}, {{"process", {{"pid", pid}}}})
                  .contains("ok"));
  ASSERT_TRUE(
      Prepare("two", {Volume("red", "a", {{"mode", "ro"}, {"access", "multi-reader"}})}).contains("ok"));
  Json s = Ask("summary");
  EXPECT_EQ(s["volumes"], 2);
  EXPECT_EQ(s["scopes"], 2);
  Json a = Known("red", "a");
  EXPECT_EQ(a["state"], "attached");
  EXPECT_EQ(a["created_by_us"], false);
  ASSERT_EQ(a["users"].size(), 2u);
  EXPECT_EQ(a["users"][1]["scope"], "two");
  EXPECT_EQ(a["users"][1]["mode"], "ro");
  EXPECT_EQ(a["users"][1]["access"], "multi-reader");
  EXPECT_TRUE(world_.sys.IsMounted(a["users"][0]["stage"].get<std::string>()));
  EXPECT_EQ(Known("blue", "new")["created_by_us"], true);
  Json scopes = Ask("scopes")["scopes"];
  ASSERT_EQ(scopes.size(), 2u);
  EXPECT_EQ(scopes[0]["process"]["alive"], true);
  EXPECT_EQ(scopes[0]["volumes"].size(), 2u);
  EXPECT_EQ(scopes[0]["state"], "committed");
  Cleanup("one");
  Cleanup("two");
  Settle();
  EXPECT_EQ(Known("blue", "new")["created_by_us"], true) << "it is remembered, so that `prune` can show it";
  EXPECT_EQ(Known("blue", "new")["users"], Json::array());
  EXPECT_GT(GetInt(Known("red", "a"), "last_used_ms"), 0);
}

TEST_F(StatusOfTest, OneVolume) {
  for (const char* driver : {"red", "blue"}) {
    MakeVolume(driver, "same");
    ASSERT_TRUE(Prepare(driver, {Volume(driver, "same")}).contains("ok"));
  }
  Engine& e = engine();
  EXPECT_EQ(e.StatusOf({{"what", "volume"}}).status().code(), Code::kInvalid);
  EXPECT_EQ(e.StatusOf({{"what", "volume"}, {"name", "same"}}).status().code(), Code::kInvalid)
      << "which of them?";
  EXPECT_EQ(e.StatusOf({{"what", "volume"}, {"name", "none"}}).status().code(), Code::kNotFound);
  int calls = static_cast<int>(Sent().size());
  auto one = e.StatusOf({{"what", "volume"}, {"driver", "red"}, {"name", "same"}});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(static_cast<int>(Sent().size()), calls) << "no plugin is asked unless one is told to";
  EXPECT_FALSE(one->contains("plugin"));
  auto asked = e.StatusOf({{"what", "volume"}, {"driver", "red"}, {"name", "same"}, {"ask_plugin", true}});
  EXPECT_EQ((*asked)["plugin"]["kind"], "ok") << *asked;
  EXPECT_EQ((*asked)["plugin"]["mountpoint"], (*asked)["mountpoint"]);
  world_.transport.plugins["red"].up = false;
  auto down = e.StatusOf({{"what", "volume"}, {"driver", "red"}, {"name", "same"}, {"ask_plugin", true}});
  EXPECT_EQ((*down)["plugin"]["kind"], "unknown");
  EXPECT_EQ((*down)["state"], "attached");
}

TEST_F(StatusOfTest, AVolumeThatOnlyItsPluginKnowsOrNobody) {
  const auto asked = [&](const char* name) {
    return engine().StatusOf({{"what", "volume"}, {"driver", "red"}, {"name", name}, {"ask_plugin", true}});
  };
  MakeVolume("red", "theirs");
  auto theirs = asked("theirs");
  ASSERT_TRUE(theirs.ok()) << theirs.status().message();
  EXPECT_EQ((*theirs)["state"], "unknown");
  EXPECT_EQ((*theirs)["plugin"]["kind"], "ok");
  EXPECT_EQ(asked("nobodys").status().code(), Code::kNotFound);
  EXPECT_EQ(asked("nobodys").status().volume(), "nobodys");
  EXPECT_NE(asked("nobodys").status().hint().find("`dvdi plugins`"), std::string::npos);
  EXPECT_NE(asked("nobodys").status().message().find("its driver says: "), std::string::npos)
      << asked("nobodys").status().message();
  world_.transport.plugins["red"].up = false;
  EXPECT_EQ(asked("theirs").status().code(), Code::kUnavailable) << "it may well have it";
}

TEST_F(StatusOfTest, WhichProcessesKeepAVolumeInUse) {
  const auto users = [&](const char* name) {
    return (*engine().StatusOf({{"what", "volume"}, {"driver", "red"}, {"name", name}}))["users"];
  };
  const pid_t pid = world_.sys.StartProcess();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}, {{"process", {{"pid", pid}}}}).contains("ok"));
  ASSERT_EQ(users("a").size(), 1u);
  EXPECT_EQ(users("a")[0]["processes"], Json::array({pid})) << users("a");
  ASSERT_TRUE(Prepare("held", {Volume("red", "b")}).contains("ok"));
  ASSERT_EQ(users("b").size(), 1u);
  EXPECT_FALSE(users("b")[0].contains("processes")) << "a scope without a process";
  world_.sys.EndProcess(pid);
  EXPECT_FALSE(users("a")[0].contains("processes")) << users("a");
}

TEST_F(StatusOfTest, TheDoctorSaysThatTheHelperIsMissing) {
  const auto helper = [&] {
    const Json doctor = Ask("doctor");
    for (const Json& c : doctor["checks"])
      if (c["name"] == "helper") return c;
    return Json();
  };
  SetHelperPath("/nowhere/dvdi-helper");
  const Json missing = helper();
  SetHelperPath("");
  ASSERT_TRUE(missing.is_object());
  EXPECT_EQ(missing["ok"], false);
  EXPECT_EQ(missing["required"], true);
  EXPECT_NE(GetString(missing, "found").find("/nowhere/dvdi-helper"), std::string::npos) << missing;
  EXPECT_NE(GetString(missing, "fix").find("`helper`"), std::string::npos) << missing;
}

TEST_F(StatusOfTest, DriversAndDoctor) {
  world_.transport.plugins["blue"].up = false;
  Json drivers = Ask("drivers")["drivers"];
  ASSERT_EQ(drivers.size(), 2u);
  EXPECT_EQ(drivers[0]["name"], "blue");
  EXPECT_EQ(drivers[0]["reachable"], false);
  EXPECT_EQ(drivers[1]["reachable"], true);
  EXPECT_EQ(drivers[1]["volume_driver"], true);
  bool blue = false, red = false;
  Json doctor = Ask("doctor");
  for (const Json& c : doctor["checks"]) {
    if (c["name"] == "driver blue") blue = !c["ok"].get<bool>() && !c["fix"].get<std::string>().empty();
    if (c["name"] == "driver red") red = c["ok"].get<bool>();
  }
  EXPECT_TRUE(blue);
  EXPECT_TRUE(red);
}

TEST_F(StatusOfTest, ExplainTellsTheWholeDecision) {
  Json answer = Prepare("one", {Volume("red", "a")});
  Json record = Record("one");
  EXPECT_EQ(record["kind"], "prepare");
  EXPECT_EQ(record["outcome"], "ok");
  EXPECT_EQ(record["operation"], answer["ok"]["operation"]);
  std::vector<std::string> names;
  for (const Json& c : record["calls"])
    names.push_back(c["call"] == "plugin_call" ? c["request"]["calls"][0]["method"].get<std::string>()
                                               : c["call"].get<std::string>());
  EXPECT_EQ(names, (std::vector<std::string>{"Get", "List", "Create", "Mount", "stage"}));
  EXPECT_TRUE(record["calls"][0]["ms"].is_number());
  auto by_id = engine().Explain({{"operation", answer["ok"]["operation"]}});
  EXPECT_EQ((*by_id)["operations"].size(), 1u);
  EXPECT_EQ((*engine().Explain({{"operation", "none"}}))["operations"], Json::array());
}

TEST_F(StatusOfTest, WrongQuestions) {
  auto r = engine().StatusOf({{"what", "weather\x1b[2J"}});
  EXPECT_EQ(r.status().code(), Code::kInvalid);
  EXPECT_HAS_NOT(r.status().message(), "\x1b");
  EXPECT_HAS(r.status().message(), "summary");
  EXPECT_TRUE(engine().StatusOf(Json::object()).ok()) << "the summary";
}

TEST_F(StatusOfTest, InstallingAPolicyThatIsNone) {
  EXPECT_EQ(engine().Policy({{"verb", "install"}}).status().code(), Code::kInvalid);
  EXPECT_EQ(engine().Policy({{"verb", "install"}, {"path", root_ + "/none"}}).status().code(), Code::kSystem);
  EXPECT_FALSE(engine().Policy({{"verb", "install"}, {"path", root_ + "/specs/red.spec"}}).ok());
}

}  // namespace
}  // namespace dvdi
