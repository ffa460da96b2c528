#include "mount/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>

#include "base/text.h"
#include "helper/helper.h"
#include "mount/classic.h"
#include "mount/mountinfo.h"
#include "mount/paths.h"
#include "mount/volume_folder.h"

// Not in the headers of older systems; the kernel is asked for them all the same.
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef MOVE_MOUNT_T_EMPTY_PATH
#define MOVE_MOUNT_T_EMPTY_PATH 0x00000040
#endif

namespace dvdi {
namespace {

Status CannotIdmap(int err, const VolumeFolder& volume) {
  const std::string& type = volume.mount.type;
  const char* instead =
      "ask for ownership `root-dir` or `recursive`, or give the driver its own options for the owner";
  if (err == EINVAL || err == EOPNOTSUPP)
    return Status(Code::kUnsupported,
                  "the volume's filesystem (" + type + ") cannot map user ids on this kernel", instead);
  if (err == EPERM)
    return Status(
        Code::kUnsupported,
        "the volume's mount (" + type + ") is ID-mapped already, or this process may not map user ids",
        instead);
  return Status::FromErrno(err, "cannot map the user ids of the volume's mount (" + type + ")");
}

// The stage by descriptors: nothing is visible before it is complete, and what fails goes away with the
// descriptor of the tree. -ENOSYS goes to *missing where the kernel lacks one of the calls.
Result<StageResult> MakeByDescriptor(const Env& env, const StageRequest& request, const VolumeFolder& volume,
                                     int stage, bool* missing) {
  auto failed = [&](int r, const std::string& what) {
    *missing = r == -ENOSYS;
    return Status::FromErrno(-r, what, request.stage);
  };
  // Without AT_RECURSIVE: a folder of the node's filesystem may have other volumes mounted below it, and a
  // stage that held them would keep them busy.
  SysFd tree(env.sys, env.sys->OpenTree(volume.folder.get(), "", OPEN_TREE_CLONE | AT_EMPTY_PATH));
  if (!tree.valid())
    return failed(-tree.error(), "cannot copy the mount of the volume's folder " + request.mountpoint);
  uint64_t set = 0;
  if (request.read_only) set |= MOUNT_ATTR_RDONLY;
  if (request.nosuid) set |= MOUNT_ATTR_NOSUID;
  if (request.nodev) set |= MOUNT_ATTR_NODEV;
  int r = env.sys->MountSetattr(tree.get(), "", AT_EMPTY_PATH, set, 0, MS_PRIVATE, -1);
  if (r < 0) return failed(r, "cannot set the flags of the stage " + request.stage);
  if (volume.userns.valid()) {
    r = env.sys->MountSetattr(tree.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, 0, volume.userns.get());
    if (r == -ENOSYS) return failed(r, "this kernel cannot map ids");
    if (r < 0) return CannotIdmap(-r, volume).WithPath(request.stage);
  }
  r = env.sys->MoveMount(tree.get(), "", stage, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  if (r < 0) return failed(r, "cannot mount the volume's folder at the stage " + request.stage);
  StageResult result;
  result.device = volume.mount.device;
  return result;
}

}  // namespace

Result<StageResult> MakeStage(const Env& env, const StageRequest& request) {
  if (!IsNormalPath(request.stage) || request.stage == "/")
    return Status(Code::kInvalid, "the stage \"" + OneLine(request.stage) + "\" is no normal absolute path");
  std::vector<MountEntry> read;
  if (request.mounts == nullptr) {
    DVDI_ASSIGN_OR_RETURN(read, ReadMounts(env));
  }
  const std::vector<MountEntry>& mounts = request.mounts != nullptr ? *request.mounts : read;
  bool mounted = false;
  DVDI_RETURN_IF_ERROR(IsMountpoint(env, request.stage, &mounted));
  if (mounted)
    return Status(Code::kRefused, "something is mounted at the stage " + request.stage + " already")
        .WithPath(request.stage);
  SysFd stage(env.sys, OpenNoSymlinks(env.sys, request.stage, O_PATH | O_DIRECTORY));
  if (stage.error() == ELOOP)
    return Status(Code::kRefused, "a symbolic link lies on the way to the stage " + request.stage)
        .WithPath(request.stage);
  if (!stage.valid())
    return Status::FromErrno(stage.error(), "cannot open the stage " + request.stage, request.stage);

  DVDI_ASSIGN_OR_RETURN(VolumeFolder volume, OpenVolumeFolder(env, request, mounts));
  Result<StageResult> result = Status(Code::kInternal, "not tried");
  bool missing = request.classic;
  if (!missing) result = MakeByDescriptor(env, request, volume, stage.get(), &missing);
  if (missing) {
    if (request.ownership == Ownership::kIdmap && volume.userns.valid())
      return Status(Code::kUnsupported, "this kernel cannot map user ids: it lacks mount_setattr(2)",
                    "use a kernel of version 5.12 or later, or ask for ownership `root-dir`")
          .WithPath(request.stage);
    unsigned long flags = 0;
    if (request.read_only) flags |= MS_RDONLY;
    if (request.nosuid) flags |= MS_NOSUID;
    if (request.nodev) flags |= MS_NODEV;
    result = MakeClassicStage(env, volume.folder.get(), request.stage, flags);
  }
  if (result.ok()) result->chowned = volume.chowned;
  return result;
}

Result<Usage> StatUsage(const Env& env, const std::string& mountpoint, int64_t deadline_ms,
                        const std::string& stage) {
  HelperRequest ask;
  ask.op = HelperRequest::Op::kStatfs;
  ask.mountpoint = NormalPath(mountpoint);
  if (ask.mountpoint.empty())
    return Status(Code::kInvalid, "\"" + OneLine(mountpoint) + "\" is no absolute path");
  ask.path = stage;
  ask.deadline_ms = deadline_ms;
  DVDI_ASSIGN_OR_RETURN(HelperReply reply, HelperOf(env)->Run(env, ask));
  return reply.usage;
}

}  // namespace dvdi
