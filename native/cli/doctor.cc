#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/fd.h"
#include "cli/engine.h"
#include "cli/print.h"
#include "cli/verbs.h"
#include "ledger/reserve.h"
#include "sys/sys.h"

namespace dvdi::cli {
namespace {

constexpr char kDefaultStateDir[] = "/var/lib/dvdi";
constexpr char kDefaultConfig[] = "/etc/dvdi/config.yaml";

// Runs `work` in a child; its result, 0 or an errno.
template <class Work>
int InChild(Work work) {
  pid_t pid = ::fork();
  if (pid < 0) return errno;
  if (pid == 0) ::_exit(work());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

std::string ErrnoText(int err) { return std::string(::strerror(err)); }

// A call with nonsense tells a kernel that lacks it (ENOSYS) from one that has it (any other error). EPERM is
// what a container's seccomp filter says.
DoctorCheck CallCheck(const char* name, int result, bool required, const char* without, const char* since) {
  DoctorCheck check{name, result != -ENOSYS && result != -EPERM, required, "", ""};
  check.found = check.ok ? "there" : ErrnoText(-result) + "; without it: " + without;
  if (!check.ok)
    check.fix = result == -EPERM ? "a seccomp filter forbids it: allow it for this container"
                                 : std::string("it comes with Linux ") + since;
  return check;
}

// Whether a mount of the root filesystem can be ID-mapped: done for real on a detached copy of it.
int TryIdmap() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return errno;
  UniqueFd ours(pair[0]), theirs(pair[1]);
  pid_t holder = ::fork();
  if (holder < 0) return errno;
  if (holder == 0) {  // holds a user namespace until the other end closes
    ours.reset();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char byte = ::unshare(CLONE_NEWUSER) == 0 ? 0 : static_cast<char>(errno);
    if (::write(theirs.get(), &byte, 1) != 1) ::_exit(1);
    (void)!::read(theirs.get(), &byte, 1);
    ::_exit(0);
  }
  theirs.reset();
  char byte = 0;
  int result = ::read(ours.get(), &byte, 1) == 1 ? byte : EIO;
  std::string proc = "/proc/" + std::to_string(holder);
  Sys* sys = Sys::Real();
  for (const char* map : {"/uid_map", "/gid_map"}) {
    if (result != 0) break;
    UniqueFd file(::open((proc + map).c_str(), O_WRONLY | O_CLOEXEC));
    const char line[] = "0 100000 65536";
    if (!file.valid() || ::write(file.get(), line, sizeof line - 1) < 0) result = errno;
  }
  if (result == 0) {
    UniqueFd userns(::open((proc + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    UniqueFd tree(sys->OpenTree(AT_FDCWD, "/", OPEN_TREE_CLONE));
    int r = !userns.valid() ? -errno
            : !tree.valid()
                ? -ENOSYS
                : sys->MountSetattr(tree.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, 0, userns.get());
    result = r < 0 ? -r : 0;
  }
  ours.reset();
  while (::waitpid(holder, nullptr, 0) < 0 && errno == EINTR) {
  }
  return result;
}

// The effective capabilities of this process, as a bit set.
uint64_t EffectiveCapabilities() {
  FILE* file = ::fopen("/proc/self/status", "re");
  if (file == nullptr) return 0;
  char line[256];
  unsigned long long value = 0;
  while (::fgets(line, sizeof line, file) != nullptr)
    if (::sscanf(line, "CapEff: %llx", &value) == 1) break;
  ::fclose(file);
  return value;
}

// The tool's path in PATH and the system folders, or "".
std::string FindTool(const std::string& name) {
  const char* path = ::getenv("PATH");
  std::string folders =
      std::string(path == nullptr ? "" : path) + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";
  for (size_t at = 0; at <= folders.size();) {
    size_t end = std::min(folders.find(':', at), folders.size());
    std::string candidate = folders.substr(at, end - at) + "/" + name;
    at = end + 1;
    if (candidate.size() > name.size() + 1 && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

const char* NetworkFilesystem(const std::string& path) {
  struct statfs fs;
  if (::statfs(path.c_str(), &fs) < 0) return nullptr;
  switch (static_cast<unsigned long>(fs.f_type)) {
    case 0x6969: return "NFS";
    case 0x517B: return "SMB";
    case 0xFE534D42: return "SMB2";
    case 0xFF534D42: return "CIFS";
    case 0x00C36400: return "Ceph";
    case 0x5346414F: return "AFS";
    case 0x01021997: return "9p";
    case 0x0BD00BD0: return "Lustre";
    case 0x47504653: return "GPFS";
    case 0x01161970: return "GFS2";
    case 0x7461636F: return "OCFS2";
    default: return nullptr;
  }
}

void PrintChecks(const std::vector<DoctorCheck>& checks) {
  Table table({"", "CHECK", "FOUND"});
  for (const auto& c : checks) {
    Color color = c.ok ? Color::kGreen : c.required ? Color::kRed : Color::kYellow;
    std::string found = c.found;
    if (!c.ok && !c.fix.empty()) found += (found.empty() ? "" : ". ") + ("To get it: " + c.fix);
    table.Add({c.ok ? "ok" : c.required ? "MISSING" : "optional", c.name, found}, color, 0);
  }
  PrintText(table.Text());
}

}  // namespace

std::vector<DoctorCheck> CheckKernel() {
  std::vector<DoctorCheck> checks;
  struct utsname name = {};
  ::uname(&name);
  int major = 0, minor = 0;
  ::sscanf(name.release, "%d.%d", &major, &minor);
  const bool recent = major > 5 || (major == 5 && minor >= 6);
  checks.push_back(
      {"kernel", recent, true, std::string(name.sysname) + " " + name.release, "Linux 5.6 or newer"});
  Sys* sys = Sys::Real();
  const char* classic = "mounts are made with mount(2), and `dvdi run` needs a shared root mount";
  checks.push_back(CallCheck("open_tree", sys->OpenTree(-1, "", AT_EMPTY_PATH), false, classic, "5.2"));
  checks.push_back(CallCheck("move_mount", sys->MoveMount(-1, "", -1, "", MOVE_MOUNT_F_EMPTY_PATH), false,
                             classic, "5.2"));
  checks.push_back(CallCheck("mount_setattr", sys->MountSetattr(-1, "", AT_EMPTY_PATH, 0, 0, MS_PRIVATE, -1),
                             false, "no ownership by ID mapping", "5.12"));
  struct open_how how = {};
  how.flags = O_PATH;
  how.resolve = RESOLVE_NO_SYMLINKS;
  checks.push_back(CallCheck("openat2", sys->OpenAt2(AT_FDCWD, "/", how), true,
                             "a path inside a volume cannot be kept inside it", "5.6"));
  int idmap = TryIdmap();
  checks.push_back(
      {"idmap", idmap == 0, false,
       idmap == 0 ? "ID-mapped mounts work on the root filesystem"
                  : "no ID-mapped mount of the root filesystem: " + ErrnoText(idmap),
       "Linux 5.12 or newer, root, and a filesystem that allows it (ext4, xfs, btrfs); other ownership "
       "modes need nothing"});
  return checks;
}

std::vector<DoctorCheck> CheckRights() {
  constexpr int kCapSysAdmin = 21;
  constexpr int kCapSysPtrace = 19;
  std::vector<DoctorCheck> checks;
  uid_t uid = ::geteuid();
  checks.push_back({"root", uid == 0, true, "uid " + std::to_string(uid), "run dvdi as root (sudo)"});
  const uint64_t capabilities = EffectiveCapabilities();
  const bool admin = (capabilities >> kCapSysAdmin & 1) != 0,
             looks = (capabilities >> kCapSysPtrace & 1) != 0;
  checks.push_back({"CAP_SYS_ADMIN", admin, true, admin ? "there" : "not among the effective capabilities",
                    "run as root; in a container, with --privileged or --cap-add SYS_ADMIN"});
  checks.push_back({"CAP_SYS_PTRACE", looks, false,
                    looks ? "there"
                          : "not among the effective capabilities: whether other users' processes go on, and "
                            "where a driver's mounts are, cannot be seen",
                    "in a container, --cap-add SYS_PTRACE"});
  int mounting = InChild([] {
    if (::unshare(CLONE_NEWNS) < 0) return errno;
    if (::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) < 0) return errno;
    return ::mount("/", "/", nullptr, MS_BIND, nullptr) < 0 ? errno : 0;
  });
  checks.push_back({"mounting", mounting == 0, true,
                    mounting == 0 ? "a mount namespace and a bind mount work" : ErrnoText(mounting),
                    "root, and no seccomp or LSM profile that forbids unshare and mount"});
  return checks;
}

std::vector<DoctorCheck> CheckTools() {
  struct Tool {
    const char* name;
    const char* package;
    const char* what;
  };
  static constexpr Tool kTools[] = {
      {"mkfs.ext4", "e2fsprogs", "dvdi-driver formats ext4 with it"},
      {"mkfs.xfs", "xfsprogs", "dvdi-driver formats xfs with it"},
      {"fusermount3", "fuse3", "drivers on FUSE need it (rclone, sshfs, bindfs)"},
      {"mount.nfs", "nfs-common", "drivers on NFS need it"},
  };
  std::vector<DoctorCheck> checks;
  for (const auto& tool : kTools) {
    std::string path = FindTool(tool.name);
    checks.push_back({tool.name, !path.empty(), false, path.empty() ? tool.what : path,
                      std::string("apt-get install ") + tool.package});
  }
  struct Device {
    const char* path;
    const char* what;
    const char* module;
  };
  static constexpr Device kDevices[] = {
      {"/dev/loop-control", "dvdi-driver attaches images with it", "modprobe loop"},
      {"/dev/fuse", "drivers on FUSE need it", "modprobe fuse"}};
  for (const auto& device : kDevices) {
    bool there = ::access(device.path, R_OK | W_OK) == 0;
    const bool closed = !there && ::access(device.path, F_OK) == 0;
    checks.push_back({device.path, there, false, there ? "there" : device.what,
                      closed ? "it is there, and not to be opened: run dvdi as root" : device.module});
  }
  return checks;
}

DoctorCheck CheckStateFolder(const std::string& folder) {
  DoctorCheck check{"state folder", false, true, folder, ""};
  struct stat st;
  std::string existing = folder;
  bool there = ::lstat(folder.c_str(), &st) == 0;
  if (!there && errno != ENOENT) {
    check.found += ": " + ErrnoText(errno);
    check.fix = "make it readable for root, or give another with --state-dir";
    return check;
  }
  while (!there && existing.size() > 1 && ::access(existing.c_str(), F_OK) < 0)
    existing = existing.substr(0, std::max<size_t>(existing.rfind('/'), 1));
  if (const char* network = NetworkFilesystem(existing); network != nullptr) {
    check.found += " is on a network filesystem (" + std::string(network) + ")";
    check.fix = "keep it on a local disk of this node: state_dir in the settings, or --state-dir";
    return check;
  }
  if (!there) {
    check.ok = true;
    check.found += " (made at the first use)";
    return check;
  }
  char mode[16];
  ::snprintf(mode, sizeof mode, "%04o", st.st_mode & 07777);
  check.found += ", owner " + std::to_string(st.st_uid) + ", mode " + mode;
  check.ok = S_ISDIR(st.st_mode) && st.st_uid == ::geteuid() && (st.st_mode & 022) == 0;
  if (!S_ISDIR(st.st_mode))
    check.fix = "it must be a folder";
  else
    check.fix = "chown root " + folder + " && chmod 0700 " + folder;
  uint64_t free = 0;
  if (check.ok && Sys::Real()->FsFree(existing.c_str(), &free) >= 0) {
    check.found += ", " + SizeText(static_cast<double>(free)) + " free";
    if (IsFull(free, ::access((existing + "/ledger.db.reserve").c_str(), F_OK) == 0)) {
      check.ok = false;
      check.fix =
          "make room on its filesystem: until then no workload with volumes starts (those that run can end)";
    }
  }
  return check;
}

bool IsFull(uint64_t free_bytes, bool reserve) {
  return free_bytes < static_cast<uint64_t>(reserve ? Reserve::kBytes : Reserve::kRoomToMake);
}

int Doctor(const Options& options) {
  std::vector<DoctorCheck> checks = CheckKernel();
  auto add = [&](std::vector<DoctorCheck> more) { checks.insert(checks.end(), more.begin(), more.end()); };
  add(CheckRights());
  add(CheckTools());
  std::string state_dir = options.global.state_dir.empty() ? kDefaultStateDir : options.global.state_dir;
  auto engine = Engine::Open(options.global);
  if (engine.ok()) {
    auto summary = (*engine)->Ask(dvdi_status, {{"what", "summary"}});
    if (summary.ok()) state_dir = GetString(*summary, "state_dir", state_dir);
    add({CheckStateFolder(state_dir)});
    auto answer = (*engine)->Ask(dvdi_status, {{"what", "doctor"}});
    if (answer.ok()) {
      for (const auto& c : GetMember(*answer, "checks")) {
        std::string name = GetString(c, "name");
        auto same = [&](const DoctorCheck& known) { return known.name == name; };
        if (std::any_of(checks.begin(), checks.end(), same)) continue;  // ours looks closer
        add({{name, GetBool(c, "ok"), GetBool(c, "required"), GetString(c, "found"), GetString(c, "fix")}});
      }
    } else {
      add({{"engine", false, true, ErrorLine(answer.status()), ""}});
    }
  } else {
    // Where settings may name the state folder, nobody has read them: the engine's error says what is wrong.
    const std::string& config = options.global.config;
    if (!options.global.state_dir.empty() ||
        (config.empty() && ::access(kDefaultConfig, F_OK) < 0 && errno == ENOENT))
      add({CheckStateFolder(state_dir)});
    add({{"engine", false, true, ErrorLine(engine.status()), ""}});
  }
  bool missing = false;
  Json all = Json::array();
  for (auto& c : checks) {
    missing |= c.required && !c.ok;
    if (c.ok) c.fix.clear();
    all.push_back(
        {{"name", c.name}, {"ok", c.ok}, {"required", c.required}, {"found", c.found}, {"fix", c.fix}});
  }
  if (options.global.json)
    PrintJson({{"checks", all}, {"ok", !missing}});
  else
    PrintChecks(checks);
  return missing ? kExitMissing : kExitOk;
}

}  // namespace dvdi::cli
