#include "cli/signals.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dvdi::cli {
namespace {

signalfd_siginfo Signal(int number, int code) {
  signalfd_siginfo info = {};
  info.ssi_signo = static_cast<uint32_t>(number);
  info.ssi_code = code;
  return info;
}

// A process that the first signal ends. Of two that are pending the lower number comes first, so what was
// passed on is seen in its wait status.
class Victim {
 public:
  explicit Victim(bool own_group) {
    // Ignored where the tests run in the background of a shell.
    for (int s : {SIGINT, SIGTERM}) ::signal(s, SIG_DFL);
    pid_ = ::fork();
    if (pid_ == 0) {
      for (;;) ::pause();
    }
    if (own_group) {
      EXPECT_EQ(::setpgid(pid_, pid_), 0);
    }
  }
  pid_t pid() const { return pid_; }
  int EndedBy() {
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  }

 private:
  pid_t pid_;
};

TEST(PassingOn, WhatTheTerminalSentIsThereAlready) {
  Victim same_group(false);
  PassOn(Signal(SIGINT, SI_KERNEL), same_group.pid());
  PassOn(Signal(SIGTERM, SI_USER), same_group.pid());
  EXPECT_EQ(same_group.EndedBy(), SIGTERM);
}

TEST(PassingOn, WhatTheTerminalSentMissesAnotherGroup) {
  Victim other_group(true);
  PassOn(Signal(SIGINT, SI_KERNEL), other_group.pid());
  PassOn(Signal(SIGTERM, SI_USER), other_group.pid());
  EXPECT_EQ(other_group.EndedBy(), SIGINT);
}

TEST(Blocking, SignalsComeThroughTheDescriptor) {
  sigset_t before, after;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &before), 0);
  auto signals = Signals::Block();
  ASSERT_TRUE(signals.ok());
  EXPECT_FALSE(signals->Next().has_value());
  ASSERT_EQ(::raise(SIGTERM), 0);
  auto next = signals->Next();
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->ssi_signo, static_cast<uint32_t>(SIGTERM));
  // What nobody took is dropped, not delivered.
  ASSERT_EQ(::raise(SIGHUP), 0);
  signals->Unblock();
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (int s : {SIGINT, SIGTERM, SIGCHLD}) EXPECT_EQ(::sigismember(&before, s), ::sigismember(&after, s));
}

}  // namespace
}  // namespace dvdi::cli
