// Ownership by changing owners: of one folder, or of a whole tree.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "base/text.h"
#include "helper/ops.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

// Deeper trees than a path can name cannot be made by a normal program.
constexpr size_t kMaxDepth = 2048;

Status CannotChown(int err, const std::string& what) {
  if (err == EPERM || err == ENOSYS || err == EOPNOTSUPP || err == EINVAL)
    return Status(Code::kUnsupported,
                  "the driver's filesystem does not let the owner of " + what + " be changed",
                  "ask for ownership `none`, or give the driver its own options for the owner");
  Status status = Status::FromErrno(err, "cannot change the owner of " + what);
  if (err == EROFS)
    return std::move(status).WithHint("the driver mounted the volume read-only: ask for ownership `none`");
  return status;
}

struct Frame {
  UniqueFd fd;
  std::vector<std::string> folders;  // still to be entered
  std::string name;
};

class Walk {
 public:
  Walk(uid_t uid, gid_t gid, const WalkLimits& limits) : uid_(uid), gid_(gid), limits_(limits) {}

  Result<int64_t> Run(int folder) {
    RaiseDescriptorLimit();
    struct stat st;
    UniqueFd top = WithoutMountsBelow(folder);
    if (!top.valid()) return Status::FromErrno(errno, "cannot list the volume's folder");
    if (::fstat(top.get(), &st) < 0) return Status::FromErrno(errno, "cannot look at the volume's folder");
    device_ = st.st_dev;
    stack_.push_back({std::move(top), {}, "."});
    DVDI_RETURN_IF_ERROR(ReadFolder());
    while (!stack_.empty()) {
      Frame& frame = stack_.back();
      if (!frame.folders.empty()) {
        std::string name = std::move(frame.folders.back());
        frame.folders.pop_back();
        DVDI_RETURN_IF_ERROR(Enter(name));
        continue;
      }
      // After all in it, so that a folder that is right means that all below it was done.
      DVDI_RETURN_IF_ERROR(ChownOne(frame.fd.get(), "", frame.name));
      stack_.pop_back();
    }
    return changed_;
  }

 private:
  // A copy of the mount alone: what is mounted below the folder is not in it, not even by name.
  UniqueFd WithoutMountsBelow(int folder) {
    int tree = Sys::Real()->OpenTree(folder, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    UniqueFd copy(tree);
    alone_ = copy.valid();
    return UniqueFd(::openat(tree >= 0 ? tree : folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }

  static void RaiseDescriptorLimit() {
    struct rlimit limit;
    if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    rlim_t wanted = kMaxDepth + 64;
    if (limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    ::setrlimit(RLIMIT_NOFILE, &limit);  // where it cannot be: a deep tree fails with EMFILE
  }

  Status Enter(const std::string& name) {
    if (stack_.size() >= kMaxDepth)
      return Status(Code::kUnsupported,
                    "the volume's folders are nested deeper than " + std::to_string(kMaxDepth) +
                        ": their owner was not changed",
                    "change the owners by hand, and ask for ownership `root-dir`");
    UniqueFd fd(::openat(stack_.back().fd.get(), name.c_str(),
                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd.valid()) {
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return Status();  // replaced meanwhile
      return Status::FromErrno(errno, "cannot list " + OneLine(name) + " in the volume");
    }
    struct stat st;
    if (::fstat(fd.get(), &st) < 0) return Status::FromErrno(errno, "cannot look at " + OneLine(name));
    if (st.st_dev != device_) return Status();
    stack_.push_back({std::move(fd), {}, name});
    return ReadFolder();
  }

  // Changes all that is no folder in the top frame, and notes its folders.
  Status ReadFolder() {
    Frame& frame = stack_.back();
    int copy = ::fcntl(frame.fd.get(), F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return Status::FromErrno(errno, "cannot list a folder of the volume");
    std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(copy), &::closedir);
    if (dir == nullptr) {
      int err = errno;
      ::close(copy);
      return Status::FromErrno(err, "cannot list a folder of the volume");
    }
    for (;;) {
      errno = 0;
      struct dirent* entry = ::readdir(dir.get());
      if (entry == nullptr) {
        if (errno != 0)
          return Status::FromErrno(errno, "cannot list " + OneLine(frame.name) + " in the volume");
        return Status();
      }
      std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      DVDI_RETURN_IF_ERROR(Count());
      struct stat st;
      if (::fstatat(frame.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT) continue;
        return Status::FromErrno(errno, "cannot look at " + OneLine(name) + " in the volume");
      }
      // An overlay's files have the device of their layer.
      if (st.st_dev != device_ && (S_ISDIR(st.st_mode) || !alone_)) continue;
      if (S_ISDIR(st.st_mode))
        frame.folders.push_back(std::move(name));
      else
        DVDI_RETURN_IF_ERROR(ChownOne(frame.fd.get(), name.c_str(), name, &st));
    }
  }

  Status ChownOne(int fd, const char* path, const std::string& shown, const struct stat* known = nullptr) {
    struct stat st;
    int flags = AT_SYMLINK_NOFOLLOW | (*path == '\0' ? AT_EMPTY_PATH : 0);
    if (known != nullptr)
      st = *known;
    else if (::fstatat(fd, path, &st, flags) < 0)
      return Status::FromErrno(errno, "cannot look at " + OneLine(shown) + " in the volume");
    if (st.st_uid == uid_ && st.st_gid == gid_) return Status();
    if (::fchownat(fd, path, uid_, gid_, flags) < 0) {
      if (errno == ENOENT) return Status();
      return CannotChown(errno, OneLine(shown) + " in the volume");
    }
    ++changed_;
    return Status();
  }

  Status Count() {
    ++seen_;
    if (seen_ % limits_.progress_every == 0 && limits_.progress && !limits_.progress(seen_))
      return Status(Code::kTimeout, "nobody waits for the change of owners any more");
    if (seen_ % 64 == 0 && Clock::Real()->MonotonicMs() >= limits_.deadline_ms)
      return Status(
          Code::kTimeout,
          "the deadline passed when " + std::to_string(seen_) +
              " entries of the volume had been looked at for their owner",
          "start it again: it goes on where it was; or give it more time, or ask for ownership `idmap`");
    return Status();
  }

  const uid_t uid_;
  const gid_t gid_;
  const WalkLimits& limits_;
  dev_t device_ = 0;
  bool alone_ = false;  // nothing is mounted below
  std::vector<Frame> stack_;
  int64_t seen_ = 0, changed_ = 0;
};

}  // namespace

Result<bool> ChownRoot(int folder, uid_t uid, gid_t gid) {
  struct stat st;
  if (::fstatat(folder, "", &st, AT_EMPTY_PATH) < 0)
    return Status::FromErrno(errno, "cannot look at the volume's folder");
  bool changed = st.st_uid != uid || st.st_gid != gid;
  if (changed && ::fchownat(folder, "", uid, gid, AT_EMPTY_PATH) < 0)
    return CannotChown(errno, "the volume's folder");
  if ((st.st_mode & 0700) != 0700) {
    // chmod(2) through /proc: fchmod(2) refuses O_PATH descriptors.
    std::string path = "/proc/self/fd/" + std::to_string(folder);
    if (::chmod(path.c_str(), (st.st_mode & 07777) | 0700) < 0)
      return Status::FromErrno(errno, "cannot give the owner of the volume's folder access to it");
  }
  return changed;
}

Result<int64_t> ChownTree(int folder, uid_t uid, gid_t gid, const WalkLimits& limits) {
  return Walk(uid, gid, limits).Run(folder);
}

}  // namespace dvdi
