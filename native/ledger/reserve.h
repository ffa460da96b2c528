// Room on the disk of the state folder, set aside so that what was begun can always be ended: a cleanup
// writes too, and a full disk must not keep it from doing so.
#ifndef DVDI_LEDGER_RESERVE_H_
#define DVDI_LEDGER_RESERVE_H_

#include <cstdint>
#include <string>

#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// A file of zeros that all engines of a node share. Any thread.
class Reserve {
 public:
  // Enough for the ledger's log of some hundred cleanups.
  static constexpr int64_t kBytes = 1 << 20;
  // What must be free for it to be made: more than its spending frees, so that whoever looks whether it can
  // be kept anew takes nothing from whoever has spent it to end something.
  static constexpr int64_t kRoomToMake = 2 * kBytes;

  Reserve(const Env& env, std::string path) : env_(env), path_(std::move(path)) {}
  // Whole, or made whole now; else why it cannot be (kSystem, with its errno). Costs one look where it is
  // whole.
  Status Keep();
  // Removes it. True where there was something to remove.
  bool Spend();
  bool Whole() const;

 private:
  Status Fill(int fd, const std::string& path);
  const Env& env_;
  const std::string path_;
};

}  // namespace dvdi

#endif  // DVDI_LEDGER_RESERVE_H_
