// The envelope of every answer of a policy: {"ok": …} or {"error": {…}}.
#ifndef DVDI_POLICY_ANSWER_H_
#define DVDI_POLICY_ANSWER_H_

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace dvdi {

// The `ok` member of an export's answer; the Status that `error` says (code, message, hint, volume, driver;
// each one line); kPolicy where the answer is neither. `export_name` is for messages. `error`, where it is
// wanted: the error as the policy said it, or null where there is none, also where the answer is malformed.
Result<Json> ParsePolicyAnswer(const std::string& export_name, std::string_view answer,
                               Json* error = nullptr);

}  // namespace dvdi

#endif  // DVDI_POLICY_ANSWER_H_
