#include "sys/env.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/text.h"

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

// A new thread is in the mount namespace of the one that makes it; so one that is used again has to be, too.
ino_t MountNamespace() {
  struct stat st;
  return ::stat("/proc/thread-self/ns/mnt", &st) == 0 ? st.st_ino : 0;
}

// Threads whose task is over, kept for a short while: starting one (its stack, what libraries keep for each
// thread) costs as much as a small operation does. There is no bound on how many run: a thread that is stuck
// holds up nobody.
class ThreadCache {
 public:
  // False where a thread has to be made.
  bool Hand(std::function<void()>& task, const char* name, size_t stack_kb) {
    std::lock_guard lock(mu_);
    if (pid_ != ::getpid()) {  // threads do not come along into a forked child
      idle_.clear();
      pid_ = ::getpid();
    }
    const ino_t mounts = MountNamespace();
    auto it = std::find_if(idle_.rbegin(), idle_.rend(),
                           [&](Thread* t) { return t->stack_kb == stack_kb && t->mounts == mounts; });
    if (it == idle_.rend()) return false;
    Thread* thread = *it;
    idle_.erase(std::next(it).base());
    thread->task = std::move(task);
    thread->name = name;
    thread->woken.notify_one();
    return true;
  }

  struct Thread {
    std::function<void()> task;  // empty: none
    std::string name;
    size_t stack_kb = 0;
    ino_t mounts = MountNamespace();  // of who makes the thread, and so of the thread
    std::condition_variable woken;
  };

  // A thread's life: its task, then those that are handed to it.
  void Live(Thread* self) {
    for (;;) {
      ::pthread_setname_np(::pthread_self(), self->name.substr(0, 15).c_str());
      self->task();
      self->task = nullptr;  // what it holds goes now, outside of the lock
      std::unique_lock lock(mu_);
      if (idle_.size() >= kKept) return;
      idle_.push_back(self);
      if (self->woken.wait_for(lock, kLinger, [&] { return self->task != nullptr; })) continue;
      idle_.erase(std::find(idle_.begin(), idle_.end(), self));
      return;
    }
  }

 private:
  static constexpr size_t kKept = 8;
  static constexpr std::chrono::seconds kLinger{2};
  std::mutex mu_;
  std::vector<Thread*> idle_;
  pid_t pid_ = 0;
};

ThreadCache* Threads() {
  static auto* threads = new ThreadCache;  // threads may outlive what is destroyed at exit
  return threads;
}

class RealScheduler : public Scheduler {
 public:
  Status Spawn(std::function<void()> task, const char* name, size_t stack_kb) override {
    if (Threads()->Hand(task, name, stack_kb)) return Status();
    pthread_attr_t attr;
    ::pthread_attr_init(&attr);
    ::pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    ::pthread_attr_setstacksize(&attr, stack_kb * 1024);
    auto start = std::make_unique<ThreadCache::Thread>();
    start->task = std::move(task), start->name = name, start->stack_kb = stack_kb;
    pthread_t thread;
    int err = ::pthread_create(&thread, &attr, &Run, start.get());
    ::pthread_attr_destroy(&attr);
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
  static void* Run(void* argument) {
    std::unique_ptr<ThreadCache::Thread> self(static_cast<ThreadCache::Thread*>(argument));
    Threads()->Live(self.get());
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

std::string Random::HexId(size_t bytes) {
  std::vector<unsigned char> buffer(bytes);
  Fill(buffer.data(), bytes);
  return Hex(buffer.data(), bytes);
}

}  // namespace dvdi
