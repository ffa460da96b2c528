#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

namespace dvdi::cli {
namespace {

constexpr int kHandled[] = {SIGINT,  SIGTERM,  SIGHUP,  SIGQUIT, SIGUSR1,
                            SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP, SIGCHLD};

bool HasTerminal() { return UniqueFd(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)).valid(); }

}  // namespace

Result<Signals> Signals::Block() {
  Signals signals;
  // Inherited as ignored, SIGCHLD would make the command's exit code vanish.
  struct sigaction by_default = {};
  by_default.sa_handler = SIG_DFL;
  if (::sigaction(SIGCHLD, &by_default, nullptr) < 0) return Status::FromErrno(errno, "cannot reset SIGCHLD");
  sigset_t handled;
  ::sigemptyset(&handled);
  ::sigemptyset(&signals.ignored_);
  for (int signal : kHandled) {
    struct sigaction before = {};
    if (::sigaction(signal, nullptr, &before) < 0)
      return Status::FromErrno(errno, "cannot see what a signal does");
    if (before.sa_handler == SIG_IGN) ::sigaddset(&signals.ignored_, signal);
    ::sigaddset(&handled, signal);
  }
  if (int err = ::pthread_sigmask(SIG_BLOCK, &handled, &signals.original_); err != 0)
    return Status::FromErrno(err, "cannot block signals");
  signals.fd_.reset(::signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.fd_.valid()) return Status::FromErrno(errno, "cannot make a signalfd");
  return signals;
}

std::optional<signalfd_siginfo> Signals::Next() {
  signalfd_siginfo info;
  ssize_t n;
  do {
    n = ::read(fd_.get(), &info, sizeof info);
  } while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return info;
}

void Signals::Unblock() {
  while (Next().has_value()) {
  }
  ::pthread_sigmask(SIG_SETMASK, &original_, nullptr);
}

bool IsEnding(int signal) {
  return signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
}

void PassOn(const signalfd_siginfo& signal, pid_t child) {
  bool from_terminal = signal.ssi_code == SI_KERNEL;
  // A terminal that hangs up tells the leader of the session alone, which has to tell the others.
  bool hang_up = signal.ssi_signo == SIGHUP && ::getsid(0) == ::getpid();
  if (from_terminal && !hang_up && ::getpgid(child) == ::getpgrp()) return;
  ::kill(child, static_cast<int>(signal.ssi_signo));  // ESRCH: it ended meanwhile
}

void StopWith(pid_t child, int signal) {
  if (signal != SIGTSTP && signal != SIGTTIN && signal != SIGTTOU) return;
  if (::getpgid(child) != ::getpgrp() || ::getsid(0) == ::getpid() || !HasTerminal()) return;
  ::raise(SIGSTOP);
}

}  // namespace dvdi::cli
