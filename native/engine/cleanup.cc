// The end of a scope, asked for by its owner: its stages and folders go before the answer, its volumes are
// released behind it.
#include <algorithm>

#include "base/guards.h"
#include "engine/engine.h"
#include "engine/release.h"

namespace dvdi {
namespace {

// A scope that another operation is just ending is waited for so long.
constexpr int64_t kOthersMs = 2000;
constexpr int64_t kPauseMs = 5;
// A volume of which another operation holds the lock, where the caller does not say: the keeper looks again.
constexpr int64_t kHeldMs = 200;

constexpr const char* kMayHaveMore =
    "whether it has more volumes is not known: the ledger was lost, and not all of the stage folder could be "
    "read (see dvdi status); end it again once it can be";

struct Ended {
  std::optional<OperationRow> found;  // null: it had no volumes, or has none any more
  bool elsewhere = false;             // another process prepares it
  bool unknown = false;               // what it has besides: the ledger was lost, and is not whole yet
  bool tried = false;
  UndoOutcome outcome;
};

// Ends the scope, or waits until whoever is at it has. A look of the keeper's holds an operation for a moment
// too, without ending it: a cleanup that left it at that would be lost. `patience_ms`: until when others are
// waited for, who are at the scope or hold its volumes, if that is longer than is usual.
Result<Ended> EndScope(Core& core, const std::string& owner, const std::string& scope, int64_t deadline_ms,
                       int64_t patience_ms) {
  Ended ended;
  const int64_t others_ms =
      std::min(deadline_ms, std::max(patience_ms, core.env.clock->MonotonicMs() + kOthersMs));
  for (;;) {
    DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(ended.found, tx.FindOperation(owner, scope));
      DVDI_ASSIGN_OR_RETURN(const bool whole, tx.IsWhole());
      // Of what was answered by this ledger all is known.
      const bool all = whole || (ended.found && !ended.found->answer.empty());
      ended.unknown = DVDI_GUARD(unknown_end) && !all;
      return Status();
    }));
    if (!ended.found) return ended;
    const OperationRow& o = *ended.found;
    bool others = o.state != kCommitted && o.instance != core.instance->id() &&
                  InstanceAlive(core.env, core.instances, o.instance);
    // What another running engine prepares, it ends itself.
    ended.elsewhere = others && o.state != kUndoing;
    if (ended.elsewhere) return ended;
    if (!others) {
      const int64_t now = core.env.clock->MonotonicMs();
      DVDI_ASSIGN_OR_RETURN(ended.tried, TakeDown(core, o, "cleanup", Status(),
                                                  std::max(now + kHeldMs, patience_ms), &ended.outcome));
      if (ended.tried) return ended;
    }
    int64_t now = core.env.clock->MonotonicMs();
    if (now >= others_ms) return ended;
    core.env.scheduler->SleepUntil(now + kPauseMs);
  }
}

// Adds what is left of these volumes, [{"driver", "name"}], from earlier scopes: attachments that nobody
// uses.
void AddReleasing(Core& core, const Json& volumes, std::vector<AttachmentRow>* rows) {
  (void)core.ledger->Read([&](LedgerTx& tx) -> Status {
    for (const Json& v : volumes) {
      DVDI_ASSIGN_OR_RETURN(auto a, tx.FindAttachment(GetString(v, "driver"), GetString(v, "name")));
      if (!a || a->state != kReleasing) continue;
      bool known = std::any_of(rows->begin(), rows->end(), [&](const auto& r) { return r.id == a->id; });
      if (!known) rows->push_back(std::move(*a));
    }
    return Status();
  });
}

}  // namespace

Status Engine::Cleanup(const Json& request, Done done) {
  std::string owner = GetString(request, "owner"), scope = GetString(request, "scope");
  if (owner.empty() || scope.empty()) return Status(Code::kInvalid, "cleanup wants an owner and a scope");
  int64_t wait = GetInt(request, "deadline_ms");
  if (wait <= 0) wait = core_->settings.cleanup_ms;
  int64_t release_ms = GetInt(request, "release_ms");
  int64_t held_ms = std::max(GetInt(request, "held_ms"), release_ms);
  Json volumes = GetMember(request, "volumes");
  if (core_->closing) return Status(Code::kRefused, "the engine is being closed");
  done = Promise(std::move(done));
  auto core = core_;
  int64_t deadline = core->In(wait);
  // Not counted with the drivers' operations: it calls no driver, and its answer waits for none.
  core->admission->Submit(
      "cleanup", {}, deadline,
      [this, self = shared_from_this(), core, owner, scope, deadline, held_ms, release_ms, volumes,
       done](const Status& admitted) {
        if (!admitted.ok()) return done(admitted, Json());
        const int64_t releases_ms = std::min(deadline, core->In(release_ms));
        auto tried = EndScope(*core, owner, scope, deadline, std::min(deadline, core->In(held_ms)));
        if (!tried.ok()) return done(tried.status(), Json());
        Ended ended = std::move(*tried);
        UndoOutcome& outcome = ended.outcome;
        Json released = Json::array(), pending = Json::array();
        for (const auto& list : {&outcome.kept, &outcome.dropped})
          for (const auto& a : *list) released.push_back({{"driver", a.driver}, {"name", a.name}});
        if (release_ms > 0) {
          outcome.locks.reset();  // each release takes its own, and looks again
          AddReleasing(*core, volumes, &outcome.releasing);
          ReleaseNow(*core, outcome.releasing, releases_ms, &released, &pending);
          core->plugins->CloseIdle();
          outcome.releasing.clear();
        } else {
          for (const auto& a : outcome.releasing)
            pending.push_back({{"driver", a.driver}, {"name", a.name}, {"why", "its release is under way"}});
        }
        bool left = ended.found && !outcome.finished;
        if (ended.unknown) outcome.problems.push_back(kMayHaveMore);
        if (ended.elsewhere)
          outcome.problems.push_back("it is being prepared by another process");
        else if (left && !ended.tried)
          outcome.problems.push_back("it is being worked on by another operation");
        for (const auto& p : outcome.problems) pending.push_back({{"driver", ""}, {"name", ""}, {"why", p}});
        done(Status(), {{"released", std::move(released)}, {"pending", std::move(pending)}});
        if (left && !ended.elsewhere) Wake();  // what is left of it is the keeper's
        ReleaseBehind(outcome.releasing, std::move(outcome.locks));
      });
  return Status();
}

void Engine::ReleaseBehind(const std::vector<AttachmentRow>& releasing, std::unique_ptr<VolumeLocks> locks) {
  std::function<void()> here;
  // On this thread, which holds its lock already, where nobody waits for that: several may be of drivers of
  // which one does not answer, and the scope's other volumes may be wanted by others.
  if (releasing.size() == 1 && locks && locks->size() == 1) {
    const AttachmentRow& a = releasing[0];
    here = core_->admission->TryAdmit("release", {a.driver}, [core = core_.get(), a](const Status& admitted) {
      if (!admitted.ok()) return LookAgain(*core);
      // Whoever else is at it (a look of the keeper's, a close) gets no lock: it is ours all the same.
      ActiveOperation active(core, "release " + a.id);
      if (!ReleaseHeld(*core, a).ok()) LookAgain(*core);
      core->plugins->CloseIdle();
    });
  }
  if (here) here();
  locks.reset();
  if (!here)
    for (const AttachmentRow& a : releasing) StartRelease(core_, a);
}

}  // namespace dvdi
