#include "engine/back_off.h"

#include <algorithm>
#include <set>

namespace dvdi {

int64_t BackOff::DueAt(const std::string& operation) const {
  std::lock_guard lock(mu_);
  auto it = tries_.find(operation);
  return it == tries_.end() ? 0 : it->second.due_ms;
}

bool BackOff::IsNews(const std::string& operation, const std::string& why) const {
  std::lock_guard lock(mu_);
  auto it = tries_.find(operation);
  return it == tries_.end() || it->second.why != why;
}

void BackOff::Failed(const std::string& operation, const std::string& why, bool held, int64_t now_ms) {
  std::lock_guard lock(mu_);
  Try& t = tries_[operation];
  t.why = why;
  t.pause_ms = held ? base_ms_ : std::clamp(t.pause_ms * 2, base_ms_, std::max(base_ms_, max_ms_));
  t.due_ms = now_ms + t.pause_ms;
}

void BackOff::Done(const std::string& operation) {
  std::lock_guard lock(mu_);
  tries_.erase(operation);
}

void BackOff::KeepOnly(const std::vector<OperationRow>& operations) {
  std::set<std::string> ids;
  for (const OperationRow& o : operations) ids.insert(o.id);
  std::lock_guard lock(mu_);
  std::erase_if(tries_, [&](const auto& t) { return !ids.contains(t.first); });
}

}  // namespace dvdi
