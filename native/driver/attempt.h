// A call that may hang for as long as a dead filesystem likes: on a thread of its own, which nobody has to
// wait for.
#ifndef DVDI_DRIVER_ATTEMPT_H_
#define DVDI_DRIVER_ATTEMPT_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/caught.h"
#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// Thread-safe.
template <class T>
class Attempt {
 public:
  // Begins `body`. Whoever gives this up before its end leaves it behind: it owns what it refers to, or that
  // lives as long. A thread that cannot be had is its failure.
  static std::shared_ptr<Attempt> Begin(std::function<Result<T>()> body, const char* name) {
    auto attempt = std::make_shared<Attempt>();
    auto run = [attempt, body = std::move(body)] {
      std::optional<Result<T>> result;
      Status thrown = Caught([&] { result.emplace(body()); });
      attempt->End(thrown.ok() ? std::move(*result) : Result<T>(std::move(thrown)));
    };
    if (Status spawned = Scheduler::Real()->Spawn(run, name); !spawned.ok()) attempt->End(spawned);
    return attempt;
  }
  // Whether it has ended by then (Clock::MonotonicMs).
  bool Wait(int64_t deadline_ms) {
    std::unique_lock<std::mutex> lock(mu_);
    while (!result_.has_value() && Clock::Real()->MonotonicMs() < deadline_ms)
      Scheduler::Real()->Wait(lock, ended_, deadline_ms);
    return result_.has_value();
  }
  // Its result, after a Wait that said so; for one caller.
  Result<T> Take() {
    std::lock_guard<std::mutex> hold(mu_);
    return std::move(*result_);
  }

 private:
  void End(Result<T> result) {
    std::lock_guard<std::mutex> hold(mu_);
    result_.emplace(std::move(result));
    ended_.notify_all();
  }

  std::mutex mu_;  // guards the next
  std::condition_variable ended_;
  std::optional<Result<T>> result_;
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_ATTEMPT_H_
