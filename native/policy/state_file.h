// policy_dir/state.json: which blob is active, what it may be followed by, and which never may be again.
#ifndef DVDI_POLICY_STATE_FILE_H_
#define DVDI_POLICY_STATE_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dvdi {

// A blob that decides beside the active one, and does nothing.
struct ShadowState {
  std::string sha256;
  int64_t began_ms = 0;    // Unix time
  int64_t until_ms = 0;    // 0: no end in time
  int64_t operations = 0;  // so many decisions; 0: no end in number
};

struct PolicyState {
  std::string active;                 // sha256 of the blob, 64 lower-case hex characters
  std::string version;                // of the active blob
  std::string watermark;              // the highest version that was ever active
  std::vector<std::string> barred;    // sha256 of blobs that must not become active
  std::vector<std::string> previous;  // sha256 of what can be gone back to, the last one last
  int64_t installed_ms = 0;           // Unix time: when the active one became so
  std::optional<ShadowState> shadow;

  bool IsBarred(std::string_view sha256) const;
  // Those that can be gone back to: active before the present one, and not barred; the last one first.
  std::vector<std::string> Earlier() const;
  // Makes a blob the active one. The one before it is remembered.
  void Activate(const std::string& sha256, const std::string& blob_version, int64_t now_ms);
  // The same of one that was active before. Those that were active since are left for good: the next step
  // goes further back, not to and fro.
  void GoBack(const std::string& sha256, const std::string& blob_version, int64_t now_ms);
  void Bar(const std::string& sha256);
};

// Both directions of the file's JSON. Parse is strict: kPolicy, naming the member, for anything that was not
// written by ToText (unknown members are kept out, so that a newer engine may add some; those that an older
// one did not write have their defaults).
Result<PolicyState> ParsePolicyState(std::string_view text);
std::string ToText(const PolicyState& state);

// Whether it is 64 lower-case hex characters.
bool IsSha256(std::string_view text);

}  // namespace dvdi

#endif  // DVDI_POLICY_STATE_FILE_H_
