// The envelope of every answer of a policy: {"ok": …} or {"error": {…}}.
#ifndef DVDI_POLICY_ANSWER_H_
#define DVDI_POLICY_ANSWER_H_

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace dvdi {

// The `ok` member of an export's answer; the Status that `error` says (code, message, hint, volume, driver;
// each one line); kPolicy where the answer is neither. `export_name` is for messages.
Result<Json> ParsePolicyAnswer(const std::string& export_name, std::string_view answer);

// Whether it is an error that a policy meant to say, and not a malformed answer.
bool IsPolicyError(const std::string& export_name, std::string_view answer);

}  // namespace dvdi

#endif  // DVDI_POLICY_ANSWER_H_
