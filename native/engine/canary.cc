#include "engine/canary.h"

#include <map>

#include "base/text.h"
#include "policy/replay.h"

namespace dvdi {
namespace {

constexpr size_t kMaxExamples = 5;

}  // namespace

Result<Json> RunCanary(Core& core, const PolicyCandidate& candidate, bool any_differences) {
  std::vector<RecordRow> records;
  const int64_t wanted = core.settings.canary_operations;
  if (wanted > 0)
    DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(records, tx.Records("", "", "", "", static_cast<int>(wanted)));
      return Status();
    }));
  const Revision& revision = *candidate.revision;
  std::map<ReplayResult::Outcome, int64_t> counts;
  Json examples = Json::array();
  for (const RecordRow& row : records) {
    auto body = ParseJson(row.body, "a record", 80);
    if (!body.ok()) continue;
    const ReplayResult result = Replay(*revision.module, revision.config, *body);
    ++counts[result.outcome];
    if (result.outcome == ReplayResult::Outcome::kFailed)
      return Status(Code::kPolicy,
                    "the policy is not installed: its canary failed on the recorded operation " +
                        row.operation + " (" + row.kind + " of " + OneLine(row.scope, 80) +
                        "): " + result.why,
                    "`dvdi explain --operation " + row.operation + "` shows what the operation was");
    if (result.outcome != ReplayResult::Outcome::kDifferent || examples.size() >= kMaxExamples) continue;
    Json example = {{"operation", row.operation}, {"scope", row.scope}};
    example.update(result.ToJson());
    examples.push_back(std::move(example));
  }
  using Outcome = ReplayResult::Outcome;
  const int64_t different = counts[Outcome::kDifferent], most = core.settings.max_differences;
  const auto all = static_cast<int64_t>(records.size());
  if (most >= 0 && different > most && !any_differences)
    return Status(Code::kRefused,
                  "the policy is not installed: it decides " + std::to_string(different) + " of " +
                      std::to_string(all) + " recorded operations otherwise, and " + std::to_string(most) +
                      " may differ (policies.max_differences); one of them is " +
                      GetString(examples[0], "operation") + ": " + GetString(examples[0], "why"),
                  "if that is what it is for: --allow-differences");
  return Json{{"checks", candidate.checks},
              {"operations", all},
              {"same", counts[Outcome::kSame]},
              {"different", different},
              {"undecidable", counts[Outcome::kUndecidable]},
              {"skipped", counts[Outcome::kSkipped]},
              {"examples", std::move(examples)}};
}

}  // namespace dvdi
