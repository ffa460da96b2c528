#include "policy/files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace dvdi {
namespace {

// OK where the owner is this user and nobody else may write.
Status CheckOwner(const struct stat& st, const std::string& path) {
  char mode[16];
  std::snprintf(mode, sizeof mode, "%04o", st.st_mode & 07777U);
  if (st.st_uid != ::geteuid())
    return Status(Code::kRefused,
                  path + " belongs to user " + std::to_string(st.st_uid) + ", not to " +
                      std::to_string(::geteuid()) + ": it is not trusted",
                  "find out who made it, then chown it")
        .WithPath(path);
  if ((st.st_mode & 022) != 0)
    return Status(Code::kRefused, path + " can be written by others (mode " + mode + "): it is not trusted",
                  "check its content, then chmod go-w it")
        .WithPath(path);
  return Status();
}

Status WriteAll(Sys* sys, int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = sys->Write(fd, bytes.data(), bytes.size());
    if (n == -EINTR) continue;
    if (n < 0) return Status::FromErrno(static_cast<int>(-n), "cannot write " + path, path);
    if (n == 0) return Status::FromErrno(EIO, "cannot write " + path, path);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return Status();
}

}  // namespace

Result<SysFd> OpenOwnedFolder(Sys* sys, const std::string& path, bool create) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  int fd = sys->OpenAt(AT_FDCWD, path.c_str(), kFlags);
  if (fd == -ENOENT && create) {
    const int made = sys->MkdirAt(AT_FDCWD, path.c_str(), 0700);
    if (made < 0 && made != -EEXIST) return Status::FromErrno(-made, "cannot make the folder " + path, path);
    fd = sys->OpenAt(AT_FDCWD, path.c_str(), kFlags);
  }
  if (fd < 0) return Status::FromErrno(-fd, "cannot open the folder " + path, path);
  SysFd folder(sys, fd);
  struct stat st;
  if (const int r = sys->Fstat(fd, &st); r < 0) return Status::FromErrno(-r, "cannot stat " + path, path);
  DVDI_RETURN_IF_ERROR(CheckOwner(st, path));
  return folder;
}

Result<std::string> ReadOwnedFile(Sys* sys, int folder, const std::string& name, uint64_t max,
                                  const std::string& path, struct stat* out) {
  // O_NONBLOCK: a FIFO in the file's place must not hold us.
  const int fd = sys->OpenAt(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return Status::FromErrno(-fd, "cannot open " + path, path);
  SysFd file(sys, fd);
  struct stat st;
  if (const int r = sys->Fstat(fd, &st); r < 0) return Status::FromErrno(-r, "cannot stat " + path, path);
  if (!S_ISREG(st.st_mode)) return Status(Code::kRefused, path + " is not a regular file").WithPath(path);
  DVDI_RETURN_IF_ERROR(CheckOwner(st, path));
  if (static_cast<uint64_t>(st.st_size) > max)
    return Status(Code::kRefused, path + " has " + std::to_string(st.st_size) + " bytes; at most " +
                                      std::to_string(max) + " are accepted")
        .WithPath(path);
  // One byte more than its size, so that a file which grows meanwhile is seen.
  std::string bytes(static_cast<size_t>(st.st_size) + 1, '\0');
  size_t n = 0;
  while (n < bytes.size()) {
    const ssize_t r = sys->Read(fd, bytes.data() + n, bytes.size() - n);
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

Status ReplaceFile(const Env& env, int folder, const std::string& name, std::string_view bytes,
                   const std::string& path, bool durable) {
  Sys* sys = env.sys;
  const std::string temporary = "." + name + "." + env.random->HexId(8) + ".tmp";
  const int fd =
      sys->OpenAt(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return Status::FromErrno(-fd, "cannot make a file beside " + path, path);
  Status status;
  {
    SysFd file(sys, fd);
    status = WriteAll(sys, fd, bytes, path);
    if (status.ok())
      if (const int r = sys->Fsync(fd); r < 0) status = Status::FromErrno(-r, "cannot fsync " + path, path);
  }
  if (status.ok())
    if (const int r = sys->RenameAt(folder, temporary.c_str(), folder, name.c_str()); r < 0)
      status = Status::FromErrno(-r, "cannot replace " + path, path);
  if (!status.ok()) {
    sys->UnlinkAt(folder, temporary.c_str(), 0);
    return status;
  }
  if (durable)
    if (const int r = sys->Fsync(folder); r < 0)
      return Status::FromErrno(-r, "cannot fsync the folder of " + path, path);
  return Status();
}

}  // namespace dvdi
