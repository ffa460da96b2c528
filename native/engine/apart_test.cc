// Volumes that are only to exist, and rehearsals: the whole decision, and nothing that would have to be
// undone.
#include <sqlite3.h>

#include "engine/testing/sim_engine.h"
#include "ledger/testing/faulty_vfs.h"

namespace dvdi {
namespace {

class ApartTest : public SimEngineTest {
 protected:
  ApartTest() { store_ = &disk_; }
  Json Create(const std::vector<Json>& volumes, const Json& more = Json::object()) {
    Json request = Request("create", volumes, {{"owner", "manual"}, {"goal", "create"}});
    request.update(more);
    return Call(engine(), &Engine::Prepare, request);
  }
  Json Rehearse(const std::vector<Json>& volumes, const Json& more = Json::object()) {
    Json request = Request("one", volumes, {{"dry_run", true}});
    request.update(more);
    return Call(engine(), &Engine::Prepare, request);
  }
  // What a policy does that knows the goal.
  void CreateOnly() {
    policy_->scripts["prepare"] = [this](const Json& input, ScriptHost& host) -> Result<std::string> {
      goal_ = GetString(input, "goal");
      Json get = host.Plugin({{"method", "Get"}, {"volume", 0}});
      if (GetString(get, "kind") == "ok") return AllIsWell();
      host.Plugin({{"method", "List"}, {"driver", input["volumes"][0]["driver"]}});
      host.Plugin({{"method", "Create"}, {"volume", 0}, {"options", input["volumes"][0]["options"]}});
      return AllIsWell();
    };
  }
  std::string goal_;
  FaultyVfs disk_;
};

TEST_F(ApartTest, CreatesAndAttachesNothing) {
  CreateOnly();
  Json answer = Create({Volume("red", "a")});
  EXPECT_EQ(answer["ok"]["volumes"][0]["what"], "created") << answer;
  EXPECT_EQ(goal_, "create");
  EXPECT_TRUE(HasVolume("red", "a"));
  EXPECT_EQ(Count("red Mount"), 0);
  Json known = Known("red", "a");
  EXPECT_EQ(known["state"], "created");
  EXPECT_EQ(known["created_by_us"], true);
  EXPECT_EQ(known["unused"], true);
  EXPECT_EQ(Ask("summary")["scopes"], 0);
  EXPECT_EQ(Record("create")["kind"], "create");
  // Once more: it is there.
  EXPECT_EQ(Create({Volume("red", "a")})["ok"]["volumes"][0]["what"], "existed");
  EXPECT_EQ(Count("red Create"), 1);
  // A workload's use ends what `prune` may take.
  policy_->scripts["prepare"] = Honest;
  world_.clock.Advance(1000);
  ASSERT_TRUE(Prepare("two", {Volume("red", "a")}).contains("ok"));
  Cleanup("two");
  EXPECT_EQ(Known("red", "a")["unused"], false);
}

// Who is told that a volume was made for him looks for it in the ledger, and so does prune.
TEST_F(ApartTest, ACreateThatTheLedgerDoesNotKeepIsNoSuccess) {
  CreateOnly();
  ASSERT_TRUE(Create({Volume("red", "before")}).contains("ok"));
  disk_.FailAt(FaultyVfs::kSync, 1, true, SQLITE_IOERR_FSYNC);
  Json answer = Create({Volume("red", "a")});
  EXPECT_TRUE(disk_.fired());
  disk_.Heal();
  EXPECT_TRUE(HasVolume("red", "a"));
  EXPECT_EQ(Known("red", "a")["created_by_us"], false);
  ASSERT_TRUE(answer.contains("error")) << answer;
  EXPECT_TRUE(MessageOf(answer).starts_with("what was created (red/a) cannot be written down: ledger "))
      << answer;
  EXPECT_EQ(Record("create")["outcome"], "system") << "as it was answered";
  // Once more, when the disk is sound: it is there.
  EXPECT_EQ(Create({Volume("red", "a")})["ok"]["volumes"][0]["what"], "existed");
}

TEST_F(ApartTest, AUseCountsThoughTheClockWasSetBackSinceTheCreation) {
  CreateOnly();
  ASSERT_TRUE(Create({Volume("red", "a")}).contains("ok"));
  policy_->scripts["prepare"] = Honest;
  world_.clock.ShiftWall(-7'200'000);
  ASSERT_TRUE(Prepare("two", {Volume("red", "a")}).contains("ok"));
  Cleanup("two");
  Settle();
  EXPECT_EQ(Known("red", "a")["unused"], false) << "`prune` would remove it, with what was written";
}

TEST_F(ApartTest, TheStockPolicyKnowsTheGoal) {
  stock_ = true;
  Json answer =
      Create({}, {{"sources",
                   {{{"form", "mount"},
                     {"text", "type=volume,source=a,target=/x,volume-driver=red,volume-opt=size=5"}}}}});
  EXPECT_EQ(answer["ok"]["volumes"][0]["message"], "created new volume a") << answer;
  EXPECT_TRUE(HasVolume("red", "a"));
  EXPECT_EQ(Count("red Mount"), 0);
  ExpectNothingLeft();
}

TEST_F(ApartTest, APolicyThatDoesNotKnowTheGoalMountsNothing) {
  MakeVolume("red", "a");
  Json answer = Create({Volume("red", "a")});
  EXPECT_FALSE(answer.contains("ok")) << answer;
  EXPECT_HAS(MessageOf(answer), "only creates volumes");
  EXPECT_EQ(Count("red Mount"), 0);
  policy_->scripts["prepare"] = [](const Json&, ScriptHost& host) -> Result<std::string> {
    host.Stage({{"volume", 0}});
    return AllIsWell();
  };
  EXPECT_EQ(CodeOf(Create({Volume("red", "a")})), "policy");
  ExpectNothingLeft();
}

TEST_F(ApartTest, APolicyThatSaysTooEarlyThatAVolumeIsThereIsFaulty) {
  policy_->scripts["prepare"] = [](const Json&, ScriptHost&) -> Result<std::string> { return AllIsWell(); };
  EXPECT_EQ(CodeOf(Create({Volume("red", "a")})), "policy");
}

TEST_F(ApartTest, TheGuardsOfCreateHold) {
  MakeVolume("red", "a");
  policy_->scripts["prepare"] = [](const Json&, ScriptHost& host) -> Result<std::string> {
    Json answer = host.Plugin({{"method", "Create"}, {"volume", 0}});
    return SaysError("refused", GetString(answer, "error"));
  };
  EXPECT_HAS(MessageOf(Create({Volume("red", "a")})), "only after the driver answered Get");
  EXPECT_EQ(Count("red Create"), 0);
}

TEST_F(ApartTest, AVolumeThatAFailedPrepareCreatedIsKnown) {
  policy_->scripts["prepare"] = [](const Json& input, ScriptHost& host) -> Result<std::string> {
    auto made = Honest(input, host);
    return made.ok() ? SaysError("refused", "changed its mind") : made;
  };
  EXPECT_FALSE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Settle();
  EXPECT_EQ(Known("red", "a")["created_by_us"], true);
  EXPECT_EQ(Known("red", "a")["unused"], true);
}

TEST_F(ApartTest, ARehearsalSaysWhatWouldBeDone) {
  Json answer = Rehearse({Volume("red", "a", {{"options", {{"size", "5"}}}, {"mode", "ro"}})});
  ASSERT_TRUE(answer.contains("ok")) << answer;
  const Json& ok = answer["ok"];
  EXPECT_EQ(ok["dry_run"], true);
  EXPECT_EQ(ok["volumes"][0]["state"], "none");
  ASSERT_EQ(ok["calls"].size(), 3u) << ok;
  EXPECT_EQ(ok["calls"][0],
            Json({{"call", "Create"}, {"driver", "red"}, {"name", "a"}, {"options", {{"size", "5"}}}}));
  EXPECT_EQ(ok["calls"][1], Json({{"call", "Mount"}, {"driver", "red"}, {"name", "a"}}));
  EXPECT_EQ(ok["calls"][2]["call"], "stage");
  EXPECT_EQ(ok["calls"][2]["read_only"], true);
  EXPECT_FALSE(ok.contains("error"));
  for (const auto& sent : Sent()) EXPECT_TRUE(sent == "red Get" || sent == "red List") << sent;
  EXPECT_FALSE(HasVolume("red", "a"));
  EXPECT_TRUE(Record("one").is_null());
  EXPECT_TRUE(Known("red", "a").is_null());
  ExpectNothingLeft();
}

TEST_F(ApartTest, ARehearsalSaysWhyItWouldFail) {
  world_.transport.plugins["red"].up = false;
  Json answer = Rehearse({Volume("red", "a")});
  EXPECT_EQ(CodeOf(answer["ok"]), "unavailable") << answer;
  // And where the engine would say no.
  answer = Rehearse({Volume("red", "a", {{"container_path", "/etc"}})}, {{"targets", "check"}});
  EXPECT_EQ(answer["ok"]["error"]["volume"], "a") << answer;
  EXPECT_TRUE(Record("one").is_null());
}

TEST_F(ApartTest, ARehearsalBesideAUser) {
  ASSERT_TRUE(Prepare("two", {Volume("red", "a")}).contains("ok"));
  size_t before = Sent().size();
  Json answer = Rehearse({Volume("red", "a")});
  const Json& v = answer["ok"]["volumes"][0];
  EXPECT_EQ(v["state"], "attached") << answer;
  EXPECT_EQ(v["users"][0]["scope"], "two");
  EXPECT_EQ(answer["ok"]["calls"].size(), 1u) << answer;  // its stage
  EXPECT_EQ(Sent().size(), before + 1);                   // Get
  EXPECT_EQ(Known("red", "a")["users"].size(), 1u);
}

TEST_F(ApartTest, ARehearsalShowsNoSecret) {
  settings_.secret_options = {"password"};
  stock_ = true;
  Json answer = Rehearse({}, {{"sources",
                               {{{"form", "mount"},
                                 {"text",
                                  "type=volume,source=a,target=/srv/x,volume-driver=red,"
                                  "volume-opt=password=hunter2"}}}}});
  ASSERT_EQ(answer["ok"]["calls"][0]["call"], "Create") << answer;
  EXPECT_TRUE(answer["ok"]["calls"][0]["options"].contains("password")) << answer;
  EXPECT_HAS_NOT(answer.dump(), "hunter2");
}

}  // namespace
}  // namespace dvdi
