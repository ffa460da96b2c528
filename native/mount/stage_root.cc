#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/guards.h"
#include "base/text.h"
#include "mount/mountinfo.h"
#include "mount/paths.h"
#include "mount/stage.h"
#include "mount/volume_folder.h"
#include "sys/lock.h"

namespace dvdi {
namespace {

constexpr int64_t kLockMs = 10'000;

Status Symlink(const std::string& path) {
  return Status(Code::kRefused, "a symbolic link lies on the way to " + path + ": the stages cannot be there",
                "put the real path into the settings")
      .WithPath(path);
}

// "shared:7" of a mount, "" where it is not shared.
std::string_view PeerGroup(const MountEntry& mount) {
  std::string_view text = mount.propagation;
  size_t at = text.find("shared:");
  return at == std::string_view::npos ? "" : text.substr(at, text.find(' ', at) - at);
}

// A mount of its own, shared, in a peer group that its parent is not in: a bind of a folder starts in the
// group of the mount that the folder is on, and whatever was mounted below would appear there as well.
bool IsReady(const std::vector<MountEntry>& mounts, const std::string& root, bool* mounted) {
  const MountEntry* own = FindMount(mounts, root);
  *mounted = own != nullptr;
  if (own == nullptr || PeerGroup(*own).empty()) return false;
  for (const MountEntry& entry : mounts)
    if (entry.id == own->parent && entry.id != own->id && PeerGroup(entry) == PeerGroup(*own)) return false;
  return true;
}

// The folder itself: ours, 0700, no symlink.
Status CheckFolder(const Env& env, const std::string& root) {
  SysFd fd(env.sys, OpenNoSymlinks(env.sys, root, O_RDONLY | O_DIRECTORY));
  if (fd.error() == ELOOP) return Symlink(root);
  if (!fd.valid()) return Status::FromErrno(fd.error(), "cannot open the stage root " + root, root);
  struct stat st;
  if (int r = env.sys->Fstat(fd.get(), &st); r < 0)
    return Status::FromErrno(-r, "cannot look at the stage root " + root, root);
  if (st.st_uid != 0 && st.st_uid != ::geteuid())
    return Status(Code::kRefused, "the stage root " + root + " belongs to user " + std::to_string(st.st_uid),
                  "chown root " + root)
        .WithPath(root);
  if ((st.st_mode & 07777) != 0700)
    if (int r = env.sys->Fchmod(fd.get(), 0700); r < 0)
      return Status::FromErrno(-r, "cannot make the stage root " + root + " private to root", root);
  return Status();
}

Result<SysFd> TakeLock(const Env& env, const std::string& root) {
  std::string path = root + ".lock";
  SysFd fd(env.sys, env.sys->OpenAt(AT_FDCWD, path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (fd.error() == ELOOP) return Symlink(path);
  if (!fd.valid()) return Status::FromErrno(fd.error(), "cannot open " + path, path);
  const int r = WaitForLock(env, fd.get(), env.clock->MonotonicMs() + kLockMs);
  if (r == -EAGAIN)
    return Status(Code::kTimeout,
                  "another process holds " + path + " since " + std::to_string(kLockMs) + " ms",
                  "see who does: fuser " + path)
        .WithPath(path);
  if (r < 0) return Status::FromErrno(-r, "cannot lock " + path, path);
  return fd;
}

}  // namespace

Status EnsureStageRoot(const Env& env, const std::string& root) {
  if (!IsNormalPath(root) || root == "/")
    return Status(Code::kInvalid, "the stage root \"" + OneLine(root) + "\" is no normal absolute path",
                  "write it without a trailing slash, \".\" or \"..\"");
  int made = env.sys->MkdirAt(AT_FDCWD, root.c_str(), 0700);
  if (made < 0 && made != -EEXIST)
    return Status::FromErrno(-made, "cannot make the stage root " + root, root);
  DVDI_RETURN_IF_ERROR(CheckFolder(env, root));
  bool mounted = false;
  DVDI_ASSIGN_OR_RETURN(std::vector<MountEntry> mounts, ReadMounts(env));
  if (IsReady(mounts, root, &mounted)) return Status();

  DVDI_ASSIGN_OR_RETURN(SysFd lock, TakeLock(env, root));
  DVDI_ASSIGN_OR_RETURN(mounts, ReadMounts(env));
  if (IsReady(mounts, root, &mounted)) return Status();
  auto call = [&](const char* source, unsigned long flags, const char* what) {
    int r = env.sys->Mount(source, root.c_str(), nullptr, flags, nullptr);
    if (r >= 0) return Status();
    Status status = Status::FromErrno(-r, std::string(what) + " " + root, root);
    return r == -EPERM ? std::move(status).WithHint("this needs root (CAP_SYS_ADMIN)") : std::move(status);
  };
  if (!mounted) DVDI_RETURN_IF_ERROR(call(root.c_str(), MS_BIND, "cannot make a mount of the stage root"));
  // Where one of these fails, the next call finds a mount that is not ready, and goes on from here.
  DVDI_RETURN_IF_ERROR(call(nullptr, MS_PRIVATE, "cannot part from its peers the stage root"));
  return call(nullptr, MS_SHARED, "cannot share with later mount namespaces the stage root");
}

Status RemoveStage(const Env& env, const std::string& root, const std::string& stage, bool* was_there) {
  if (was_there != nullptr) *was_there = false;
  if (DVDI_GUARD(stage_is_ours) &&
      (!IsNormalPath(root) || root == "/" || !IsNormalPath(stage) || !IsStrictlyBelow(root, stage)))
    return Status(Code::kRefused, "the stage " + OneLine(stage) + " is not below " + OneLine(root) +
                                      ": it is not ours, and was not touched")
        .WithPath(stage);
  SysFd parent(env.sys, OpenNoSymlinks(env.sys, ParentOf(stage), O_PATH | O_DIRECTORY));
  if (parent.error() == ENOENT) return Status();
  if (parent.error() == ELOOP) return Symlink(stage);
  if (!parent.valid())
    return Status::FromErrno(parent.error(), "cannot open the folder of the stage " + stage, stage);
  // The second path is where the classic calls prepare a stage: something is there after a crash only.
  for (const std::string& path : {stage, stage + ".new"}) {
    bool is_stage = path == stage;
    if (!is_stage) {
      int r = env.sys->UnlinkAt(parent.get(), NameOf(path).c_str(), AT_REMOVEDIR);
      if (r != -EBUSY) continue;
    }
    int r = 0, taken = 0;
    while ((r = env.sys->Umount(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW)) == 0 && ++taken < 1000) {
    }
    // EINVAL: nothing (more) is mounted there.
    if (r < 0 && r != -EINVAL && r != -ENOENT)
      return Status::FromErrno(-r, "cannot unmount the stage " + path, path);
    if (was_there != nullptr) *was_there |= taken > 0;
    r = env.sys->UnlinkAt(parent.get(), NameOf(path).c_str(), AT_REMOVEDIR);
    if (r < 0 && r != -ENOENT)
      return Status::FromErrno(-r, "cannot remove the folder of the stage " + path, path);
    if (was_there != nullptr) *was_there |= r == 0;
  }
  return Status();
}

}  // namespace dvdi
