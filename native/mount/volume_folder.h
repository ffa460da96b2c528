// The folder that a plugin named, opened without risk of hanging. Inside mount/ only.
#ifndef DVDI_MOUNT_VOLUME_FOLDER_H_
#define DVDI_MOUNT_VOLUME_FOLDER_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "mount/mountinfo.h"
#include "mount/paths.h"
#include "mount/stage.h"

namespace dvdi {

struct VolumeFolder {
  SysFd folder;      // O_PATH; the subpath where one was asked for
  SysFd userns;      // valid where the stage must be ID-mapped
  MountEntry mount;  // that it is on
  std::string real;  // where the mountpoint is once all symlinks are followed
  int64_t chowned = 0;
};

// Whether opening that path (O_PATH) provably cannot wait for a plugin: each mount that the walk enters is
// of a kernel filesystem that does not ask anybody when a name is looked up, and the path is either the
// root of a mount (which may be a FUSE one: its root is entered, not asked) or a folder of the node's own
// root filesystem or of a tmpfs. NFS and its like are asked even for a mount's root.
bool OpensWithoutWaiting(const std::vector<MountEntry>& mounts, const std::string& path);

// Opens the folder, beneath it the subpath, and sets its ownership: members mountpoint, subpath, ownership,
// uid, gid, deadline_ms, progress and may_be_at of the request. `mounts` is our mountinfo. In a helper unless
// there is nothing that could wait. Errors as of HelperRunner::Run; kDriver for a path that is not one.
Result<VolumeFolder> OpenVolumeFolder(const Env& env, const StageRequest& request,
                                      const std::vector<MountEntry>& mounts);

// Our mountinfo, parsed.
Result<std::vector<MountEntry>> ReadMounts(const Env& env);

}  // namespace dvdi

#endif  // DVDI_MOUNT_VOLUME_FOLDER_H_
