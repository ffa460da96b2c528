// Recover: what an owner's workloads have left behind is undone, released and told (recover.cc has the
// parts).
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/guards.h"
#include "engine/ask_policy.h"
#include "engine/engine.h"
#include "engine/release.h"

namespace dvdi {
namespace {

// A recovery that waits for releases looks so often.
constexpr int64_t kLookAgainMs = 100;

Result<std::vector<AttachmentRow>> Releasing(Core& core) {
  std::vector<AttachmentRow> rows;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(rows, tx.Releasing(10'000));
    return Status();
  }));
  return rows;
}

// Tries those that are due, and first all, until the deadline or none of `before` is left. The rows that are
// left.
Result<std::vector<AttachmentRow>> AwaitReleases(const std::shared_ptr<Core>& core,
                                                 const std::vector<AttachmentRow>& before, int64_t wait_ms) {
  const Env& env = core->env;
  const int64_t deadline = core->In(wait_ms);
  bool all = wait_ms > 0;  // those too whose next try is not due yet
  for (;; all = false) {
    const int64_t next = DueAt(*core, StartDueReleases(core, all));
    // The recovery itself counts as running.
    while (!before.empty() && env.clock->MonotonicMs() < deadline && core->admission->running() > 1)
      env.scheduler->SleepUntil(env.clock->MonotonicMs() + 5);
    DVDI_ASSIGN_OR_RETURN(auto after, Releasing(*core));
    std::set<std::pair<std::string, std::string>> still;  // by volume: one may have another ID by then
    for (const auto& a : after) still.insert({a.driver, a.name});
    const bool any = std::any_of(before.begin(), before.end(), [&](const AttachmentRow& b) {
      return still.contains({b.driver, b.name});
    });
    const int64_t now = env.clock->MonotonicMs();
    if (now >= deadline || !any) return after;
    // One that failed is tried again when it is due; and others may be at it, too.
    env.scheduler->SleepUntil(std::min({deadline, next, now + kLookAgainMs}));
  }
}

}  // namespace

Status Engine::Recover(const Json& request, Done done) {
  if (GetString(request, "owner").empty()) return Status(Code::kInvalid, "recover wants an owner");
  if (core_->closing) return Status(Code::kRefused, "the engine is being closed");
  done = Promise(std::move(done));
  Front(done, [this, self = shared_from_this(), request, done]() -> Rest {
    // Before the list is made: a scope that is found again now was prepared before the call.
    Status learned = LearnWhatIsLeft(*core_);
    // The list is of the call: what is prepared behind it, here on the front thread, lives without being
    // named.
    std::optional<std::vector<OperationRow>> known;
    if (GetMember(request, "live").is_array() && GetString(request, "original").empty() &&
        DVDI_GUARD(living_at_the_call)) {
      auto all = AllOperations(*core_);
      if (!all.ok()) {
        done(all.status(), Json());
        return nullptr;
      }
      known = std::move(*all);
    }
    core_->admission->Submit("recover", {}, INT64_MAX,
                             [this, self, request, learned = std::move(learned), known = std::move(known),
                              done](const Status& admitted) {
                               if (!admitted.ok()) return done(admitted, Json());
                               auto answer = RecoverNow(request, learned, known ? &*known : nullptr);
                               if (!answer.ok()) return done(answer.status(), Json());
                               done(Status(), *answer);
                               Wake();
                             });
    return nullptr;
  });
  return Status();
}

Result<Json> Engine::RecoverNow(const Json& request, const Status& learned,
                                const std::vector<OperationRow>* known) {
  Core& core = *core_;
  const std::string owner = GetString(request, "owner"), original = GetString(request, "original");
  const Json live = GetMember(request, "live");
  Json taken =
      original.empty() ? Json::array() : TakeOver(owner, original, live.is_array() ? &live : nullptr);
  std::vector<OperationRow> now;
  if (known == nullptr) {
    DVDI_ASSIGN_OR_RETURN(now, AllOperations(core));
    known = &now;
  }
  auto outcome = RecoverOwner(core, owner, live.is_array() ? &live : nullptr, *known);
  if (!learned.ok()) outcome.problems.push_back(learned.message());
  Status swept = SweepStageRoot(core);
  if (!swept.ok()) outcome.problems.push_back(swept.message());
  ReportStrangers(core);
  DVDI_ASSIGN_OR_RETURN(auto before, Releasing(core));
  Json waiting = Json::array(), notes = Json::array();
  for (const auto& a : before)
    waiting.push_back({{"driver", a.driver}, {"name", a.name}, {"attempts", a.attempts}, {"error", a.error}});
  if (!before.empty()) {
    // What the policy has to say of them goes to whoever asked for the recovery.
    EndAdvice advice =
        AskPolicy(core, "recover", {{"owner", owner}, {"pending", std::move(waiting)}}, nullptr);
    for (auto& line : advice.report) notes.push_back(std::move(line));
  }
  DVDI_ASSIGN_OR_RETURN(auto after, AwaitReleases(core_, before, GetInt(request, "wait_ms")));
  std::map<std::pair<std::string, std::string>, const AttachmentRow*> still;  // `after` by volume
  for (const auto& a : after) still[{a.driver, a.name}] = &a;
  Json released = Json::array(), pending = Json::array();
  for (const auto& b : before) {
    auto it = still.find({b.driver, b.name});
    if (it == still.end())
      released.push_back({{"driver", b.driver}, {"name", b.name}});
    else
      pending.push_back(
          {{"driver", b.driver},
           {"name", b.name},
           {"why", it->second->error.empty() ? "its release is under way" : it->second->error}});
  }
  for (const auto& p : outcome.problems) pending.push_back({{"driver", ""}, {"name", ""}, {"why", p}});
  Json reported = Json::array();
  {
    std::lock_guard lock(core.reported_mu);
    for (const auto& r : core.reported) reported.push_back(r);
  }
  return Json{{"taken", std::move(taken)},     {"undone", outcome.undone},
              {"ended", outcome.ended},        {"released", std::move(released)},
              {"pending", std::move(pending)}, {"reported", std::move(reported)},
              {"notes", std::move(notes)}};
}

}  // namespace dvdi
