// When an operation that could not be undone is tried again. In memory: another engine, or this one after a
// restart, tries at once.
#ifndef DVDI_ENGINE_BACK_OFF_H_
#define DVDI_ENGINE_BACK_OFF_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "ledger/rows.h"

namespace dvdi {

// Thread-safe. Times are monotonic, in ms; operations go by their IDs.
class BackOff {
 public:
  // The first pause, and the longest; each is twice the one before it.
  void Set(int64_t base_ms, int64_t max_ms) { base_ms_ = base_ms, max_ms_ = max_ms; }
  // When it is due; 0 where no try has failed.
  int64_t DueAt(const std::string& operation) const;
  // Whether its last try failed for another reason, or none has.
  bool IsNews(const std::string& operation, const std::string& why) const;
  // A try of it has failed. `held`: only because others were at its volumes, who soon let go of them: the
  // pause stays the shortest.
  void Failed(const std::string& operation, const std::string& why, bool held, int64_t now_ms);
  void Done(const std::string& operation);
  // All others have come to their end elsewhere.
  void KeepOnly(const std::vector<OperationRow>& operations);

 private:
  struct Try {
    std::string why;
    int64_t pause_ms = 0, due_ms = 0;
  };
  int64_t base_ms_ = 1000, max_ms_ = 60'000;
  mutable std::mutex mu_;
  std::map<std::string, Try> tries_;
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_BACK_OFF_H_
