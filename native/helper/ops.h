// What dvdi-helper does. Everything here may hang for ever, and runs in that process only.
#ifndef DVDI_HELPER_OPS_H_
#define DVDI_HELPER_OPS_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/fd.h"
#include "base/status.h"
#include "mount/types.h"

namespace dvdi {

// The folder at `path`, O_PATH. Symlinks are followed: a driver's folder may be named through one. kRefused
// where it ends in a system folder. `real`, where not null, is told where it ends.
Result<UniqueFd> OpenMountpoint(const std::string& path, std::string* real = nullptr);
// The folder `subpath` beneath `folder`: no symlink leads out of it, no other mount is entered.
Result<UniqueFd> OpenBeneath(int folder, const std::string& subpath);
// Id in mountinfo of the mount that the descriptor is on, -1 where /proc does not say.
int MountIdOf(int fd);

// Gives the folder to uid:gid and its owner rwx, where that differs. True: the owner was changed.
Result<bool> ChownRoot(int folder, uid_t uid, gid_t gid);

struct WalkLimits {
  int64_t deadline_ms = 0;                     // Clock::MonotonicMs
  std::function<bool(int64_t seen)> progress;  // false: nobody waits any more, stop
  int64_t progress_every = 1000;               // entries
};
// Gives the folder and all below it to uid:gid: symlinks themselves, never what they point to; only the
// same filesystem, no mount below it. Entries that are right already are not touched, so that a walk cut
// short goes on where it was when it is run again. The folder itself comes last. Number of entries changed.
Result<int64_t> ChownTree(int folder, uid_t uid, gid_t gid, const WalkLimits& limits);

// A user namespace for an ID-mapped mount that shows `disk` as `shown` and `shown` as `disk`, all other
// ids as they are; users and groups each.
Result<UniqueFd> SwapUserNamespace(uid_t disk_uid, uid_t shown_uid, gid_t disk_gid, gid_t shown_gid);
// The text of that map for /proc/PID/uid_map (exposed for its tests).
std::string SwapMap(uint32_t a, uint32_t b);

// Opens the folder that the O_PATH descriptor is of as a workload will: kUnavailable where its filesystem is
// dead. `path` is for the message.
Status CheckAlive(int folder, const std::string& path);

// kUnavailable where the filesystem is dead, kNotFound where there is no such folder.
Result<Usage> UsageOf(const std::string& path);

}  // namespace dvdi

#endif  // DVDI_HELPER_OPS_H_
