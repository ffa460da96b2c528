// Prepares whose policy refuses for now, and wants to be asked again: nothing is held meanwhile, and of it
// all there is one answer and one record.
#include <fstream>

#include "engine/testing/sim_engine.h"
#include "policy/replay.h"

namespace dvdi {
namespace {

std::string RefusesForNow(int64_t again_ms) {
  return Dump({{"error", {{"code", "refused"}, {"message", "it is in use"}, {"again_ms", again_ms}}}});
}

class AgainTest : public SimEngineTest {
 protected:
  AgainTest() {
    policy_->scripts["prepare"] = [this](const Json& input, ScriptHost& host) -> Result<std::string> {
      waited_.push_back(GetInt(input, "waited_ms", -1));
      // Looks at the driver first, as a policy may.
      host.Plugin({{"method", "Get"}, {"volume", 0}});
      if (!input["volumes"][0]["attachment"]["users"].empty()) return RefusesForNow(again_ms_);
      return Honest(input, host);
    };
  }
  // Begins a prepare, whose outcome comes to be in outcomes_[scope].
  void Begin(const std::string& scope, const std::vector<Json>& volumes, const Json& more = Json::object()) {
    Status s = engine().Prepare(Request(scope, volumes, more), [this, scope](const Status& status,
                                                                             const Json& answer) {
      EXPECT_EQ(outcomes_.count(scope), 0u) << scope << " is answered twice";
      outcomes_[scope] = status.ok() ? Json{{"ok", answer}} : Json{{"error", Json::parse(status.ToJson())}};
    });
    ASSERT_TRUE(s.ok());
    world_.scheduler.RunAll();
  }
  void Pass(int64_t ms) {
    world_.clock.Advance(ms);
    engine().Tick();
    world_.scheduler.RunAll();
  }
  std::vector<Json> Records(const std::string& scope) {
    auto answer = engine().Explain({{"scope", scope}, {"last", 100}});
    EXPECT_TRUE(answer.ok());
    std::vector<Json> records;
    for (const Json& r : (*answer)["operations"])
      if (r["kind"] == "prepare") records.push_back(r);
    return records;
  }
  int AuditLines(const std::string& scope, const std::string& event) {
    std::ifstream in(settings_.state_dir + "/audit.log");
    int n = 0;
    for (std::string line; std::getline(in, line);) {
      auto json = ParseJson(line, "a line of the audit log");
      if (json.ok() && GetString(*json, "scope") == scope && GetString(*json, "event") == event) ++n;
    }
    return n;
  }
  int64_t again_ms_ = 250;
  std::vector<int64_t> waited_;  // as the policy was told, each time
  std::map<std::string, Json> outcomes_;
};

TEST_F(AgainTest, IsGivenItsVolumeWhenTheOtherOneEnds) {
  settings_.max_in_flight = 1;
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  Begin("two", {Volume("red", "a")});
  EXPECT_EQ(outcomes_.count("two"), 0u);
  EXPECT_EQ(engine().core().admission->running(), 0);
  // Its driver has room for one: another operation is let in, and so is the end of the volume's user.
  EXPECT_EQ(CodeOf(Prepare("three", {Volume("red", "b")})), "ok");
  Pass(250);
  EXPECT_EQ(outcomes_.count("two"), 0u);
  EXPECT_EQ(CodeOf(Cleanup("one")), "ok");
  EXPECT_FALSE(Attached("red", "a"));
  EXPECT_EQ(outcomes_.count("two"), 0u) << "its time has not come";
  Pass(250);
  ASSERT_EQ(CodeOf(outcomes_["two"]), "ok") << outcomes_["two"];
  ASSERT_EQ(waited_.size(), 5u) << "one, two, three, and two twice again";
  EXPECT_EQ((std::vector<int64_t>{waited_[0], waited_[1], waited_[2]}), (std::vector<int64_t>{-1, -1, -1}));
  EXPECT_GE(waited_[3], 250);
  EXPECT_GE(waited_[4], 500);
  const std::string waited = std::to_string(waited_[4]);
  const std::string note = "waited " + waited + " ms for others to let go of the volumes";
  EXPECT_EQ(outcomes_["two"]["ok"]["notes"], Json({note}));

  // The record is of what was decided in the end.
  const auto records = Records("two");
  ASSERT_EQ(records.size(), 1u);
  const Json& record = records[0];
  EXPECT_EQ(record["outcome"], "ok");
  EXPECT_EQ(record["notes"], Json({note}));
  EXPECT_HAS(record["input"]["prepare"].get<std::string>(), "\"waited_ms\":" + waited);
  int gets = 0;
  for (const Json& c : record["calls"])
    for (const Json& item : GetMember(c["request"], "calls"))
      if (GetString(item, "method") == "Get") ++gets;
  EXPECT_EQ(gets, 2) << "of the last time alone: " << record["calls"];
  const ReplayResult replayed = Replay(*policy_, Json(), record);
  EXPECT_EQ(replayed.outcome, ReplayResult::Outcome::kSame) << replayed.ToJson();
  EXPECT_EQ(AuditLines("two", "mounted"), 1);
  EXPECT_EQ(AuditLines("two", "refused"), 0);
  for (const char* scope : {"two", "three"}) Cleanup(scope);
  ExpectNothingLeft();
}

TEST_F(AgainTest, DoesNotWaitBeyondItsDeadline) {
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  Begin("two", {Volume("red", "a")}, {{"deadline_ms", 1000}});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(outcomes_.count("two"), 0u);
    Pass(250);
  }
  // The next time would be at the deadline.
  ASSERT_EQ(CodeOf(outcomes_["two"]), "refused");
  EXPECT_EQ(MessageOf(outcomes_["two"]), "it is in use");
  const auto records = Records("two");
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0]["error"]["message"], "it is in use");
  EXPECT_HAS(records[0]["notes"][0].get<std::string>(), "waited 7");
  EXPECT_EQ(Replay(*policy_, Json(), records[0]).outcome, ReplayResult::Outcome::kSame);
  EXPECT_EQ(AuditLines("two", "refused"), 1);
  EXPECT_TRUE(Attached("red", "a"));
}

