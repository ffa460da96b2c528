// A commit whose fsync fails is in the log all the same, whole: whoever opens the ledger next may find it,
// and whoever made it was told that it failed.
#include <sqlite3.h>

#include <functional>

#include "engine/testing/sim_engine.h"
#include "ledger/testing/faulty_vfs.h"

namespace dvdi {
namespace {

class FailedCommitTest : public SimEngineTest {
 protected:
  FailedCommitTest() { store_ = &disk_; }

  // Of a scope without a process: it ends by its owner's word alone. `placed`: a stage with an owner is tried
  // first, before which it is written down where the volume is mounted.
  Json PrepareManual(const std::string& name, bool placed) {
    policy_->scripts["prepare"] = [placed](const Json&, ScriptHost& host) -> Result<std::string> {
      if (GetString(host.Plugin({{"method", "Get"}, {"volume", 0}}), "kind") == "error") {
        host.Plugin({{"method", "List"}, {"driver", "red"}});
        host.Plugin({{"method", "Create"}, {"volume", 0}, {"options", Json::object()}});
      }
      host.Plugin({{"method", "Mount"}, {"volume", 0}});
      if (placed) host.Stage({{"volume", 0}, {"ownership", "root-dir"}});
      Json stage = host.Stage({{"volume", 0}});
      return GetBool(stage, "ok") ? AllIsWell() : SaysError("system", "cannot stage: " + Dump(stage));
    };
    Json answer = Prepare(name, {Volume("red", name)}, {{"owner", "manual"}, {"user", "0"}});
    policy_->scripts["prepare"] = Honest;
    return answer;
  }
  // A log in which something is written already: its head is fsynced by the first commit in it.
  void BeginLog() {
    Status s = engine().core().ledger->Apply(Commit::recorded, false, [&](LedgerTx& tx) {
      VolumeRow row;
      row.driver = "none", row.name = std::to_string(++written_);
      return tx.TouchVolume(row);
    });
    ASSERT_TRUE(s.ok()) << s.message();
  }
  // A prepare that made its volume, and whose commit fails at its fsync; from there on nothing is written.
  void FailAtTheCommit(const std::string& name, bool placed) {
    BeginLog();
    disk_.LoseAt(FaultyVfs::kSync, 1, SQLITE_IOERR_FSYNC);
    Json answer = PrepareManual(name, placed);
    EXPECT_HAS(MessageOf(answer), "disk I/O error");
    EXPECT_TRUE(disk_.fired());
  }

  FaultyVfs disk_;
  int written_ = 0;
};

TEST_F(FailedCommitTest, WhatWasToldAsFailedIsOverWhereTheLedgerHasItAsCommitted) {
  for (const bool placed : {true, false})
    for (const bool again : {true, false}) {
      SCOPED_TRACE((placed ? "placed, " : "not placed, ") + std::string(again ? "again" : "recovered"));
      const std::string name = "v" + std::to_string(++written_);
      FailAtTheCommit(name, placed);
      Close();
      disk_.Heal();
      if (again) {
        Json answer = PrepareManual(name, placed);
        ASSERT_TRUE(answer.contains("ok")) << MessageOf(answer);
        const std::string stage = answer["ok"]["volumes"][0]["stage"];
        EXPECT_EQ(std::vector<std::string>{stage}, world_.sys.MountsBelow(settings_.state_dir + "/stage"));
        Call(engine(), &Engine::Cleanup, {{"owner", "manual"}, {"scope", name}});
      } else {
        Recover({{"owner", "manual"}});
      }
      Settle();
      ExpectNothingLeft();
      Close();
      if (HasFailure()) return;
    }
}

// What has to survive the boot (docs/ledger.md, "Durability"), each commit by itself: who was told that a
// volume was made for him, or has it in vain, finds that in the ledger behind a loss of power, and so is what
// was released.
TEST_F(FailedCommitTest, WhatOutlivesTheBootIsDurable) {
  auto syncs = [&](const std::function<void()>& act) {
    BeginLog();
    disk_.FailAt(FaultyVfs::kSync, 1, true, SQLITE_IOERR_FSYNC);
    act();
    disk_.Heal();
    return disk_.fired();
  };
  MakeVolume("red", "there");
  EXPECT_FALSE(syncs([&] { EXPECT_TRUE(Prepare("one", {Volume("red", "there")}).contains("ok")); }));
  EXPECT_FALSE(syncs([&] { EXPECT_TRUE(Prepare("plain", {Volume("red", "there")}).contains("ok")); }))
      << "nothing was made";
  Cleanup("plain");
  EXPECT_TRUE(syncs([&] { Prepare("two", {Volume("red", "made")}); })) << "committed: it was made";
  Settle();
  const int before = Count("red Unmount");
  EXPECT_TRUE(syncs([&] { Cleanup("one"); })) << "released";
  EXPECT_EQ(Count("red Unmount"), before + 1);
  Settle();
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount") *reply = Says("{\"Err\":\"the device is busy\"}", 500);
    return method == "Unmount";
  };
  EXPECT_TRUE(syncs([&] {
    Hostile({Volume("red", "vain")}, [](const Json& input, ScriptHost& host) -> Result<std::string> {
      auto ignored = Honest(input, host);
      return SaysError("refused", "no");
    });
  })) << "created: nobody has it";
  transport_.hook = nullptr;
  Settle();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace dvdi
