#include "observe/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sys/sys.h"
#include "sys/sys_fd.h"

namespace dvdi {

LogFile::LogFile(const Env& env, std::string path, int64_t max_bytes, int keep)
    : env_(env), path_(std::move(path)), max_bytes_(max_bytes), keep_(std::max(keep, 1)) {}

LogFile::~LogFile() { CloseCurrent(); }

void LogFile::CloseCurrent() {
  if (fd_ >= 0) env_.sys->Close(fd_);
  fd_ = -1;
}

// The open file is PATH, or it was rotated away (by whomever) and the new one is opened.
Status LogFile::OpenCurrent(int64_t* size) {
  struct stat st = {};
  if (fd_ >= 0) {
    int r = env_.sys->FstatAt(AT_FDCWD, path_.c_str(), &st, AT_SYMLINK_NOFOLLOW);
    if (r >= 0 && st.st_dev == device_ && st.st_ino == inode_) {
      *size = st.st_size;
      return Status();
    }
    CloseCurrent();
  }
  int fd = env_.sys->OpenAt(AT_FDCWD, path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK,
                            0600);
  if (fd < 0) return Status::FromErrno(-fd, "cannot open " + path_, path_);
  int r = env_.sys->Fstat(fd, &st);
  Status s;
  if (r < 0)
    s = Status::FromErrno(-r, "cannot look at " + path_, path_);
  else if (!S_ISREG(st.st_mode))
    s = Status(Code::kRefused, path_ + " is not a regular file", "move it away").WithPath(path_);
  else if ((st.st_uid != ::geteuid() && st.st_uid != 0) || (st.st_mode & 077) != 0)
    s = Status(Code::kRefused, path_ + " is open to other users than root",
               "run: chown root " + path_ + " && chmod 0600 " + path_)
            .WithPath(path_);
  if (!s.ok()) {
    env_.sys->Close(fd);
    return s;
  }
  fd_ = fd, device_ = st.st_dev, inode_ = st.st_ino;
  *size = st.st_size;
  return Status();
}

// One process at a time, by a lock on a file beside it. Whoever does not get the lock goes on writing: the
// file grows a little over its bound, and nobody waits.
Status LogFile::Rotate(int64_t more) {
  const std::string lock_path = path_ + ".lock";
  SysFd lock(env_.sys, env_.sys->OpenAt(AT_FDCWD, lock_path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (!lock.valid()) return Status::FromErrno(lock.error(), "cannot open " + lock_path, lock_path);
  int r = env_.sys->TryLock(lock.get());
  if (r == -EAGAIN) return Status();
  if (r < 0) return Status::FromErrno(-r, "cannot lock " + lock_path, lock_path);
  struct stat st = {};
  r = env_.sys->FstatAt(AT_FDCWD, path_.c_str(), &st, AT_SYMLINK_NOFOLLOW);
  if (r < 0 || st.st_size + more <= max_bytes_) return Status();  // another process was here before
  for (int i = keep_; i >= 1; --i) {
    std::string from = i == 1 ? path_ : path_ + "." + std::to_string(i - 1);
    std::string to = path_ + "." + std::to_string(i);
    r = env_.sys->RenameAt(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str());
    if (r < 0 && r != -ENOENT) return Status::FromErrno(-r, "cannot rename " + from + " to " + to, from);
  }
  return Status();
}

Status LogFile::Append(std::string_view lines) {
  std::lock_guard lock(mu_);
  int64_t size = 0;
  DVDI_RETURN_IF_ERROR(OpenCurrent(&size));
  if (lines.empty()) return Status();
  Status rotated;
  if (size > 0 && size + static_cast<int64_t>(lines.size()) > max_bytes_) {
    // A file that cannot be rotated is still better than a line that is lost.
    rotated = Rotate(static_cast<int64_t>(lines.size()));
    DVDI_RETURN_IF_ERROR(OpenCurrent(&size));
  }
  std::string mended;
  if (torn_) {
    mended = "\n" + std::string(lines);
    lines = mended;
  }
  ssize_t n;
  do {
    n = env_.sys->Write(fd_, lines.data(), lines.size());
  } while (n == -EINTR);
  if (n < 0) return Status::FromErrno(static_cast<int>(-n), "cannot write " + path_, path_);
  torn_ = static_cast<size_t>(n) < lines.size();
  if (torn_) return Status::FromErrno(ENOSPC, "cannot write all of a line to " + path_, path_);
  return rotated;
}

}  // namespace dvdi
