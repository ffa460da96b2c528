// What tests of recovery share.
#ifndef DVDI_ENGINE_TESTING_RECOVER_H_
#define DVDI_ENGINE_TESTING_RECOVER_H_

#include <filesystem>
#include <string>

#include "engine/testing/sim_engine.h"

namespace dvdi {

class RecoverTest : public SimEngineTest {
 protected:
  std::string stage_root() const { return settings_.state_dir + "/stage"; }
  static std::string StageOf(const Json& answer, size_t i = 0) { return answer["ok"]["volumes"][i]["stage"]; }
  std::string ledger() const { return settings_.state_dir + "/ledger.db"; }
  void RemoveLedger() {
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(ledger() + end);
  }
  // LoseLedger puts back what KeepEarlierLedger kept, as it is after a log was lost that nothing of had
  // reached the file: sound, and of earlier.
  void KeepEarlierLedger() {
    ASSERT_TRUE(Prepare("old", {Volume("red", "a")}).contains("ok"));
    Cleanup("old");
    Settle();
    Close();
    std::filesystem::copy_file(ledger(), ledger() + ".earlier",
                               std::filesystem::copy_options::overwrite_existing);
  }
  void LoseLedger() {
    Close();
    RemoveLedger();
    std::filesystem::copy_file(ledger() + ".earlier", ledger());
  }
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_TESTING_RECOVER_H_
