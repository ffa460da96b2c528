// Who is dead, and what is undone for them: after a crash, a reboot, an end that nobody told.
#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

#include "base/guards.h"
#include "engine/ask_policy.h"
#include "engine/engine.h"
#include "engine/stage_meta.h"

namespace dvdi {
bool KnowsPid(const Core& core, const OperationRow& o) {
  return o.pid_namespace == 0 || o.pid_namespace == core.pid_namespace;
}

namespace {

// Its prepare was answered with an error, and its stages alone could be told so: the ledger has it as
// committed by a commit that failed at its fsync.
bool ItsStagesHaveEnded(Core& core, const OperationRow& o) {
  std::vector<EffectRow> effects;
  const Status read = core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(effects, tx.Effects(o.id));
    return Status();
  });
  return read.ok() && std::any_of(effects.begin(), effects.end(), [&](const EffectRow& e) {
           return e.kind == kStage && StageHasEnded(core.env, e.path);
         });
}

}  // namespace

bool ScopeIsOver(Core& core, const OperationRow& o) {
  if (o.boot_id != core.boot_id) return true;
  if (o.mount_namespace != 0) {
    // The process first: it is one look instead of one at every process of the node.
    uint64_t start = 0, ns = 0;
    if (KnowsPid(core, o) && core.env.sys->ProcessStart(o.pid, &start) == 0 && start == o.start_time &&
        core.env.sys->MountNamespace(o.pid, &ns) == 0 && ns == o.mount_namespace)
      return false;
    // In a container the processes of the node's scopes, and of another container's, cannot be seen: that
    // none is found there says nothing.
    if (DVDI_GUARD(pids_in_sight) && !KnowsPid(core, o) && core.pid_namespace != kFirstPidNamespace) {
      bool ended = false;
      return core.env.sys->MountNamespaceEnded(o.mount_namespace, &ended) == 0 && ended;
    }
    auto deserted = core.env.sys->IsDeserted(o.mount_namespace, KnowsPid(core, o) ? o.start_time : 0);
    return deserted.ok() && *deserted;
  }
  // Without a process only a reboot ends it, or its owner's word. That its stages are not in our mountinfo
  // says nothing: we may be in another mount namespace than the one that uses them.
  return ItsStagesHaveEnded(core, o);
}

Result<bool> TakeDown(Core& core, const OperationRow& seen, const char* kind, const Status& why,
                      int64_t lock_deadline_ms, UndoOutcome* outcome) {
  ActiveOperation active(&core, seen.id);
  if (!active.mine()) return false;
  bool claimed = false;
  Undoing what;
  what.operation = seen;
  what.operation.state = kUndoing, what.operation.instance = core.instance->id();
  Json volumes;
  Status begun = core.ledger->Apply(Commit::undoing, false, [&](LedgerTx& tx) -> Status {
    volumes = Json::array();
    DVDI_ASSIGN_OR_RETURN(claimed, tx.ClaimOperation(seen, kUndoing, core.instance->id()));
    if (!claimed) return Status();
    DVDI_RETURN_IF_ERROR(what.Read(tx));
    for (const auto& [driver, name] : what.volumes) {
      DVDI_ASSIGN_OR_RETURN(auto a, tx.FindAttachment(driver, name));
      std::vector<UserRow> users;
      if (a) {
        DVDI_ASSIGN_OR_RETURN(users, tx.Users(a->id, core.boot_id));
      }
      bool last =
          std::all_of(users.begin(), users.end(), [&](const UserRow& u) { return u.operation == seen.id; });
      volumes.push_back({{"driver", driver}, {"name", name}, {"last_user", last}});
    }
    return Status();
  });
  if (!begun.ok()) {
    core.back_off.Failed(seen.id, begun.message(), false, core.env.clock->MonotonicMs());
    return begun;
  }
  if (!claimed) return false;
  Recorder recorder(core.env, kind, core.settings.record_bytes);
  EndAdvice advice = AskPolicy(
      core, "cleanup",
      {{"scope", {{"owner", seen.owner}, {"id", seen.scope}}}, {"volumes", std::move(volumes)}}, &recorder);
  for (const auto& line : advice.report) recorder.Note(line);
  auto undone = Undo(core, what, false, lock_deadline_ms, advice.retry_base_ms, advice.retry_max_ms,
                     &recorder, why.ok() ? "ok" : CodeName(why.code()), why);
  core.observer->Operation(kind, CodeName(undone.status().code()),
                           recorder.Context(what.operation).duration_us);
  if (!undone.ok()) return undone.status();
  *outcome = std::move(*undone);
  return true;
}

Result<std::vector<OperationRow>> AllOperations(Core& core) {
  std::vector<OperationRow> operations;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(operations, tx.Operations());
    return Status();
  }));
  return operations;
}

RecoverOutcome RecoverOwner(Core& core, const std::string& owner, const Json* live,
                            const std::vector<OperationRow>& operations) {
  RecoverOutcome out;
  for (const auto& o : operations) {
    bool unfinished = o.state != kCommitted;
    bool over = false;
    if (unfinished) {
      // Promise of the instance lock: what a running engine has begun is its own to end.
      over = !DVDI_GUARD(dead_instances) || !InstanceAlive(core.env, core.instances, o.instance);
      if (o.instance == core.instance->id())
        over = true;  // left over by a try of ours; active ones are passed over
    } else if (o.owner == owner) {
      bool named = false;
      if (live != nullptr)
        for (const Json& s : *live) named |= s.is_string() && s.get_ref<const std::string&>() == o.scope;
      // One whose engine still runs is about to be cleaned up by that one, which would find it half undone.
      auto left_alone = [&] {
        return o.instance == core.instance->id() || !InstanceAlive(core.env, core.instances, o.instance);
      };
      over = live != nullptr ? !named : ScopeIsOver(core, o) && left_alone();
    }
    if (!over) continue;
    UndoOutcome undo;
    auto taken = TakeDown(core, o, "recover", Status(), core.env.clock->MonotonicMs() + 2000, &undo);
    if (!taken.ok()) out.problems.push_back(taken.status().message());
    if (!taken.ok() || !*taken) continue;
    for (const auto& p : undo.problems) out.problems.push_back(p);
    (unfinished ? out.undone : out.ended).push_back(unfinished ? o.id : o.scope);
  }
  return out;
}

}  // namespace dvdi
