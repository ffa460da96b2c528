// User namespaces for ID-mapped mounts.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "helper/ops.h"

namespace dvdi {
namespace {

constexpr uint32_t kIds = 4294967295U;  // ids are 0 to kIds-1; kIds itself is "no id"

Status WriteMap(const std::string& path, const std::string& text) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot open the map of a user namespace", path);
  // The kernel takes a map in one write, once.
  ssize_t n = ::write(fd.get(), text.data(), text.size());
  if (n == static_cast<ssize_t>(text.size())) return Status();
  int err = n < 0 ? errno : EIO;
  if (err == EPERM)
    return Status(Code::kUnsupported, "this process may not map user ids: it has not all of root's rights",
                  "run as root outside a user namespace, or ask for ownership `root-dir`");
  return Status::FromErrno(err, "cannot write the map of a user namespace", path);
}

}  // namespace

std::string SwapMap(uint32_t a, uint32_t b) {
  auto line = [](uint32_t inside, uint32_t outside, uint32_t count) {
    if (count == 0) return std::string();
    return std::to_string(inside) + " " + std::to_string(outside) + " " + std::to_string(count) + "\n";
  };
  uint32_t low = std::min(a, b), high = std::max(a, b);
  if (low == high) return line(0, 0, kIds);
  return line(0, 0, low) + line(low, high, 1) + line(low + 1, low + 1, high - low - 1) + line(high, low, 1) +
         line(high + 1, high + 1, kIds - high - 1);
}

Result<UniqueFd> SwapUserNamespace(uid_t disk_uid, uid_t shown_uid, gid_t disk_gid, gid_t shown_gid) {
  if (disk_uid == kIds || shown_uid == kIds || disk_gid == kIds || shown_gid == kIds)
    return Status(Code::kInvalid, "a user or group id of -1 cannot be mapped");
  // A namespace lives in a process until something holds it: this one does nothing but exist.
  long child = ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
  if (child < 0) {
    if (errno == ENOSPC || errno == EPERM || errno == EINVAL)
      return Status(Code::kUnsupported, "this node does not allow user namespaces, which ID mapping needs",
                    "raise user.max_user_namespaces (sysctl), or ask for ownership `root-dir`");
    return Status::FromErrno(errno, "cannot make a user namespace");
  }
  std::string proc = "/proc/" + std::to_string(child);
  Status status = WriteMap(proc + "/uid_map", SwapMap(disk_uid, shown_uid));
  if (status.ok()) status = WriteMap(proc + "/gid_map", SwapMap(disk_gid, shown_gid));
  UniqueFd ns;
  if (status.ok()) {
    ns.reset(::open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    if (!ns.valid()) status = Status::FromErrno(errno, "cannot open a user namespace", proc + "/ns/user");
  }
  ::kill(static_cast<pid_t>(child), SIGKILL);
  while (::waitpid(static_cast<pid_t>(child), nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!status.ok()) return status;
  return ns;
}

}  // namespace dvdi
