#include "sys/env.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <time.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/text.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

int64_t Read(clockid_t id) {
  struct timespec ts;
  ::clock_gettime(id, &ts);
  return ts.tv_sec * 1'000'000'000LL + ts.tv_nsec;
}

class RealClock : public Clock {
 public:
  int64_t MonotonicMs() override { return Read(CLOCK_MONOTONIC) / 1'000'000; }
  int64_t MonotonicNs() override { return Read(CLOCK_MONOTONIC); }
  int64_t WallMs() override { return Read(CLOCK_REALTIME) / 1'000'000; }
};

class RealRandom : public Random {
 public:
  void Fill(void* bytes, size_t n) override {
    auto p = static_cast<char*>(bytes);
    while (n > 0) {
      ssize_t r = ::getrandom(p, n, 0);
      if (r < 0 && errno == EINTR) continue;
      if (r < 0) ::abort();  // getrandom(2) cannot fail otherwise with these arguments
      p += r;
      n -= static_cast<size_t>(r);
    }
  }
};

class RealScheduler : public Scheduler {
 public:
  Status Spawn(std::function<void()> task, const char* name, size_t stack_kb) override {
    pthread_attr_t attr;
    ::pthread_attr_init(&attr);
    ::pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    ::pthread_attr_setstacksize(&attr, stack_kb * 1024);
    auto start = std::make_unique<Start>(Start{std::move(task), name});
    pthread_t thread;
    int err = ::pthread_create(&thread, &attr, &Run, start.get());
    ::pthread_attr_destroy(&attr);
    if (err == EAGAIN) return Status::FromErrno(err, "cannot start a thread").WithHint(kRaiseProcessLimit);
    if (err != 0) return Status::FromErrno(err, "cannot start a thread");
    start.release();
    return Status();
  }
  void Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t deadline_ms) override {
    using std::chrono::milliseconds;
    using std::chrono::steady_clock;  // CLOCK_MONOTONIC on Linux, the clock of the deadline
    cv.wait_until(lock, steady_clock::time_point(milliseconds(deadline_ms)));
  }
  void SleepUntil(int64_t deadline_ms) override {
    struct timespec ts = {deadline_ms / 1000, (deadline_ms % 1000) * 1'000'000};
    while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, nullptr) == EINTR) {
    }
  }

 private:
  struct Start {
    std::function<void()> task;
    std::string name;
  };
  static void* Run(void* argument) {
    std::unique_ptr<Start> start(static_cast<Start*>(argument));
    ::pthread_setname_np(::pthread_self(), start->name.substr(0, 15).c_str());
    start->task();
    return nullptr;
  }
};

}  // namespace

Clock* Clock::Real() {
  static auto* clock = new RealClock;
  return clock;
}
Random* Random::Real() {
  static auto* random = new RealRandom;
  return random;
}
Scheduler* Scheduler::Real() {
  static auto* scheduler = new RealScheduler;
  return scheduler;
}
Store* Store::Real() {
  static auto* store = new Store;
  return store;
}

Env SystemEnv() {
  Env env;
  env.sys = Sys::Real();
  env.clock = Clock::Real();
  env.random = Random::Real();
  env.scheduler = Scheduler::Real();
  env.store = Store::Real();
  return env;
}

std::string Random::HexId(size_t bytes) {
  std::vector<unsigned char> buffer(bytes);
  Fill(buffer.data(), bytes);
  return Hex(buffer.data(), bytes);
}

}  // namespace dvdi
