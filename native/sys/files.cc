#include "sys/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "base/guards.h"

namespace dvdi {
namespace {

constexpr uint64_t kSmallFileBytes = 1 << 20;
constexpr char kTemporary[] = ".tmp";

// `own`: it must be ours, and is no symbolic link.
Result<SysFd> OpenRegular(Sys* sys, int folder, const std::string& name, uint64_t max,
                          const std::string& path, bool own, struct stat* st) {
  // O_NONBLOCK: a FIFO in the file's place must not hold us.
  const int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | (own ? O_NOFOLLOW : 0);
  SysFd file(sys, sys->OpenAt(folder, name.c_str(), flags));
  if (!file.valid()) return Status::FromErrno(file.error(), "cannot open " + path, path);
  *st = {};
  if (const int r = sys->Fstat(file.get(), st); r < 0)
    return Status::FromErrno(-r, "cannot look at " + path, path);
  if (!S_ISREG(st->st_mode)) return Status(Code::kRefused, path + " is not a regular file").WithPath(path);
  if (own) DVDI_RETURN_IF_ERROR(CheckOurs(*st, path));
  if (static_cast<uint64_t>(st->st_size) > max)
    return Status(Code::kRefused, path + " has " + std::to_string(st->st_size) + " bytes; at most " +
                                      std::to_string(max) + " are accepted")
        .WithPath(path);
  return file;
}

Result<std::string> ReadRegular(Sys* sys, int folder, const std::string& name, uint64_t max,
                                const std::string& path, bool own, struct stat* out) {
  struct stat st = {};
  DVDI_ASSIGN_OR_RETURN(SysFd file, OpenRegular(sys, folder, name, max, path, own, &st));
  // One byte more than its size, so that a file which grows meanwhile is seen.
  std::string bytes(static_cast<size_t>(st.st_size) + 1, '\0');
  size_t n = 0;
  while (n < bytes.size()) {
    const ssize_t r = sys->Read(file.get(), bytes.data() + n, bytes.size() - n);
    if (r == -EINTR) continue;
    if (r < 0) return Status::FromErrno(static_cast<int>(-r), "cannot read " + path, path);
    if (r == 0) break;
    n += static_cast<size_t>(r);
  }
  if (n == bytes.size())
    return Status(Code::kRefused, path + " was changed while it was read", "try again").WithPath(path);
  bytes.resize(n);
  if (out != nullptr) *out = st;
  return bytes;
}

// What a folder of ours cannot be made or opened for.
Status NoFolder(int err, const std::string& what, const std::string& path) {
  return NeedsRoot(Status::FromErrno(err, what, path));
}

}  // namespace

Status NeedsRoot(Status status) {
  const int err = status.error_number();
  if ((err != EACCES && err != EPERM) || !status.hint().empty() || ::geteuid() == 0) return status;
  return std::move(status).WithHint("This needs root: run it with sudo");
}

Status CheckOurs(const struct stat& st, const std::string& path, std::string_view what) {
  if (!DVDI_GUARD(proof_is_ours)) return Status();
  const std::string named = what.empty() ? path : std::string(what) + " " + path;
  if (st.st_uid != ::geteuid() && st.st_uid != 0)
    return Status(Code::kRefused,
                  named + " belongs to user " + std::to_string(st.st_uid) + ", not to root or " +
                      std::to_string(::geteuid()) + ": it could have been written by somebody else",
                  "find out who made it, then chown it")
        .WithPath(path);
  if ((st.st_mode & 022) != 0) {
    char mode[16];
    std::snprintf(mode, sizeof mode, "%04o", st.st_mode & 07777U);
    return Status(Code::kRefused,
                  named + " can be written by others (mode " + mode +
                      "): it could have been written by somebody else",
                  "check its content, then chmod go-w it")
        .WithPath(path);
  }
  return Status();
}

Result<SysFd> OpenOwnFolder(Sys* sys, const std::string& path, bool create) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  int fd = sys->OpenAt(AT_FDCWD, path.c_str(), kFlags);
  if (fd == -ENOENT && create) {
    const int made = sys->MkdirAt(AT_FDCWD, path.c_str(), 0700);
    if (made < 0 && made != -EEXIST) return NoFolder(-made, "cannot make folder " + path, path);
    fd = sys->OpenAt(AT_FDCWD, path.c_str(), kFlags);
  }
  if (fd < 0) return NoFolder(-fd, "cannot open folder " + path, path);
  SysFd folder(sys, fd);
  struct stat st = {};
  if (const int r = sys->Fstat(fd, &st); r < 0) return Status::FromErrno(-r, "cannot look at " + path, path);
  DVDI_RETURN_IF_ERROR(CheckOurs(st, path));
  return folder;
}

