#include "observe/observer.h"

#include <gtest/gtest.h>

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

class FixedClock : public Clock {
 public:
  int64_t MonotonicMs() override { return 0; }
  int64_t MonotonicNs() override { return 0; }
  int64_t WallMs() override { return 1'700'000'000'042; }
};

class ObserverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dvdi-observer-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    env_.sys = Sys::Real(), env_.random = Random::Real(), env_.clock = &clock_;
    audit_.file = folder_ + "/audit.log";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::vector<std::string> Lines() {
    std::vector<std::string> lines;
    std::ifstream in(audit_.file);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  FixedClock clock_;
  Env env_;
  AuditSettings audit_;
  std::string folder_;
};

TEST_F(ObserverTest, ALineSaysWhatWasDoneByWhomAndUnderWhichPolicy) {
  Observer observer(env_, "node \"1\"", audit_, folder_ + "/counters");
  EventContext c;
  c.kind = "prepare", c.owner = "run", c.scope = "s1", c.operation = "op";
  c.policy_name = "stock", c.policy_version = "1.2.0", c.policy_sha256 = "ab12";
  c.duration_us = 1'002'003;
  VolumeEvent e;
  e.event = "staged", e.driver = "red", e.name = "a\n\"b\"\xff", e.id = "id", e.target = "/data",
  e.mode = "ro";
  VolumeEvent refused;
  refused.event = "refused", refused.driver = "nowhere", refused.name = "x";
  refused.outcome = "refused", refused.error = "no";
  observer.Volumes(c, {e, refused});
  auto lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  auto json = ParseJson(lines[0], "a line");
  ASSERT_TRUE(json.ok()) << lines[0];
  EXPECT_EQ(*json, (Json{{"time", "2023-11-14T22:13:20.042Z"},
                         {"node", "node \"1\""},
                         {"event", "staged"},
                         {"driver", "red"},
                         {"volume", "a\n\"b\"\xEF\xBF\xBD"},
                         {"id", "id"},
                         {"target", "/data"},
                         {"mode", "ro"},
                         {"outcome", "ok"},
                         {"kind", "prepare"},
                         {"owner", "run"},
                         {"scope", "s1"},
                         {"operation", "op"},
                         {"policy", {{"name", "stock"}, {"version", "1.2.0"}, {"sha256", "ab12"}}},
                         {"ms", 1002.003}}));
  // A name that only a workload gave makes no series.
  auto counted = observer.counters().Read();
  EXPECT_EQ(counted["dvdi_volume_events_total{driver=\"red\",event=\"staged\",outcome=\"ok\"}"], 1u);
  EXPECT_EQ(counted["dvdi_volume_events_total{event=\"refused\",outcome=\"refused\"}"], 1u);
}

TEST_F(ObserverTest, ALogThatCannotBeWrittenIsCountedAndFailsNothing) {
  audit_.file = folder_ + "/no/such/folder/audit.log";
  Observer observer(env_, "n", audit_, folder_ + "/counters");
  EXPECT_FALSE(observer.CheckAudit().ok());
  observer.Volumes({}, {VolumeEvent{}});
  EXPECT_EQ(observer.counters().Read()["dvdi_audit_failures_total{code=\"system\"}"], 1u);
}

TEST_F(ObserverTest, HistogramsAreAddedUpInTheOrderOfTheirBounds) {
  Observer observer(env_, "n", audit_, folder_ + "/counters");
  for (int64_t us : {500, 1'000, 7'000, 2'000'000, 999'000'000}) observer.Operation("prepare", "ok", us);
  observer.PluginCall("red", "Get", "ok", 1'500'000'000);
  std::string text = PrometheusText(observer.counters(), {{"dvdi_scopes", Label("owner", "a\"b\\c"), 2}});
  for (const char* line : {
           "# TYPE dvdi_operation_duration_seconds histogram\n",
           "dvdi_operation_duration_seconds_bucket{kind=\"prepare\",le=\"0.001\"} 2\n",
           "dvdi_operation_duration_seconds_bucket{kind=\"prepare\",le=\"0.01\"} 3\n",
           "dvdi_operation_duration_seconds_bucket{kind=\"prepare\",le=\"5\"} 4\n",
           "dvdi_operation_duration_seconds_bucket{kind=\"prepare\",le=\"+Inf\"} 5\n",
           "dvdi_operation_duration_seconds_sum{kind=\"prepare\"} 1001.008500\n",
           "dvdi_operation_duration_seconds_count{kind=\"prepare\"} 5\n",
           "dvdi_operations_total{kind=\"prepare\",outcome=\"ok\"} 5\n",
           "dvdi_plugin_calls_total{driver=\"red\",method=\"Get\",answer=\"ok\"} 1\n",
           "dvdi_plugin_call_seconds_total{driver=\"red\",method=\"Get\"} 1.500000\n",
           "dvdi_scopes{owner=\"a\\\"b\\\\c\"} 2\n",
       })
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  EXPECT_EQ(text.find("dvdi_attachments"), std::string::npos);  // no sample, no head
}

}  // namespace
}  // namespace dvdi
