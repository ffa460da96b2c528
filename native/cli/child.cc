#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "base/guards.h"
#include "cli/bind.h"
#include "cli/print.h"
#include "cli/terminal.h"
#include "sys/env.h"

namespace dvdi::cli {
namespace {

// Messages are a letter and NUL-separated fields; each is one packet.
//   parent -> child   N | H mountpoint | B stage target (+ descriptor) | G
//   child -> parent   R | E exit-code errno message hint
constexpr size_t kMostMessage = 64 * 1024;  // two paths and some text are far below

std::vector<std::string> Fields(const std::string& message) {
  std::vector<std::string> fields;
  for (size_t at = 1; at <= message.size();) {
    size_t end = std::min(message.find('\0', at), message.size());
    fields.push_back(message.substr(at, end - at));
    at = end + 1;
  }
  return fields;
}

std::string Join(char kind, std::initializer_list<std::string> fields) {
  std::string message(1, kind);
  for (const auto& f : fields) {
    if (message.size() > 1) message += '\0';
    message += f;
  }
  return message;
}

// One packet and the descriptor that came with it. An empty message is the end of the connection.
Result<std::string> ReceivePacket(int socket, UniqueFd* fd) {
  std::string buffer(kMostMessage, '\0');
  struct iovec part = {buffer.data(), buffer.size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  struct msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t n;
  do {
    n = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    // A peer that ended before it had read everything: said once, and what it sent comes after it.
  } while (n < 0 && (errno == EINTR || errno == ECONNRESET));
  if (n < 0) return Status::FromErrno(errno, "cannot receive from the other side of dvdi run");
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int received;
    ::memcpy(&received, CMSG_DATA(c), sizeof received);
    UniqueFd owned(received);
    if (fd != nullptr) *fd = std::move(owned);
  }
  buffer.resize(static_cast<size_t>(n));
  return buffer;
}

Status SendPacket(int socket, const std::string& message, int fd) {
  if (message.size() > kMostMessage) return Status(Code::kInvalid, "a path is too long");
  struct iovec part = {const_cast<char*>(message.data()), message.size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fd >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    struct cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    ::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  ssize_t n;
  do {
    n = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return Status::FromErrno(errno, "cannot reach the child of dvdi run");
  return OkStatus();
}

// --- in the child

[[noreturn]] void Fail(int socket, int exit_code, const Status& status) {
  // Nobody left to tell is no reason to go on.
  (void)SendPacket(socket,
                   Join('E', {std::to_string(exit_code), std::to_string(static_cast<int>(status.code())),
                              status.message(), status.hint(), status.path()}),
                   -1);
  ::_exit(exit_code);
}

Status EnterNamespace() {
  if (::unshare(CLONE_NEWNS) < 0) {
    int err = errno;
    Status status = Status::FromErrno(err, "cannot make a mount namespace");
    if (err == EPERM)
      return std::move(status).WithHint("`dvdi run` needs root (CAP_SYS_ADMIN): run it with sudo");
    return status;
  }
  // Slave: what is unmounted on the node is unmounted here, and nothing of ours shows on the node.
  if (::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) < 0)
    return Status::FromErrno(errno, "cannot make the mounts of the new namespace slaves");
  return OkStatus();
}

Status JoinNamespace(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/mnt";
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || ::setns(fd.get(), CLONE_NEWNS) < 0)
    return Status::FromErrno(errno, "cannot enter the mount namespace of process " + std::to_string(pid),
                             path);
  return OkStatus();
}

Status HideHere(const std::string& mountpoint) {
  if (mountpoint.size() < 2 || mountpoint[0] != '/')
    return Status(Code::kInternal, "refused to unmount \"" + mountpoint + "\" in the new namespace");
  // All that is stacked there, and what is below.
  while (::umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  // EINVAL: no mount here (any more), as it may never have come into this namespace.
  if (errno == EINVAL || errno == ENOENT) return OkStatus();
  return Status::FromErrno(errno, "cannot hide what is mounted for others at " + mountpoint, mountpoint);
}

Status BecomeUser(const UserIds& user) {
  if (::setgroups(user.groups.size(), user.groups.data()) < 0)
    return Status::FromErrno(errno, "cannot set the groups of the user " + user.name);
  if (::setresgid(user.gid, user.gid, user.gid) < 0)
    return Status::FromErrno(errno, "cannot become the group " + std::to_string(user.gid));
  if (::setresuid(user.uid, user.uid, user.uid) < 0)
    return Status::FromErrno(errno, "cannot become the user " + std::to_string(user.uid));
  if (user.home.empty()) return OkStatus();
  if (::setenv("HOME", user.home.c_str(), 1) < 0 || ::setenv("USER", user.name.c_str(), 1) < 0 ||
      ::setenv("LOGNAME", user.name.c_str(), 1) < 0)
    return Status::FromErrno(errno, "cannot set the environment of the user " + user.name);
  return OkStatus();
}

// As execvp(3), which hands a file without a header to /bin/sh: here that is an error (promise 5). Returns
// the errno.
int Execute(char* const argv[]) {
  const std::string name = argv[0];
  if (!DVDI_GUARD(no_shell)) {
    ::execvp(argv[0], argv);
    return errno;
  }
  if (name.find('/') != std::string::npos) {
    ::execv(argv[0], argv);
    return errno;
  }
  const char* variable = ::getenv("PATH");
  const std::string path = variable == nullptr ? "/bin:/usr/bin" : variable;
  int err = ENOENT;
  for (size_t at = 0; at <= path.size() && !name.empty();) {
    const size_t end = std::min(path.find(':', at), path.size());
    const std::string folder = end == at ? "." : path.substr(at, end - at);
    ::execv((folder + "/" + name).c_str(), argv);
    // One that may not be run is told only where no other folder has one.
    if (errno == EACCES)
      err = EACCES;
    else if (errno != ENOENT && errno != ENOTDIR)
      return errno;
    at = end + 1;
  }
  return err;
}

[[noreturn]] void BecomeCommand(int socket, const ChildSpec& spec, const std::string& folder) {
  // The same folder again, by its path: a volume may lie over it now.
  if (!folder.empty() && ::chdir(folder.c_str()) < 0 && errno != ENOENT && errno != EACCES)
    Fail(socket, kExitRunFailed, Status::FromErrno(errno, "cannot go back to the folder " + folder, folder));
  if (spec.user.has_value()) {
    // While we may. The terminal stays its terminal, for job control, and behind it is who called us.
    if (spec.user->uid != 0)
      if (Status s = RefuseTerminalInput(); !s.ok()) Fail(socket, kExitRunFailed, s);
    if (Status s = BecomeUser(*spec.user); !s.ok()) Fail(socket, kExitRunFailed, s);
  }
  if (!spec.workdir.empty() && ::chdir(spec.workdir.c_str()) < 0)
    Fail(socket, kExitRunFailed,
         Status::FromErrno(errno, "cannot go to the folder " + spec.workdir, spec.workdir)
             .WithHint(
                 "`--workdir` is a folder of this node or of a volume that the command's user may enter"));
  std::vector<char*> argv;
  for (const auto& word : spec.command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  if (int err = ::pthread_sigmask(SIG_SETMASK, &spec.mask, nullptr); err != 0)
    Fail(socket, kExitRunFailed, Status::FromErrno(err, "cannot set the signal mask"));
  int err = Execute(argv.data());
  const char* hint = err == ENOEXEC ? "a script begins with #! and its interpreter" : "";
  Fail(socket, err == ENOENT ? kExitNoCommand : kExitCannotExecute,
       Status::FromErrno(err, "cannot run " + spec.command[0]).WithHint(hint));
}

[[noreturn]] void ChildMain(int socket, const ChildSpec& spec) {
  char* cwd = ::getcwd(nullptr, 0);
  const std::string folder = cwd == nullptr ? "" : cwd;
  ::free(cwd);
  auto begin = ReceivePacket(socket, nullptr);
  if (!begin.ok()) Fail(socket, kExitRunFailed, begin.status());
  if (*begin != "N") ::_exit(kExitRunFailed);  // the parent gave up, or is gone
  // Folders that are made in the container are for its user, whatever the runtime's umask is.
  if (spec.join > 0) ::umask(022);
  if (Status s = spec.join > 0 ? JoinNamespace(spec.join) : EnterNamespace(); !s.ok())
    Fail(socket, kExitRunFailed, s);
  if (!SendPacket(socket, "R", -1).ok()) ::_exit(kExitRunFailed);
  for (;;) {
    UniqueFd tree;
    auto message = ReceivePacket(socket, &tree);
    if (!message.ok()) Fail(socket, kExitRunFailed, message.status());
    if (message->empty()) ::_exit(kExitRunFailed);  // the parent gave up, or is gone
    auto fields = Fields(*message);
    Status status;
    switch ((*message)[0]) {
      case 'H': status = HideHere(fields.at(0)); break;
      case 'B':
        status = spec.join > 0 ? BindInRoot(tree, spec.root, fields.at(1))
                               : BindStage(tree, fields.at(0), fields.at(1));
        break;
      case 'G':
        if (spec.join > 0) ::_exit(kExitOk);
        BecomeCommand(socket, spec, folder);
      default: status = Status(Code::kInternal, "unknown step");
    }
    if (!status.ok()) Fail(socket, kExitRunFailed, status);
  }
}

// Moves the socket away from 0, 1, 2 (which may have been closed by whoever started us) and closes all
// above it. Returns the descriptor.
int KeepOnly(int socket) {
  int moved = socket > 2 ? socket : ::fcntl(socket, F_DUPFD_CLOEXEC, 3);
  if (moved < 0) return -1;
  auto close_range = [](unsigned first, unsigned last) {
    if (first > last || ::syscall(SYS_close_range, first, last, 0) == 0) return;
    long most = ::sysconf(_SC_OPEN_MAX);  // before Linux 5.9
    for (long fd = first; fd <= static_cast<long>(last) && fd < most; ++fd) ::close(static_cast<int>(fd));
  };
  close_range(3, static_cast<unsigned>(moved) - 1);
  close_range(static_cast<unsigned>(moved) + 1, UINT_MAX);
  return moved;
}

}  // namespace

Result<Child> Child::Start(const ChildSpec& spec) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return Status::FromErrno(errno, "cannot make a socket pair");
  UniqueFd ours(pair[0]), theirs(pair[1]);
  pid_t pid = ::fork();
  if (pid < 0) {
    Status status = Status::FromErrno(errno, "cannot make a child process");
    if (status.error_number() != EAGAIN) return status;
    return std::move(status).WithHint(kRaiseProcessLimit);
  }
  if (pid == 0) {
    ours.reset();
    int socket = KeepOnly(theirs.release());
    if (socket < 0) ::_exit(kExitRunFailed);
    ChildMain(socket, spec);
  }
  Child child;
  child.pid_ = pid;
  child.socket_ = std::move(ours);
  return child;
}

Result<ChildReport> Child::Receive() {
  DVDI_ASSIGN_OR_RETURN(std::string message, ReceivePacket(socket_.get(), nullptr));
  ChildReport report;
  auto fields = Fields(message);
  if (message.empty()) {
    report.kind = ChildReport::Kind::kStarted;
  } else if (message == "R") {
    report.kind = ChildReport::Kind::kReady;
  } else if (message[0] == 'E' && fields.size() == 5) {
    report.exit_code = ::atoi(fields[0].c_str());
    report.failure =
        Status(static_cast<Code>(::atoi(fields[1].c_str())), fields[2], fields[3]).WithPath(fields[4]);
    // It knows paths alone.
    for (const Placement& p : places_)
      if (p.target == fields[4]) report.failure.WithVolume(p.driver, p.name);
  } else {
    return Status(Code::kInternal, "the child of dvdi run said something unknown");
  }
  return report;
}

Status Child::Send(const std::string& message, int fd) { return SendPacket(socket_.get(), message, fd); }
Status Child::Place(std::vector<Placement> places) {
  std::stable_sort(places.begin(), places.end(),
                   [](const Placement& a, const Placement& b) { return a.target.size() < b.target.size(); });
  places_ = std::move(places);
  for (const Placement& p : places_) {
    auto tree = CloneStage(p.stage, false);
    if (!tree.ok()) return Status(tree.status()).WithVolume(p.driver, p.name);
    DVDI_RETURN_IF_ERROR(Bind(*tree, p.stage, p.target));
  }
  return OkStatus();
}
Status Child::Enter() { return Send("N", -1); }
Status Child::Hide(const std::string& mountpoint) { return Send(Join('H', {mountpoint}), -1); }
Status Child::Bind(const UniqueFd& tree, const std::string& stage, const std::string& target) {
  return Send(Join('B', {stage, target}), tree.get());
}
bool Child::IsLost(const Status& status) {
  return status.error_number() == EPIPE || status.error_number() == ECONNRESET;
}
Status Child::Go() { return Send("G", -1); }

}  // namespace dvdi::cli
