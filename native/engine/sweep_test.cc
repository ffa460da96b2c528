// What lies below the stage root and is in no ledger.
#include <filesystem>
#include <optional>

#include "engine/locks.h"
#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

using SweepTest = SimEngineTest;

// Whoever held the volume's lock while the sweep looked may have been about to write down that it has it.
TEST_F(SweepTest, WhatComesIntoTheLedgerUntilItsVolumeIsLockedStays) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  std::optional<AttachmentRow> row;
  Ledger& ledger = *engine().core().ledger;
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    DVDI_ASSIGN_OR_RETURN(row, tx.FindAttachment("red", "a"));
                    return Status();
                  })
                  .ok());
  ASSERT_TRUE(row.has_value());
  const std::string proof = settings_.state_dir + "/stage/" + row->id + "/meta.json";
  ASSERT_TRUE(std::filesystem::exists(proof));
  Ledger theirs(env(), settings_.state_dir + "/ledger.db");
  ASSERT_TRUE(theirs.Open().ok());
  auto put = [&](LedgerTx& tx) { return tx.PutAttachment(*row); };
  int n = 1, written = 0;
  for (bool fired = true; fired; ++n) {
    ASSERT_TRUE(
        ledger.Apply(Commit::released, false, [&](LedgerTx& tx) { return tx.DeleteAttachment(row->id); })
            .ok());
    int seen = 0;
    bool looking = false, there = false;
    world_.sys.look_fault = [&](const char*) {
      if (looking || ++seen != n) return 0;
      looking = true;
      // Not where the sweep has the lock.
      auto lock = VolumeLocks::Take(env(), engine().core().lock_file, {{"red", "a"}}, 0);
      if (lock.ok() && std::filesystem::exists(proof)) there = theirs.Apply(Commit::intent, false, put).ok();
      looking = false;
      return 0;
    };
    (void)SweepStageRoot(engine().core());
    world_.sys.look_fault = nullptr;
    fired = seen >= n;
    written += there ? 1 : 0;
    ASSERT_EQ(std::filesystem::exists(proof), there) << "look " << n;
    if (there) continue;
    break;  // it was removed, as it has to be
  }
  EXPECT_GT(written, 2) << "nothing was tried";
}

}  // namespace
}  // namespace dvdi
