// policy_dir/state.json: which blob is active, and which never may be again.
#ifndef DVDI_POLICY_STATE_FILE_H_
#define DVDI_POLICY_STATE_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dvdi {

struct PolicyState {
  std::string active;               // sha256 of the blob, 64 lower-case hex characters
  std::string version;              // of the active blob
  std::string watermark;            // the highest version that was ever active
  std::vector<std::string> barred;  // sha256 of blobs that must not become active
  int64_t installed_ms = 0;         // Unix time
};

// Both directions of the file's JSON. Parse is strict: kPolicy, naming the member, for anything that was not
// written by ToText (unknown members are kept out, so that a newer engine may add some).
Result<PolicyState> ParsePolicyState(std::string_view text);
std::string ToText(const PolicyState& state);

// Whether it is 64 lower-case hex characters.
bool IsSha256(std::string_view text);

}  // namespace dvdi

#endif  // DVDI_POLICY_STATE_FILE_H_
