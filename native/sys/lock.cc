#include "sys/lock.h"

#include <algorithm>
#include <cerrno>

#include "sys/sys.h"

namespace dvdi {

constexpr int64_t kLongestPauseMs = 50;

int WaitForLock(const Env& env, int fd, int64_t deadline_ms, int64_t offset, int64_t length) {
  for (int64_t pause = 1;; pause = std::min(2 * pause, kLongestPauseMs)) {
    const int r = env.sys->TryLock(fd, offset, length);
    const int64_t now = env.clock->MonotonicMs();
    if ((r != -EAGAIN && r != -EINTR) || now >= deadline_ms) return r;
    env.scheduler->SleepUntil(std::min(now + pause, deadline_ms));
  }
}

}  // namespace dvdi