Status EnsureOwnFolder(Sys* sys, const std::string& path) {
  if (path.empty() || path[0] != '/')
    return Status(Code::kInvalid, "folder " + path + " is not an absolute path").WithPath(path);
  for (size_t at = 1; at <= path.size(); ++at) {
    if (at < path.size() && path[at] != '/') continue;
    const bool last = at == path.size();
    const std::string part = path.substr(0, at);
    const int made = sys->MkdirAt(AT_FDCWD, part.c_str(), last ? 0700 : 0755);
    if (made < 0 && made != -EEXIST) return NoFolder(-made, "cannot make folder " + part, path);
    if (made < 0 || last) continue;
    // Whatever the umask: others may come to lie there.
    SysFd folder(sys, sys->OpenAt(AT_FDCWD, part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    const int set = folder.valid() ? sys->Fchmod(folder.get(), 0755) : -folder.error();
    if (set < 0) return Status::FromErrno(-set, "cannot set the mode of folder " + part, path);
  }
  struct stat st = {};
  const int r = sys->FstatAt(AT_FDCWD, path.c_str(), &st, AT_SYMLINK_NOFOLLOW);
  if (r < 0) return Status::FromErrno(-r, "cannot look at folder " + path, path);
  if (!S_ISDIR(st.st_mode)) return Status(Code::kInvalid, path + " is not a folder").WithPath(path);
  return CheckOurs(st, "folder " + path);
}

Result<std::string> ReadOwnFileAt(Sys* sys, int folder, const std::string& name, uint64_t max,
                                  const std::string& path, struct stat* st) {
  return ReadRegular(sys, folder, name, max, path, true, st);
}

Result<SysFd> OpenOwnFileAt(Sys* sys, int folder, const std::string& name, uint64_t max,
                            const std::string& path, struct stat* st) {
  struct stat own;
  return OpenRegular(sys, folder, name, max, path, true, st == nullptr ? &own : st);
}

Result<std::string> ReadOwnFile(Sys* sys, const std::string& path) {
  return ReadRegular(sys, AT_FDCWD, path, kSmallFileBytes, path, true, nullptr);
}

Result<std::string> ReadNamedFile(Sys* sys, const std::string& path, uint64_t max) {
  return ReadRegular(sys, AT_FDCWD, path, max, path, false, nullptr);
}

bool MappedWritesInPlace(int64_t type) {
  return type == 0x01021994 /*tmpfs*/ || type == 0xEF53 /*ext*/ || type == 0x58465342 /*xfs*/;
}

bool CanBeReadLater(const Status& why) {
  const int err = why.error_number();
  return err == EMFILE || err == ENFILE || err == ENOMEM || err == EAGAIN || err == EINTR;
}

Status WriteAll(Sys* sys, int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = sys->Write(fd, bytes.data(), bytes.size());
    if (n == -EINTR) continue;
    if (n <= 0) return Status::FromErrno(n < 0 ? static_cast<int>(-n) : EIO, "cannot write " + path, path);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return Status();
}

std::string TemporaryName(const Env& env, const std::string& name) {
  return "." + name + "." + env.random->HexId(8) + kTemporary;
}

void SweepTemporaries(Sys* sys, int folder) {
  std::vector<std::string> names;
  if (sys->ListDir(folder, ".", &names) < 0) return;
  for (const std::string& name : names) {
    if (name[0] != '.' || !name.ends_with(kTemporary)) continue;
    SysFd file(sys, sys->OpenAt(folder, name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (file.valid() && sys->TryLock(file.get()) >= 0) sys->UnlinkAt(folder, name.c_str(), 0);
  }
}

Status ReplaceFile(const Env& env, int folder, const std::string& name, std::string_view bytes,
                   const std::string& path, bool durable) {
  Sys* sys = env.sys;
  SweepTemporaries(sys, folder);
  const std::string temporary = TemporaryName(env, name);
  const int fd =
      sys->OpenAt(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return Status::FromErrno(-fd, "cannot make a file beside " + path, path);
  Status status;
  {
    SysFd file(sys, fd);
    // Says that somebody is at it. Where locks cannot be had it is removed by whoever comes by, and this
    // fails.
    (void)sys->TryLock(fd);
    status = WriteAll(sys, fd, bytes, path);
    if (status.ok())
      if (const int r = sys->Fsync(fd); r < 0) status = Status::FromErrno(-r, "cannot fsync " + path, path);
    if (status.ok())
      if (const int r = sys->RenameAt(folder, temporary.c_str(), folder, name.c_str()); r < 0)
        status = Status::FromErrno(-r, "cannot replace " + path, path);
  }
  if (!status.ok()) {
    sys->UnlinkAt(folder, temporary.c_str(), 0);
    return status;
  }
  if (durable)
    if (const int r = sys->Fsync(folder); r < 0)
      return Status::FromErrno(-r, "cannot fsync the folder of " + path, path);
  return Status();
}

namespace {

// The file beside the one that an operator named.
Result<SysFd> MakeBeside(const Env& env, const std::string& path, std::string* fresh) {
  const size_t slash = path.rfind('/');
  *fresh = path.substr(0, slash + 1) + "." + path.substr(slash + 1) + "." + env.random->HexId(8);
  SysFd fd(env.sys, env.sys->OpenAt(AT_FDCWD, fresh->c_str(),
                                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd.valid()) return Status::FromErrno(fd.error(), "cannot make a file beside " + path, path);
  return fd;
}

}  // namespace

Status ReplaceNamedFile(const Env& env, const std::string& path, std::string_view bytes) {
  std::string fresh;
  DVDI_ASSIGN_OR_RETURN(SysFd fd, MakeBeside(env, path, &fresh));
  Status s = WriteAll(env.sys, fd.get(), bytes, fresh);
  // Whatever the umask: who reads it is another user (of the metrics, node-exporter).
  if (int r = s.ok() ? env.sys->Fchmod(fd.get(), 0644) : 0; r < 0)
    s = Status::FromErrno(-r, "cannot set the mode of " + fresh, path);
  if (int r = s.ok() ? env.sys->RenameAt(AT_FDCWD, fresh.c_str(), AT_FDCWD, path.c_str()) : 0; r < 0)
    s = Status::FromErrno(-r, "cannot put " + path + " in its place", path);
  if (!s.ok()) env.sys->UnlinkAt(AT_FDCWD, fresh.c_str(), 0);
  return s;
}

Status CheckReplaceable(const Env& env, const std::string& path) {
  std::string fresh;
  DVDI_ASSIGN_OR_RETURN(SysFd fd, MakeBeside(env, path, &fresh));
  if (const int r = env.sys->UnlinkAt(AT_FDCWD, fresh.c_str(), 0); r < 0)
    return Status::FromErrno(-r, "cannot remove " + fresh, path);
  return Status();
}

}  // namespace dvdi
