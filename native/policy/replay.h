// Replay: a policy decides a recorded operation once more, on what the record holds (docs/replay.md has the
// rules). The canary, the shadow and the automatic return are this; nothing is called, mounted or waited for.
#ifndef DVDI_POLICY_REPLAY_H_
#define DVDI_POLICY_REPLAY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "policy/runtime.h"

namespace dvdi {

struct ReplayResult {
  enum class Outcome {
    kSame,
    kDifferent,
    kUndecidable,  // it asked for what is not in the record
    kFailed,       // it trapped, hit a limit, or gave no answer
    kSkipped,      // the record cannot be replayed
  };
  Outcome outcome = Outcome::kSame;
  std::string export_name;  // of the export that did not come out the same
  std::string at;           // "answer", "call", "failure"; "" for kSame and kSkipped
  Json was, now;            // decisions or items of calls
  Json missing;             // the first recorded effect that was not asked for, or null
  std::string why;          // one line for people

  // As docs/replay.md, "The result", has it.
  Json ToJson() const;
};

// "same", "different", "undecidable", "failed", "skipped"; static.
const char* OutcomeName(ReplayResult::Outcome outcome);

// `config`: what the policy's configure answered; null where each record's own serves. `record`: the body of
// a record, or a line of an export. Thread-safe. Costs one decision.
ReplayResult Replay(const PolicyModule& policy, const Json& config, const Json& record);

// The same of a record that may be cut among its host calls, as a policy that asks without end leaves it.
// Where this one comes to the cut, it is kSkipped: nobody knows what was asked behind it.
ReplayResult ReplayBegun(const PolicyModule& policy, const Json& config, const Json& record);

// What a policy was asked and told in one operation, as the texts that went over. Of each export that was
// called the input, and the answer where it gave one; of prepare its host calls, in order.
struct DecisionTexts {
  struct Call {
    std::string import, request, answer;
    int64_t us = 0;  // how long it took
  };
  std::map<std::string, std::string> inputs, answers;
  std::vector<Call> calls;
};

// Whether the policy decides that byte for byte alike, with the inputs as they are: then Replay says kSame,
// at several times the cost, most of which is JSON. False says nothing of the policy. Thread-safe.
bool DecidesAlike(const PolicyModule& policy, const DecisionTexts& texts);

}  // namespace dvdi

#endif  // DVDI_POLICY_REPLAY_H_
