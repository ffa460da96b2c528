// The audit log and the metrics of an engine on the simulated world.
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class TellTest : public SimEngineTest {
 protected:
  // The lines since the last call, as "event driver/volume outcome".
  std::vector<std::string> Told() {
    std::vector<std::string> told;
    last_.clear();
    std::ifstream in(settings_.state_dir + "/audit.log");
    int64_t n = 0;
    for (std::string line; std::getline(in, line);) {
      if (n++ < read_) continue;
      auto json = ParseJson(line, "a line of the audit log");
      EXPECT_TRUE(json.ok()) << line;
      if (!json.ok()) continue;
      told.push_back(GetString(*json, "event") + " " + GetString(*json, "driver") + "/" +
                     GetString(*json, "volume") + " " + GetString(*json, "outcome"));
      last_.push_back(*json);
    }
    read_ = n;
    return told;
  }
  using Lines = std::vector<std::string>;

  int64_t read_ = 0;
  std::vector<Json> last_;
};

TEST_F(TellTest, ALineForEachThingDoneToAVolume) {
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a"), Volume("blue", "b", {{"mode", "ro"}})})), "ok");
  EXPECT_EQ(Told(), (Lines{"created red/a ok", "created blue/b ok", "mounted red/a ok", "staged red/a ok",
                           "mounted blue/b ok", "staged blue/b ok"}));
  for (const Json& line : last_) {
    EXPECT_EQ(GetString(line, "scope"), "one");
    EXPECT_EQ(GetString(line, "kind"), "prepare");
    EXPECT_EQ(GetString(line, "node"), "sim");
    EXPECT_EQ(GetString(line, "id").size(), 64u);
    EXPECT_EQ(GetString(line, "operation").size(), 32u);
    EXPECT_EQ(GetString(GetMember(line, "policy"), "sha256").size(), 64u) << Dump(line);
  }
  EXPECT_EQ(GetString(last_[5], "mode"), "ro");
  const std::string id = GetString(last_[2], "id");

  // Shared: nothing is mounted anew, and nothing unmounted.
  ASSERT_EQ(CodeOf(Prepare("two", {Volume("red", "a")})), "ok");
  EXPECT_EQ(Told(), (Lines{"staged red/a ok"}));
  ASSERT_EQ(CodeOf(Prepare("two", {Volume("red", "a"), Volume("red", "c")})), "refused");
  EXPECT_EQ(Told(), (Lines{"refused red/a refused", "refused red/c refused"}));
  EXPECT_HAS(GetString(last_[0], "error"), "has volumes already");
  ASSERT_EQ(CodeOf(Cleanup("two")), "ok");
  EXPECT_EQ(Told(), (Lines{"unstaged red/a ok"}));

  ASSERT_EQ(CodeOf(Cleanup("one")), "ok");
  Settle();
  Lines told = Told();
  std::sort(told.begin(), told.end());
  EXPECT_EQ(told,
            (Lines{"unmounted blue/b ok", "unmounted red/a ok", "unstaged blue/b ok", "unstaged red/a ok"}));
  for (const Json& line : last_) {
    if (GetString(line, "volume") == "a") {
      EXPECT_EQ(GetString(line, "id"), id);
    }
    if (GetString(line, "event") == "unstaged") {
      EXPECT_EQ(GetString(line, "scope"), "one");
    }
  }
}

TEST_F(TellTest, AReleaseThatFailsAndTheOperatorsLastWord) {
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method != "Unmount" && method != "Get") return false;
    *reply = Says(R"({"Err":"busy with s3cret"})", 500);
    return true;
  };
  ASSERT_EQ(CodeOf(Cleanup("one")), "ok");
  auto told = Told();
  EXPECT_EQ(told.back(), "unmounted red/a driver");
  EXPECT_EQ(Dump(last_.back()).find("s3cret"), std::string::npos);
  ASSERT_TRUE(engine().Forget({{"driver", "red"}, {"name", "a"}}).ok());
  EXPECT_EQ(Told(), (Lines{"forgotten red/a ok"}));
  EXPECT_EQ(GetString(last_[0], "owner"), "operator");
  EXPECT_FALSE(engine().Forget({{"driver", "red"}, {"name", "a"}}).ok());
  EXPECT_EQ(Told(), (Lines{"refused red/a not-found"}));
  world_.sys.RemoveMount(root_ + "/red/a");
  world_.transport.plugins["red"].volumes["a"].ids.clear();
}

