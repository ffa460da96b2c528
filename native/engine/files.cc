#include "engine/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/guards.h"
#include "sys/sys.h"

namespace dvdi {
namespace {
constexpr size_t kMaxFileBytes = 1 << 20;
}

Status WriteAll(const Env& env, int fd, const std::string& text, const std::string& path) {
  size_t at = 0;
  while (at < text.size()) {
    ssize_t n = env.sys->Write(fd, text.data() + at, text.size() - at);
    if (n == -EINTR) continue;
    if (n <= 0) return Status::FromErrno(n < 0 ? static_cast<int>(-n) : EIO, "cannot write " + path, path);
    at += static_cast<size_t>(n);
  }
  return Status();
}

namespace {

Result<std::string> ReadRegular(const Env& env, const std::string& path, size_t max, bool own) {
  int fd = env.sys->OpenAt(AT_FDCWD, path.c_str(), O_RDONLY | O_NONBLOCK | (own ? O_NOFOLLOW : 0));
  if (fd < 0) return Status::FromErrno(-fd, "cannot open " + path, path);
  std::string text;
  auto read = [&]() -> Status {
    struct stat st = {};
    int r = env.sys->Fstat(fd, &st);
    if (r < 0) return Status::FromErrno(-r, "cannot look at " + path, path);
    if (!S_ISREG(st.st_mode)) return Status(Code::kRefused, path + " is not a regular file").WithPath(path);
    if (DVDI_GUARD(proof_is_ours) && own &&
        ((st.st_uid != ::geteuid() && st.st_uid != 0) || (st.st_mode & 022) != 0))
      return Status(Code::kRefused, path + " could have been written by somebody else",
                    "it must belong to root, and group and others must not be able to write it")
          .WithPath(path);
    char buffer[8192];
    for (;;) {
      ssize_t n = env.sys->Read(fd, buffer, sizeof buffer);
      if (n == -EINTR) continue;
      if (n < 0) return Status::FromErrno(static_cast<int>(-n), "cannot read " + path, path);
      if (n == 0) return Status();
      text.append(buffer, static_cast<size_t>(n));
      if (text.size() > max)
        return Status(Code::kInvalid, path + " is larger than " + std::to_string(max) + " bytes")
            .WithPath(path);
    }
  };
  Status s = read();
  env.sys->Close(fd);
  if (!s.ok()) return s;
  return text;
}

}  // namespace

Result<std::string> ReadOwnFile(const Env& env, const std::string& path) {
  return ReadRegular(env, path, kMaxFileBytes, true);
}

Result<std::string> ReadNamedFile(const Env& env, const std::string& path, size_t max) {
  return ReadRegular(env, path, max, false);
}

Status EnsureOwnFolder(const Env& env, const std::string& path) {
  if (path.empty() || path[0] != '/')
    return Status(Code::kInvalid, "folder " + path + " is not an absolute path").WithPath(path);
  int made = -1;
  for (size_t at = 1; at <= path.size(); ++at) {
    if (at < path.size() && path[at] != '/') continue;
    bool last = at == path.size();
    made = env.sys->MkdirAt(AT_FDCWD, path.substr(0, at).c_str(), last ? 0700 : 0755);
    if (made < 0 && made != -EEXIST)
      return Status::FromErrno(-made, "cannot make folder " + path.substr(0, at), path);
  }
  struct stat st = {};
  int r = env.sys->FstatAt(AT_FDCWD, path.c_str(), &st, AT_SYMLINK_NOFOLLOW);
  if (r < 0) return Status::FromErrno(-r, "cannot look at folder " + path, path);
  if (!S_ISDIR(st.st_mode)) return Status(Code::kInvalid, path + " is not a folder").WithPath(path);
  if (st.st_uid != ::geteuid() || (st.st_mode & 022) != 0)
    return Status(Code::kRefused, "folder " + path + " could be changed by somebody else",
                  "it must belong to the user that dvdi runs as, with mode 0700")
        .WithPath(path);
  return Status();
}

Json OperationToJson(const OperationRow& o) {
  return {
      {"version", 1},
      {"owner", o.owner},
      {"scope", o.scope},
      {"operation", o.id},
      {"boot_id", o.boot_id},
      {"started_ms", o.started_ms},
      {"process", {{"pid", o.pid}, {"start_time", o.start_time}, {"mount_namespace", o.mount_namespace}}}};
}

OperationRow OperationFromJson(const Json& j) {
  OperationRow o;
  o.owner = GetString(j, "owner"), o.scope = GetString(j, "scope"), o.id = GetString(j, "operation");
  o.boot_id = GetString(j, "boot_id"), o.started_ms = GetInt(j, "started_ms");
  const Json& process = GetMember(j, "process");
  o.pid = static_cast<pid_t>(GetInt(process, "pid"));
  o.start_time = static_cast<uint64_t>(GetInt(process, "start_time"));
  o.mount_namespace = static_cast<uint64_t>(GetInt(process, "mount_namespace"));
  return o;
}

}  // namespace dvdi
