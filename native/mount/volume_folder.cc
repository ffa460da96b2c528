#include "mount/volume_folder.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>

#include "base/text.h"
#include "helper/helper.h"

namespace dvdi {
namespace {

// Filesystems of the kernel itself that answer a look-up of a mounted-on name from memory.
constexpr std::string_view kLocal[] = {"ext2", "ext3",     "ext4",  "xfs",      "btrfs", "tmpfs",  "ramfs",
                                       "zfs",  "devtmpfs", "f2fs",  "bcachefs", "erofs", "rootfs", "squashfs",
                                       "vfat", "exfat",    "ntfs3", "iso9660",  "jfs",   "nilfs2"};

bool IsLocal(const MountEntry& mount) {
  return std::find(std::begin(kLocal), std::end(kLocal), mount.type) != std::end(kLocal);
}
bool IsFuse(const MountEntry& mount) { return mount.type == "fuse" || mount.type.starts_with("fuse."); }

Status WentAway(const std::string& path) {
  return Status(Code::kNotFound, "the mount of the driver's folder " + OneLine(path) + " went away",
                "see the driver's log, then try again")
      .WithPath(path);
}

// By its id where the helper said it: the path may hold symlinks, or the mount be newer than `mounts`.
Result<MountEntry> MountOf(const Env& env, int id, const std::string& path,
                           const std::vector<MountEntry>& mounts) {
  auto find = [&](const std::vector<MountEntry>& list) -> const MountEntry* {
    if (id < 0) return ContainingMount(list, path);
    for (const MountEntry& entry : list)
      if (entry.id == id) return &entry;
    return nullptr;
  };
  if (const MountEntry* found = find(mounts)) return *found;
  DVDI_ASSIGN_OR_RETURN(std::vector<MountEntry> fresh, ReadMounts(env));
  if (const MountEntry* found = find(fresh)) return *found;
  return WentAway(path);
}

// Beneath a volume that its driver lost after `mounts` was read is a plain folder of the node: no workload
// may write there in the volume's place. `opened`: the mount that the folder is on, null where it was opened
// here. An open folder keeps its mount from being unmounted, so it is looked at behind the opening.
Status CheckIsThere(const Env& env, const std::string& path, const std::vector<MountEntry>& mounts,
                    const MountEntry* opened) {
  if (FindMount(mounts, path) == nullptr) return Status();
  bool there = false;
  if (opened != nullptr)
    there = opened->mountpoint == path || IsStrictlyBelow(path, opened->mountpoint);
  else
    DVDI_RETURN_IF_ERROR(IsMountpoint(env, path, &there));
  return there ? Status() : WentAway(path);
}

Status CheckPlace(const StageRequest& request, const std::string& named, const std::string& place) {
  DVDI_RETURN_IF_ERROR(CheckVolumePlace(named, place));
  return request.may_be_at ? request.may_be_at(place) : Status();
}

}  // namespace

Result<std::vector<MountEntry>> ReadMounts(const Env& env) {
  DVDI_ASSIGN_OR_RETURN(std::string text, env.sys->Mountinfo());
  return ParseMountinfo(text);
}

Status IsMountpoint(const Env& env, const std::string& path, bool* mounted) {
  int r = env.sys->IsMountRoot(path.c_str(), mounted);
  if (r == -EOPNOTSUPP) {  // before Linux 5.8
    DVDI_ASSIGN_OR_RETURN(std::vector<MountEntry> mounts, ReadMounts(env));
    *mounted = FindMount(mounts, path) != nullptr;
    return Status();
  }
  if (r == -ENOENT) {
    *mounted = false;
    return Status();
  }
  if (r < 0) return Status::FromErrno(-r, "cannot look at " + OneLine(path), path);
  return Status();
}

bool OpensWithoutWaiting(const std::vector<MountEntry>& mounts, const std::string& path) {
  auto way = MountsOnTheWay(mounts, path);
  if (way.empty()) return false;
  const MountEntry* last = way.back();
  for (const MountEntry* mount : way) {
    if (mount == last) break;
    // The root filesystem of a container is an overlay; names that are mounted on stay in its memory.
    if (!IsLocal(*mount) && mount->type != "overlay") return false;
  }
  if (last->mountpoint == path && path != "/") return IsLocal(*last) || IsFuse(*last);
  // A plain folder: its name may have to be read from a disk. The node's own root is as alive as we are.
  return last->type == "tmpfs" || (last->mountpoint == "/" && IsLocal(*last));
}

Result<VolumeFolder> OpenVolumeFolder(const Env& env, const StageRequest& request,
                                      const std::vector<MountEntry>& mounts) {
  std::string path = NormalPath(request.mountpoint);
  if (path.empty())
    return Status(Code::kDriver,
                  "the driver named the folder \"" + OneLine(request.mountpoint) +
                      "\", which is no absolute path without \"..\"",
                  "see the driver's log");
  HelperRequest ask;
  if (!NormalSubpath(request.subpath, &ask.subpath))
    return Status(Code::kInvalid,
                  "the subpath \"" + OneLine(request.subpath) + "\" is no path inside a volume",
                  "name it relative to the volume's root, without \"..\"");
  DVDI_RETURN_IF_ERROR(CheckPlace(request, path, path));

  VolumeFolder out;
  out.real = path;
  if (OpensWithoutWaiting(mounts, path)) {
    struct open_how how = {};
    how.flags = O_PATH | O_DIRECTORY;
    how.resolve = RESOLVE_NO_SYMLINKS;
    int fd = env.sys->OpenAt2(AT_FDCWD, path.c_str(), how);
    if (fd == -ENOENT)
      return Status(Code::kNotFound,
                    "the folder " + OneLine(path) + " that the driver named does not exist here",
                    "see whether the driver runs in the node's mount namespace, and its log")
          .WithPath(path);
    if (fd == -ENOTDIR)
      return Status(Code::kRefused, OneLine(path) + ", which the driver named, is not a folder",
                    "see the driver's log")
          .WithPath(path);
    // A symlink may lead anywhere: that walk is the helper's.
    if (fd < 0 && fd != -ELOOP && fd != -ENOSYS)
      return Status::FromErrno(-fd, "cannot open the driver's folder " + OneLine(path), path);
    if (fd >= 0) {
      out.folder = SysFd(env.sys, fd);
      DVDI_RETURN_IF_ERROR(CheckIsThere(env, path, mounts, nullptr));
      DVDI_ASSIGN_OR_RETURN(out.mount, MountOf(env, -1, path, mounts));
      // The folder of a server that has ended opens as a path all the same.
      const bool asked = !IsFuse(out.mount);
      if (asked && ask.subpath.empty() && request.ownership == Ownership::kNone) return out;
    }
  }
  ask.mountpoint = path;
  ask.deadline_ms = request.deadline_ms;
  HelperReply reply;
  bool more = true;
  if (!out.folder.valid()) {
    // Opened, and nothing else: where it leads is looked at before anything there is touched, and what is
    // done there is done to this descriptor.
    HelperRequest open = ask;
    open.subpath.clear();
    DVDI_ASSIGN_OR_RETURN(reply, HelperOf(env)->Run(env, open));
    out.folder = SysFd(env.sys, reply.folder);
    out.real = reply.real;
    DVDI_RETURN_IF_ERROR(CheckPlace(request, path, out.real));
    more = !ask.subpath.empty() || request.ownership != Ownership::kNone;
  }
  if (more) {
    ask.fd = out.folder.get();
    ask.ownership = request.ownership;
    ask.uid = request.uid;
    ask.gid = request.gid;
    ask.progress = request.progress;
    DVDI_ASSIGN_OR_RETURN(reply, HelperOf(env)->Run(env, ask));
    out.folder = SysFd(env.sys, reply.folder);
  }
  out.userns = SysFd(env.sys, reply.userns);
  out.chowned = reply.chowned;
  DVDI_ASSIGN_OR_RETURN(out.mount, MountOf(env, reply.mount_id, out.real, mounts));
  DVDI_RETURN_IF_ERROR(CheckIsThere(env, out.real, mounts, &out.mount));
  return out;
}

}  // namespace dvdi
