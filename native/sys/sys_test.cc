#include "sys/sys.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace dvdi {
namespace {

// A process in a mount namespace of its own, until the end of its life.
class Stranger {
 public:
  Stranger() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return;
    UniqueFd from(ends[0]), to(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) {
      char ready = ::unshare(CLONE_NEWNS) == 0 ? 'y' : 'n';
      if (::write(to.get(), &ready, 1) == 1) ::pause();
      ::_exit(0);
    }
    char ready = 'n';
    ok_ = ::read(from.get(), &ready, 1) == 1 && ready == 'y';
  }
  ~Stranger() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  bool ok() const { return ok_; }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  bool ok_ = false;
};

// Takes a capability from this process for good.
bool Drop(int capability) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data = {};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  data.at(CAP_TO_INDEX(capability)).effective &= ~CAP_TO_MASK(capability);
  data.at(CAP_TO_INDEX(capability)).permitted &= ~CAP_TO_MASK(capability);
  return ::syscall(SYS_capset, &header, data.data()) == 0;
}

// What `body` returns in a child; -1 where it was ended.
int InChild(int (*body)(uint64_t), uint64_t number) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body(number));
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A scope that was killed must not seem alive because a stranger's namespace got its number.
TEST(SysTest, ANumberOfAMountNamespaceNeverComesAgain) {
  std::set<uint64_t> seen;
  for (int i = 0; i < 20; ++i) {
    Stranger stranger;
    if (!stranger.ok()) GTEST_SKIP() << "a mount namespace needs root";
    uint64_t number = 0, again = 0;
    ASSERT_EQ(Sys::Real()->MountNamespace(stranger.pid(), &number), 0);
    ASSERT_EQ(Sys::Real()->MountNamespace(stranger.pid(), &again), 0);
    EXPECT_EQ(number, again);
    if (number <= UINT32_MAX) GTEST_SKIP() << "before Linux 6.11 a mount namespace has no number of its own";
    EXPECT_TRUE(seen.insert(number).second) << "the number " << number << " came again";
    auto living = Sys::Real()->ProcessesIn(number);
    ASSERT_TRUE(living.ok()) << living.status().message();
    EXPECT_EQ(*living, std::vector<pid_t>{stranger.pid()});
  }
}

// A scope that seems to be without a process is ended.
TEST(SysTest, WhoCannotBeLookedAtIsNotTakenForNobody) {
  struct Blind : Sys {
    int MountNamespace(pid_t, uint64_t*) override { return -EMFILE; }
  } blind;
  EXPECT_FALSE(blind.ProcessesIn(1).ok());
  // One that forks between the list and the look at it, and ends, has left a child that is in the next list.
  struct Late : Sys {
    bool listed = false;
    int ListDir(int dirfd, const char* path, std::vector<std::string>* names) override {
      names->clear();
      return std::exchange(listed, true) ? Sys::ListDir(dirfd, path, names) : 0;
    }
  } late;
  uint64_t own = 0;
  ASSERT_EQ(late.MountNamespace(0, &own), 0);
  const auto found = late.ProcessesIn(own);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_NE(std::find(found->begin(), found->end(), ::getpid()), found->end());
}

// Its first thread has ended, and what is left in /proc/PID of that says nothing of where the others are.
TEST(SysTest, AProcessLivesInItsNamespaceAsLongAsAnyOfItsThreads) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    char ok = ::unshare(CLONE_NEWNS) == 0 ? 'y' : 'n';
    static uint64_t number = 0;
    if (ok == 'y' && Sys::Real()->MountNamespace(0, &number) < 0) ok = 'n';
    static int out = ready[1];
    pthread_t thread;
    if (ok == 'n' || ::pthread_create(
                         &thread, nullptr,
                         [](void*) -> void* {
                           ::usleep(50'000);  // the first one is gone
                           (void)!::write(out, &number, sizeof number);
                           for (;;) ::pause();
                         },
                         nullptr) != 0)
      ::_exit(1);
    ::syscall(SYS_exit, 0);  // this thread alone
  }
  ::close(ready[1]);
  uint64_t number = 0, own = 0;
  const bool ok = ::read(ready[0], &number, sizeof number) == sizeof number;
  ::close(ready[0]);
  if (ok) {
    EXPECT_EQ(Sys::Real()->MountNamespace(pid, &own), -ENOENT) << "as the test has it";
    auto living = Sys::Real()->ProcessesIn(number);
    EXPECT_TRUE(living.ok()) << living.status().message();
    if (living.ok()) EXPECT_EQ(*living, std::vector<pid_t>{pid});
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  if (!ok) GTEST_SKIP() << "a mount namespace needs root";
}

