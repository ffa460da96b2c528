// Namespaces, and who lives in them.
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/guards.h"
#include "base/text.h"
#include "sys/sys.h"
#include "sys/time_namespace.h"

namespace dvdi {
namespace {

// NS_GET_MNTNS_ID of Linux 6.11 (include/uapi/linux/nsfs.h), which older headers lack.
constexpr unsigned long kGetMountNamespaceId = _IOR(NSIO, 0x5, uint64_t);
// Marks such a number, so that it can never be taken for an inode number (which has 32 bits).
constexpr uint64_t kUniqueNamespace = uint64_t{1} << 62;

// Of Linux 6.8 and 6.11 (include/uapi/linux/mount.h, MNT_ID_REQ_SIZE_VER1), which older headers lack.
constexpr long kListMount = 458;
constexpr uint64_t kRootOfNamespace = ~uint64_t{0};  // LSMT_ROOT
struct ListMountRequest {
  uint32_t size = sizeof(ListMountRequest), spare = 0;
  uint64_t mount = kRootOfNamespace, after = 0, mount_namespace = 0;
};
static_assert(sizeof(ListMountRequest) == 32);

bool HasCapability(int capability) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data = {};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  return (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

// With CAP_SYS_ADMIN in the first user namespace, which no other one's CAP_SYS_ADMIN is.
bool IsAdminOfTheNode() {
  std::array<char, 128> map = {};
  UniqueFd fd(::open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC));
  const ssize_t n = fd.valid() ? ::read(fd.get(), map.data(), map.size() - 1) : -1;
  unsigned inside = 1, outside = 1, count = 0;
  if (n <= 0 || ::sscanf(map.data(), "%u %u %u", &inside, &outside, &count) != 3) return false;
  return inside == 0 && outside == 0 && count == 0xFFFFFFFF && HasCapability(CAP_SYS_ADMIN);
}

bool IsInGroup(gid_t gid) {
  std::vector<gid_t> groups(static_cast<size_t>(std::max(::getgroups(0, nullptr), 0)));
  if (::getgroups(static_cast<int>(groups.size()), groups.data()) < 0) groups.clear();
  groups.push_back(::getegid());
  return std::find(groups.begin(), groups.end(), gid) != groups.end();
}

// Whether the filesystem of /proc, by its options in mountinfo, leaves out the processes that we may not look
// at (proc(5), hidepid: 2 and 4; their names from Linux 5.8 on).
bool HidesProcesses(const std::string& mountinfo) {
  std::string text;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, mountpoint;
    fields >> id >> parent >> device >> root >> mountpoint;
    if (mountpoint == "/proc")
      text = line.substr(std::min(line.find(" - "), line.size()));  // the last on top
  }
  auto value = [&text](const std::string& name) -> std::string {
    const size_t at = text.find("," + name + "=");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 2;
    return text.substr(begin, text.find(',', begin) - begin);
  };
  const std::string hidden = value("hidepid");
  if (hidden == "4" || hidden == "ptraceable") return true;
  return (hidden == "2" || hidden == "invisible") &&
         !IsInGroup(static_cast<gid_t>(::strtoul(value("gid").c_str(), nullptr, 10)));
}

bool IsGone(int error) { return error == -ENOENT || error == -ESRCH; }
Status CannotTell(int error, const std::string& pid) {
  Status status = Status::FromErrno(error, "cannot tell the mount namespace of process " + pid,
                                    "/proc/" + pid + "/ns/mnt");
  if (!IsForbidden(-error)) return status;
  return std::move(status).WithHint("who looks at other users' processes needs CAP_SYS_PTRACE");
}

// A process whose first thread has ended has no namespace itself; its other threads have. 1 where one of them
// is in that one, 0 where none is.
int AThreadIsIn(Sys* sys, const std::string& tasks, uint64_t mount_namespace) {
  std::vector<std::string> names;
  int r = sys->ListDir(AT_FDCWD, tasks.c_str(), &names);
  if (r < 0) return IsGone(r) ? 0 : r;
  for (const auto& name : names) {
    if (!IsDigits(name)) continue;
    uint64_t number = 0;
    r = sys->MountNamespace(static_cast<pid_t>(::atol(name.c_str())), &number);
    if (IsGone(r)) continue;
    if (r < 0) return r;
    if (number == mount_namespace) return 1;
  }
  return 0;
}

}  // namespace

