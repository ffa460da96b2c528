// Who was answered with an error ends nothing: a prepare that failed stays one, also where its ledger could
// not be told and is lost then.
#include <sqlite3.h>

#include "engine/testing/recover.h"
#include "ledger/testing/faulty_vfs.h"

namespace dvdi {
namespace {

class FailedPrepareTest : public RecoverTest {
 protected:
  FailedPrepareTest() { store_ = &disk_; }
  void FailFrom(FaultyVfs::Call call, int nth, int code) { disk_.FailAt(call, nth, true, code); }
  // What the next engine makes of the stages alone, on a disk that is sound again.
  void LoseItsLedger(bool killed) {
    killed ? Kill() : Close();
    RemoveLedger();
    disk_.Heal();
  }
  // The workload "keeper" has its volume, which "one" was to share; of "one" is left what it was told.
  void ExpectAsAnswered(const Json& one, const std::string& when) {
    Settle();
    EXPECT_EQ(Ask("scopes")["scopes"].size(), one.contains("ok") ? 2u : 1u) << when;
    EXPECT_TRUE(Attached("red", "keep")) << when << ": a workload uses it";
    EXPECT_EQ(Attached("red", "a"), one.contains("ok")) << when;
    Cleanup("one");
    Settle();
    EXPECT_TRUE(Attached("red", "keep")) << when << ": a workload uses it";
    EXPECT_EQ(world_.sys.MountsBelow(stage_root()).size(), 1u) << when;
    EXPECT_FALSE(Attached("red", "a")) << when;
  }
  FaultyVfs disk_;
};

TEST_F(FailedPrepareTest, ItsLedgerFailsFromAnyCallOnAndIsLost) {
  const struct {
    FaultyVfs::Call call;
    const char* name;
    int code;
  } kKinds[] = {{FaultyVfs::kWrite, "write", SQLITE_IOERR_WRITE},
                {FaultyVfs::kSync, "fsync", SQLITE_IOERR_FSYNC},
                {FaultyVfs::kRead, "read", SQLITE_IOERR_READ},
                {FaultyVfs::kShm, "index", SQLITE_IOERR_SHMSIZE}};
  ASSERT_TRUE(Prepare("keeper", {Volume("red", "keep")}).contains("ok"));
  int failed = 0;
  for (const auto& kind : kKinds)
    for (const bool killed : {false, true})
      for (int n = 1, fired = 1; fired != 0; ++n) {
        const std::string when =
            std::string(kind.name) + " " + std::to_string(n) + (killed ? ", killed" : "");
        (void)engine();
        FailFrom(kind.call, n, kind.code);
        const Json one = Prepare("one", {Volume("red", "a"), Volume("red", "keep")});
        fired = disk_.fired();
        failed += one.contains("error");
        LoseItsLedger(killed);
        ExpectAsAnswered(one, when);
        if (HasFailure()) return;
      }
  EXPECT_GT(failed, 20) << "too little was tried";
}

// Who meets that the ledger is gone or damaged cannot make another one on a disk that fails.
TEST_F(FailedPrepareTest, ItsLedgerIsGoneMeanwhileAndNoneCanBeMade) {
  ASSERT_TRUE(Prepare("keeper", {Volume("red", "keep")}).contains("ok"));
  for (const bool killed : {false, true}) {
    const Json one = Hostile({Volume("red", "a"), Volume("red", "keep")},
                             [&](const Json& input, ScriptHost& host) -> Result<std::string> {
                               auto answer = Honest(input, host);
                               RemoveLedger();
                               FailFrom(FaultyVfs::kWrite, 1, SQLITE_IOERR_WRITE);
                               return answer;
                             });
    ASSERT_TRUE(one.contains("error")) << one;
    LoseItsLedger(killed);
    ExpectAsAnswered(one, killed ? "killed" : "closed");
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace dvdi
