#include "sys/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"
#include "base/text.h"
#include "sys/time_namespace.h"

namespace dvdi {
namespace {

int Check(long result) { return result < 0 ? -errno : static_cast<int>(result); }

// The whole of a /proc file; an empty path is never passed.
Result<std::string> ReadWhole(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot open " + path, path);
  std::string out;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromErrno(errno, "cannot read " + path, path);
    if (n == 0) return out;
    out.append(buffer, static_cast<size_t>(n));
  }
}

// What the kernel has of the path, without asking its filesystem. Not statx(3), which makes up an answer, or
// EINVAL, where the kernel has no such call.
int LookAt(int dirfd, const char* path, unsigned mask, struct statx* found) {
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  if (::syscall(SYS_statx, dirfd, path, kFlags, mask, found) == 0) return 0;
  return errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

}  // namespace

Sys* Sys::Real() {
  static auto* sys = new Sys;
  return sys;
}

int Sys::OpenAt(int dirfd, const char* path, int flags, mode_t mode) {
  return Check(::openat(dirfd, path, flags | O_CLOEXEC, mode));
}
int Sys::OpenAt2(int dirfd, const char* path, const struct open_how& how) {
  struct open_how h = how;
  h.flags |= O_CLOEXEC;
  return Check(::syscall(SYS_openat2, dirfd, path, &h, sizeof h));
}
int Sys::Close(int fd) { return Check(::close(fd)); }
ssize_t Sys::Read(int fd, void* buffer, size_t n) {
  ssize_t r = ::read(fd, buffer, n);
  return r < 0 ? -errno : r;
}
ssize_t Sys::Write(int fd, const void* data, size_t n) {
  ssize_t r = ::write(fd, data, n);
  return r < 0 ? -errno : r;
}
int Sys::Fsync(int fd) { return Check(::fsync(fd)); }
int Sys::Allocate(int fd, int64_t bytes) { return Check(::fallocate(fd, 0, 0, bytes)); }
int Sys::MkdirAt(int dirfd, const char* path, mode_t mode) { return Check(::mkdirat(dirfd, path, mode)); }
int Sys::UnlinkAt(int dirfd, const char* path, int flags) { return Check(::unlinkat(dirfd, path, flags)); }
int Sys::RenameAt(int olddir, const char* from, int newdir, const char* to) {
  return Check(::renameat(olddir, from, newdir, to));
}
int Sys::LinkAt(int olddir, const char* from, int newdir, const char* to, int flags) {
  return Check(::linkat(olddir, from, newdir, to, flags));
}
int Sys::Fchmod(int fd, mode_t mode) { return Check(::fchmod(fd, mode)); }
int Sys::Fstat(int fd, struct stat* st) { return Check(::fstat(fd, st)); }
int Sys::FstatAt(int dirfd, const char* path, struct stat* st, int flags) {
  return Check(::fstatat(dirfd, path, st, flags));
}
int Sys::FsType(int fd, int64_t* type) {
  struct statfs st;
  int r = Check(::fstatfs(fd, &st));
  if (r >= 0) *type = static_cast<int64_t>(st.f_type);
  return r;
}
int Sys::FsFree(const char* path, uint64_t* bytes) {
  struct statfs st;
  int r = Check(::statfs(path, &st));
  if (r < 0) return r;
  // Of ext4 f_bavail lacks what is kept for root; of btrfs f_bfree has what no file gets.
  constexpr int64_t kBtrfs = 0x9123683E;
  const uint64_t blocks = static_cast<int64_t>(st.f_type) == kBtrfs ? st.f_bavail : st.f_bfree;
  *bytes = blocks * static_cast<uint64_t>(st.f_frsize != 0 ? st.f_frsize : st.f_bsize);
  return r;
}
int Sys::RealPath(const char* path, std::string* real) {
  char* found = ::realpath(path, nullptr);
  if (found == nullptr) return -errno;
  *real = found;
  ::free(found);
  return 0;
}
int Sys::TryLock(int fd, int64_t offset, int64_t length) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = offset;
  lock.l_len = length;
  int r = Check(::fcntl(fd, F_OFD_SETLK, &lock));
  return r == -EACCES ? -EAGAIN : r;
}
int Sys::ListDir(int dirfd, const char* path, std::vector<std::string>* names) {
  names->clear();
  UniqueFd fd(::openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return -errno;
  DIR* dir = ::fdopendir(fd.get());
  if (dir == nullptr) return -errno;
  fd.release();
  for (;;) {
    errno = 0;
    struct dirent* entry = ::readdir(dir);
    if (entry == nullptr) break;
    std::string name = entry->d_name;
    if (name != "." && name != "..") names->push_back(std::move(name));
  }
  int err = errno;
  ::closedir(dir);
  return err == 0 ? 0 : -err;
}

int Sys::OpenTree(int dirfd, const char* path, unsigned flags) {
  return Check(::syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC));
}
int Sys::MoveMount(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) {
  return Check(::syscall(SYS_move_mount, from_fd, from, to_fd, to, flags));
}
int Sys::MountSetattr(int fd, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                      uint64_t propagation, int userns_fd) {
  struct mount_attr attr = {};
  attr.attr_set = set;
  attr.attr_clr = clear;
  attr.propagation = propagation;
  attr.userns_fd = userns_fd >= 0 ? static_cast<uint64_t>(userns_fd) : 0;
  return Check(::syscall(SYS_mount_setattr, fd, path, flags, &attr, sizeof attr));
}
int Sys::Mount(const char* source, const char* target, const char* type, unsigned long flags,
               const char* data) {
  return Check(::mount(source, target, type, flags, data));
}
int Sys::Umount(const char* target, int flags) { return Check(::umount2(target, flags)); }
int Sys::IsMountRoot(const char* path, bool* root) {
  struct statx found = {};
  if (int r = LookAt(AT_FDCWD, path, STATX_TYPE, &found); r < 0) return r;
  if ((found.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) == 0) return -EOPNOTSUPP;
  *root = (found.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  return 0;
}
int Sys::MountId(int dirfd, const char* path, uint64_t* id) {
  struct statx found = {};
  if (int r = LookAt(dirfd, path, STATX_MNT_ID, &found); r < 0) return r;
  if ((found.stx_mask & STATX_MNT_ID) == 0) return -EOPNOTSUPP;
  *id = found.stx_mnt_id;
  return 0;
}

Result<std::string> Sys::Mountinfo(pid_t pid) {
  return ReadWhole(pid > 0 ? "/proc/" + std::to_string(pid) + "/mountinfo" : "/proc/self/mountinfo");
}

int Sys::ProcessStart(pid_t pid, uint64_t* start_time) {
  auto text = ReadWhole("/proc/" + std::to_string(pid) + "/stat");
  if (!text.ok()) {
    int err = text.status().error_number();
    return err == ENOENT || err == 0 ? -ESRCH : -err;
  }
  // The command name (field 2) may hold spaces and parentheses: count from the last ')'.
  size_t close = text->rfind(')');
  if (close == std::string::npos) return -EIO;
  const char* p = text->c_str() + close + 1;
  for (int field = 2; field < 21; ++field) {
    p = ::strchr(p + 1, ' ');
    if (p == nullptr) return -EIO;
  }
  if (p[1] == '\0') return -EIO;
  *start_time = ::strtoull(p + 1, nullptr, 10);
  int64_t ahead = 0;
  if (const int r = BootClockAhead(&ahead); r < 0) return r;
  *start_time -= static_cast<uint64_t>(ahead);
  return 0;
}

}  // namespace dvdi
