#include "engine/release.h"

#include <fcntl.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <map>
#include <optional>

#include "base/guards.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/driver_words.h"
#include "engine/in_sight.h"
#include "engine/meta.h"
#include "engine/tell.h"

namespace dvdi {
namespace {

// Releases that are started at one look into the ledger.
constexpr size_t kMaxDue = 16'384;

// `named`: the mountpoint that it names.
Seen Ask(Core& core, const AttachmentRow& a, int64_t deadline_ms, std::string* why, std::string* named) {
  Call call;
  call.driver = a.driver, call.method = Method::kGet, call.volume = a.name;
  call.deadline_ms = std::min(deadline_ms, core.env.clock->MonotonicMs() + core.settings.call_max_ms);
  Answer get = core.plugins->RunOne(call);
  *why = KeptError(core, call, get, {a});
  *named = get.mountpoint;
  if (get.kind == Answer::Kind::kUnknown) return Seen::kUnknown;
  if (get.kind == Answer::Kind::kOk) return get.mountpoint.empty() ? Seen::kNotMounted : Seen::kMounted;
  // An error may mean that it knows no such volume, or that it cannot say: only its list tells.
  call.method = Method::kList;
  Answer list = core.plugins->RunOne(call);
  if (list.kind != Answer::Kind::kOk) return Seen::kUnknown;
  for (const auto& v : list.volumes)
    if (v.name == a.name) return v.mountpoint.empty() ? Seen::kUnknown : Seen::kMounted;
  return Seen::kNoVolume;
}

// The place where the driver has the volume, if this node sees a mount there; "" where it sees none, none
// where that cannot be told. `named`: what the driver names now.
std::optional<std::string> MountedAt(Core& core, const AttachmentRow& a, const std::string& named) {
  std::string place = NormalPath(a.mountpoint.empty() ? named : a.mountpoint);
  if (place.empty()) return std::nullopt;
  auto mounts = core.Mounts({place});
  if (!mounts.ok()) return std::nullopt;
  return FindMount(*mounts, place) == nullptr ? std::string() : place;
}

bool NotMountedIsSaid(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text.find("not mounted") != std::string::npos;
}

// Some drivers name a mountpoint whether anything is mounted there or not, so that Get does not tell, and
// refuse an Unmount that they have answered before (to a process that died then). Their own word that it is
// not mounted counts where our mountinfo says the same of the place. Where that has a mount, `but` says so:
// one that counts IDs means by it that it has not ours.
bool SaysNotMounted(Core& core, const AttachmentRow& a, const std::string& named, const std::string& text,
                    std::string* but) {
  if (!NotMountedIsSaid(text)) return false;
  if (!a.also.empty()) return true;  // what is mounted there is one of those, and theirs to unmount
  const auto place = MountedAt(core, a, named);
  if (!place) return false;
  if (place->empty()) return true;
  *but =
      " (so says the driver, but " + OneLine(*place, 255) +
      " is mounted: somebody else has the volume there, or an attachment that was forgotten; `dvdi forget " +
      OneLine(a.driver + "/" + a.name, 255) + "` gives it up)";
  return false;
}

// Whether a driver that knows no such volume cannot have ended its mount, since the node has that still:
// another one has taken the place of the one that made it, at its socket or its address, or it has forgotten
// it. `but` says so.
bool IsAnothers(Core& core, const AttachmentRow& a, std::string* but) {
  if (a.boot_id != core.boot_id || a.device.empty()) return false;
  auto mounts = core.Mounts({a.mountpoint});
  if (!mounts.ok() || FindMount(*mounts, a.mountpoint) == nullptr ||
      DeviceAt(*mounts, a.mountpoint) != a.device)
    return false;
  *but = " (the driver knows no such volume, and the node still has it mounted at " +
         OneLine(a.mountpoint, 255) +
         ": another driver may have taken the place of the one that mounted it; `dvdi forget " +
         OneLine(a.driver + "/" + a.name, 255) + "` gives it up)";
  return true;
}

// Whether the volume is mounted no more, after an Unmount that the driver has refused, or not answered.
// Others never name a mountpoint, and one that has not answered may not have begun, or is busy: where the
// node still sees its mount, the next Unmount tells, and only its own word that nothing is mounted counts for
// more.
bool IsGone(Core& core, const AttachmentRow& a, const Answer& unmount, int64_t deadline_ms,
            std::string* but) {
  const bool refused = unmount.kind == Answer::Kind::kError;
  std::string ignored, named;
  const Seen seen = Ask(core, a, deadline_ms, &ignored, &named);
  if (seen == Seen::kNoVolume && refused) return !IsAnothers(core, a, but);
  if (seen != Seen::kNotMounted && seen != Seen::kNoVolume)
    return refused && SaysNotMounted(core, a, named, unmount.error, but);
  // Nobody knows where it would be, and a Mount that was not answered may be at it still: the next Unmount
  // tells, once there is an answer to it.
  if (a.mountpoint.empty()) return refused || seen == Seen::kNoVolume;
  if (MountedAt(core, a, named) == "") return true;
  // Promise 6: one that is busy has it still, whether or not it ever names a mountpoint.
  if (refused && (NotMountedIsSaid(unmount.error) || !DVDI_GUARD(busy_has_it))) return true;
  if (refused) *but = " (the node still has it mounted at " + OneLine(a.mountpoint, 255) + ")";
  return false;
}

// `volume_state`: what the volume is known as from now on; null: as before.
Status Forget(Core& core, const AttachmentRow& a, const char* volume_state) {
  DVDI_RETURN_IF_ERROR(
      core.ledger->Apply(Commit::released, true, [&](LedgerTx& tx) { return LetGo(tx, a, volume_state); }));
  // After the commit: a folder without a row is found and removed by recovery, a row without its folder is
  // not provably ours.
  RemoveLetGo(core.env, core.stage_root, a.id);
  return Status();
}

Status Postpone(Core& core, const AttachmentRow& a, const std::string& why) {
  const AttachmentRow row = Postponed(core, a, why);
  DVDI_RETURN_IF_ERROR(
      core.ledger->Apply(Commit::postponed, false, [&](LedgerTx& tx) { return tx.PutAttachment(row); }));
  core.wake_at(DueAt(core, row.next_ms));
  return Status();
}

std::string NothingProves(const Core& core, const AttachmentRow& a) {
  const std::string title = OneLine(a.driver + "/" + a.name, 255);
  return "the driver has volume " + title + " mounted, and " + core.stage_root + "/" + a.id +
         "/meta.json, which would prove it this node's, is gone: unmount it at the driver if nobody uses it, "
         "or `dvdi forget " +
         title + "` gives it up";
}

// `code`: of the driver's last answer.
Result<ReleaseResult> Try(Core& core, const AttachmentRow& a, int64_t deadline_ms, Code* code) {
  *code = Code::kUnavailable;
  std::string why;
  const bool same_boot = a.boot_id == core.boot_id;
  // Promise 2. The row alone is no proof: somebody may have put an older ledger in this one's place, and by
  // now whoever else mounted the volume has it at the driver.
  DVDI_ASSIGN_OR_RETURN(const bool gone, MetaIsGone(core.env, core.stage_root, a.id));
  const bool proven = !DVDI_GUARD(unmount_proven) || !gone;
  if (!same_boot || !proven) {
    // The reboot took the node's own mounts; only what the driver holds elsewhere can be left.
    std::string named;
    Seen seen = Ask(core, a, deadline_ms, &why, &named);
    if (seen == Seen::kUnknown) {
      DVDI_RETURN_IF_ERROR(Postpone(core, a, why));
      return ReleaseResult::kPending;
    }
    if (seen == Seen::kNotMounted || seen == Seen::kNoVolume) {
      DVDI_RETURN_IF_ERROR(Forget(core, a, "released-unconfirmed"));
      return ReleaseResult::kUnconfirmed;
    }
  }
  if (!proven) {
    DVDI_RETURN_IF_ERROR(Postpone(core, a, NothingProves(core, a)));
    return ReleaseResult::kPending;
  }
  DVDI_ASSIGN_OR_RETURN(const std::string stage, StageInSight(core, a));
  if (DVDI_GUARD(stage_in_sight) && !stage.empty()) {  // promise 1, whatever the ledger says
    DVDI_RETURN_IF_ERROR(Postpone(core, a, stage + std::string(kUsedByNobodyKnown) + ": " + kUnmountIt));
    return ReleaseResult::kPending;
  }
  Call unmount;
  unmount.driver = a.driver, unmount.method = Method::kUnmount, unmount.volume = a.name, unmount.id = a.id;
  unmount.deadline_ms = std::min(deadline_ms, core.env.clock->MonotonicMs() + core.settings.call_max_ms);
  Answer answer = core.plugins->RunOne(unmount);
  if (answer.kind == Answer::Kind::kOk) {
    // Some say yes to an Unmount of what they do not know.
    std::string ignored, but;
    if (IsAnothers(core, a, &but) && Ask(core, a, deadline_ms, &ignored, &ignored) == Seen::kNoVolume) {
      *code = Code::kDriver;
      DVDI_RETURN_IF_ERROR(Postpone(core, a, "it is not unmounted" + but));
      return ReleaseResult::kPending;
    }
    DVDI_RETURN_IF_ERROR(Forget(core, a, nullptr));
    return ReleaseResult::kReleased;
  }
  why = KeptError(core, unmount, answer, {a});
  if (answer.kind == Answer::Kind::kError) *code = Code::kDriver;
  // It said no, or nothing: ask what is the case before deciding that it is still mounted. What did not reach
  // it has changed nothing, and many drivers name no mountpoint whether anything is mounted or not.
  const bool reached = answer.sent || answer.kind == Answer::Kind::kError;
  std::string but;
  if (reached && IsGone(core, a, answer, deadline_ms, &but)) {
    DVDI_RETURN_IF_ERROR(Forget(core, a, "released-unconfirmed"));
    return ReleaseResult::kUnconfirmed;
  }
  if (DVDI_GUARD(keep_pending)) {  // promise 6: what cannot be undone now stays in the ledger
    DVDI_RETURN_IF_ERROR(Postpone(core, a, why + but));
  } else {
    DVDI_RETURN_IF_ERROR(Forget(core, a, nullptr));
  }
  return ReleaseResult::kPending;
}

}  // namespace

int64_t DueAt(Core& core, int64_t wall_ms) {
  if (wall_ms == INT64_MAX) return INT64_MAX;
  return core.env.clock->MonotonicMs() + std::clamp<int64_t>(wall_ms - core.env.clock->WallMs(), 10, kLookMs);
}

void LookAgain(Core& core) { core.wake_at(core.env.clock->MonotonicMs() + core.settings.release_base_ms); }

Status LetGo(LedgerTx& tx, const AttachmentRow& a, const char* volume_state) {
  if (volume_state != nullptr) DVDI_RETURN_IF_ERROR(tx.SetVolumeState(a.driver, a.name, volume_state));
  DVDI_ASSIGN_OR_RETURN(const auto now, tx.GetAttachment(a.id));
  DVDI_RETURN_IF_ERROR(tx.DeleteAttachment(a.id));
  return !now || now->also.empty() ? Status() : tx.PutAttachment(NextOwed(*now));
}

AttachmentRow NextOwed(AttachmentRow a) {
  const size_t end = std::min(a.also.find(' '), a.also.size());
  a.id = a.also.substr(0, end);
  a.also.erase(0, std::min(end + 1, a.also.size()));
  a.attempts = 0, a.error.clear();
  return a;
}

AttachmentRow Postponed(Core& core, AttachmentRow a, const std::string& why) {
  ++a.attempts;
  int64_t base = a.retry_base_ms > 0 ? a.retry_base_ms : core.settings.release_base_ms;
  int64_t max = a.retry_max_ms > 0 ? a.retry_max_ms : core.settings.release_max_ms;
  int64_t pause = base;
  for (int64_t i = 1; i < a.attempts && pause < max; ++i) pause *= 2;
  pause = std::min(pause, max);
  uint32_t noise = 0;
  core.env.random->Fill(&noise, sizeof noise);
  pause +=
      static_cast<int64_t>(noise % static_cast<uint32_t>(pause / 4 + 1));  // engines must not retry in step
  a.next_ms = core.env.clock->WallMs() + pause;
  a.error = why;
  return a;
}

Result<std::optional<AttachmentRow>> Releasable(Core& core, LedgerTx& tx, const std::string& attachment) {
  DVDI_ASSIGN_OR_RETURN(auto found, tx.GetAttachment(attachment));
  if (!found || found->state != kReleasing) return std::optional<AttachmentRow>();
  DVDI_ASSIGN_OR_RETURN(auto users, tx.Users(attachment, core.boot_id));
  if (DVDI_GUARD(in_use) && !users.empty()) return std::optional<AttachmentRow>();
  return found;
}

Result<ReleaseResult> ReleaseHeld(Core& core, const AttachmentRow& a, int64_t deadline_ms) {
  for (AttachmentRow row = a;; row = NextOwed(row)) {
    Code code = Code::kOk;
    int64_t began = core.env.clock->MonotonicNs();
    auto result = Try(core, row, deadline_ms, &code);
    // A commit that failed after the driver's answer: it is tried again, and told then.
    if (result.ok()) TellRelease(core, row, *result, code, began);
    if (!result.ok() || *result == ReleaseResult::kPending || row.also.empty()) return result;
  }
}

void ReleaseNow(Core& core, const std::vector<AttachmentRow>& rows, int64_t deadline_ms, Json* released,
                Json* pending) {
  for (const AttachmentRow& a : rows) {
    auto wait = [&](const std::string& why) {
      pending->push_back({{"driver", a.driver}, {"name", a.name}, {"why", why}});
    };
    auto locks = VolumeLocks::Take(core.env, core.lock_file, {{a.driver, a.name}}, deadline_ms);
    auto result = locks.ok() ? Release(core, a.id, deadline_ms) : Result<ReleaseResult>(locks.status());
    if (!result.ok()) {
      wait(result.status().message());
    } else if (*result != ReleaseResult::kPending) {
      // Also where somebody else was quicker: it is released, or in use again.
      released->push_back({{"driver", a.driver}, {"name", a.name}});
    } else {
      std::string why = "its driver did not release it";
      (void)core.ledger->Read([&](LedgerTx& tx) -> Status {
        DVDI_ASSIGN_OR_RETURN(auto row, tx.FindAttachment(a.driver, a.name));
        if (row && !row->error.empty()) why = row->error;
        return Status();
      });
      wait(why);
    }
  }
}

Result<ReleaseResult> Release(Core& core, const std::string& attachment, int64_t deadline_ms) {
  std::optional<AttachmentRow> found;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(found, Releasable(core, tx, attachment));
    return Status();
  }));
  if (!found) return ReleaseResult::kTakenOver;
  return ReleaseHeld(core, *found, deadline_ms);
}

