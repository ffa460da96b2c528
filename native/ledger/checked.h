// Which state of the ledger's file was checked as a whole.
#ifndef DVDI_LEDGER_CHECKED_H_
#define DVDI_LEDGER_CHECKED_H_

#include <sys/stat.h>

#include <string>

#include "sys/env.h"

namespace dvdi {

// A line in PATH.checked: the boot, and what stat(2) said of the file before it was checked. Whoever writes
// to the file changes that; what a reboot or a power loss did to it, the boot tells. Most processes leave the
// file as it was (they write to its log, whose frames have checksums of their own), so that it is not read
// anew by each.
class CheckedMark {
 public:
  // `path`: of the ledger.
  CheckedMark(const Env& env, const std::string& path) : env_(env), mark_(path + ".checked") {}
  // Whether the file that this is said of was found whole, and has not changed since.
  bool Holds(const struct stat& file) const;
  // It was: `file` is what it was like before. One that cannot be written down is checked again; so is one
  // that was written a moment ago, since a filesystem's times are coarse.
  void Set(const struct stat& file) const;

 private:
  std::string Line(const struct stat& file) const;

  const Env env_;
  const std::string mark_;
};

}  // namespace dvdi

#endif  // DVDI_LEDGER_CHECKED_H_
