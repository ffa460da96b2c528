// Threads of simulated processes: one runs at a time, and only at calls of the seam another one gets its
// turn, as the seed says. Nobody waits for real time.
#ifndef DVDI_SIM_TASKS_H_
#define DVDI_SIM_TASKS_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/random.h"
#include "sys/env.h"

namespace dvdi::sim {

struct Worker;

// The driver's thread makes steps; in between all tasks stand still. No engine's mutex may be held at a call
// that gives others their turn (sleep, wait, yield).
class Tasks {
 public:
  // `owner` is a process, or null.
  Tasks(SimClock* clock, uint64_t seed) : clock_(clock), random_(seed) {}
  ~Tasks();

  void Start(const void* owner, std::function<void()> task);
  // Lets tasks run until none can, or for so many turns. False where tasks are left that nothing will wake.
  bool Run(int64_t turns = INT64_MAX);
  // Only tasks of that process, until it has none: it was killed, and nothing that they do has an effect.
  void Drain(const void* owner);
  bool HasTasks(const void* owner) const;
  bool idle() const { return tasks_.empty(); }
  // Called by the driver's thread whenever it has its turn again, but not while draining.
  std::function<void()> after_turn;
  void Seed(uint64_t seed) { random_.Seed(seed); }

  // --- called by a task
  // The driver is to look (a process was killed) before another task goes on.
  void Interrupt() { interrupted_ = true; }
  // Another one's turn, perhaps.
  void Yield(uint64_t one_in);
  void SleepUntil(int64_t deadline_ms);
  void Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t deadline_ms);
  // The process that runs now, or null.
  static const void* CurrentOwner();
  // The number of the task that runs now, which no other one of the history has; 0: none.
  static int64_t CurrentTask() { return Current() == nullptr ? 0 : Current()->number; }

  int64_t switches() const { return switches_; }

 private:
  struct Task {
    const void* owner = nullptr;
    int64_t number = 0;
    std::function<void()> run;
    Worker* worker = nullptr;  // null: not begun
    bool waits = false;        // until notified: may be woken at any time
    int64_t until_ms = 0;      // of a task that sleeps or waits: when it can go on at the latest
    const void* on = nullptr;  // what it waits for
    uint64_t seen = 0;         // progress_ when it began to wait
  };
  friend struct Worker;
  bool Ready(const Task& task) const;
  Task* Pick();
  void Resume(Task* task);
  void Begin(Task* task);
  Task* Next();
  // True where the thread that ended it has another one to begin.
  bool Finished(Task* task);
  void Park(Task* task);
  static Task*& Current();

  SimClock* clock_;
  SimRandom random_;
  std::vector<std::unique_ptr<Task>> tasks_;  // in the order of their start
  const void* draining_ = nullptr;
  bool interrupted_ = false;
  uint64_t progress_ = 1;
  int64_t turns_ = 0, switches_ = 0, last_number_ = 0;
};

// The scheduler of one process.
class ProcessScheduler : public Scheduler {
 public:
  // `no_thread` says of each start of a thread whether it fails.
  ProcessScheduler(Tasks* tasks, const void* owner, const bool* dead, int64_t* ahead_ms, Clock* clock,
                   const std::function<bool()>* no_thread)
      : tasks_(tasks),
        owner_(owner),
        dead_(dead),
        ahead_ms_(ahead_ms),
        clock_(clock),
        no_thread_(no_thread) {}
  Status Spawn(std::function<void()> task, const char* name, size_t stack_kb) override;
  void Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t deadline_ms) override;
  void SleepUntil(int64_t deadline_ms) override;

 private:
  // Time passes at once for a process that is dead.
  void Hurry(int64_t deadline_ms);
  Tasks* tasks_;
  const void* owner_;
  const bool* dead_;
  int64_t* ahead_ms_;
  Clock* clock_;
  const std::function<bool()>* no_thread_;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_TASKS_H_
