// Stages, mount targets and what is checked before a plugin's folder is believed. These are effects:
// they act and report, they neither decide nor remember.
#ifndef DVDI_MOUNT_STAGE_H_
#define DVDI_MOUNT_STAGE_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "mount/mountinfo.h"
#include "mount/types.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {

// Asked whether a volume may be at that path (normal): an error refuses it.
using PlaceCheck = std::function<Status(const std::string& place)>;

struct StageRequest {
  std::string mountpoint;  // the plugin's folder (absolute)
  std::string stage;       // an existing empty folder below the stage root: where to mount
  std::string subpath;     // beneath the volume; "" for all of it
  bool read_only = false, nosuid = true, nodev = true;
  Ownership ownership = Ownership::kNone;
  uid_t uid = 0;
  gid_t gid = 0;
  int64_t deadline_ms = 0;                     // Clock::MonotonicMs, for what may hang (0: 10 s from now)
  std::function<void(int64_t done)> progress;  // kRecursive: entries seen so far; may be null
  // Asked where the mountpoint is as it was named, and where it really is, before anything there is touched;
  // may be null.
  PlaceCheck may_be_at;
  // Our mountinfo where the caller has just read it; null: it is read.
  const std::vector<MountEntry>* mounts = nullptr;
  bool classic = false;  // use mount(2) even where the descriptor calls exist (tests force it)
};

// What a stage got that its request could not foresee.
struct StageResult {
  bool classic = false;  // the classic calls were used
  std::string device;    // "MAJ:MIN" of what is mounted there, from mountinfo
  int64_t chowned = 0;   // entries whose owner was changed; that is never undone
};

// Makes `root` (0700, ours) a shared mount of its own; idempotent. Every stage lies below it.
Status EnsureStageRoot(const Env& env, const std::string& root);

// Mounts (the subpath of) the volume at the stage, flags applied before it becomes visible. Only that
// one mount: what is mounted below the volume's folder is not in the stage. Flags are only added: a
// volume that the plugin mounted read-only or nosuid stays so. The stage is in a peer group of its own,
// so that nothing mounted in it reaches the plugin's mount, or the other way round.
// Whatever may touch the plugin's filesystem runs in a helper process (helper/helper.h); a helper
// that does not answer by the deadline is abandoned and the result is kTimeout.
// kUnsupported where the filesystem cannot do what was asked (idmap), with what to do instead.
// On failure nothing stays mounted.
Result<StageResult> MakeStage(const Env& env, const StageRequest& request);

// Unmounts the stage (MNT_DETACH, all that is stacked there) and removes its folder. OK where it is
// gone already; `was_there`, where not null, is told. Never touches a path that is not below `root`
// (kRefused).
Status RemoveStage(const Env& env, const std::string& root, const std::string& stage,
                   bool* was_there = nullptr);

// Whether something is mounted at that path, by one question to the kernel: a node's mounts may be many.
// False where the path does not exist. Touches nobody's filesystem.
Status IsMountpoint(const Env& env, const std::string& path, bool* mounted);

struct TargetRules {
  std::vector<std::string> roots = {"/"};  // a target lies below one of these
  bool system_folders = true;              // and in no system folder
};
// Checks a mount target: absolute, normalized, below an allowed root, no system folder ("/", "/etc",
// "/usr", "/proc", "/sys", "/dev", "/boot", "/bin", "/lib*", "/sbin", "/run/dvdi", … and the state
// folder given in `forbidden`), no symlink on the way (openat2 RESOLVE_NO_SYMLINKS). Does nothing.
Status CheckTarget(const Env& env, const TargetRules& rules, const std::vector<std::string>& forbidden,
                   const std::string& target);
// The folders that would have to be made for it, outermost first (empty: it exists).
Result<std::vector<std::string>> MissingFolders(const Env& env, const std::string& target);
// Makes one folder (0755, whatever the umask) whose parent exists, without following symlinks;
// kRefused where it exists.
Status MakeFolder(const Env& env, const std::string& path);
// Removes it where it is an empty folder and no mount; OK where it is gone (also where a symlink, or a file,
// now stands on the way to it, where MakeFolder found folders), not empty or in use. In use means a mount on
// it in any mount namespace with a process in it: the kernel would silently detach another namespace's mount
// together with the folder.
Status RemoveFolder(const Env& env, const std::string& path);

// Promise 12: is the folder that the plugin named what the plugin sees? `peer` is the plugin's
// process (0: unknown, then only our own view is checked; kUnseenPeer: then it must be a mount here).
// kRefused where the plugin lives in another mount namespace in which the folder is on a mount that we do not
// have, and for a system folder. kDriver for what is no absolute path, kNotFound where the folder does not
// exist here. `mounts`: our mountinfo, read after the plugin answered; null: it is read. `may_be_at` is asked
// as for a stage. `real`, where not null, is told where the folder is once all symlinks are followed.
Status CheckMountpoint(const Env& env, const std::string& mountpoint, pid_t peer, int64_t deadline_ms,
                       const std::vector<MountEntry>* mounts = nullptr, PlaceCheck may_be_at = nullptr,
                       std::string* real = nullptr);

// statfs of a mountpoint, in a helper; or of `stage`, where one of that mountpoint's is named. kUnavailable
// where the filesystem is dead (its server has ended, its device is gone).
Result<Usage> StatUsage(const Env& env, const std::string& mountpoint, int64_t deadline_ms,
                        const std::string& stage = "");

}  // namespace dvdi

#endif  // DVDI_MOUNT_STAGE_H_