TEST_F(TellTest, AnOperationThatFailsTellsWhatItHadDone) {
  transport_.hook = [](const std::string& method, const PluginRequest& r, PluginReply* reply) {
    if (method != "Mount" || r.body.find("\"b\"") == std::string::npos) return false;
    *reply = Says(R"({"Err":"no"})", 500);
    return true;
  };
  EXPECT_EQ(CodeOf(Prepare("one", {Volume("red", "a"), Volume("red", "b")})), "driver");
  Settle();
  Lines told = Told();
  EXPECT_EQ(std::count(told.begin(), told.end(), "created red/b ok"), 1);
  EXPECT_EQ(std::count(told.begin(), told.end(), "failed red/b driver"), 1);
  EXPECT_EQ(std::count(told.begin(), told.end(), "mounted red/b ok"), 0);
  EXPECT_EQ(std::count(told.begin(), told.end(), "unmounted red/a ok"), 1);
}

TEST_F(TellTest, ALogThatCannotBeWrittenKeepsNobodyFromItsVolumes) {
  std::filesystem::create_directories(settings_.state_dir + "/audit.log");
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  ASSERT_EQ(CodeOf(Cleanup("one")), "ok");
  Settle();
  auto text = engine().Metrics();
  ASSERT_TRUE(text.ok());
  EXPECT_HAS(*text, "dvdi_audit_ok 0\n");
  EXPECT_HAS(*text, "dvdi_audit_failures_total{code=\"system\"} ");
  ExpectNothingLeft();
}

TEST_F(TellTest, CountersOutliveTheirEngineAndGaugesAreTheLedgers) {
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  Close();
  auto text = engine().Metrics();
  ASSERT_TRUE(text.ok());
  for (const char* line : {
           "dvdi_operations_total{kind=\"prepare\",outcome=\"ok\"} 1\n",
           "dvdi_attachments{driver=\"red\",state=\"attached\"} 1\n",
           "dvdi_scopes{owner=\"run\"} 1\n",
           "dvdi_volumes{driver=\"red\",state=\"known\"} 1\n",
           "dvdi_plugin_calls_total{driver=\"red\",method=\"Mount\",answer=\"ok\"} 1\n",
           "dvdi_volume_events_total{driver=\"red\",event=\"staged\",outcome=\"ok\"} 1\n",
           "dvdi_policy_ok 1\n",
           "dvdi_ledger_ok 1\n",
       })
    EXPECT_HAS(*text, line);
  ASSERT_EQ(CodeOf(Cleanup("one")), "ok");
  Settle();
  text = engine().Metrics();
  ASSERT_TRUE(text.ok());
  EXPECT_HAS_NOT(*text, "dvdi_attachments{");
  EXPECT_HAS(*text, "dvdi_operations_total{kind=\"cleanup\",outcome=\"ok\"} 1\n");
  EXPECT_HAS(*text, "dvdi_operations_total{kind=\"release\",outcome=\"ok\"} 1\n");
}

TEST_F(TellTest, TheMetricsFileIsReplacedWhileAnEngineRunsAndWhenItCloses) {
  std::filesystem::create_directories(root_ + "/collector");
  settings_.metrics_file = root_ + "/collector/dvdi.prom";
  auto text = [&] {
    std::ifstream in(settings_.metrics_file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  engine().Tick();
  EXPECT_HAS(text(), "dvdi_operations_total{kind=\"prepare\",outcome=\"ok\"} 1\n");
  ASSERT_EQ(CodeOf(Cleanup("one")), "ok");
  Close();
  EXPECT_HAS(text(), "dvdi_operations_total{kind=\"cleanup\",outcome=\"ok\"} 1\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root_ + "/collector"), {}), 1);
  EXPECT_EQ(static_cast<unsigned>(std::filesystem::status(settings_.metrics_file).permissions()), 0644u);
}

// Two samples of one name and labels are no metrics: whoever reads them drops all that came with them.
TEST_F(TellTest, WhoHasALongNameHasASeriesOfItsOwn) {
  const std::string folder = "mesos:/" + std::string(90, 'x');
  for (const char* agent : {"one", "two"}) {
    Json request = Request(agent, {Volume("red", agent)});
    request["owner"] = folder + agent;
    ASSERT_TRUE(Call(engine(), &Engine::Prepare, request).contains("ok"));
  }
  std::istringstream text(*engine().Metrics());
  std::set<std::string> series;
  int scopes = 0;
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("dvdi_")) continue;
    EXPECT_TRUE(series.insert(line.substr(0, line.rfind(' '))).second) << line;
    scopes += line.starts_with("dvdi_scopes{");
  }
  EXPECT_EQ(scopes, 2);
}

}  // namespace
}  // namespace dvdi
