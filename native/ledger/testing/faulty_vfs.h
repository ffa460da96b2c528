// The disk under the ledger, failing where a test says so: a SQLite VFS over the default one.
#ifndef DVDI_LEDGER_TESTING_FAULTY_VFS_H_
#define DVDI_LEDGER_TESTING_FAULTY_VFS_H_

#include <sqlite3.h>

#include <array>
#include <string>

#include "sys/env.h"

namespace dvdi {

// Not thread-safe: for engines on the simulated world, which has one thread.
class FaultyVfs : public Store {
 public:
  enum Call { kOpen, kRead, kWrite, kSync, kTruncate, kShm, kCalls };
  FaultyVfs();
  ~FaultyVfs() override;
  FaultyVfs(const FaultyVfs&) = delete;
  FaultyVfs& operator=(const FaultyVfs&) = delete;
  const char* VfsName() override { return name_.c_str(); }

  // From now on: the nth (from 1) call of that kind fails with `code`, and all after it where `forever`.
  void FailAt(Call call, int nth, bool forever, int code);
  // The same, and from that call on nothing is written any more: the disk is gone, and what was written
  // before is found when it is back.
  void LoseAt(Call call, int nth, int code);
  void Heal() { armed_ = kCalls; }
  bool fired() const { return fired_; }
  bool lost() const { return lost_ && fired_; }

  // SQLITE_OK, or what the call is to fail with. For the VFS itself.
  int Pass(Call call);

 private:
  std::string name_;
  sqlite3_vfs vfs_ = {};
  Call armed_ = kCalls;
  int left_ = 0, code_ = SQLITE_IOERR;
  bool forever_ = false, fired_ = false, lost_ = false;
};

}  // namespace dvdi

#endif  // DVDI_LEDGER_TESTING_FAULTY_VFS_H_
