// Checks a filesystem whose last holder did not unmount it whole, before it is mounted.
#ifndef DVDI_DRIVER_CHECK_H_
#define DVDI_DRIVER_CHECK_H_

#include <functional>
#include <string>

#include "base/status.h"
#include "driver/options.h"

namespace dvdi {

struct CheckWatch {
  std::function<void(const std::string&)> progress;  // "pass 2 of 5", as it comes; may be empty
  std::function<bool()> give_up;                     // true ends the check; may be empty
};

// ext4: e2fsck repairs what can be repaired without a question, the journal first. xfs: the log is replayed
// by a mount that nobody sees, then xfs_repair only looks. btrfs: `btrfs check` only looks. kSystem, and the
// image is not to be mounted, where a fault is left: the hint says how to repair it. The image (an open file)
// is attached nowhere. kUnsupported where a program is missing.
Status CheckFilesystem(Filesystem fs, int image_fd, const std::string& volume, const std::string& path,
                       const CheckWatch& watch);

}  // namespace dvdi

#endif  // DVDI_DRIVER_CHECK_H_