bool StartRelease(const std::shared_ptr<Core>& core, const AttachmentRow& a) {
  auto active = std::make_shared<ActiveOperation>(core.get(), "release " + a.id);
  if (!active->mine()) return false;
  core->admission->Submit("release", {a.driver}, core->env.clock->MonotonicMs() + core->settings.call_max_ms,
                          [core, active, a](const Status& admitted) {
                            if (!admitted.ok()) return LookAgain(*core);
                            auto take = [&] {
                              return VolumeLocks::Take(core->env, core->lock_file, {{a.driver, a.name}}, 0);
                            };
                            auto locks = take();
                            // The one that holds it may be about to let go, and to leave the release to us.
                            while (!locks.ok() && !active->Leave()) locks = take();
                            if (!locks.ok() || !Release(*core, a.id).ok()) LookAgain(*core);
                            core->plugins->CloseIdle();
                          });
  return true;
}

int64_t StartDueReleases(const std::shared_ptr<Core>& core, bool all) {
  std::vector<AttachmentRow> rows;
  Status s = core->ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(rows, tx.Releasing(static_cast<int>(kMaxDue)));
    return Status();
  });
  if (!s.ok()) return INT64_MAX;
  int64_t now = core->env.clock->WallMs(), next = INT64_MAX;
  std::map<std::string, std::vector<AttachmentRow>> earlier;  // by driver
  for (const AttachmentRow& a : rows) {
    // Later than the longest pause: the wall clock was set back, which must not put the release off.
    int64_t max = a.retry_max_ms > 0 ? a.retry_max_ms : core->settings.release_max_ms;
    bool due = all || a.next_ms <= now || a.next_ms > now + max + max / 4;
    if (!due) {
      next = std::min(next, a.next_ms);
      continue;
    }
    if (a.boot_id == core->boot_id)
      StartRelease(core, a);
    else
      earlier[a.driver].push_back(a);
  }
  for (auto& [driver, of_driver] : earlier) StartEarlierReleases(core, driver, std::move(of_driver));
  if (rows.size() == kMaxDue) next = std::min(next, now + core->settings.release_base_ms);
  return next;
}

}  // namespace dvdi
