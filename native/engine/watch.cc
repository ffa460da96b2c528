#include "engine/watch.h"

#include <functional>

#include "base/text.h"
#include "policy/life.h"
#include "policy/replay.h"

namespace dvdi {
namespace {

using Outcome = ReplayResult::Outcome;

// What is kept of a result: enough to see it, and never more than the record itself.
std::string Detail(const ReplayResult& result) {
  std::string text = Dump(result.ToJson());
  if (text.size() <= 4'096) return text;
  return Dump(Json{{"outcome", OutcomeName(result.outcome)},
                   {"export", result.export_name},
                   {"at", result.at},
                   {"why", OneLine(result.why)}});
}

VerdictRow Verdict(Core& core, const std::string& sha256, const char* kind, const OperationRow& operation) {
  VerdictRow row;
  row.sha256 = sha256, row.kind = kind, row.operation = operation.id;
  row.workload = operation.owner + " " + operation.scope;
  row.at_ms = core.env.clock->WallMs();
  return row;
}

void EndShadow(Core& core, const ShadowRevision& shadow, const std::string& why) {
  PolicyLife life(core.policy.get(), core.settings.limits);
  // Another process may have ended it: it is told once.
  if (!life.SetShadow(std::nullopt, shadow.bounds.sha256, why).ok()) return;
  TellPolicy(core, "engine", "shadow-ended", shadow.revision->module.get(), why, Status());
}

ReplayResult DecideAgain(const Revision& revision, const Revision& decided, const Recorder& recorder,
                         const std::function<Result<Json>()>& record) {
  // Nearly all are decided alike; then none of the JSON has to be read.
  if (recorder.texts() != nullptr && revision.config == decided.config &&
      DecidesAlike(*revision.module, *recorder.texts()))
    return {};
  auto whole = record();
  if (whole.ok()) return Replay(*revision.module, revision.config, *whole);
  ReplayResult skipped;
  skipped.outcome = Outcome::kSkipped, skipped.why = whole.status().message();
  return skipped;
}

void KeepVerdict(Core& core, const ShadowRevision& shadow, const OperationRow& operation,
                 const ReplayResult& result) {
  const std::string& sha256 = shadow.bounds.sha256;
  VerdictRow row = Verdict(core, sha256, kShadowVerdict, operation);
  row.outcome = OutcomeName(result.outcome);
  if (result.outcome != Outcome::kSame) row.detail = Detail(result);
  core.observer->Shadow(row.outcome);
  const int64_t wanted = shadow.bounds.operations;
  bool enough = false;
  (void)core.ledger->Apply(Commit::recorded, false, [&](LedgerTx& tx) -> Status {
    enough = false;
    DVDI_RETURN_IF_ERROR(tx.PutVerdict(row));
    if (wanted <= 0) return Status();
    DVDI_ASSIGN_OR_RETURN(enough, tx.HasVerdicts(sha256, kShadowVerdict, shadow.bounds.began_ms, wanted));
    return Status();
  });
  // One that loops would cost as much again with each operation.
  if (result.outcome == Outcome::kFailed)
    EndShadow(core, shadow, "it failed on operation " + operation.id + ": " + result.why);
  else if (enough)
    EndShadow(core, shadow, "it has decided " + std::to_string(wanted) + " operations");
}

// The policy failed. That is its fault only where the one before it does better with the same input: a
// statement that no policy survives says nothing.
void MayTakeBack(Core& core, const Revision& revision, const OperationRow& operation, const Status& why,
                 const Json& record) {
  if (core.settings.return_after == 0) return;
  PolicyLife life(core.policy.get(), core.settings.limits);
  auto state = life.State();
  const std::string& sha256 = revision.module->sha256();
  if (!state.ok() || state->active != sha256) return;
  auto good = life.Earlier(*state);
  if (!good.ok()) return;
  const Outcome outcome = ReplayBegun(*good->revision->module, good->revision->config, record).outcome;
  // kSame: it fails too. kUndecidable: it goes on where the other one failed.
  if (outcome != Outcome::kDifferent && outcome != Outcome::kUndecidable) return;
  VerdictRow row = Verdict(core, sha256, kFailureVerdict, operation);
  row.outcome = "failed", row.detail = why.message();
  int64_t workloads = 0;
  Status kept = core.ledger->Apply(Commit::recorded, false, [&](LedgerTx& tx) -> Status {
    DVDI_RETURN_IF_ERROR(tx.PutVerdict(row));
    DVDI_ASSIGN_OR_RETURN(workloads, tx.VerdictWorkloads(sha256, kFailureVerdict, state->installed_ms));
    return Status();
  });
  if (!kept.ok() || workloads < core.settings.return_after) return;
  const std::string reason = "it failed on " + std::to_string(workloads) +
                             " workloads that the policy before it decides; the last time: " + why.message();
  auto back = life.GoBack(sha256, true, "taken-back", reason);
  // Where another process did it meanwhile there is nothing to tell.
  if (!back.ok() && back.status().code() == Code::kRefused) return;
  TellPolicy(core, "engine", "taken-back", revision.module.get(), reason, back.status());
}

}  // namespace

void WatchPolicies(Core& core, const Revision& revision, const Recorder& recorder,
                   const OperationRow& operation, const Status& why, bool policy_failed) {
  const auto shadow = core.policy->Shadow();
  if (shadow == nullptr && !policy_failed) return;
  auto record = [&] {
    return ParseJson(recorder.Finish(operation, why.ok() ? "ok" : CodeName(why.code()), why).body, "a record",
                     80);
  };
  if (policy_failed) {
    if (auto whole = record(); whole.ok()) MayTakeBack(core, revision, operation, why, *whole);
  }
  if (shadow == nullptr) return;
  if (ShadowIsOver(core, shadow->bounds)) return EndShadow(core, *shadow, "its time is over");
  KeepVerdict(core, *shadow, operation, DecideAgain(*shadow->revision, revision, recorder, record));
}

Status PolicyFault(const Revision& revision, Status why) {
  const PolicyManifest& m = revision.module->manifest();
  const std::string policy = "policy " + m.name + " " + m.version;
  if (why.message().rfind(policy + ":", 0) != 0) why = std::move(why).WithContext(policy);
  if (why.hint().empty())
    why = std::move(why).WithHint(
        "the policy blob is faulty: go back to the one before it (dvdi policy rollback)");
  return why;
}

bool ShadowIsOver(Core& core, const ShadowState& shadow) {
  return shadow.until_ms > 0 && core.env.clock->WallMs() >= shadow.until_ms;
}

Result<Json> ShadowSoFar(Core& core, const ShadowState& shadow, int examples) {
  Json decisions = Json::object(), list = Json::array();
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(auto tally, tx.VerdictTally(shadow.sha256, kShadowVerdict, shadow.began_ms));
    decisions = Json::object(), list = Json::array();
    for (const auto& t : tally) decisions[t.first] = t.count;
    DVDI_ASSIGN_OR_RETURN(auto rows, tx.Verdicts(shadow.sha256, kShadowVerdict, shadow.began_ms, examples));
    for (const VerdictRow& row : rows) {
      Json one = {{"operation", row.operation}, {"at_ms", row.at_ms}};
      if (auto detail = ParseJson(row.detail, "a verdict", 80); detail.ok()) AddMembers(&one, *detail);
      list.push_back(std::move(one));
    }
    return Status();
  }));
  return Json{{"decisions", std::move(decisions)}, {"examples", std::move(list)}};
}

void TellPolicy(Core& core, const char* owner, const char* event, const PolicyModule* module,
                const std::string& detail, const Status& status) {
  EventContext context;
  context.kind = "policy", context.owner = owner;
  if (module != nullptr) {
    context.policy_name = module->manifest().name, context.policy_version = module->manifest().version;
    context.policy_sha256 = module->sha256();
  }
  PolicyEvent e;
  e.event = event, e.detail = detail, e.outcome = CodeName(status.code()), e.error = status.message();
  core.observer->Policy(context, e);
}

}  // namespace dvdi
