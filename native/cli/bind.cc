#include "cli/bind.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

#include "base/guards.h"
#include "base/path.h"
#include "base/text.h"
#include "cli/oci_config.h"
#include "mount/paths.h"

#ifndef AT_RECURSIVE  // only in linux/fcntl.h, which does not go with fcntl.h
#define AT_RECURSIVE 0x8000
#endif

namespace dvdi::cli {
namespace {

std::string ByDescriptor(const UniqueFd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

Result<UniqueFd> OpenTarget(const std::string& target) {
  int fd = OpenNoSymlinks(Sys::Real(), target, O_PATH | O_DIRECTORY);
  if (fd >= 0) return UniqueFd(fd);
  Status status = Status::FromErrno(-fd, "cannot open the target " + target, target);
  if (fd == -ELOOP) return std::move(status).WithHint("A target's path must have no symlink in it");
  if (fd == -ENOENT)
    return std::move(status).WithHint("A target inside another volume must be a folder that this volume has");
  return status;
}

// A mount by the open folder above it, so that whoever owns a folder on the way cannot lead a call elsewhere.
struct HeldMount {
  UniqueFd above;
  std::string name;
  // Not to be followed at its end: then it is that mount for as long as it is there, since the kernel lets
  // nobody in this namespace rename, or put anything in the place of, a folder with a mount on it.
  std::string Path() const { return ByDescriptor(above) + "/" + name; }
};

// kRefused where that mount is not on top at its path any more.
Result<HeldMount> Hold(Sys* sys, const MountEntry& mount) {
  const std::string& path = mount.mountpoint;
  HeldMount held;
  held.name = NameOf(path);
  int fd = OpenNoSymlinks(sys, ParentOf(path), O_PATH | O_DIRECTORY);
  held.above.reset(fd);
  uint64_t id = 0;
  int r = fd < 0 ? fd : sys->MountId(fd, held.name.c_str(), &id);
  if (r == -EOPNOTSUPP)
    return Status(Code::kUnsupported, "this kernel cannot tell which mount is at " + path,
                  "Linux 5.8 or later is needed")
        .WithPath(path);
  const bool moved = r == -ELOOP || r == -ENOTDIR || r == -ENOENT;
  if (r < 0 && !moved) return Status::FromErrno(-r, "cannot look at " + path, path);
  if (moved || (DVDI_GUARD(mount_is_the_one) && id != static_cast<uint64_t>(mount.id)))
    return Status(Code::kRefused, path + " is another mount, or none, by now: a folder on the way was moved",
                  "See that nobody moves it, and try again")
        .WithPath(path);
  return held;
}

Status NotAMount(const std::string& stage, const char* hint) {
  return Status(Code::kSystem, "the stage " + stage + " is not mounted", hint).WithPath(stage);
}

// The folder's path as the kernel has it, all symlinks behind it, in the root that it is below; "" where it
// is not.
Result<std::string> PlaceInRoot(const UniqueFd& root, const UniqueFd& folder) {
  std::string places[2];
  for (int i = 0; i < 2; ++i) {
    char path[PATH_MAX];
    const ssize_t n = ::readlink(ByDescriptor(i == 0 ? root : folder).c_str(), path, sizeof path);
    if (n < 0) return Status::FromErrno(errno, "cannot tell where a folder of the container is");
    if (n < static_cast<ssize_t>(sizeof path)) places[i].assign(path, static_cast<size_t>(n));
  }
  if (places[0] == "/") return places[1];
  if (places[0] == places[1]) return std::string("/");
  return IsStrictlyBelow(places[0], places[1]) ? places[1].substr(places[0].size()) : std::string();
}

// Whether a volume may be at that folder, or at `name` in it: what was asked for was looked at as text, and
// the image's symlinks may have led it to what the runtime has mounted.
Status CheckPlace(const UniqueFd& root, const UniqueFd& folder, const std::string& name,
                  const std::string& target) {
  DVDI_ASSIGN_OR_RETURN(std::string place, PlaceInRoot(root, folder));
  if (!place.empty() && !name.empty()) place += (place == "/" ? "" : "/") + name;
  auto allowed = OciTarget(place.empty() ? "/" : place, "/");
  if (allowed.ok() || !DVDI_GUARD(container_place)) return OkStatus();
  return Status(Code::kRefused,
                "a volume cannot be at " + OneLine(target, 200) +
                    " in the container: a symlink in the image leads to " +
                    (place.empty() ? "nowhere in its root" : OneLine(place, 200)),
                allowed.status().hint())
      .WithPath(target);
}

// The folder at `path` (absolute) as it is for a process whose root is `root`, made where it is missing.
Result<UniqueFd> MakeInRoot(const UniqueFd& root, const std::string& path) {
  Sys* sys = Sys::Real();
  struct open_how how = {};
  how.flags = O_PATH | O_DIRECTORY;
  how.resolve = (DVDI_GUARD(container_root) ? RESOLVE_IN_ROOT : 0) | RESOLVE_NO_MAGICLINKS;
  auto open = [&](const std::string& at) { return UniqueFd(sys->OpenAt2(root.get(), at.c_str(), how)); };
  UniqueFd folder = open("/");
  for (size_t at = 1; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string so_far = path.substr(0, end), name = path.substr(at, end - at);
    at = end + 1;
    int fd = sys->OpenAt2(root.get(), so_far.c_str(), how);
    if (fd == -ENOENT) {
      DVDI_RETURN_IF_ERROR(CheckPlace(root, folder, name, path));
      int r = sys->MkdirAt(folder.get(), name.c_str(), 0755);
      if (r < 0 && r != -EEXIST)
        return Status::FromErrno(-r, "cannot make the folder " + so_far + " in the container's root", path)
            .WithHint("Give the image a folder there");
      fd = sys->OpenAt2(root.get(), so_far.c_str(), how);
    }
    if (fd < 0) {
      Status s =
          Status::FromErrno(-fd, "cannot open the target " + so_far + " in the container's root", path);
      return fd == -ENOTDIR
                 ? std::move(s).WithHint("A volume is a folder: choose a path where the image has no file")
                 : s;
    }
    folder.reset(fd);
  }
  DVDI_RETURN_IF_ERROR(CheckPlace(root, folder, "", path));
  return folder;
}

}  // namespace

Status BindInRoot(const UniqueFd& tree, const std::string& root, const std::string& target) {
  Sys* sys = Sys::Real();
  if (!tree.valid())
    return Status(Code::kUnsupported, "this kernel cannot hand a mount to another mount namespace",
                  "Linux 5.12 or later is needed");
  UniqueFd top(sys->OpenAt(AT_FDCWD, root.c_str(), O_PATH | O_DIRECTORY));
  if (!top.valid())
    return Status(Code::kSystem, "cannot open the container's root folder " + root).WithPath(root);
  DVDI_ASSIGN_OR_RETURN(UniqueFd folder, MakeInRoot(top, target));
  int r = sys->MountSetattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_SLAVE, -1);
  if (r < 0) return Status::FromErrno(-r, "cannot set the propagation of " + target, target);
  r = sys->MoveMount(tree.get(), "", folder.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  return r < 0 ? Status::FromErrno(-r, "cannot mount at " + target + " in the container", target)
               : OkStatus();
}

Result<std::vector<MountEntry>> OwnMounts(Sys* sys) {
  auto text = sys->Mountinfo();
  if (!text.ok()) return text.status();
  return ParseMountinfo(*text);
}

bool IsBindOf(const std::vector<MountEntry>& mounts, const std::string& stage, const std::string& target) {
  const MountEntry* at_stage = FindMount(mounts, stage);
  const MountEntry* at_target = FindMount(mounts, target);
  return at_stage != nullptr && at_target != nullptr && at_stage->device == at_target->device &&
         at_stage->root == at_target->root;
}

Result<UniqueFd> CloneStage(const std::string& stage, bool classic) {
  DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
  if (FindMount(mounts, stage) == nullptr)
    return NotAMount(stage, "Something unmounted it: run `dvdi recover` and start again");
  if (classic) return UniqueFd();
  int fd =
      Sys::Real()->OpenTree(AT_FDCWD, stage.c_str(), OPEN_TREE_CLONE | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
  if (fd == -ENOSYS) return UniqueFd();
  if (fd < 0) return Status::FromErrno(-fd, "cannot copy the mount at " + stage, stage);
  return UniqueFd(fd);
}

Status BindStage(const UniqueFd& tree, const std::string& stage, const std::string& target) {
  Sys* sys = Sys::Real();
  DVDI_ASSIGN_OR_RETURN(UniqueFd folder, OpenTarget(target));
  // The descriptor, not the path, is what gets mounted on: it cannot be swapped for a symlink any more.
  const std::string by_fd = ByDescriptor(folder);
  bool slave = false;
  if (tree.valid()) {
    int r = sys->MountSetattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, 0, 0, MS_SLAVE, -1);
    if (r < 0 && r != -ENOSYS)
      return Status::FromErrno(-r, "cannot set the propagation of " + target, target);
    slave = r >= 0;
    r = sys->MoveMount(tree.get(), "", folder.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    if (r < 0) return Status::FromErrno(-r, "cannot mount at " + target, target);
  } else {
    DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
    if (FindMount(mounts, stage) == nullptr)
      return NotAMount(
          stage, "This kernel lacks open_tree: make the root mount shared, with `mount --make-rshared /`");
    int r = sys->Mount(stage.c_str(), by_fd.c_str(), nullptr, MS_BIND | MS_REC, nullptr);
    if (r < 0) return Status::FromErrno(-r, "cannot mount at " + target, target);
  }
  if (!slave) {
    // The mount itself: the path may lead to another one by now.
    HeldMount held;
    std::string at = ByDescriptor(tree) + "/.";
    if (!tree.valid()) {
      DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
      if (!IsBindOf(mounts, stage, target))
        return Status(Code::kSystem, target + " was moved while a volume was mounted there").WithPath(target);
      DVDI_ASSIGN_OR_RETURN(held, Hold(sys, *FindMount(mounts, target)));
      at = held.Path();
    }
    int r = sys->Mount(nullptr, at.c_str(), nullptr, MS_SLAVE | MS_REC, nullptr);
    if (r < 0) {
      sys->Umount(at.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
      return Status::FromErrno(-r, "cannot set the propagation of " + target, target);
    }
  }
  return OkStatus();
}

Result<bool> UnbindStage(const std::string& stage, const std::string& target, Sys* sys) {
  DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts(sys));
  if (!IsBindOf(mounts, stage, target)) return false;
  DVDI_ASSIGN_OR_RETURN(HeldMount held, Hold(sys, *FindMount(mounts, target)));
  int r = sys->Umount(held.Path().c_str(), UMOUNT_NOFOLLOW);
  if (r == -EBUSY) return InUse(target);
  if (r < 0) return Status::FromErrno(-r, "cannot unmount " + target, target);
  return true;
}

Status InUse(const std::string& path) {
  return Status(Code::kRefused, path + " is in use, and stays mounted",
                "End the processes that use it (see `fuser -m " + path + "`) and try again")
      .WithPath(path);
}

Result<bool> MountInUse(const std::string& path, Sys* sys) {
  DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts(sys));
  const MountEntry* mount = FindMount(mounts, path);
  if (mount == nullptr) return false;
  DVDI_ASSIGN_OR_RETURN(HeldMount held, Hold(sys, *mount));
  // Marks a mount that nobody uses, and would unmount it the second time: a look at it takes the mark away.
  int r = sys->Umount(held.Path().c_str(), MNT_EXPIRE | UMOUNT_NOFOLLOW);
  if (r == -EAGAIN) UniqueFd(sys->OpenAt(held.above.get(), held.name.c_str(), O_PATH | O_NOFOLLOW));
  if (r == -EBUSY) return true;
  if (r < 0 && r != -EAGAIN && r != -EINVAL && r != -ENOENT)
    return Status::FromErrno(-r, "cannot see whether " + path + " is in use", path);
  return false;
}

Status UnmountStage(const std::string& stage) {
  int r = 0;
  while (r == 0) r = Sys::Real()->Umount(stage.c_str(), UMOUNT_NOFOLLOW);
  if (r == -EBUSY) return InUse(stage);
  // EINVAL: nothing (more) is mounted there.
  if (r == -EINVAL || r == -ENOENT) return OkStatus();
  return Status::FromErrno(-r, "cannot unmount the stage " + stage, stage);
}

}  // namespace dvdi::cli
