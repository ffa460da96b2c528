// Binding a stage at its target in the calling process's own mount namespace, and taking it away.
#ifndef DVDI_CLI_BIND_H_
#define DVDI_CLI_BIND_H_

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "mount/mountinfo.h"
#include "sys/sys.h"

namespace dvdi::cli {

// A detached copy of the mount at `stage`, made in the caller's mount namespace; it can be attached in
// another one. An invalid descriptor where the kernel lacks open_tree (or `classic`): BindStage then
// binds by path. kSystem where `stage` is not a mount: binding an empty folder would let a workload
// write to the node's own disk.
Result<UniqueFd> CloneStage(const std::string& stage, bool classic);

// Mounts the stage at `target`, an existing folder on whose way there is no symlink. `tree` is from
// CloneStage; where it is invalid the stage must be a mount in this namespace too. The mount is a slave
// of the stage: what changes below the stage reaches it, and nothing goes back.
Status BindStage(const UniqueFd& tree, const std::string& stage, const std::string& target);

// Mounts a copy of CloneStage at `target` as a container with the root folder `root` will see that path: a
// symlink on the way leads where it leads in the container, never out of it. Missing folders are made (0755).
// kRefused where it leads to a place that OciTarget refuses.
// Needs the descriptor calls: kUnsupported where `tree` is invalid.
Status BindInRoot(const UniqueFd& tree, const std::string& root, const std::string& target);

// Unmounts `target` where the mount on it is a bind of the stage; true where it did. Anything else that
// is mounted there is left alone (false). kRefused where it is in use, or where somebody moves a folder on
// the way meanwhile.
Result<bool> UnbindStage(const std::string& stage, const std::string& target, Sys* sys = Sys::Real());

// Whether a process, or another mount, uses the mount at that path (false where nothing is mounted there). It
// stays as it is, and its filesystem is not asked for anything. kRefused where somebody moves a folder on the
// way meanwhile.
Result<bool> MountInUse(const std::string& path, Sys* sys = Sys::Real());

// Unmounts the stage, all that is stacked there, as long as nobody uses it. kRefused where somebody does, be
// it in a copy of it in another mount namespace. OK where it is not mounted here.
Status UnmountStage(const std::string& stage);

// What a mount that is in use is refused with.
Status InUse(const std::string& path);

// Whether the top mount at `target` is a bind of what is mounted at `stage`.
bool IsBindOf(const std::vector<MountEntry>& mounts, const std::string& stage, const std::string& target);

// /proc/self/mountinfo.
Result<std::vector<MountEntry>> OwnMounts(Sys* sys = Sys::Real());

}  // namespace dvdi::cli

#endif  // DVDI_CLI_BIND_H_
