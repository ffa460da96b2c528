#include "sanity/expected.h"

#include <algorithm>

#include "base/text.h"
#include "base/yaml.h"

namespace dvdi::sanity {

Result<std::map<std::string, Expectation>> ReadExpectations(std::string_view text, const std::string& path,
                                                            const std::vector<Check>& checks) {
  DVDI_ASSIGN_OR_RETURN(Json all, ParseYaml(text, path));
  std::map<std::string, Expectation> out;
  if (all.is_null()) return out;
  if (!all.is_object())
    return Status(Code::kInvalid, path + ": it is no list of checks and reasons",
                  "write `CHECK: REASON` lines");
  for (auto it = all.begin(); it != all.end(); ++it) {
    std::string what = path + ": " + OneLine(it.key(), 80);
    bool known = std::any_of(checks.begin(), checks.end(), [&](const Check& c) { return c.id == it.key(); });
    if (!known) return Status(Code::kInvalid, what + " is no check", "dvdi-sanity --list names them");
    Expectation e;
    if (it->is_string())
      e.reason = it->get<std::string>();
    else if (it->is_object()) {
      e.reason = GetString(*it, "reason");
      e.sometimes = GetBool(*it, "sometimes");
      for (auto member = it->begin(); member != it->end(); ++member)
        if (member.key() != "reason" && member.key() != "sometimes")
          return Status(Code::kInvalid, what + " has " + OneLine(member.key(), 40),
                        "it has reason and sometimes");
    }
    e.reason = OneLine(e.reason, 600);
    if (e.reason.empty()) return Status(Code::kInvalid, what + " has no reason", "say why it is expected");
    out[it.key()] = std::move(e);
  }
  return out;
}

}  // namespace dvdi::sanity