TEST(SysTest, ThatAMountNamespaceIsNoMoreIsKnownWithoutItsProcesses) {
  uint64_t number = 0;
  bool ended = true;
  {
    Stranger stranger;
    if (!stranger.ok()) GTEST_SKIP() << "a mount namespace needs root";
    ASSERT_EQ(Sys::Real()->MountNamespace(stranger.pid(), &number), 0);
    const int r = Sys::Real()->MountNamespaceEnded(number, &ended);
    if (r == -EOPNOTSUPP) GTEST_SKIP() << "the kernel has no listmount(2) of other namespaces (Linux 6.11)";
    EXPECT_EQ(r, 0);
    EXPECT_FALSE(ended);
  }
  // The kernel may clear it up behind the end of its last process.
  for (int i = 0; i < 1000 && !ended; ++i) {
    ASSERT_EQ(Sys::Real()->MountNamespaceEnded(number, &ended), 0);
    if (!ended) ::usleep(10'000);
  }
  EXPECT_TRUE(ended);
}

// Root without CAP_SYS_PTRACE, as in a container by default.
TEST(SysTest, WhoMayNotLookAtAProcessDoesNotSayThatItIsElsewhere) {
  uint64_t number = 0;
  bool ended = false;
  constexpr auto kLook = [](uint64_t of) {
    if (!Drop(CAP_SYS_PTRACE)) return 2;
    const auto left = Sys::Real()->ProcessesIn(of);
    if (left.ok() || left.status().error_number() != EACCES) return 3;
    const auto deserted = Sys::Real()->IsDeserted(of, 0);
    return deserted.ok() && *deserted ? 1 : 0;
  };
  // Who began earlier, as the kernel's own threads, cannot be there.
  constexpr auto kLookLater = [](uint64_t since) {
    struct : Sys {
      int MountNamespaceEnded(uint64_t, bool*) override { return -EOPNOTSUPP; }  // before Linux 6.11
    } old;
    if (!Drop(CAP_SYS_PTRACE)) return 2;
    const auto early = old.IsDeserted(1, since), late = old.IsDeserted(1, UINT64_MAX);
    return (early.ok() && *early ? 1 : 0) + (late.ok() && *late ? 0 : 4);
  };
  {
    Stranger stranger;
    if (!stranger.ok()) GTEST_SKIP() << "a mount namespace needs root";
    ASSERT_EQ(Sys::Real()->MountNamespace(stranger.pid(), &number), 0);
    EXPECT_EQ(InChild(kLook, number), 0);
    uint64_t start = 0;
    ASSERT_EQ(Sys::Real()->ProcessStart(stranger.pid(), &start), 0);
    EXPECT_EQ(InChild(kLookLater, start), 0);
    const auto deserted = Sys::Real()->IsDeserted(number, 0);
    EXPECT_TRUE(deserted.ok() && !*deserted);
  }
  const auto deserted = Sys::Real()->IsDeserted(number, 0);
  EXPECT_TRUE(deserted.ok() && *deserted);
  if (Sys::Real()->MountNamespaceEnded(number, &ended) == -EOPNOTSUPP) return;
  // The kernel tells that it is over, also who may not look.
  int told = 0;
  for (int i = 0; i < 1000 && told == 0; ++i) {
    told = InChild(kLook, number);
    if (told == 0) ::usleep(10'000);
  }
  EXPECT_EQ(told, 1);
}

// Containers of LXC and systemd-nspawn have a file mounted over it.
TEST(SysTest, TheBootIsTheKernelsWhateverIsMountedOverItsId) {
  static Result<Boot> boot = Sys::Real()->BootId();
  ASSERT_TRUE(boot.ok()) << boot.status().message();
  EXPECT_EQ(boot->id.size(), 36u);
  EXPECT_EQ(boot->also, "");
  static std::string own;
  own = "/tmp/dvdi-boot-XXXXXX";
  UniqueFd file(::mkstemp(own.data()));
  constexpr char kOwn[] = "01234567-89ab-cdef-0123-456789abcdef\n";
  ASSERT_EQ(::write(file.get(), kOwn, sizeof kOwn - 1), static_cast<ssize_t>(sizeof kOwn - 1));
  constexpr auto kLook = [](uint64_t) {
    if (::unshare(CLONE_NEWNS) != 0) return 2;
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 3;
    constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";
    for (const char* over : {own.c_str(), "/dev/null"}) {
      if (::mount(over, kPath, nullptr, MS_BIND, nullptr) != 0) return 5;
      const auto again = Sys::Real()->BootId();
      if (!again.ok() || again->id != boot->id) return 6;
      if (again->also != (own == over ? "01234567-89ab-cdef-0123-456789abcdef" : "")) return 8;
    }
    struct : Sys {
      int OpenTree(int, const char*, unsigned) override { return -ENOSYS; }  // before Linux 5.2
    } old;
    const auto again = old.BootId();
    return !again.ok() && again.status().hint().find("umount") != std::string::npos ? 0 : 7;
  };
  const int seen = InChild(kLook, 0);
  ::unlink(own.c_str());
  if (seen == 2) GTEST_SKIP() << "a mount namespace needs root";
  EXPECT_EQ(seen, 0);
}

// Who cannot look beneath takes no boot for another one.
TEST(SysTest, ABootIdThatCannotBeTrustedIsRefused) {
  static bool as_user = false;
  constexpr auto kLook = [](uint64_t) {
    if (::unshare(CLONE_NEWNS) != 0) return 2;
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 3;
    if (::mount("/dev/null", "/proc/sys/kernel/random/boot_id", nullptr, MS_BIND, nullptr) != 0) return 4;
    if (as_user && ::setresuid(65534, 65534, 65534) != 0) return 5;
    if (!as_user && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return 6;
    const auto boot = Sys::Real()->BootId();
    return !boot.ok() && boot.status().message().find("is mounted over") != std::string::npos ? 0 : 7;
  };
  for (const bool user : {true, false}) {
    as_user = user;
    const int seen = InChild(kLook, 0);
    if (seen == 2) GTEST_SKIP() << "a mount namespace needs root";
    if (seen == 6) GTEST_SKIP() << "there are no user namespaces here";
    EXPECT_EQ(seen, 0) << user;
  }
}

TEST(SysTest, ABootIsTheSameByWhateverIsMountedOverItsId) {
  Boot here("kernel's");
  EXPECT_TRUE(here == "kernel's");
  EXPECT_FALSE(here == "container's" || here == "");
  here.also = "container's";
  EXPECT_TRUE(here == "kernel's" && here == "container's" && Boot("container's") == here);
  EXPECT_FALSE(here == "another" || here == "" || Boot("another") == here);
}

TEST(SysTest, AProcThatHidesProcessesIsTold) {
  constexpr auto kLook = [](uint64_t) {
    uint64_t own = 0;
    if (::unshare(CLONE_NEWNS) != 0) return 2;
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 3;
    auto hide = [](const char* options) { return ::mount("proc", "/proc", "proc", 0, options) == 0; };
    if (!hide("hidepid=2,gid=4711")) return 4;
    if (Sys::Real()->PidNamespace(&own) != 0) return 5;
    if (!Drop(CAP_SYS_PTRACE)) return 6;
    if (Sys::Real()->PidNamespace(&own) != -EACCES) return 7;
    if (!hide("hidepid=2,gid=0") || Sys::Real()->PidNamespace(&own) != 0) return 8;  // for root's group
    if (!hide("hidepid=4")) return 0;                                                // before Linux 5.8
    if (Sys::Real()->PidNamespace(&own) != -EACCES) return 9;
    return hide("hidepid=0") && Sys::Real()->PidNamespace(&own) == 0 ? 0 : 10;
  };
  const int seen = InChild(kLook, 0);
  if (seen == 2) GTEST_SKIP() << "a mount namespace needs root";
  EXPECT_EQ(seen, 0);
}

TEST(SysTest, WhoAdministersNothingIsNotToldThatAMountNamespaceIsNoMore) {
  uint64_t number = 0;
  if (Sys::Real()->MountNamespace(0, &number) != 0) GTEST_SKIP() << "there is no /proc";
  const pid_t pid = ::fork();
  if (pid == 0) {
    bool ended = false;
    if (::unshare(CLONE_NEWUSER) != 0) ::_exit(2);
    const int r = Sys::Real()->MountNamespaceEnded(number, &ended);
    ::_exit(ended ? 1 : r == -EPERM || r == -EOPNOTSUPP ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) GTEST_SKIP() << "there are no user namespaces here";
  EXPECT_EQ(status, 0);
}

// In a child of another PID namespace /proc is the parent's, until it mounts its own.
TEST(SysTest, AProcOfAnotherPidNamespaceIsTold) {
  uint64_t own = 0;
  ASSERT_EQ(Sys::Real()->PidNamespace(&own), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) ::_exit(2);
    const pid_t child = ::fork();
    if (child == 0) {
      uint64_t number = 0;
      if (Sys::Real()->PidNamespace(&number) != -EXDEV) ::_exit(3);
      if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) ::_exit(4);
      if (::mount("proc", "/proc", "proc", 0, nullptr) != 0) ::_exit(5);
      if (Sys::Real()->PidNamespace(&number) != 0) ::_exit(6);
      ::_exit(number == own || number == kFirstPidNamespace ? 7 : 0);
    }
    int status = 0;
    ::_exit(::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 8);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "a PID namespace needs root";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// A process would seem to be another one, and its volumes free, to who has another clock.
TEST(SysTest, WhenAProcessBeganIsTheSameInEachTimeNamespace) {
  static uint64_t began;
  ASSERT_EQ(Sys::Real()->ProcessStart(::getpid(), &began), 0);
  static const char* offset;
  // What a child sees in a time namespace of that boot time: 0 when our process began, else why not.
  constexpr auto kLook = [](uint64_t pid) {
    if (::unshare(CLONE_NEWTIME) != 0) return 2;
    UniqueFd file(::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC));
    if (::write(file.get(), offset, ::strlen(offset)) < 0) return 3;
    uint64_t seen = 0, own = 0;
    // Its own clock is not its children's, whom alone the kernel tells of.
    if (Sys::Real()->ProcessStart(static_cast<pid_t>(pid), &seen) != -EDOM) return 4;
    if (Sys::Real()->PidNamespace(&own) != -EDOM) return 5;
    constexpr auto kSee = [](uint64_t of) {
      uint64_t start = 0, number = 0;
      const int r = Sys::Real()->ProcessStart(static_cast<pid_t>(of), &start);
      if (Sys::Real()->PidNamespace(&number) != r) return 6;
      return r == 0 && start == began ? 0 : r == -EDOM ? 7 : 8;
    };
    return InChild(kSee, pid);
  };
  constexpr std::array<std::pair<const char*, int>, 4> kCases = {{{"boottime 100000 0\n", 0},
                                                                  {"boottime 3 20000000\n", 0},
                                                                  {"boottime -1 0\n", 0},
                                                                  {"boottime 100000 5\n", 7}}};
  for (const auto& [text, expected] : kCases) {
    offset = text;
    const int seen = InChild(kLook, static_cast<uint64_t>(::getpid()));
    if (seen == 2) GTEST_SKIP() << "a time namespace needs root";
    EXPECT_EQ(seen, expected) << text;
  }
}

TEST(SysTest, WhoIsGoneHasNoMountNamespace) {
  pid_t gone = -1;
  {
    Stranger stranger;
    gone = stranger.pid();
  }
  uint64_t number = 0;
  EXPECT_EQ(Sys::Real()->MountNamespace(gone, &number), -ENOENT);
}

}  // namespace
}  // namespace dvdi
