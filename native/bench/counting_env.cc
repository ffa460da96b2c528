#include "bench/counting_env.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string_view>

#include "plugin/transport.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace {
std::atomic<int> boots{0};
std::atomic<int64_t> fsyncs{0}, mount_calls{0}, mountinfo{0}, threads{0};
}  // namespace

// The linker's --wrap: every fsync of the program comes by here, that of a static SQLite too.
extern "C" {
int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fsync(int fd) {
  fsyncs.fetch_add(1, std::memory_order_relaxed);
  return __real_fsync(fd);
}
int __wrap_fdatasync(int fd) {
  fsyncs.fetch_add(1, std::memory_order_relaxed);
  return __real_fdatasync(fd);
}
}

namespace dvdi {
namespace {

class CountingSys : public Sys {
 public:
  int OpenTree(int dirfd, const char* path, unsigned flags) override {
    ++mount_calls;
    return Sys::OpenTree(dirfd, path, flags);
  }
  int MoveMount(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) override {
    ++mount_calls;
    return Sys::MoveMount(from_fd, from, to_fd, to, flags);
  }
  int MountSetattr(int fd, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                   uint64_t propagation, int userns_fd) override {
    ++mount_calls;
    return Sys::MountSetattr(fd, path, flags, set, clear, propagation, userns_fd);
  }
  int Mount(const char* source, const char* target, const char* type, unsigned long flags,
            const char* data) override {
    ++mount_calls;
    return Sys::Mount(source, target, type, flags, data);
  }
  int Umount(const char* target, int flags) override {
    int r = Sys::Umount(target, flags);
    mount_calls += r >= 0;  // a try that finds nothing changes nothing
    return r;
  }
  Result<Boot> BootId() override {
    auto id = Sys::BootId();
    if (id.ok() && boots > 0) id->id = std::to_string(boots) + "-" + id->id;
    return id;
  }
  Result<std::string> Mountinfo(pid_t pid) override {
    ++mountinfo;
    return Sys::Mountinfo(pid);
  }
};

class CountingScheduler : public Scheduler {
 public:
  Status Spawn(std::function<void()> task, const char* name, size_t stack_kb) override {
    ++threads;
    if (std::string_view(name) == "dvdi-keeper")
      return Scheduler::Real()->Spawn(std::move(task), name, stack_kb);
    Change(1);
    Status s = Scheduler::Real()->Spawn(
        [this, task = std::move(task)]() mutable {
          task();
          task = nullptr;
          Change(-1);
        },
        name, stack_kb);
    if (!s.ok()) Change(-1);
    return s;
  }
  void Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t deadline_ms) override {
    Scheduler::Real()->Wait(lock, cv, deadline_ms);
  }
  void SleepUntil(int64_t deadline_ms) override { Scheduler::Real()->SleepUntil(deadline_ms); }
  void WaitIdle() {
    std::unique_lock lock(mu_);
    idle_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  void Change(int by) {
    std::lock_guard lock(mu_);
    running_ += by;
    if (running_ == 0) idle_.notify_all();
  }
  std::mutex mu_;
  std::condition_variable idle_;
  int running_ = 0;
};

CountingScheduler* TheScheduler() {
  static auto* scheduler = new CountingScheduler;
  return scheduler;
}

}  // namespace

Counts TakeCounts() {
  return {.fsyncs = fsyncs.exchange(0),
          .mount_calls = mount_calls.exchange(0),
          .mountinfo = mountinfo.exchange(0),
          .threads = threads.exchange(0)};
}

void OtherBoot() { ++boots; }

void WaitUntilIdle() { TheScheduler()->WaitIdle(); }

// In the place of plugin/real_env.cc, which an archive gives only to who has no definition of its own.
const Env& RealEnv() {
  static const auto* env = new Env{.sys = new CountingSys,
                                   .transport = PluginTransport::Real(),
                                   .clock = Clock::Real(),
                                   .random = Random::Real(),
                                   .scheduler = TheScheduler(),
                                   .store = Store::Real()};
  return *env;
}

}  // namespace dvdi
