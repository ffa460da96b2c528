// The canary of a policy: what the node's last recorded operations would have come to under it.
#ifndef DVDI_ENGINE_CANARY_H_
#define DVDI_ENGINE_CANARY_H_

#include "base/json.h"
#include "base/status.h"
#include "engine/core.h"
#include "policy/life.h"

namespace dvdi {

// Replays the last records (settings: policies.canary_operations) under the candidate. Answer: {"checks",
// "operations", "same", "different", "undecidable", "skipped", "examples": [{"operation", "scope",
// …result}]}. kPolicy where it fails on one; kRefused where it decides more of them otherwise than the
// settings allow, unless `any_differences`.
Result<Json> RunCanary(Core& core, const PolicyCandidate& candidate, bool any_differences);

}  // namespace dvdi

#endif  // DVDI_ENGINE_CANARY_H_
