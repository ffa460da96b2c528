#include "policy/state_file.h"

#include <algorithm>

#include "base/json.h"
#include "policy/blob.h"

namespace dvdi {
namespace {

constexpr size_t kMaxBarred = 1'000;
constexpr size_t kMaxPrevious = 8;

Status Wrong(const char* member, const char* what) {
  return Status(Code::kPolicy, std::string("its member \"") + member + "\" is not " + what);
}

Status ReadHashes(const Json& list, const char* member, std::vector<std::string>* out) {
  if (!list.is_array() || list.size() > kMaxBarred) return Wrong(member, "a list of at most 1000");
  for (const Json& item : list) {
    if (!item.is_string() || !IsSha256(item.get_ref<const std::string&>()))
      return Wrong(member, "a list of SHA-256 in hex");
    out->push_back(item.get<std::string>());
  }
  return Status();
}

}  // namespace

bool PolicyState::IsBarred(std::string_view sha256) const {
  return std::find(barred.begin(), barred.end(), sha256) != barred.end();
}

std::vector<std::string> PolicyState::Earlier() const {
  std::vector<std::string> earlier;
  std::copy_if(previous.rbegin(), previous.rend(), std::back_inserter(earlier),
               [&](const std::string& sha256) { return sha256 != active && !IsBarred(sha256); });
  return earlier;
}

void PolicyState::Activate(const std::string& sha256, const std::string& blob_version, int64_t now_ms) {
  if (!active.empty() && active != sha256) {
    std::erase(previous, active);
    previous.push_back(active);
  }
  // One that was active before stays in its place, too: who leaves it again goes on from there.
  if (previous.size() > kMaxPrevious) previous.erase(previous.begin());
  active = sha256, version = blob_version, installed_ms = now_ms;
  if (shadow && shadow->sha256 == sha256) shadow.reset();
}

void PolicyState::GoBack(const std::string& sha256, const std::string& blob_version, int64_t now_ms) {
  previous.erase(std::find(previous.begin(), previous.end(), sha256), previous.end());
  active.clear();
  Activate(sha256, blob_version, now_ms);
}

void PolicyState::Bar(const std::string& sha256) {
  if (IsBarred(sha256)) return;
  barred.push_back(sha256);
  if (barred.size() > kMaxBarred) barred.erase(barred.begin());
  if (shadow && shadow->sha256 == sha256) shadow.reset();
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
  if (!json->is_object()) return Status(Code::kPolicy, "it is not a JSON object");
  PolicyState state;
  state.active = GetString(*json, "active");
  state.version = GetString(*json, "version");
  state.watermark = GetString(*json, "watermark");
  state.installed_ms = GetInt(*json, "installed_ms", -1);
  if (!IsSha256(state.active)) return Wrong("active", "a SHA-256 in hex");
  if (!ParseSemVer(state.version)) return Wrong("version", "a version like 1.2.3");
  if (!ParseSemVer(state.watermark)) return Wrong("watermark", "a version like 1.2.3");
  if (state.installed_ms < 0) return Wrong("installed_ms", "a time in milliseconds");
  DVDI_RETURN_IF_ERROR(ReadHashes(GetMember(*json, "barred"), "barred", &state.barred));
  if (const Json& previous = GetMember(*json, "previous"); !previous.is_null())
    DVDI_RETURN_IF_ERROR(ReadHashes(previous, "previous", &state.previous));
  if (const Json& shadow = GetMember(*json, "shadow"); !shadow.is_null()) {
    ShadowState s{GetString(shadow, "sha256"), GetInt(shadow, "began_ms", -1), GetInt(shadow, "until_ms", -1),
                  GetInt(shadow, "operations", -1)};
    if (!IsSha256(s.sha256) || s.began_ms < 0 || s.until_ms < 0 || s.operations < 0)
      return Wrong("shadow", "a blob with its time and number of operations");
    state.shadow = std::move(s);
  }
  return state;
}

std::string ToText(const PolicyState& state) {
  Json json = {{"active", state.active}, {"version", state.version},   {"watermark", state.watermark},
               {"barred", state.barred}, {"previous", state.previous}, {"installed_ms", state.installed_ms}};
  if (const auto& s = state.shadow)
    json["shadow"] = {{"sha256", s->sha256},
                      {"began_ms", s->began_ms},
                      {"until_ms", s->until_ms},
                      {"operations", s->operations}};
  return Dump(json) + "\n";
}

}  // namespace dvdi
