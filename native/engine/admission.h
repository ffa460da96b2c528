// Which operations may run now: each driver has room for so many, so that a slow one holds up no other.
#ifndef DVDI_ENGINE_ADMISSION_H_
#define DVDI_ENGINE_ADMISSION_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// Thread-safe. An admitted task gets a thread of its own; a waiting one is a queue entry.
class Admission : public std::enable_shared_from_this<Admission> {
 public:
  // Called with OK on a thread of its own, or with the reason why it never ran (on any thread). One that
  // throws is called once more, with kInternal and what was thrown: whoever waits for it is told.
  using Task = std::function<void(const Status& admitted)>;
  using Room = std::function<int(const std::string& driver)>;  // how many may run at once

  Admission(const Env& env, Room room, size_t stack_kb)
      : env_(env), room_(std::move(room)), stack_kb_(stack_kb) {}

  // `drivers`: sorted, each once; empty is always admitted. `kind` separates the counts of operations
  // that must not wait for each other ("prepare", "release", …). `deadline_ms` and `from_ms` are on the
  // monotonic clock: the task pauses, and needs no room, until `from_ms`; Expire is to be called then.
  void Submit(const std::string& kind, const std::vector<std::string>& drivers, int64_t deadline_ms,
              Task task, int64_t from_ms = 0);
  // For a thread that could do the task itself: where there is room now the task is given back, counted as
  // running, for the caller to run, once and soon; null where there is none.
  std::function<void()> TryAdmit(const std::string& kind, const std::vector<std::string>& drivers, Task task);
  // `on_wait` is told when Expire has something to do for an entry that has just begun to wait. Set before
  // the first task.
  void OnWait(std::function<void(int64_t monotonic_ms)> on_wait) { on_wait_ = std::move(on_wait); }
  // Ends waiting entries whose deadline has passed, and lets in those whose pause is over.
  void Expire();
  // When Expire has something to do next, INT64_MAX where nothing waits.
  int64_t NextDue() const;
  // From here on nothing pauses: what does is told kRefused instead of being let in.
  void EndPauses();
  // Waits until nothing runs or waits, or the deadline; true where nothing is left.
  bool Drain(int64_t deadline_ms);
  int running() const;
  int waiting() const;

 private:
  struct Entry {
    std::vector<std::string> keys;  // "kind driver"
    std::vector<std::string> drivers;
    int64_t deadline_ms, from_ms;
    Task task;
  };
  static Entry MakeEntry(const std::string& kind, const std::vector<std::string>& drivers,
                         int64_t deadline_ms, Task task, int64_t from_ms = 0);
  // Takes these entries out of the queue, and tells each that it is not let in.
  void End(const std::function<bool(const Entry&)>& which, const std::function<Status(const Entry&)>& why);
  bool HasRoom(const Entry& entry) const;
  void Count(const Entry& entry);
  // Runs one that is counted, to the end of its count.
  void Run(Task task, const std::vector<std::string>& keys);
  void Finish(const std::vector<std::string>& keys);
  void Start(Entry entry);
  void Dispatch();

  const Env env_;
  const Room room_;
  const size_t stack_kb_;
  std::function<void(int64_t)> on_wait_ = [](int64_t) {};
  mutable std::mutex mu_;
  std::condition_variable idle_;
  std::list<Entry> queue_;
  std::map<std::string, int> counts_;
  int running_ = 0;
  bool pauses_ = true;
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_ADMISSION_H_
