#include "driver/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <vector>

#include "base/text.h"
#include "driver/files.h"
#include "mount/mountinfo.h"
#include "sys/env.h"
#include "sys/lock.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr char kState[] = ".state";
constexpr int64_t kLockMs = 500;

Status MakeSharedMount(const std::string& path) {
  DVDI_ASSIGN_OR_RETURN(std::string text, Sys::Real()->Mountinfo());
  auto mounts = ParseMountinfo(text);
  const MountEntry* entry = FindMount(mounts, path);
  if (entry != nullptr && entry->propagation.find("shared:") != std::string::npos) return OkStatus();
  const char* hint = "the driver must run as root (CAP_SYS_ADMIN)";
  if (entry == nullptr) {
    if (::mount(path.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) < 0)
      return Status::FromErrno(errno, "cannot make the mount root " + path + " a mount of its own", path)
          .WithHint(hint);
    // Out of the peer group of what it was bound from, so that ours is a group of its own.
    if (::mount(nullptr, path.c_str(), nullptr, MS_PRIVATE, nullptr) < 0)
      return Status::FromErrno(errno, "cannot make the mount root " + path + " private", path).WithHint(hint);
  }
  if (::mount(nullptr, path.c_str(), nullptr, MS_SHARED, nullptr) < 0)
    return Status::FromErrno(errno, "cannot make the mount root " + path + " shared", path).WithHint(hint);
  return OkStatus();
}

// Who can write to the mount root chooses where a volume is mounted; what is in its state folder decides what
// is unmounted.
Result<UniqueFd> OpenRoot(const std::string& path) {
  return OpenOurFolder(AT_FDCWD, path, path, "the mount root");
}

}  // namespace

