// The world behind one seam: what the engine needs beside system calls. A simulation gives its own
// Env and runs the real engine on it, deterministically.
#ifndef DVDI_SYS_ENV_H_
#define DVDI_SYS_ENV_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "base/status.h"

namespace dvdi {

// What to do where no thread or process can be started (EAGAIN of clone(2)).
inline constexpr char kRaiseProcessLimit[] =
    "raise the limit of processes and threads (pids.max of the cgroup, ulimit -u)";

class Sys;
class PluginTransport;
class HelperRunner;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t MonotonicMs() = 0;  // for deadlines; never goes back
  virtual int64_t MonotonicNs() = 0;  // for durations
  virtual int64_t WallMs() = 0;       // Unix time, for records and people
  static Clock* Real();
};

class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(void* bytes, size_t n) = 0;
  static Random* Real();  // getrandom(2)
  std::string HexId(size_t bytes);
};

// Every wait and every thread start of the engine. `deadline_ms` is on Clock::MonotonicMs.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  // Runs `task` on a thread of its own (256 KiB of stack unless `stack_kb` says otherwise).
  // Fails where no thread can be made; the task was not run then. The thread is in the caller's mount
  // namespace.
  virtual Status Spawn(std::function<void()> task, const char* name, size_t stack_kb = 256) = 0;
  // Waits until notified, or the deadline; may wake early. The lock is released meanwhile.
  virtual void Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t deadline_ms) = 0;
  virtual void SleepUntil(int64_t deadline_ms) = 0;
  static Scheduler* Real();
};

// Where the ledger's bytes live: the name of the SQLite VFS to open it with ("" is the default).
class Store {
 public:
  virtual ~Store() = default;
  virtual const char* VfsName() { return nullptr; }
  // How long the log grows before what it holds is written into the file, in pages: SQLite's own measure,
  // which is a few hundred operations.
  virtual int LogPages() { return 1000; }
  static Store* Real();
};

// Not owned. All must outlive the engine.
struct Env {
  Sys* sys = nullptr;
  PluginTransport* transport = nullptr;
  Clock* clock = nullptr;
  Random* random = nullptr;
  Scheduler* scheduler = nullptr;
  Store* store = nullptr;
  HelperRunner* helper = nullptr;  // helper/helper.h; null is the real one
};

// The real system, clock, random numbers, scheduler and store; no transport.
Env SystemEnv();
// The real world. Never destroyed.
const Env& RealEnv();  // in plugin/real_env.cc, which knows the real transport

}  // namespace dvdi

#endif  // DVDI_SYS_ENV_H_