TEST_F(AgainTest, CloseEndsTheWaitWithTheRefusal) {
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  Begin("two", {Volume("red", "a")});
  const int64_t began = world_.clock.MonotonicMs();
  Close();
  EXPECT_LT(world_.clock.MonotonicMs() - began, 250);
  EXPECT_EQ(CodeOf(outcomes_["two"]), "refused");
  EXPECT_EQ(MessageOf(outcomes_["two"]), "it is in use");
  EXPECT_EQ(Records("two").size(), 1u);
  EXPECT_EQ(AuditLines("two", "refused"), 1);
}

TEST_F(AgainTest, WaitsForNothingOnceSomethingIsDone) {
  MakeVolume("red", "a");
  Json answer = Hostile({Volume("red", "a")}, [](const Json&, ScriptHost& host) -> Result<std::string> {
    host.Plugin({{"method", "Mount"}, {"volume", 0}});
    return RefusesForNow(250);
  });
  EXPECT_EQ(CodeOf(answer), "refused");
  EXPECT_EQ(Count("red Mount"), 1);
  ExpectNothingLeft();
}

TEST_F(AgainTest, AnAnswerThatIsNoneIsNoReasonToWait) {
  for (const char* text :
       {R"({"error":{"again_ms":250}})", R"({"error":{"code":"no","message":"m","again_ms":1}})"})
    EXPECT_EQ(CodeOf(Hostile(
                  {Volume("red", "a")},
                  [text](const Json&, ScriptHost&) -> Result<std::string> { return std::string(text); })),
              "policy");
}

TEST_F(AgainTest, APolicyThatFailsTheSecondTimeHasFailed) {
  int asked = 0;
  policy_->scripts["prepare"] = [&](const Json&, ScriptHost&) -> Result<std::string> {
    if (++asked == 1) return RefusesForNow(1);
    return Status(Code::kPolicy, "it trapped");
  };
  Begin("two", {Volume("red", "a")});
  Pass(19);
  EXPECT_EQ(asked, 1) << "not sooner than 20 ms";
  Pass(1);
  EXPECT_EQ(CodeOf(outcomes_["two"]), "policy");
  const auto records = Records("two");
  ASSERT_EQ(records.size(), 1u);
  EXPECT_FALSE(records[0]["answer"].contains("prepare")) << "the first answer is not this one's";
  ExpectNothingLeft();
}

TEST_F(AgainTest, ManyTurnsDoNotCutTheRecord) {
  settings_.record_bytes = 8'192;
  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  Begin("two", {Volume("red", "a")});
  for (int i = 0; i < 100; ++i) Pass(250);
  Cleanup("one");
  Pass(250);
  ASSERT_EQ(CodeOf(outcomes_["two"]), "ok");
  EXPECT_FALSE(Records("two")[0].contains("cut"));
}

// The stock policy is asked for red/a, for its one writer, by `owner`.
Json By(const std::string& owner) {
  const char* text = "type=volume,source=a,target=/srv/a,volume-driver=red";
  return {{"owner", owner}, {"sources", {{{"form", "mount"}, {"text", text}}}}};
}

TEST_F(AgainTest, TheStockPolicyWaitsForContainersOfTheSameAgent) {
  stock_ = true;
  settings_.policy_dir = DVDI_TEST_POLICY_DIR;  // compiled once for all tests
  const auto end = [this](const char* scope) {
    return CodeOf(Call(engine(), &Engine::Cleanup, {{"owner", "mesos:/a"}, {"scope", scope}}));
  };
  ASSERT_EQ(CodeOf(Prepare("one", {}, By("mesos:/a"))), "ok");
  Begin("two", {}, By("mesos:/a"));
  EXPECT_EQ(outcomes_.count("two"), 0u);
  // Whoever is not of that agent is told at once.
  EXPECT_EQ(CodeOf(Prepare("else", {}, By("run"))), "refused");
  EXPECT_EQ(CodeOf(Prepare("else", {}, By("mesos:/b"))), "refused");
  EXPECT_EQ(end("one"), "ok");
  Pass(250);
  ASSERT_EQ(CodeOf(outcomes_["two"]), "ok") << outcomes_["two"];
  EXPECT_EQ(Records("two").size(), 1u);

  const int64_t began = world_.clock.MonotonicMs();
  Begin("three", {}, By("mesos:/a"));
  for (int i = 0; i < 100 && outcomes_.count("three") == 0; ++i) Pass(250);
  EXPECT_EQ(CodeOf(outcomes_["three"]), "refused");
  EXPECT_GE(world_.clock.MonotonicMs() - began, 5000);
  EXPECT_LT(world_.clock.MonotonicMs() - began, 6000);
  EXPECT_EQ(Records("three").size(), 1u);
  EXPECT_EQ(end("two"), "ok");
}

TEST_F(AgainTest, TheSettingsMayForbidTheWait) {
  stock_ = true;
  settings_.policy_dir = DVDI_TEST_POLICY_DIR;
  settings_.policy = {{"retry", {{"in_use_ms", 0}}}};
  ASSERT_EQ(CodeOf(Prepare("one", {}, By("mesos:/a"))), "ok");
  EXPECT_EQ(CodeOf(Prepare("two", {}, By("mesos:/a"))), "refused");
}

}  // namespace
}  // namespace dvdi
