#include "policy/state_file.h"

#include "base/json.h"
#include "policy/blob.h"

namespace dvdi {
namespace {
constexpr size_t kMaxBarred = 1'000;
}

bool IsSha256(std::string_view text) {
  if (text.size() != 64) return false;
  for (char c : text)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  return true;
}

Result<PolicyState> ParsePolicyState(std::string_view text) {
  auto json = ParseJson(text, "it", 8);
  if (!json.ok()) return Status(Code::kPolicy, json.status().message());
  auto wrong = [](const char* member, const char* what) {
    return Status(Code::kPolicy, std::string("its member \"") + member + "\" is not " + what);
  };
  if (!json->is_object()) return Status(Code::kPolicy, "it is not a JSON object");
  PolicyState state;
  state.active = GetString(*json, "active");
  state.version = GetString(*json, "version");
  state.watermark = GetString(*json, "watermark");
  state.installed_ms = GetInt(*json, "installed_ms", -1);
  if (!IsSha256(state.active)) return wrong("active", "a SHA-256 in hex");
  if (!ParseSemVer(state.version)) return wrong("version", "a version like 1.2.3");
  if (!ParseSemVer(state.watermark)) return wrong("watermark", "a version like 1.2.3");
  if (state.installed_ms < 0) return wrong("installed_ms", "a time in milliseconds");
  const Json& barred = GetMember(*json, "barred");
  if (!barred.is_array() || barred.size() > kMaxBarred) return wrong("barred", "a list of at most 1000");
  for (const Json& item : barred) {
    if (!item.is_string() || !IsSha256(item.get<std::string>()))
      return wrong("barred", "a list of SHA-256 in hex");
    state.barred.push_back(item.get<std::string>());
  }
  return state;
}

std::string ToText(const PolicyState& state) {
  return Dump(Json{{"active", state.active},
                   {"version", state.version},
                   {"watermark", state.watermark},
                   {"barred", state.barred},
                   {"installed_ms", state.installed_ms}}) +
         "\n";
}

}  // namespace dvdi