int Sys::MountNamespace(pid_t pid, uint64_t* number) {
  std::string path = pid > 0 ? "/proc/" + std::to_string(pid) + "/ns/mnt" : "/proc/self/ns/mnt";
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return fd.valid() ? MountNamespaceOf(fd.get(), number) : -errno;
}
int Sys::MountNamespaceOf(int fd, uint64_t* number) {
  uint64_t id = 0;
  if (::ioctl(fd, kGetMountNamespaceId, &id) == 0) {
    *number = id | kUniqueNamespace;
    return 0;
  }
  if (errno != ENOTTY) return -errno;  // before Linux 6.11
  struct stat st;
  if (::fstat(fd, &st) < 0) return -errno;
  *number = st.st_ino;
  return 0;
}
Result<std::vector<pid_t>> Sys::ProcessesIn(uint64_t mount_namespace, uint64_t since) {
  std::vector<pid_t> found;
  Status refused;
  // One that forks and ends between the listing and the look at it leaves a child that is in the next
  // listing.
  for (int look = 0; look < 2 && found.empty(); ++look) {
    std::vector<std::string> names;
    int r = ListDir(AT_FDCWD, "/proc", &names);
    if (r < 0) return Status::FromErrno(-r, "cannot list /proc", "/proc");
    for (const auto& name : names) {
      if (!IsDigits(name)) continue;
      pid_t pid = static_cast<pid_t>(::atol(name.c_str()));
      uint64_t number = 0;
      r = MountNamespace(pid, &number);
      if (r >= 0)
        r = number == mount_namespace ? 1 : 0;
      else if (IsGone(r))
        r = AThreadIsIn(this, "/proc/" + name + "/task", mount_namespace);
      if (r > 0) found.push_back(pid);
      // Of one that cannot be looked at nobody may say that it is elsewhere. For want of rights it is so with
      // many that have nothing to do with it: one that is found tells more.
      if (r >= 0) continue;
      Status why = CannotTell(-r, name);
      if (!IsForbidden(-r)) return why;
      uint64_t start = 0;
      if (since != 0 && ProcessStart(pid, &start) == 0 && start < since) continue;
      if (DVDI_GUARD(pids_refused)) refused = std::move(why);
    }
  }
  if (found.empty() && !refused.ok()) return refused;
  return found;
}

Result<bool> Sys::IsDeserted(uint64_t mount_namespace, uint64_t since) {
  auto left = ProcessesIn(mount_namespace);
  if (!left.ok() && IsForbidden(left.status().error_number())) {
    bool ended = false;
    const int r = MountNamespaceEnded(mount_namespace, &ended);
    if (r == 0) return ended;
    // Before Linux 6.11. One that is older than all that began there would have had to move in since.
    if (since != 0) left = ProcessesIn(mount_namespace, since);
  }
  if (!left.ok()) return left.status();
  return left->empty();
}

int Sys::PidNamespace(uint64_t* number) {
  std::array<char, 32> self = {};
  if (::readlink("/proc/self", self.data(), self.size() - 1) < 0) return errno == ENOENT ? -EXDEV : -errno;
  if (::atol(self.data()) != ::getpid()) return -EXDEV;
  if (!HasCapability(CAP_SYS_PTRACE)) {
    auto mounts = Mountinfo();
    if (!mounts.ok()) return -std::max(mounts.status().error_number(), 1);
    if (HidesProcesses(*mounts)) return -EACCES;
  }
  int64_t ahead = 0;
  if (const int r = BootClockAhead(&ahead); r < 0) return r;
  struct stat st;
  if (::stat("/proc/self/ns/pid", &st) == 0) {
    *number = st.st_ino;
    return 0;
  }
  if (errno != ENOENT) return -errno;
  *number = kFirstPidNamespace;  // a kernel that has no others
  return 0;
}

Result<uint64_t> OwnPidNamespace(Sys* sys) {
  uint64_t number = 0;
  const int r = sys->PidNamespace(&number);
  if (r == -EXDEV)
    return Status(Code::kSystem, "the /proc here is of another PID namespace than this process",
                  "mount this one's over it (as `unshare --mount-proc` does), or run in the node's own");
  if (r == -EACCES)
    return Status(Code::kSystem, "the /proc here hides processes from this one (hidepid)",
                  "give it the capability CAP_SYS_PTRACE, or mount /proc without hidepid");
  if (r == -EDOM)
    return Status(
        Code::kSystem, "when a process began cannot be told in the time namespace here",
        "run in the node's own, or give this one a boot time that is whole seconds ahead or behind");
  if (r < 0) return Status::FromErrno(-r, "cannot tell our PID namespace", "/proc/self/ns/pid");
  return number;
}

int Sys::MountNamespaceEnded(uint64_t number, bool* ended) {
  *ended = false;
  if ((number & kUniqueNamespace) == 0) return -EOPNOTSUPP;
  // Who may not see it gets the same answer as of one that is not there.
  if (!IsAdminOfTheNode()) return -EPERM;
  ListMountRequest request;
  request.mount_namespace = number & ~kUniqueNamespace;
  uint64_t first = 0;
  if (::syscall(kListMount, &request, &first, 1, 0) >= 0) return 0;
  if (errno != ENOENT) return errno == ENOSYS || errno == EINVAL ? -EOPNOTSUPP : -errno;
  *ended = true;
  return 0;
}

}  // namespace dvdi
