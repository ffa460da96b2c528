// Findings that are known: a file with a reason for each, so that only what is new fails.
#ifndef DVDI_SANITY_EXPECTED_H_
#define DVDI_SANITY_EXPECTED_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "sanity/check.h"

namespace dvdi::sanity {

struct Expectation {
  std::string reason;
  bool sometimes = false;  // it depends on timing: not finding it is no failure
};

// YAML: `mount.two-ids: it counts calls, not IDs`, or `{reason: …, sometimes: true}` in place of the text.
// kInvalid for anything else, and for a check that is none of `checks`.
Result<std::map<std::string, Expectation>> ReadExpectations(std::string_view text, const std::string& path,
                                                            const std::vector<Check>& checks);

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_EXPECTED_H_
