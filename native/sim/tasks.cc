#include "sim/tasks.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <mutex>

namespace dvdi::sim {
namespace {

// More than an operation's thread has, for sanitizers.
constexpr size_t kStackBytes = 8u << 20;
// Beyond any deadline: waits without end.
constexpr int64_t kForever = int64_t{1} << 45;

// Whose turn it is. Sleeps at once: with another thread's turn there is nothing to spin for.
class Turn {
 public:
  void Give() {
    value_.store(1, std::memory_order_release);
    ::syscall(SYS_futex, &value_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  void Await() {
    while (value_.exchange(0, std::memory_order_acquire) == 0)
      ::syscall(SYS_futex, &value_, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
  }

 private:
  std::atomic<uint32_t> value_{0};
};

Turn driver;

}  // namespace

// A thread, kept for later tasks.
struct Worker {
  Turn turn;
  Tasks* tasks = nullptr;
  Tasks::Task* task = nullptr;
  static thread_local Tasks::Task* current;

  static std::vector<Worker*>& Idle() {
    static auto* idle = new std::vector<Worker*>;
    return *idle;
  }
  static Worker* Take() {
    auto& idle = Idle();
    if (!idle.empty()) {
      Worker* w = idle.back();
      idle.pop_back();
      return w;
    }
    auto* w = new Worker;
    pthread_attr_t attr;
    ::pthread_attr_init(&attr);
    ::pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    ::pthread_attr_setstacksize(&attr, kStackBytes);
    pthread_t thread;
    auto run = [](void* argument) -> void* {
      static_cast<Worker*>(argument)->Loop();
      return nullptr;
    };
    if (::pthread_create(&thread, &attr, run, w) != 0) ::abort();
    ::pthread_attr_destroy(&attr);
    return w;
  }
  void Loop() {
    for (;;) {
      turn.Await();
      do {
        current = task;
        task->run();
        task->run = nullptr;
        current = nullptr;
      } while (tasks->Finished(task));
    }
  }
};

thread_local Tasks::Task* Worker::current = nullptr;

Tasks::Task*& Tasks::Current() { return Worker::current; }
const void* Tasks::CurrentOwner() { return Current() == nullptr ? nullptr : Current()->owner; }

Tasks::~Tasks() {
  // A history ends when its tasks have: a thread of one that did not is lost with it.
  if (!tasks_.empty()) ::abort();
}

void Tasks::Start(const void* owner, std::function<void()> run) {
  auto task = std::make_unique<Task>();
  task->owner = owner, task->number = ++last_number_, task->run = std::move(run);
  tasks_.push_back(std::move(task));
  ++progress_;
}

bool Tasks::HasTasks(const void* owner) const {
  return std::any_of(tasks_.begin(), tasks_.end(), [owner](const auto& t) { return t->owner == owner; });
}

bool Tasks::Ready(const Task& task) const {
  if (draining_ != nullptr && task.owner != draining_) return false;
  if (task.until_ms == 0) return true;
  if (clock_->MonotonicMs() >= task.until_ms) return true;
  if (draining_ != nullptr && !task.waits) return true;
  // Something happened since: it may have been notified.
  return task.waits && progress_ != task.seen;
}

Tasks::Task* Tasks::Pick() {
  size_t ready = 0;
  for (const auto& t : tasks_) ready += Ready(*t) ? 1 : 0;
  if (ready == 0) return nullptr;
  size_t n = ready == 1 ? 0 : random_.Below(ready);
  for (const auto& t : tasks_)
    if (Ready(*t) && n-- == 0) return t.get();
  return nullptr;
}

// Hands the turn on.
void Tasks::Resume(Task* task) {
  ++switches_;
  Begin(task);
  if (task->worker == nullptr) {
    task->worker = Worker::Take();
    task->worker->tasks = this, task->worker->task = task;
  }
  task->worker->turn.Give();
}

void Tasks::Begin(Task* task) {
  if (!task->waits) ++progress_;
  task->until_ms = 0;
  --turns_;
}

// Whoever gives up its turn: the next task goes on, or the driver.
Tasks::Task* Tasks::Next() { return interrupted_ || draining_ != nullptr || turns_ <= 0 ? nullptr : Pick(); }

bool Tasks::Finished(Task* task) {
  ++progress_;
  Worker* worker = task->worker;
  std::erase_if(tasks_, [task](const auto& t) { return t.get() == task; });
  Task* next = Next();
  if (next != nullptr && next->worker == nullptr) {  // this thread is as good as another one
    ++switches_;
    Begin(next);
    next->worker = worker, worker->task = next;
    return true;
  }
  Worker::Idle().push_back(worker);
  if (next != nullptr)
    Resume(next);
  else
    driver.Give();
  return false;
}

void Tasks::Park(Task* task) {
  Task* next = Next();
  if (next == task) return Begin(task);
  Worker* worker = task->worker;
  if (next != nullptr)
    Resume(next);
  else
    driver.Give();
  worker->turn.Await();
}

bool Tasks::Run(int64_t turns) {
  turns_ = turns;
  while (turns_ > 0) {
    Task* next = Pick();
    if (next != nullptr) {
      Resume(next);
      driver.Await();
      interrupted_ = false;
      if (after_turn) after_turn();
      continue;
    }
    int64_t soonest = INT64_MAX;
    for (const auto& t : tasks_) soonest = std::min(soonest, t->until_ms);
    if (tasks_.empty()) return true;
    if (soonest >= kForever) return false;
    clock_->AdvanceTo(soonest);
  }
  return true;
}

void Tasks::Drain(const void* owner) {
  draining_ = owner;
  while (HasTasks(owner)) {
    Task* next = Pick();
    if (next == nullptr) {  // all of them wait for each other: each looks at the time again
      for (const auto& t : tasks_)
        if (t->owner == owner) t->seen = 0, next = t.get();
    }
    Resume(next);
    driver.Await();
  }
  draining_ = nullptr;
}

void Tasks::Yield(uint64_t one_in) {
  Task* task = Current();
  if (task == nullptr || draining_ != nullptr || tasks_.size() < 2 || !random_.OneIn(one_in)) return;
  task->waits = false;
  Park(task);
}

void Tasks::SleepUntil(int64_t deadline_ms) {
  Task* task = Current();
  if (task == nullptr || tasks_.size() == 1) {
    clock_->AdvanceTo(deadline_ms);
    return;
  }
  task->waits = false, task->until_ms = deadline_ms;
  Park(task);
}

void Tasks::Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t deadline_ms) {
  Task* task = Current();
  if (task == nullptr) ::abort();  // the driver has nothing to wait for
  // Woken for nothing: that is no progress, or two that wait would wake each other without end.
  if (!(task->waits && task->on == &cv)) ++progress_;
  lock.unlock();
  task->waits = true, task->on = &cv, task->until_ms = deadline_ms, task->seen = progress_;
  Park(task);
  lock.lock();
}

Status ProcessScheduler::Spawn(std::function<void()> task, const char*, size_t) {
  if (!*dead_ && *no_thread_ && (*no_thread_)()) return Status::FromErrno(EAGAIN, "cannot start a thread");
  tasks_->Start(owner_, std::move(task));
  return Status();
}

void ProcessScheduler::Hurry(int64_t deadline_ms) {
  int64_t left = deadline_ms - clock_->MonotonicMs();
  if (left > 0) *ahead_ms_ += left;
}

void ProcessScheduler::SleepUntil(int64_t deadline_ms) {
  if (*dead_) return Hurry(deadline_ms);
  tasks_->SleepUntil(deadline_ms);
  if (*dead_) Hurry(deadline_ms);
}

void ProcessScheduler::Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv,
                            int64_t deadline_ms) {
  tasks_->Wait(lock, cv, deadline_ms);
  if (*dead_) Hurry(std::min(deadline_ms, clock_->MonotonicMs() + 60'000));
}

}  // namespace dvdi::sim
