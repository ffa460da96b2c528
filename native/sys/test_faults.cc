#include "sys/test_faults.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <future>
#include <thread>

#include "base/fd.h"

namespace dvdi {
namespace {

constexpr int kLookMs = 10;

// One call by another number is the same: which of them fstat(3) and its kin make depends on how they are
// linked (the sanitizers' are those of old programs).
std::vector<CallFault> InAllTheirNumbers(std::vector<CallFault> faults) {
  for (CallFault& fault : faults)
    if (std::find(fault.calls.begin(), fault.calls.end(), SYS_newfstatat) != fault.calls.end())
      for (long call : {SYS_stat, SYS_fstat, SYS_lstat}) fault.calls.push_back(call);
  return faults;
}

// The kernel asks about these calls of the calling thread from now on; whoever has the descriptor answers.
int Listen(const std::vector<CallFault>& faults) {
  std::vector<struct sock_filter> code = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
  for (const CallFault& fault : faults) {
    for (long call : fault.calls) {
      code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1));
      code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
    }
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  struct sock_fprog program = {static_cast<unsigned short>(code.size()), code.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  long fd = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

// Answers one question. `seen` counts the calls of each fault.
void AnswerOne(int listener, pid_t thread, const std::vector<CallFault>& faults, std::vector<int>* seen) {
  struct seccomp_notif asked = {};
  if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) return;  // who asked is gone
  struct seccomp_notif_resp answer = {};
  answer.id = asked.id;
  answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  for (size_t i = 0; i < faults.size(); ++i) {
    const CallFault& fault = faults[i];
    if (static_cast<pid_t>(asked.pid) != thread && !fault.anywhere) continue;
    if (std::find(fault.calls.begin(), fault.calls.end(), asked.data.nr) == fault.calls.end()) continue;
    int nth = ++(*seen)[i];
    if (fault.nth != 0 && fault.nth != nth) continue;
    answer.flags = 0;
    answer.error = -fault.err;
  }
  (void)::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

}  // namespace

const std::string& WhyNoCallFaults() {
  static const std::string why = [] {
    bool failed = false;
    bool asked = WithCallFaults({{{SYS_getppid}, EIO, 1}}, [&] { failed = ::getppid() < 0; });
    return asked && failed ? "" : "this kernel lets nobody answer for it (seccomp)";
  }();
  return why;
}

bool NeedsEveryMmap() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return true;
#endif
#endif
  return false;
}

bool WithCallFaults(const std::vector<CallFault>& wanted, const std::function<void()>& body) {
  const std::vector<CallFault> faults = InAllTheirNumbers(wanted);
  std::promise<int> listening;
  pid_t id = 0;
  std::thread thread([&] {
    id = static_cast<pid_t>(::syscall(SYS_gettid));
    int fd = Listen(faults);
    listening.set_value(fd);
    if (fd >= 0) body();
  });
  UniqueFd listener(listening.get_future().get());
  std::vector<int> seen(faults.size());
  // To the very end of the thread: what its libraries do then may be one of the calls.
  auto there = [&] { return ::syscall(SYS_tgkill, ::getpid(), id, 0) == 0; };
  while (listener.valid() && there()) {
    struct pollfd poll = {listener.get(), POLLIN, 0};
    if (::poll(&poll, 1, kLookMs) > 0 && (poll.revents & POLLIN) != 0)
      AnswerOne(listener.get(), id, faults, &seen);
    else if (poll.revents != 0)
      break;
  }
  thread.join();
  for (size_t i = 0; i < faults.size(); ++i)
    if (seen[i] < std::max(faults[i].nth, 1)) return false;
  return true;
}

int FailEachCall(const std::vector<long>& calls, int err, const std::function<void()>& body) {
  int nth = 1;
  while (WithCallFaults({{calls, err, nth}}, body)) ++nth;
  return nth - 1;
}

}  // namespace dvdi
