#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sim/world.h"

namespace dvdi::sim {
namespace {

std::string PathOf(int fd) {
  char buffer[4096];
  ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), buffer, sizeof buffer);
  return n < 0 ? "" : std::string(buffer, static_cast<size_t>(n));
}

}  // namespace

SimSys::SimSys(std::string root) : root_(std::move(root)) { AddMount("/", "ext4", "8:1"); }

// Everything that changes the world comes by here: a crash is a point after which nothing acts any more.
int SimSys::Change(const char* call) {
  if (crashed_) return -EIO;
  ++changes_;
  if (crash_after_ > 0 && --crash_after_ == 0) {
    crashed_ = true;
    return -EIO;
  }
  int err = fault ? fault(call) : 0;
  return -err;
}

int SimSys::OpenAt(int dirfd, const char* path, int flags, mode_t mode) {
  if ((flags & (O_CREAT | O_TRUNC)) != 0) {
    if (int r = Change("open"); r < 0) return r;
  } else if (int r = Look("open"); r < 0) {
    return r;
  }
  return Sys::OpenAt(dirfd, path, flags, mode);
}
ssize_t SimSys::Read(int fd, void* buffer, size_t n) {
  if (int r = Look("read"); r < 0) return r;
  return Sys::Read(fd, buffer, n);
}
int SimSys::Fstat(int fd, struct stat* st) {
  if (int r = Look("fstat"); r < 0) return r;
  return Sys::Fstat(fd, st);
}
int SimSys::FstatAt(int dirfd, const char* path, struct stat* st, int flags) {
  if (int r = Look("fstatat"); r < 0) return r;
  return Sys::FstatAt(dirfd, path, st, flags);
}
int SimSys::FsType(int fd, int64_t* type) {
  if (int r = Look("statfs"); r < 0) return r;
  return Sys::FsType(fd, type);
}
int SimSys::FsFree(const char* path, uint64_t* bytes) {
  if (int r = Look("statfs"); r < 0) return r;
  return Sys::FsFree(path, bytes);
}
int SimSys::TryLock(int fd, int64_t offset, int64_t length) {
  if (int r = Look("fcntl"); r < 0) return r;
  return Sys::TryLock(fd, offset, length);
}
int SimSys::ListDir(int dirfd, const char* path, std::vector<std::string>* names) {
  if (int r = Look("getdents"); r < 0) return r;
  return Sys::ListDir(dirfd, path, names);
}
ssize_t SimSys::Write(int fd, const void* data, size_t n) {
  if (int r = Change("write"); r < 0) return r;
  return Sys::Write(fd, data, n);
}
int SimSys::Allocate(int fd, int64_t bytes) {
  if (int r = Change("allocate"); r < 0) return r;
  return Sys::Allocate(fd, bytes);
}
int SimSys::Fsync(int fd) {
  if (int r = Change("fsync"); r < 0) return r;
  (void)fd;  // power loss is not simulated: nothing to wait for
  return 0;
}
int SimSys::Close(int fd) {
  trees_.erase(fd);
  return Sys::Close(fd);
}
int SimSys::MkdirAt(int dirfd, const char* path, mode_t mode) {
  if (int r = Change("mkdir"); r < 0) return r;
  return Sys::MkdirAt(dirfd, path, mode);
}
int SimSys::UnlinkAt(int dirfd, const char* path, int flags) {
  if (int r = Change("unlink"); r < 0) return r;
  return Sys::UnlinkAt(dirfd, path, flags);
}
int SimSys::RenameAt(int olddir, const char* from, int newdir, const char* to) {
  if (int r = Change("rename"); r < 0) return r;
  return Sys::RenameAt(olddir, from, newdir, to);
}
int SimSys::LinkAt(int olddir, const char* from, int newdir, const char* to, int flags) {
  if (int r = Change("link"); r < 0) return r;
  return Sys::LinkAt(olddir, from, newdir, to, flags);
}

const MountEntry* SimSys::Find(const std::string& mountpoint) const { return FindMount(mounts_, mountpoint); }
bool SimSys::IsMounted(const std::string& mountpoint) const { return Find(mountpoint) != nullptr; }

void SimSys::AddMount(const std::string& mountpoint, const std::string& type, const std::string& device) {
  MountEntry e;
  const MountEntry* parent = ContainingMount(mounts_, mountpoint);
  e.id = next_mount_++;
  e.parent = parent != nullptr ? parent->id : 1;
  e.device = device, e.root = "/", e.mountpoint = mountpoint;
  e.options = "rw,relatime", e.type = type, e.source = "sim", e.super_options = "rw";
  mounts_.push_back(std::move(e));
}

bool SimSys::RemoveMount(const std::string& mountpoint) {
  auto it = std::find_if(mounts_.rbegin(), mounts_.rend(),
                         [&](const MountEntry& e) { return e.mountpoint == mountpoint; });
  if (it == mounts_.rend()) return false;
  mounts_.erase(std::next(it).base());
  return true;
}

std::vector<std::string> SimSys::MountsBelow(const std::string& folder) const {
  std::vector<std::string> found;
  for (const auto& e : mounts_)
    if (e.mountpoint.starts_with(folder + "/")) found.push_back(e.mountpoint);
  return found;
}

