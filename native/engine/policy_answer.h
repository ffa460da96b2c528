// What an export answered: {"ok": …} or {"error": …} (docs/abi.md).
#ifndef DVDI_ENGINE_POLICY_ANSWER_H_
#define DVDI_ENGINE_POLICY_ANSWER_H_

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace dvdi {

// The member "ok", or the error as a Status (its texts made one line each). kPolicy where it is neither.
Result<Json> ReadPolicyAnswer(std::string_view export_name, std::string_view text);
// The entry of "volumes" whose index is `i`, or null.
Json VolumeOfAnswer(const Json& ok, size_t i);

}  // namespace dvdi

#endif  // DVDI_ENGINE_POLICY_ANSWER_H_
