#include "driver/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "sys/env.h"
#include "sys/files.h"

namespace dvdi {
namespace {

constexpr size_t kHexLength = 16;
std::atomic<StepHook> g_hook{nullptr};

Status WriteAll(int fd, std::string_view text, const std::string& name) {
  while (!text.empty()) {
    ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromErrno(errno, "cannot write " + name, name);
    text.remove_prefix(static_cast<size_t>(n));
  }
  return OkStatus();
}

// From the file's begin, fsynced.
Status WriteWhole(UniqueFd fd, std::string_view text, const std::string& name) {
  Status written = WriteAll(fd.get(), text, name);
  if (written.ok() && ::fsync(fd.get()) < 0) written = Status::FromErrno(errno, "cannot fsync " + name, name);
  // NFS and quotas report a failed write only here.
  if (::close(fd.release()) < 0 && written.ok())
    written = Status::FromErrno(errno, "cannot close " + name, name);
  return written;
}

// A new file `temp` with `text`, fsynced.
Status WriteTemp(int dirfd, std::string_view text, const std::string& temp) {
  UniqueFd fd(::openat(dirfd, temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot create " + temp, temp);
  Status written = WriteWhole(std::move(fd), text, temp);
  if (!written.ok()) ::unlinkat(dirfd, temp.c_str(), 0);
  return written;
}

}  // namespace

void SetStepHook(StepHook hook) { g_hook.store(hook); }
void Step(const char* step) {
  if (StepHook hook = g_hook.load()) hook(step);
}

Result<UniqueFd> OpenFolder(int dirfd, const std::string& name) {
  UniqueFd fd(::openat(dirfd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd.valid()) return fd;
  if (errno == ENOENT) return Status(Code::kNotFound, "there is no folder " + name).WithPath(name);
  return Status::FromErrno(errno, "cannot open folder " + name, name);
}

Status MakeFolders(const std::string& path) {
  for (size_t at = 1; at <= path.size(); ++at) {
    if (at < path.size() && path[at] != '/') continue;
    const std::string part = path.substr(0, at), what = "cannot make the folder " + part;
    if (::mkdir(part.c_str(), 0755) < 0) {
      if (errno == EEXIST) continue;
      return Status::FromErrno(errno, what, part);
    }
    // A umask that keeps others out of files is not to keep them from their volumes.
    auto made = OpenFolder(AT_FDCWD, part);
    if (!made.ok()) return Status(made.status()).WithContext(what);
    if (::fchmod(made->get(), 0755) < 0) return Status::FromErrno(errno, what, part);
  }
  return OkStatus();
}

Result<UniqueFd> OpenOurFolder(int dirfd, const std::string& name, const std::string& path,
                               std::string_view what) {
  DVDI_ASSIGN_OR_RETURN(UniqueFd fd, OpenFolder(dirfd, name));
  struct stat st;
  if (::fstat(fd.get(), &st) < 0) return Status::FromErrno(errno, "cannot stat " + path, path);
  DVDI_RETURN_IF_ERROR(CheckOurs(st, path, what));
  return fd;
}

Result<std::string> OpenPath(int fd) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t n = ::readlink(link.c_str(), path, sizeof path);
  if (n < 0) return Status::FromErrno(errno, "cannot tell the path of an open file", link);
  return n == static_cast<ssize_t>(sizeof path) ? std::string() : std::string(path, static_cast<size_t>(n));
}

Result<std::string> FolderPath(int fd) {
  DVDI_ASSIGN_OR_RETURN(const std::string text, OpenPath(fd));
  struct stat st;
  // One that was removed, or lies outside of this namespace, has no path that begins so.
  if (text.empty() || text[0] != '/' || (::fstat(fd, &st) == 0 && st.st_nlink == 0))
    return Status(Code::kNotFound, "an open folder has no path any more").WithPath(text);
  return text;
}

Result<std::string> ReadSmallFile(int dirfd, const std::string& name, size_t max) {
  // O_NONBLOCK: a FIFO put in its place must not hang the open.
  UniqueFd fd(::openat(dirfd, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT) return Status(Code::kNotFound, "there is no file " + name).WithPath(name);
    return Status::FromErrno(errno, "cannot open " + name, name);
  }
  return ReadOpenFile(fd.get(), name, max);
}

Result<std::string> ReadOpenFile(int fd, const std::string& name, size_t max) {
  struct stat st;
  if (::fstat(fd, &st) < 0) return Status::FromErrno(errno, "cannot stat " + name, name);
  if (!S_ISREG(st.st_mode)) return Status(Code::kInvalid, name + " is not a regular file").WithPath(name);
  std::string out;
  char buffer[4096];
  for (;;) {
    ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromErrno(errno, "cannot read " + name, name);
    if (n == 0) return out;
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > max)
      return Status(Code::kInvalid, name + " is longer than " + std::to_string(max) + " bytes")
          .WithPath(name);
  }
}

Status ReplaceFile(int dirfd, const std::string& name, std::string_view text, const std::string& temp) {
  DVDI_RETURN_IF_ERROR(WriteTemp(dirfd, text, temp));
  Step("temp-written");
  if (::renameat(dirfd, temp.c_str(), dirfd, name.c_str()) < 0) {
    int err = errno;
    ::unlinkat(dirfd, temp.c_str(), 0);
    return Status::FromErrno(err, "cannot put " + name + " in place", name);
  }
  Step("temp-renamed");
  return FsyncFolder(dirfd, name);
}

Status CreateFileExclusive(int dirfd, const std::string& name, std::string_view text,
                           const std::string& temp) {
  DVDI_RETURN_IF_ERROR(WriteTemp(dirfd, text, temp));
  Step("temp-written");
  int err = ::linkat(dirfd, temp.c_str(), dirfd, name.c_str(), 0) < 0 ? errno : 0;
  Step("temp-linked");
  if (err != 0) {
    // A resent NFS request sees its own first success as EEXIST: the link count tells.
    struct stat st;
    if (::fstatat(dirfd, temp.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink == 2) err = 0;
  }
  if (::unlinkat(dirfd, temp.c_str(), 0) < 0 && err == 0)
    return Status::FromErrno(errno, "cannot remove " + temp, temp);
  if (err == EEXIST) return Status(Code::kRefused, name + " exists").WithPath(name);
  if (err != 0) return Status::FromErrno(err, "cannot create " + name, name);
  return FsyncFolder(dirfd, name);
}

Status OverwriteFile(int dirfd, const std::string& name, std::string_view text) {
  UniqueFd fd(::openat(dirfd, name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot open " + name, name);
  return WriteWhole(std::move(fd), text, name);
}

bool NoRoom(const Status& status) {
  return status.error_number() == ENOSPC || status.error_number() == EDQUOT;
}

Status RemoveFile(int dirfd, const std::string& name) {
  if (::unlinkat(dirfd, name.c_str(), 0) < 0 && errno != ENOENT)
    return Status::FromErrno(errno, "cannot remove " + name, name);
  return OkStatus();
}

Status RefreshFolder(int dirfd, const std::string& node) {
  std::string temp = TempName(node);
  DVDI_RETURN_IF_ERROR(WriteTemp(dirfd, "", temp));
  return RemoveFile(dirfd, temp);
}

Status FsyncFolder(int dirfd, std::string_view what) {
  if (::fsync(dirfd) < 0) return Status::FromErrno(errno, "cannot fsync the folder of " + std::string(what));
  return OkStatus();
}

std::string TempName(const std::string& node) { return "tmp." + node + "." + RandomHex(); }

bool IsTempName(std::string_view name, std::string_view node) {
  if (name.size() < 4 + 1 + 1 + kHexLength || name.substr(0, 4) != "tmp.") return false;
  std::string_view hex = name.substr(name.size() - kHexLength);
  if (hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) return false;
  if (name[name.size() - kHexLength - 1] != '.') return false;
  std::string_view owner = name.substr(4, name.size() - kHexLength - 5);
  return node.empty() || owner == node;
}

std::string Rfc3339Now() {
  time_t now = static_cast<time_t>(Clock::Real()->WallMs() / 1000);
  struct tm utc = {};
  ::gmtime_r(&now, &utc);
  char text[32];
  ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string RandomHex() { return Random::Real()->HexId(kHexLength / 2); }

}  // namespace dvdi
