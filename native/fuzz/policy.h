// The shipped blob, as the engine runs it.
#ifndef DVDI_FUZZ_POLICY_H_
#define DVDI_FUZZ_POLICY_H_

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "policy/runtime.h"

namespace dvdi::fuzz {

// Compiled once.
const PolicyModule& Shipped();

// Calls an export, as an operation of one call does, and says to libFuzzer what was seen. A trap, a limit or
// an answer that is malformed is a finding; null where the policy answered with an error of its own. `input`
// is UTF-8.
Json Decide(const std::string& export_name, std::string_view input, const HostFunction& host);

}  // namespace dvdi::fuzz

#endif  // DVDI_FUZZ_POLICY_H_
