#include "sanity/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "sys/env.h"
#include "sys/sys.h"

extern char** environ;

namespace dvdi::sanity {
namespace {

// Its exit status; -1 where it has not ended in time and was killed, or was ended by a signal.
int WaitFor(pid_t child, int64_t ms) {
  for (int64_t until = Clock::Real()->MonotonicMs() + ms;;) {
    int status = 0;
    pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (ended < 0 && errno != EINTR) return -1;
    int64_t now = Clock::Real()->MonotonicMs();
    if (now >= until) break;
    Scheduler::Real()->SleepUntil(now + 5);
  }
  ::kill(child, SIGKILL);
  // One that sleeps uninterruptibly is not waited for.
  ::waitpid(child, nullptr, WNOHANG);
  return -1;
}

}  // namespace

bool InChild(const std::function<bool()>& work, int64_t ms) {
  pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) ::_exit(work() ? 0 : 1);
  return WaitFor(child, ms) == 0;
}

bool FolderExists(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

bool IsMounted(const std::string& path) {
  bool root = false;
  return RealEnv().sys->IsMountRoot(path.c_str(), &root) == 0 && root;
}

bool WriteText(const std::string& path, const std::string& text) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return false;
  bool written = ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  // Some FUSE filesystems have no fsync; closing is what says whether it was taken.
  if (::fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return false;
  return ::close(fd.release()) == 0 && written;
}

std::string ReadText(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  char buffer[4096];
  ssize_t n = fd.valid() ? ::read(fd.get(), buffer, sizeof buffer) : -1;
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : "";
}

Status RunCommand(const std::vector<std::string>& command, int64_t ms) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  // A terminal's Ctrl-C ends us after the check that runs: it must not end a restart half way, or the plugin
  // that was started by it. What we ignore is not for a plugin to inherit.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t ignored;
  ::sigemptyset(&ignored);
  for (int s : {SIGPIPE, SIGXFSZ}) ::sigaddset(&ignored, s);
  ::posix_spawnattr_setsigdefault(&attributes, &ignored);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  pid_t child = -1;
  int error = ::posix_spawn(&child, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  std::string what = "the command that restarts the plugin, " + OneLine(command[0], 100) + ",";
  if (error != 0) return Status::FromErrno(error, what + " cannot be run");
  int status = WaitFor(child, ms);
  if (status != 0)
    return Status(Code::kSystem, what + (status < 0 ? " was ended by a signal, or did not end within a minute"
                                                    : " ended with " + std::to_string(status)));
  return OkStatus();
}

}  // namespace dvdi::sanity