Result<MountRoot> MountRoot::Open(const std::string& path) {
  if (path.size() < 2 || path[0] != '/')
    return Status(Code::kInvalid, "the mount root '" + OneLine(path, 200) + "' is not an absolute path",
                  "give --mount-root a path that begins with /");
  DVDI_RETURN_IF_ERROR(MakeFolders(path));
  char real[PATH_MAX];
  if (::realpath(path.c_str(), real) == nullptr)
    return Status::FromErrno(errno, "cannot resolve the mount root " + path, path);
  std::string root = real;
  DVDI_RETURN_IF_ERROR(OpenRoot(root).status());
  DVDI_RETURN_IF_ERROR(MakeSharedMount(root));
  // Anew: what was opened before lies beneath the mount.
  DVDI_ASSIGN_OR_RETURN(UniqueFd folder, OpenRoot(root));
  std::string state_path = root + "/" + kState;
  if (::mkdirat(folder.get(), kState, 0700) < 0 && errno != EEXIST)
    return Status::FromErrno(errno, "cannot make " + state_path, state_path);
  DVDI_ASSIGN_OR_RETURN(UniqueFd state,
                        OpenOurFolder(folder.get(), kState, state_path, "the driver's state folder"));
  UniqueFd lock(::openat(state.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock.valid())
    return Status::FromErrno(errno, "cannot open " + state_path + "/lock", state_path + "/lock");
  // Node-local, between processes of one kernel: what a lock is good for (the pool has leases).
  // A tool that the driver before was just starting as it died has its lock until execve(2) has closed that.
  const Env env = SystemEnv();
  const int r = WaitForLock(env, lock.get(), env.clock->MonotonicMs() + kLockMs);
  if (r == -EAGAIN)
    return Status(Code::kRefused, "another dvdi-driver uses the mount root " + root,
                  "stop it, or give this one another --mount-root")
        .WithPath(root);
  if (r < 0) return Status::FromErrno(-r, "cannot lock " + state_path + "/lock", state_path + "/lock");
  return MountRoot(std::move(root), std::move(state), std::move(lock));
}

std::string MountRoot::LockId() const {
  struct stat st = {};
  if (::fstat(lock_.get(), &st) < 0) return "";
  return std::to_string(major(st.st_dev)) + ":" + std::to_string(minor(st.st_dev)) + " " +
         std::to_string(st.st_ino);
}

Result<std::map<std::string, std::string>> MountRoot::Mounted() const {
  DVDI_ASSIGN_OR_RETURN(std::string text, Sys::Real()->Mountinfo());
  std::map<std::string, std::string> out;
  std::string prefix = path_ + "/";
  for (const auto& entry : ParseMountinfo(text)) {
    if (entry.mountpoint.rfind(prefix, 0) != 0) continue;
    std::string name = entry.mountpoint.substr(prefix.size());
    if (name.find('/') != std::string::npos) continue;
    out[name] = entry.device;
    // btrfs numbers its mounts by itself; what it lies on is its source.
    struct stat st;
    if (entry.device.rfind("0:", 0) == 0 && entry.source.rfind("/dev/", 0) == 0 &&
        ::stat(entry.source.c_str(), &st) == 0 && S_ISBLK(st.st_mode))
      out[name] = std::to_string(major(st.st_rdev)) + ":" + std::to_string(minor(st.st_rdev));
  }
  return out;
}

Result<std::optional<std::string>> MountRoot::MountedDevice(const std::string& volume) const {
  DVDI_ASSIGN_OR_RETURN(auto mounted, Mounted());
  auto it = mounted.find(volume);
  if (it == mounted.end()) return std::optional<std::string>();
  return std::optional<std::string>(it->second);
}

Status MountRoot::Mount(const std::string& volume, const std::string& device, Filesystem fs) const {
  std::string target = Mountpoint(volume);
  auto root = OpenRoot(path_);
  if (!root.ok()) return Status(root.status()).WithContext("volume " + volume);
  if (::mkdirat(root->get(), volume.c_str(), 0755) < 0 && errno != EEXIST)
    return Status::FromErrno(errno, "cannot make the mountpoint of volume " + volume, target);
  UniqueFd folder(::openat(root->get(), volume.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid())
    return Status::FromErrno(errno, "cannot open the mountpoint of volume " + volume, target);
  // On that very folder, whatever has its name meanwhile.
  const std::string by_fd = "/proc/self/fd/" + std::to_string(folder.get());
  // A copy of an image has its UUID, of which xfs mounts one at a time otherwise. One image is not mounted
  // twice: of that its lease and its loop device tell.
  const char* options = fs == Filesystem::kXfs ? "nouuid" : nullptr;
  if (::mount(device.c_str(), by_fd.c_str(), FilesystemName(fs), MS_NOSUID | MS_NODEV, options) == 0)
    return OkStatus();
  int err = errno;
  folder.reset();
  ::unlinkat(root->get(), volume.c_str(), AT_REMOVEDIR);
  Status s = Status::FromErrno(
      err, "cannot mount volume " + volume + " (" + FilesystemName(fs) + " on " + device + ") at " + target,
      target);
  if (err == ENODEV)
    return std::move(s).WithHint(std::string("this kernel has no ") + FilesystemName(fs) +
                                 ": load its module");
  if (err == EPERM) return std::move(s).WithHint("the driver must run as root (CAP_SYS_ADMIN)");
  return std::move(s).WithHint(
      "the kernel's log (dmesg) says why; a damaged filesystem needs fsck before it mounts");
}

Status MountRoot::Unmount(const std::string& volume) const {
  std::string target = Mountpoint(volume);
  if (::umount2(target.c_str(), UMOUNT_NOFOLLOW) < 0) {
    if (errno == EBUSY)
      return Status(Code::kRefused, "volume " + volume + " is busy: a process uses " + target,
                    "end that process (fuser -m " + target + "), then unmount again")
          .WithPath(target);
    // EINVAL: nothing is mounted there; ENOENT: the folder is gone.
    if (errno != EINVAL && errno != ENOENT)
      return Status::FromErrno(errno, "cannot unmount volume " + volume + " from " + target, target);
  }
  // Beside tidying up: the kernel detaches copies of the mount that other namespaces have at this folder,
  // also where no propagation reaches them. What is open there stays open, and keeps the device.
  if (::rmdir(target.c_str()) < 0 && errno != ENOENT && errno != EBUSY)
    return Status::FromErrno(errno, "cannot remove the mountpoint of volume " + volume, target);
  return OkStatus();
}

void MountRoot::RemoveLostAndFound(const std::string& volume) const {
  std::string path = Mountpoint(volume) + "/lost+found";
  // Only an empty folder can go this way; anything else may stay.
  [[maybe_unused]] int r = ::rmdir(path.c_str());
}

}  // namespace dvdi
