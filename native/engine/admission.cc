#include "engine/admission.h"

#include <algorithm>

namespace dvdi {

Admission::Entry Admission::MakeEntry(const std::string& kind, const std::vector<std::string>& drivers,
                                      int64_t deadline_ms, Task task) {
  Entry entry{{}, drivers, deadline_ms, std::move(task)};
  for (const auto& d : drivers) entry.keys.push_back(kind + ' ' + d);
  return entry;
}

void Admission::Submit(const std::string& kind, const std::vector<std::string>& drivers, int64_t deadline_ms,
                       Task task) {
  {
    std::lock_guard lock(mu_);
    queue_.push_back(MakeEntry(kind, drivers, deadline_ms, std::move(task)));
  }
  Dispatch();
}

std::function<void()> Admission::TryAdmit(const std::string& kind, const std::vector<std::string>& drivers,
                                          Task task) {
  Entry entry = MakeEntry(kind, drivers, INT64_MAX, std::move(task));
  std::lock_guard lock(mu_);
  // Those that wait already wait for another driver, or there would be no room.
  if (!HasRoom(entry)) return nullptr;
  Count(entry);
  return [this, self = weak_from_this().lock(), keys = std::move(entry.keys),
          task = std::move(entry.task)]() mutable {
    task(Status());
    task = nullptr;  // what it holds goes before the count says that it is over
    Finish(keys);
  };
}

bool Admission::HasRoom(const Entry& entry) const {
  for (size_t i = 0; i < entry.keys.size(); ++i) {
    auto it = counts_.find(entry.keys[i]);
    if (it != counts_.end() && it->second >= room_(entry.drivers[i])) return false;
  }
  return true;
}

void Admission::Dispatch() {
  for (;;) {
    Entry entry;
    {
      std::lock_guard lock(mu_);
      // Oldest first, but one that waits for a busy driver holds up nobody behind it.
      auto it = std::find_if(queue_.begin(), queue_.end(), [this](const Entry& e) { return HasRoom(e); });
      if (it == queue_.end()) return;
      entry = std::move(*it);
      queue_.erase(it);
      Count(entry);
    }
    Start(std::move(entry));
  }
}

void Admission::Count(const Entry& entry) {
  for (const auto& k : entry.keys) ++counts_[k];
  ++running_;
}

void Admission::Finish(const std::vector<std::string>& keys) {
  {
    std::lock_guard lock(mu_);
    for (const auto& k : keys)
      if (--counts_[k] == 0) counts_.erase(k);
  }
  Dispatch();
  // Last, and under the lock: whoever waits for idleness may destroy this object then.
  std::lock_guard lock(mu_);
  --running_;
  idle_.notify_all();
}

void Admission::Start(Entry entry) {
  auto keys = entry.keys;
  auto task = std::make_shared<Task>(std::move(entry.task));
  Status s = env_.scheduler->Spawn(
      [this, self = weak_from_this().lock(), task, keys] {
        (*task)(Status());
        *task = nullptr;  // what it holds goes before the count says that it is over
        Finish(keys);
      },
      "dvdi-op", stack_kb_);
  if (!s.ok()) {
    (*task)(s);
    Finish(keys);
  }
}

void Admission::Expire() {
  std::list<Entry> expired;
  {
    std::lock_guard lock(mu_);
    int64_t now = env_.clock->MonotonicMs();
    for (auto it = queue_.begin(); it != queue_.end();) {
      auto next = std::next(it);
      if (it->deadline_ms <= now) expired.splice(expired.end(), queue_, it);
      it = next;
    }
  }
  for (Entry& e : expired) {
    std::string names;
    for (const auto& d : e.drivers) names += (names.empty() ? "" : ", ") + d;
    e.task(Status(Code::kTimeout,
                  "too many operations of driver " + names + " were under way until the deadline",
                  "the driver is slow or stuck: see `dvdi status`"));
  }
  std::lock_guard lock(mu_);
  idle_.notify_all();
}

int64_t Admission::NextDeadline() const {
  std::lock_guard lock(mu_);
  int64_t next = INT64_MAX;
  for (const Entry& e : queue_) next = std::min(next, e.deadline_ms);
  return next;
}

bool Admission::Drain(int64_t deadline_ms) {
  std::unique_lock lock(mu_);
  while (running_ > 0 || !queue_.empty()) {
    if (env_.clock->MonotonicMs() >= deadline_ms) return false;
    env_.scheduler->Wait(lock, idle_, deadline_ms);
  }
  return true;
}

int Admission::running() const {
  std::lock_guard lock(mu_);
  return running_;
}

int Admission::waiting() const {
  std::lock_guard lock(mu_);
  return static_cast<int>(queue_.size());
}

}  // namespace dvdi
