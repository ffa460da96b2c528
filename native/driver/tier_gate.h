// How many requests may be at work in one tier: they cannot be ended where its pool hangs, and whoever waits
// for them has a connection of the few that there are.
#ifndef DVDI_DRIVER_TIER_GATE_H_
#define DVDI_DRIVER_TIER_GATE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// Thread-safe. Must outlive its Passes.
class TierGate {
 public:
  // One request at work, while it lives.
  class Pass {
   public:
    Pass(TierGate* gate, size_t tier, int64_t since) : gate_(gate), tier_(tier), since_(since) {}
    Pass(Pass&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)), tier_(other.tier_), since_(other.since_) {}
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (gate_ == nullptr) return;
      std::lock_guard<std::mutex> hold(gate_->mu_);
      auto& inside = gate_->inside_[tier_];
      inside.erase(inside.find(since_));
    }

   private:
    TierGate* gate_;
    const size_t tier_;
    const int64_t since_;
  };

  // `most` at once in each tier, where the oldest of them has been at work for `slow_ms`: where they come and
  // go, any number may.
  TierGate(size_t most, int64_t slow_ms) : most_(most), slow_ms_(slow_ms) {}

  // kUnavailable where that is reached. `what` is what messages call the tier.
  Result<Pass> Enter(size_t tier, const std::string& what) {
    const int64_t now = Clock::Real()->MonotonicMs();
    std::lock_guard<std::mutex> hold(mu_);
    auto& inside = inside_[tier];
    if (inside.size() >= most_ && now - *inside.begin() >= slow_ms_)
      return Status(Code::kUnavailable,
                    std::to_string(inside.size()) + " requests are at work in " + what + ", the oldest for " +
                        std::to_string((now - *inside.begin()) / 1000) + " s: its pool may hang",
                    "see whether its storage can be reached, then try again");
    inside.insert(now);
    return Pass(this, tier, now);
  }

 private:
  const size_t most_;
  const int64_t slow_ms_;
  std::mutex mu_;                                    // guards the next
  std::map<size_t, std::multiset<int64_t>> inside_;  // when they began
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_TIER_GATE_H_
