#include "sim/shrink.h"

#include <algorithm>
#include <utility>

namespace dvdi::sim {

Plan Shrink(const Plan& plan, const Shared& shared, int runs) {
  Plan best = plan;
  HistoryResult first = RunHistory(plan, shared, false);
  if (first.violations.empty()) return plan;
  const std::string invariant = first.violations[0].invariant;
  auto breaks = [&](const Plan& tried) {
    if (runs-- <= 0) return false;
    HistoryResult r = RunHistory(tried, shared, false);
    return !r.violations.empty() && r.violations[0].invariant == invariant;
  };
  // Whole blocks of steps, then smaller ones.
  for (size_t block = best.steps.size(); block >= 1 && runs > 0; block /= 2) {
    for (size_t at = 0; at < best.steps.size() && runs > 0;) {
      Plan tried = best;
      auto from = tried.steps.begin() + static_cast<long>(at);
      tried.steps.erase(from, from + static_cast<long>(std::min(block, tried.steps.size() - at)));
      if (breaks(tried))
        best = std::move(tried);
      else
        at += block;
    }
  }
  // Then what makes the steps that are left complicated.
  auto simplify = [&](auto change) {
    Plan tried = best;
    if (change(tried) && breaks(tried)) best = std::move(tried);
  };
  simplify([](Plan& p) { return std::exchange(p.fault_one_in, 0) != 0; });
  for (size_t i = 0; i < best.steps.size(); ++i) {
    simplify([i](Plan& p) { return std::exchange(p.steps[i].kill_at, 0) != 0; });
    simplify([i](Plan& p) { return std::exchange(p.steps[i].power, false); });
    simplify([i](Plan& p) { return std::exchange(p.steps[i].turns, 0) != 0; });
    simplify([i](Plan& p) { return std::exchange(p.steps[i].process, 0) != 0; });
    simplify([i](Plan& p) { return std::exchange(p.steps[i].node, 0) != 0; });
  }
  return best;
}

}  // namespace dvdi::sim
