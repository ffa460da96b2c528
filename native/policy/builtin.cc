#include <string>
#include <string_view>

#include "policy/runtime.h"

extern "C" {
// Defined in builtin.S.
extern const char dvdi_builtin_policy[];
extern const char dvdi_builtin_policy_end[];
}

namespace dvdi {

std::string_view BuiltinPolicy() {
  return {dvdi_builtin_policy, static_cast<size_t>(dvdi_builtin_policy_end - dvdi_builtin_policy)};
}

const std::string& BuiltinPolicySha256() {
  static const auto* hash = new std::string(
#include DVDI_BUILTIN_SHA256_FILE
  );
  return *hash;
}

}  // namespace dvdi
