#include "cli/terminal.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace dvdi::cli {
namespace {

constexpr unsigned long kBeyond32Bit = 1ul << 32;

// What the call fails with in a process of its own, -1 where it kills it. There is no descriptor -1: EBADF is
// what a call ends with that gets as far as its file.
int ErrnoOf(bool refuse, const std::function<long()>& call) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::signal(SIGSEGV, SIG_DFL);
    if (refuse && !RefuseTerminalInput().ok()) ::_exit(254);
    const long answer = call();
    ::_exit(answer == -1 ? errno : 0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Each way to call ioctl on this machine.
struct Way {
  const char* name;
  std::function<long(unsigned long)> ioctl;
};

const Way kWays[] = {
    {"its own", [](unsigned long request) { return ::syscall(SYS_ioctl, -1, request, nullptr); }},
#ifdef __x86_64__
    {"x32", [](unsigned long request) { return ::syscall(0x40000000 | 514, -1, request, nullptr); }},
    {"x32 by the other number",
     [](unsigned long request) { return ::syscall(0x40000000 | SYS_ioctl, -1, request, nullptr); }},
    {"x32 without its bit", [](unsigned long request) { return ::syscall(514, -1, request, nullptr); }},
    {"i386",
     [](unsigned long request) {
       long answer = 54;
       asm volatile("int $0x80"
                    : "+a"(answer)
                    : "b"(-1l), "c"(request), "d"(0l)
                    : "memory", "r8", "r9", "r10", "r11");
       if (answer >= 0) return answer;
       errno = static_cast<int>(-answer);
       return -1l;
     }},
#endif
};

TEST(Terminal, NothingIsPutIntoItsInput) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    const int otherwise = ErrnoOf(false, [&] { return way.ioctl(TIOCSTI); });
    for (unsigned long request : {+TIOCSTI, +TIOCLINUX}) {
      // A kernel that does not run such programs ends the process, with the filter or without.
      if (otherwise == -1) continue;
      EXPECT_EQ(ErrnoOf(true, [&] { return way.ioctl(request); }), EPERM);
      EXPECT_EQ(ErrnoOf(true, [&] { return way.ioctl(request | kBeyond32Bit); }), EPERM);
    }
    EXPECT_EQ(ErrnoOf(true, [&] { return way.ioctl(TIOCGWINSZ); }), otherwise) << "the rest is as it was";
  }
  EXPECT_EQ(ErrnoOf(false, [] { return kWays[0].ioctl(TIOCSTI); }), EBADF);
}

}  // namespace
}  // namespace dvdi::cli