int SimSys::OpenTree(int dirfd, const char* path, unsigned) {
  if (int r = Change("open_tree"); r < 0) return r;
  if (*path != '\0') return -EINVAL;
  int fd = Sys::OpenAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
  if (fd >= 0) trees_[fd] = {PathOf(dirfd), "rw"};
  return fd;
}

int SimSys::MountSetattr(int fd, const char*, unsigned, uint64_t set, uint64_t, uint64_t, int) {
  if (int r = Change("mount_setattr"); r < 0) return r;
  auto it = trees_.find(fd);
  if (it == trees_.end()) return -EINVAL;
  if ((set & MOUNT_ATTR_RDONLY) != 0) it->second.options = "ro";
  return 0;
}

int SimSys::MoveMount(int from_fd, const char*, int to_fd, const char*, unsigned) {
  if (int r = Change("move_mount"); r < 0) return r;
  auto it = trees_.find(from_fd);
  if (it == trees_.end()) return -EINVAL;
  const MountEntry* source = ContainingMount(mounts_, it->second.source);
  AddMount(PathOf(to_fd), source->type, source->device);
  mounts_.back().options = it->second.options + ",nosuid,nodev";
  return 0;
}

int SimSys::Mount(const char* source, const char* target, const char*, unsigned long flags, const char*) {
  if (int r = Change("mount"); r < 0) return r;
  if ((flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE)) != 0) {
    for (auto& e : mounts_)
      if (e.mountpoint == target)
        e.propagation = (flags & MS_SHARED) != 0 ? "shared:" + std::to_string(e.id) : "";
    return 0;
  }
  if ((flags & MS_REMOUNT) != 0) return 0;
  const MountEntry* from = ContainingMount(mounts_, source);
  AddMount(target, from->type, from->device);
  return 0;
}

int SimSys::Umount(const char* target, int) {
  if (int r = Change("umount"); r < 0) return r;
  return RemoveMount(target) ? 0 : -EINVAL;
}

int SimSys::IsMountRoot(const char* path, bool* root) {
  if (int r = Look("statx"); r < 0) return r;
  *root = Find(path) != nullptr;
  return 0;
}

Result<Boot> SimSys::BootId() {
  if (int r = Look("boot id"); r < 0)
    return Status::FromErrno(-r, "cannot read /proc/sys/kernel/random/boot_id");
  return Boot("boot-" + std::to_string(boot_));
}

Result<std::string> SimSys::Mountinfo(pid_t) {
  if (int r = Look("mountinfo"); r < 0) return Status::FromErrno(-r, "cannot read /proc/self/mountinfo");
  std::string text;
  for (const auto& e : mounts_) {
    text += std::to_string(e.id) + " " + std::to_string(e.parent) + " " + e.device + " " + e.root + " " +
            e.mountpoint + " " + e.options + (e.propagation.empty() ? "" : " " + e.propagation) + " - " +
            e.type + " " + e.source + " " + e.super_options + "\n";
  }
  return text;
}

pid_t SimSys::StartProcess() {
  pid_t pid = next_pid_++;
  const auto number = static_cast<uint64_t>(pid);
  processes_[pid] = {number * 7, 4'026'000'000u + number, pid_namespace_};
  return pid;
}
void SimSys::EndProcess(pid_t pid) { processes_.erase(pid); }

bool SimSys::Sees(const SimPid& process) const {
  return pid_namespace_ == kFirstPidNamespace || pid_namespace_ == process.pid_namespace;
}

int SimSys::ProcessStart(pid_t pid, uint64_t* start_time) {
  auto it = processes_.find(pid);
  if (it == processes_.end() || !Sees(it->second)) return -ESRCH;
  *start_time = it->second.start_time;
  return 0;
}
int SimSys::MountNamespace(pid_t pid, uint64_t* number) {
  auto it = processes_.find(pid);
  if (pid != 0 && (it == processes_.end() || !Sees(it->second))) return -ENOENT;
  *number = pid == 0 ? 1 : it->second.mount_namespace;
  return 0;
}
Result<std::vector<pid_t>> SimSys::ProcessesIn(uint64_t mount_namespace, uint64_t) {
  if (const int r = Look("processes"); r < 0) return Status::FromErrno(-r, "cannot list /proc");
  std::vector<pid_t> found;
  for (const auto& [pid, p] : processes_)
    if (p.mount_namespace == mount_namespace && Sees(p)) found.push_back(pid);
  return found;
}
int SimSys::PidNamespace(uint64_t* number) {
  *number = pid_namespace_;
  return 0;
}
int SimSys::MountNamespaceEnded(uint64_t number, bool* ended) {
  *ended = false;
  if (!tells_ended_namespaces) return -EOPNOTSUPP;
  *ended = std::none_of(processes_.begin(), processes_.end(),
                        [&](const auto& p) { return p.second.mount_namespace == number; });
  return 0;
}

void SimSys::Reboot() {
  ++boot_;
  mounts_.clear();
  processes_.clear();
  AddMount("/", "ext4", "8:1");
}

}  // namespace dvdi::sim
