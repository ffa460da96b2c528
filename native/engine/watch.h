// What an operation that is over has to say of policies: the shadow decides it too, and a policy that failed
// on it may be taken back.
#ifndef DVDI_ENGINE_WATCH_H_
#define DVDI_ENGINE_WATCH_H_

#include <memory>

#include "engine/core.h"
#include "engine/recorder.h"

namespace dvdi {

// Called behind an operation's answer, on a thread that may run policies. `why`: how it ended.
// `policy_failed`: the policy trapped, hit a limit or answered nonsense; never for what it refused, or what a
// driver or the engine did. Costs nothing without a shadow and a failure, else one more decision. No failure
// here reaches anybody: what cannot be kept is lost.
void WatchPolicies(Core& core, const Revision& revision, const Recorder& recorder,
                   const OperationRow& operation, const Status& why, bool policy_failed);

// A failure of the policy itself, for its caller: which policy it is, and what to do where that is not said.
Status PolicyFault(const Revision& revision, Status why);

// What became of the shadow so far: {"decisions": {outcome: n}, "examples": [{"operation", …result}]}.
Result<Json> ShadowSoFar(Core& core, const ShadowState& shadow, int examples);
// Whether the shadow has had its time.
bool ShadowIsOver(Core& core, const ShadowState& shadow);

// To the audit log and the counters. `module`: which policy; null where none is known.
void TellPolicy(Core& core, const char* owner, const char* event, const PolicyModule* module,
                const std::string& detail, const Status& status);

}  // namespace dvdi

#endif  // DVDI_ENGINE_WATCH_H_
