#include "sim/process.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "helper/helper.h"

namespace dvdi::sim {
namespace {

constexpr int64_t kExt4 = 0xEF53;
const uid_t kUid = ::geteuid();  // whoever runs the simulation owns all files in it

class NoHelper : public HelperRunner {
 public:
  Result<HelperReply> Run(const Env&, const HelperRequest&) override {
    return Status(Code::kUnsupported, "the simulated world has no helper");
  }
};

}  // namespace

SimProcess::SimProcess(SimKernel* kernel, Tasks* tasks, SimClock* clock, int number)
    : kernel_(kernel),
      tasks_(tasks),
      name_(kernel->name() + "-" + std::to_string(number)),
      clock_(clock, &ahead_ms_),
      random_(0x9E37 + static_cast<uint64_t>(number) * 7919),
      scheduler_(tasks, this, &dead_, &ahead_ms_, &clock_, &no_thread),
      store_(
          &kernel->disk, &clock_, "sim-" + name_, [this](const char* call) { return Change(call, ""); },
          &dead_) {
  random_.Seed(std::hash<std::string>{}(name_));
}

SimProcess::~SimProcess() = default;

Env SimProcess::env() {
  static NoHelper helper;
  Env e;
  e.sys = this, e.clock = &clock_, e.random = &random_, e.scheduler = &scheduler_, e.store = &store_;
  e.helper = &helper;
  return e;
}

int SimProcess::Change(const char* call) { return Change(call, ""); }

int SimProcess::Change(const char* call, const std::string& path) {
  if (dead_) return EIO;
  if (kill_at_ > 0 && --kill_at_ == 0) {
    killed_at_change_ = true;
    Kill();
    return EIO;
  }
  int err = fault ? fault(call, path) : 0;
  if (told && !path.empty()) told(call, path, err);
  return err;
}

void SimProcess::Kill() {
  if (dead_) return;
  dead_ = true;
  for (auto& [fd, file] : files_)
    if (file.node != nullptr)
      std::erase_if(file.node->locks, [f = &file](const SimDisk::Lock& l) { return l.holder == f; });
  store_.Killed();
  tasks_->Interrupt();
}

void SimProcess::Bury() {
  store_.Buried();
  files_.clear();
}

int SimProcess::Path(int dirfd, const char* path, std::string* out) const {
  if (*path == '/') {
    *out = path;
  } else {
    auto it = files_.find(dirfd);
    if (it == files_.end()) return -EBADF;
    *out = it->second.path + (*path == '\0' ? "" : (it->second.path == "/" ? "" : "/") + std::string(path));
  }
  while (out->size() > 1 && out->back() == '/') out->pop_back();
  return 0;
}

SimProcess::File* SimProcess::Get(int fd) {
  auto it = files_.find(fd);
  return it == files_.end() ? nullptr : &it->second;
}

int SimProcess::Add(File file) {
  files_[next_fd_] = std::move(file);
  return next_fd_++;
}

int SimProcess::OpenAt(int dirfd, const char* path, int flags, mode_t mode) {
  if (dead_) return -EIO;
  std::string full;
  if (int r = Path(dirfd, path, &full); r < 0) return r;
  if (int err = Look("open", full); err != 0) return -err;
  SimDisk::Node node;
  int r = kernel_->disk.Find(full, &node);
  if (r == -ENOENT && (flags & O_CREAT) != 0) {
    if (int err = Change("open", full); err != 0) return -err;
    r = kernel_->disk.Make(full, S_IFREG | mode, &node);
  } else if (r == 0 && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
    return -EEXIST;
  }
  if (r < 0) return r;
  if ((flags & O_DIRECTORY) != 0 && !node->folder()) return -ENOTDIR;
  if (node->folder() && (flags & O_ACCMODE) != O_RDONLY) return -EISDIR;
  if ((flags & O_TRUNC) != 0) {
    if (int err = Change("truncate", full); err != 0) return -err;
    kernel_->disk.Truncate(*node, 0);
  }
  File file;
  file.node = std::move(node), file.path = std::move(full), file.append = (flags & O_APPEND) != 0;
  return Add(std::move(file));
}

int SimProcess::OpenAt2(int dirfd, const char* path, const struct open_how& how) {
  return OpenAt(dirfd, path, static_cast<int>(how.flags), static_cast<mode_t>(how.mode));
}

int SimProcess::Close(int fd) {
  File* f = Get(fd);
  if (f == nullptr) return -EBADF;
  if (f->node != nullptr)
    std::erase_if(f->node->locks, [f](const SimDisk::Lock& l) { return l.holder == f; });
  files_.erase(fd);
  return 0;
}

ssize_t SimProcess::Read(int fd, void* buffer, size_t n) {
  File* f = Get(fd);
  if (f == nullptr || f->tree) return -EBADF;
  if (f->node->folder()) return -EISDIR;
  if (int err = Look("read", f->path); err != 0) return -err;
  const std::string& data = f->node->data;
  if (f->at >= f->node->size()) return 0;
  n = std::min<size_t>(n, f->node->size() - f->at);
  const size_t held = f->at < data.size() ? data.copy(static_cast<char*>(buffer), n, f->at) : 0;
  std::memset(static_cast<char*>(buffer) + held, 0, n - held);
  f->at += n;
  return static_cast<ssize_t>(n);
}

ssize_t SimProcess::Write(int fd, const void* data, size_t n) {
  File* f = Get(fd);
  if (f == nullptr || f->tree) return -EBADF;
  const int err = Change("write", f->path);
  if (dead_) return -EIO;
  if (f->append) f->at = f->node->size();
  const std::string_view bytes(static_cast<const char*>(data), n);
  if (err != 0) {
    kernel_->disk.Tear(*f->node, f->at, bytes);
    return -err;
  }
  int r = kernel_->disk.Write(*f->node, f->at, bytes);
  if (r > 0) f->at += static_cast<uint64_t>(r);
  return r;
}

int SimProcess::Allocate(int fd, int64_t bytes) {
  File* f = Get(fd);
  if (f == nullptr || f->tree) return -EBADF;
  if (int err = Change("allocate", f->path); err != 0) return -err;
  return kernel_->disk.Allocate(*f->node, static_cast<uint64_t>(bytes));
}

int SimProcess::Fsync(int fd) {
  File* f = Get(fd);
  if (f == nullptr || f->tree) return -EBADF;
  if (int err = Change("fsync", f->path); err != 0) return -err;
  kernel_->disk.Sync(*f->node);
  return 0;
}

int SimProcess::MkdirAt(int dirfd, const char* path, mode_t mode) {
  std::string full;
  if (int r = Path(dirfd, path, &full); r < 0) return r;
  SimDisk::Node there;
  if (kernel_->disk.Find(full, &there) == 0) return -EEXIST;
  if (int err = Change("mkdir", full); err != 0) return -err;
  return kernel_->disk.Make(full, S_IFDIR | mode, nullptr);
}

int SimProcess::UnlinkAt(int dirfd, const char* path, int flags) {
  std::string full;
  if (int r = Path(dirfd, path, &full); r < 0) return r;
  SimDisk::Node there;
  if (int r = kernel_->disk.Find(full, &there); r < 0) return r;
  if (kernel_->FindMount(full) != nullptr) return -EBUSY;
  if (int err = Change("unlink", full); err != 0) return -err;
  int r = kernel_->disk.Unlink(full, (flags & AT_REMOVEDIR) != 0);
  if (r == 0) kernel_->FolderRemoved(full);
  return r;
}

int SimProcess::RenameAt(int olddir, const char* from, int newdir, const char* to) {
  std::string source, target;
  if (int r = Path(olddir, from, &source); r < 0) return r;
  if (int r = Path(newdir, to, &target); r < 0) return r;
  SimDisk::Node there;
  if (int r = kernel_->disk.Find(source, &there); r < 0) return r;
  if (int err = Change("rename", target); err != 0) return -err;
  return kernel_->disk.Rename(source, target);
}

int SimProcess::LinkAt(int olddir, const char* from, int newdir, const char* to, int) {
  std::string source, target;
  if (int r = Path(olddir, from, &source); r < 0) return r;
  if (int r = Path(newdir, to, &target); r < 0) return r;
  if (int err = Change("link", target); err != 0) return -err;
  return kernel_->disk.Link(source, target);
}

int SimProcess::Fchmod(int fd, mode_t mode) {
  File* f = Get(fd);
  if (f == nullptr) return -EBADF;
  if (int err = Change("fchmod", f->path); err != 0) return -err;
  f->node->mode = (f->node->mode & S_IFMT) | mode;
  return 0;
}

void SimProcess::Fill(const SimDisk::Inode& node, struct stat* st) {
  *st = {};
  st->st_dev = 8, st->st_ino = node.number, st->st_mode = node.mode, st->st_uid = kUid;
  st->st_nlink = static_cast<nlink_t>(node.links), st->st_size = static_cast<off_t>(node.size());
  st->st_mtim.tv_sec = st->st_ctim.tv_sec = static_cast<time_t>(node.changed);
}

int SimProcess::Fstat(int fd, struct stat* st) {
  File* f = Get(fd);
  if (f == nullptr || f->node == nullptr) return -EBADF;
  Fill(*f->node, st);
  return 0;
}

int SimProcess::FstatAt(int dirfd, const char* path, struct stat* st, int) {
  std::string full;
  if (int r = Path(dirfd, path, &full); r < 0) return r;
  if (int err = Look("stat", full); err != 0) return -err;
  SimDisk::Node node;
  if (int r = kernel_->disk.Find(full, &node); r < 0) return r;
  Fill(*node, st);
  return 0;
}

int SimProcess::FsType(int fd, int64_t* type) {
  *type = kExt4;
  return Get(fd) == nullptr ? -EBADF : 0;
}

int SimProcess::FsFree(const char* path, uint64_t* bytes) {
  SimDisk::Node node;
  if (int r = kernel_->disk.Find(path, &node); r < 0) return r;
  *bytes = kernel_->disk.Free();
  return 0;
}

int SimProcess::RealPath(const char* path, std::string* real) {
  struct stat st;
  int r = FstatAt(AT_FDCWD, path, &st, 0);  // there are no symlinks
  if (r >= 0) *real = path;
  return r;
}

int SimProcess::TryLock(int fd, int64_t offset, int64_t length) {
  if (dead_) return -EIO;
  File* f = Get(fd);
  if (f == nullptr) return -EBADF;
  auto end = [](const SimDisk::Lock& l) { return l.length == 0 ? INT64_MAX : l.from + l.length; };
  SimDisk::Lock mine{offset, length, f};
  for (const SimDisk::Lock& l : f->node->locks)
    if (l.holder != f && l.from < end(mine) && mine.from < end(l)) return -EAGAIN;
  f->node->locks.push_back(mine);
  return 0;
}

int SimProcess::ListDir(int dirfd, const char* path, std::vector<std::string>* names) {
  names->clear();
  std::string full;
  if (int r = Path(dirfd, path, &full); r < 0) return r;
  if (full == "/proc") {
    for (const auto& [pid, start] : kernel_->processes()) names->push_back(std::to_string(pid));
    return 0;
  }
  if (int err = Look("readdir", full); err != 0) return -err;
  SimDisk::Node node;
  if (int r = kernel_->disk.Find(full, &node); r < 0) return r;
  if (!node->folder()) return -ENOTDIR;
  for (const auto& [name, child] : node->children) names->push_back(name);
  return 0;
}

int SimProcess::OpenTree(int dirfd, const char* path, unsigned) {
  if (!dead_) tasks_->Yield(yield_one_in);
  File* f = Get(dirfd);
  if (f == nullptr || *path != '\0') return -EINVAL;
  if (int err = Change("open_tree", f->path); err != 0) return -err;
  File tree;
  tree.tree = true, tree.path = f->path, tree.options = "rw";
  tree.device = kernel_->MountOf(f->path)->device;
  return Add(std::move(tree));
}

int SimProcess::MountSetattr(int fd, const char*, unsigned, uint64_t set, uint64_t, uint64_t, int) {
  File* f = Get(fd);
  if (f == nullptr || !f->tree) return -EINVAL;
  if (int err = Change("mount_setattr", f->path); err != 0) return -err;
  if ((set & MOUNT_ATTR_RDONLY) != 0) f->options = "ro";
  if ((set & MOUNT_ATTR_NOSUID) != 0) f->options += ",nosuid";
  if ((set & MOUNT_ATTR_NODEV) != 0) f->options += ",nodev";
  return 0;
}

int SimProcess::MoveMount(int from_fd, const char*, int to_fd, const char*, unsigned) {
  if (!dead_) tasks_->Yield(yield_one_in);
  File *f = Get(from_fd), *to = Get(to_fd);
  if (f == nullptr || !f->tree || to == nullptr) return -EINVAL;
  if (int err = Change("move_mount", to->path); err != 0) return -err;
  kernel_->AddMount(to->path, f->device, f->options);
  return 0;
}

int SimProcess::Mount(const char* source, const char* target, const char*, unsigned long flags, const char*) {
  if (int err = Change("mount", target); err != 0) return -err;
  if ((flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE)) != 0) {
    kernel_->Propagate(target, (flags & MS_SHARED) != 0);
    return 0;
  }
  if ((flags & MS_REMOUNT) != 0) return 0;
  kernel_->AddMount(target, kernel_->MountOf(source)->device, "rw");
  return 0;
}

