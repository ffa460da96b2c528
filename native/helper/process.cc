#include "helper/process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <vector>

#include "helper/protocol.h"

#ifndef DVDI_HELPER_PATH
#define DVDI_HELPER_PATH "/usr/local/libexec/dvdi/dvdi-helper"
#endif

namespace dvdi {
namespace {

// The folder of the file that this code was loaded from: the library's, or the executable's.
std::string OwnFolder() {
  Dl_info info = {};
  char path[PATH_MAX];
  // The name of a main program is what it was called as, which may be relative to a former folder.
  bool named = ::dladdr(reinterpret_cast<void*>(&OwnFolder), &info) != 0 && info.dli_fname != nullptr &&
               info.dli_fname[0] == '/' && ::realpath(info.dli_fname, path) != nullptr;
  if (!named) {
    ssize_t n = ::readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return "";
    path[n] = '\0';
  }
  std::string folder(path);
  size_t slash = folder.rfind('/');
  return slash == std::string::npos ? "" : folder.substr(0, slash);
}

std::vector<std::string> DefaultPlaces() {
  std::vector<std::string> places;
  std::string own = OwnFolder();
  if (!own.empty()) {
    places.push_back(own + "/dvdi-helper");
    places.push_back(own + "/../libexec/dvdi/dvdi-helper");
    places.push_back(own + "/../../../libexec/dvdi/dvdi-helper");  // from lib/mesos/modules
    places.push_back(own + "/../helper/dvdi-helper");
  }
  places.push_back(DVDI_HELPER_PATH);
  return places;
}

Result<UniqueFd> OpenChecked(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot open the helper " + path, path);
  struct stat st;
  if (::fstat(fd.get(), &st) < 0) return Status::FromErrno(errno, "cannot look at the helper " + path, path);
  if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0)
    return Status(Code::kRefused, "the helper " + path + " is not an executable file").WithPath(path);
  if ((st.st_uid != 0 && st.st_uid != ::geteuid()) || (st.st_mode & 022) != 0)
    return Status(Code::kRefused, "the helper " + path + " could be changed by others: it will not be run",
                  "chown root " + path + " && chmod 755 " + path)
        .WithPath(path);
  // Above the descriptors that the helper's own are put on before it is executed.
  UniqueFd high(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 10));
  if (!high.valid()) return Status::FromErrno(errno, "cannot keep the helper open", path);
  return high;
}

}  // namespace

uint64_t OwnMountNamespace() {
  struct stat st;
  return ::stat("/proc/thread-self/ns/mnt", &st) == 0 ? st.st_ino : 0;
}

Result<UniqueFd> OpenHelperExecutable(const std::string& path) {
  if (!path.empty()) {
    auto named = OpenChecked(path);
    if (named.ok() || !named.status().hint().empty()) return named;
    return Status(named.status())
        .WithHint("name dvdi-helper with `helper` in the settings, or leave that out");
  }
  std::string looked;
  for (const std::string& place : DefaultPlaces()) {
    auto fd = OpenChecked(place);
    if (fd.ok() || fd.status().error_number() != ENOENT) return fd;
    looked += (looked.empty() ? "" : ", ") + place;
  }
  return Status(Code::kSystem, "dvdi-helper is not installed (looked at " + looked + ")",
                "install it beside the library, or name it in the settings");
}

Result<HelperProcess> StartHelper(int executable) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return Status::FromErrno(errno, "cannot make a socket pair for dvdi-helper");
  UniqueFd ours(pair[0]), theirs(pair[1]);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (int err = ::posix_spawn_file_actions_init(&actions); err != 0)
    return Status::FromErrno(err, "cannot start dvdi-helper");
  if (int err = ::posix_spawnattr_init(&attributes); err != 0) {
    ::posix_spawn_file_actions_destroy(&actions);
    return Status::FromErrno(err, "cannot start dvdi-helper");
  }
  // The socket first: its number may be one of 0 to 2. A standard stream of ours must not stay open in a
  // stuck helper: whoever reads a pipe of ours would wait for its end for ever.
  int err = ::posix_spawn_file_actions_adddup2(&actions, theirs.get(), kHelperSocket);
  for (int fd = 0; fd < 3 && err == 0; ++fd)
    err = ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  if (err == 0) err = ::posix_spawnattr_setsigmask(&attributes, &none);
  if (err == 0) err = ::posix_spawnattr_setsigdefault(&attributes, &all);
  if (err == 0)
    err = ::posix_spawnattr_setflags(&attributes,
                                     POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  HelperProcess process;
  char name[] = "dvdi-helper";
  char* argv[] = {name, nullptr};
  char* envp[] = {nullptr};
  std::string path = "/proc/self/fd/" + std::to_string(executable);
  if (err == 0) err = ::posix_spawn(&process.pid, path.c_str(), &actions, &attributes, argv, envp);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (err != 0) return Status::FromErrno(err, "cannot start dvdi-helper");
  process.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  process.socket = std::move(ours);
  process.mount_namespace = OwnMountNamespace();
  process.owner = ::getpid();
  return process;
}

bool HelperProcess::Usable() const {
  if (owner != ::getpid()) return false;
  char byte;
  ssize_t n = ::recv(socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n < 0 && errno == EAGAIN && mount_namespace == OwnMountNamespace();
}

void HelperProcess::Kill() {
  // By descriptor where there is one: a host that reaps all children might have let the pid go to another.
  if (pidfd.valid())
    ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
  else if (pid > 0)
    ::kill(pid, SIGKILL);
}

bool HelperProcess::Reap() {
  if (pid <= 0) return true;
  pid_t r;
  do {
    r = ::waitpid(pid, nullptr, WNOHANG);
  } while (r < 0 && errno == EINTR);
  if (r == 0) return false;
  pid = 0;  // reaped by us, or (ECHILD) by the process that we live in
  return true;
}

}  // namespace dvdi
