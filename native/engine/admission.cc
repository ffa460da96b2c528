#include "engine/admission.h"

#include <algorithm>

#include "base/caught.h"

namespace dvdi {

Admission::Entry Admission::MakeEntry(const std::string& kind, const std::vector<std::string>& drivers,
                                      int64_t deadline_ms, Task task, int64_t from_ms) {
  Entry entry{{}, drivers, deadline_ms, from_ms, std::move(task)};
  for (const auto& d : drivers) entry.keys.push_back(kind + ' ' + d);
  return entry;
}

void Admission::Submit(const std::string& kind, const std::vector<std::string>& drivers, int64_t deadline_ms,
                       Task task, int64_t from_ms) {
  bool pauses = true;
  {
    std::lock_guard lock(mu_);
    queue_.push_back(MakeEntry(kind, drivers, deadline_ms, std::move(task), from_ms));
    pauses = pauses_;
  }
  if (!pauses) EndPauses();
  Dispatch();
  // It may be let in already: a look too many does no harm.
  if (waiting() > 0) on_wait_(from_ms > env_.clock->MonotonicMs() ? from_ms : deadline_ms);
}

std::function<void()> Admission::TryAdmit(const std::string& kind, const std::vector<std::string>& drivers,
                                          Task task) {
  Entry entry = MakeEntry(kind, drivers, INT64_MAX, std::move(task));
  std::lock_guard lock(mu_);
  // Those that wait already wait for another driver, or for their time, or there would be no room.
  if (!HasRoom(entry)) return nullptr;
  Count(entry);
  return [this, self = weak_from_this().lock(), keys = std::move(entry.keys),
          task = std::move(entry.task)]() mutable { Run(std::move(task), keys); };
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
      const int64_t now = env_.clock->MonotonicMs();
      auto it = std::find_if(queue_.begin(), queue_.end(),
                             [&](const Entry& e) { return e.from_ms <= now && HasRoom(e); });
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

void Admission::Run(Task task, const std::vector<std::string>& keys) {
  Status s = Caught([&] { task(Status()); });
  if (!s.ok()) (void)Caught([&] { task(s); });
  task = nullptr;  // what it holds goes before the count says that it is over
  Finish(keys);
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
      [this, self = weak_from_this().lock(), task, keys] { Run(std::move(*task), keys); }, "dvdi-op",
      stack_kb_);
  if (!s.ok()) {
    (void)Caught([&] { (*task)(s); });
    Finish(keys);
  }
}

void Admission::End(const std::function<bool(const Entry&)>& which,
                    const std::function<Status(const Entry&)>& why) {
  std::list<Entry> ended;
  {
    std::lock_guard lock(mu_);
    for (auto it = queue_.begin(); it != queue_.end();) {
      auto next = std::next(it);
      if (which(*it)) ended.splice(ended.end(), queue_, it);
      it = next;
    }
  }
  for (Entry& e : ended) (void)Caught([&] { e.task(why(e)); });
  std::lock_guard lock(mu_);
  idle_.notify_all();
}

void Admission::Expire() {
  const int64_t now = env_.clock->MonotonicMs();
  End([now](const Entry& e) { return e.deadline_ms <= now; },
      [](const Entry& e) {
        std::string names;
        for (const auto& d : e.drivers) names += (names.empty() ? "" : ", ") + d;
        return Status(Code::kTimeout,
                      "too many operations of driver " + names + " were under way until the deadline",
                      "the driver is slow or stuck: see `dvdi doctor`, and its log");
      });
  Dispatch();
}

void Admission::EndPauses() {
  {
    std::lock_guard lock(mu_);
    pauses_ = false;
  }
  const int64_t now = env_.clock->MonotonicMs();
  End([now](const Entry& e) { return e.from_ms > now; },
      [](const Entry&) { return Status(Code::kRefused, "the engine is being closed"); });
}

int64_t Admission::NextDue() const {
  const int64_t now = env_.clock->MonotonicMs();
  std::lock_guard lock(mu_);
  int64_t next = INT64_MAX;
  for (const Entry& e : queue_) next = std::min(next, e.from_ms > now ? e.from_ms : e.deadline_ms);
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