int SimProcess::Umount(const char* target, int) {
  if (!dead_) tasks_->Yield(yield_one_in);
  if (dead_) return -EIO;
  if (kernel_->FindMount(target) == nullptr) return -EINVAL;
  if (int err = Change("umount", target); err != 0) return -err;
  kernel_->RemoveMount(target);
  if (unmounted) unmounted(target);
  return 0;
}

int SimProcess::IsMountRoot(const char* path, bool* root) {
  if (int err = Look("stat", path); err != 0) return -err;
  SimDisk::Node node;
  if (int r = kernel_->disk.Find(path, &node); r < 0) return r;
  *root = kernel_->FindMount(path) != nullptr;
  return 0;
}

Result<std::string> SimProcess::Mountinfo(pid_t pid) {
  const std::string path = "/proc/" + (pid > 0 ? std::to_string(pid) : "self") + "/mountinfo";
  if (int err = Look("read", path); err != 0) return Status::FromErrno(err, "cannot read " + path, path);
  seen_mounts_[Tasks::CurrentTask()] = kernel_->next_mount();
  return kernel_->Mountinfo(pid);
}

int SimProcess::ProcessStart(pid_t pid, uint64_t* start_time) {
  if (!kernel_->Runs(pid)) return -ESRCH;
  *start_time = kernel_->StartOf(pid);
  return 0;
}

int SimProcess::MountNamespace(pid_t pid, uint64_t* inode) {
  if (pid != 0 && !kernel_->Runs(pid)) return -ENOENT;
  *inode = pid == 0 ? 1 : kernel_->NamespaceOf(pid);
  return 0;
}

Result<std::vector<pid_t>> SimProcess::ProcessesIn(uint64_t mount_namespace, uint64_t) {
  std::vector<pid_t> found;
  for (const auto& [pid, start] : kernel_->processes())
    if (kernel_->NamespaceOf(pid) == mount_namespace) found.push_back(pid);
  return found;
}

int SimProcess::PidNamespace(uint64_t* number) {
  *number = kFirstPidNamespace;
  return 0;
}

// A kernel that cannot tell.
int SimProcess::MountNamespaceEnded(uint64_t, bool* ended) {
  *ended = false;
  return -EOPNOTSUPP;
}

}  // namespace dvdi::sim
