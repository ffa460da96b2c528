// What operators get to see of policies.
#ifndef DVDI_ENGINE_POLICY_SHOW_H_
#define DVDI_ENGINE_POLICY_SHOW_H_

#include "base/json.h"
#include "base/status.h"
#include "engine/core.h"
#include "policy/life.h"

namespace dvdi {

// What is wrong with a policy that came as a file, with the file's name in front where it does not have it.
Status AboutFile(const std::string& path, const Status& why);

// The keys and the rule of the settings. kInvalid, naming the key, for one that is none; kRefused for a file
// of one that others could have written.
Result<PolicyTrust> TrustOf(Core& core);

// `dvdi policy ls`: {"policies": [{"sha256", "name", "version", "state", "bytes", "kept_ms", "signed_by"?,
// "comment"?, "problem"?}], "barred": [sha256 of those that are not kept], "watermark", "unsigned":
// "allow"|"refuse", "keys": [id]}. `state`: active, previous, shadow, barred, kept.
Result<Json> ShowPolicies(Core& core, const PolicyLife& life);
// `dvdi policy inspect`: of a file ("path") or of a kept one ("policy"; without both: the active one) its
// manifest, who signed it, and "problem": why it would not be taken.
Result<Json> InspectPolicy(Core& core, const PolicyLife& life, const Json& request);
// {"shadow": null or {"sha256", "began_ms", "until_ms", "operations", "over", "decisions", "examples"}}.
// `ended`: of that one, which is none any more.
Result<Json> ShowShadow(Core& core, const PolicyLife& life, const ShadowState* ended);

}  // namespace dvdi

#endif  // DVDI_ENGINE_POLICY_SHOW_H_
