// A prepare whose policy refused and wants to be asked again: what it lets go of until then, how it goes on.
#include <algorithm>

#include "base/caught.h"
#include "engine/operation.h"

namespace dvdi {
namespace {

// The shortest time after which a policy is asked again.
constexpr int64_t kMinPauseMs = 20;

}  // namespace

// Whether the policy, which refused, is to be asked once more. Until then nobody is kept from the volumes.
bool PrepareOperation::Pauses(const Status& refused) {
  if (begun_ || again_ms_ <= 0) return false;
  again_ms_ = std::max(again_ms_, kMinPauseMs);
  if (again_ms_ >= LeftMs()) return false;
  if (refused_at_ms_ < 0) refused_at_ms_ = core_.env.clock->MonotonicMs();
  refused_ = refused;
  locks_.reset();
  return true;
}

// All that was found out before may be otherwise now.
void PrepareOperation::Resume() {
  again_ms_ = 0;
  waited_ms_ = core_.env.clock->MonotonicMs() - refused_at_ms_;
  volumes_ = FreshVolumes();
  recorder_.PrepareAgain();
  request_.policy = revision_->module->Begin();
}

void PrepareOperation::NoteWait() {
  if (refused_at_ms_ < 0) return;
  const std::string note = "waited " + std::to_string(waited_ms_) + " ms for others to let go of the volumes";
  recorder_.Note(note);
  request_.notes.push_back(note);
}

PrepareOperation::Outcome PrepareOperation::GiveUp() {
  Outcome outcome;
  waited_ms_ = core_.env.clock->MonotonicMs() - refused_at_ms_;
  (void)Caught([&] { NoteWait(); });
  Fail(refused_, &outcome);
  return outcome;
}

}  // namespace dvdi
