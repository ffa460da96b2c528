// After a reboot: many attachments of one driver, none of which is mounted on this node any more.
#include <algorithm>
#include <map>

#include "engine/driver_words.h"
#include "engine/meta.h"
#include "engine/release.h"
#include "engine/tell.h"

namespace dvdi {
namespace {

// Locked together, and let go by one commit.
constexpr size_t kTogether = 100;

using Rows = std::vector<AttachmentRow>;

// What a driver's list says of its volumes' mountpoints.
class Listed {
 public:
  explicit Listed(const Answer& list) {
    for (const auto& v : list.volumes) {
      mounted_[v.name] = !v.mountpoint.empty();
      shows_mountpoints_ |= !v.mountpoint.empty();
    }
  }
  // Many drivers list no mountpoints at all: one without is believed only where another one has some. A list
  // that names nothing may be of a driver that keeps none.
  Seen Of(const std::string& name) const {
    auto it = mounted_.find(name);
    if (it == mounted_.end()) return mounted_.empty() ? Seen::kUnknown : Seen::kNotMounted;
    if (it->second) return Seen::kMounted;
    return shows_mountpoints_ ? Seen::kNotMounted : Seen::kUnknown;
  }
  bool Names(const std::string& name) const { return mounted_.count(name) != 0; }

 private:
  std::map<std::string, bool> mounted_;
  bool shows_mountpoints_ = false;
};

class EarlierReleases {
 public:
  EarlierReleases(std::shared_ptr<Core> core, std::string driver)
      : core_(std::move(core)), driver_(std::move(driver)), began_ns_(core_->env.clock->MonotonicNs()) {}

  void Run(const Rows& rows) {
    Call call;
    call.driver = driver_, call.method = Method::kList, call.deadline_ms = Deadline();
    const Answer list = core_->plugins->RunOne(call);
    if (list.kind == Answer::Kind::kUnknown) return Postpone(rows, KeptError(*core_, call, list, rows));
    if (list.kind == Answer::Kind::kError) return OneByOne(rows);
    const Listed listed(list);
    for (size_t i = 0; i < rows.size(); i += kTogether)
      Together(listed, Rows(rows.begin() + static_cast<long>(i),
                            rows.begin() + static_cast<long>(std::min(i + kTogether, rows.size()))));
    core_->plugins->CloseIdle();
  }

 private:
  int64_t Deadline() const { return core_->env.clock->MonotonicMs() + core_->settings.call_max_ms; }

  // With its own look at each, and an Unmount where that is due.
  void OneByOne(const Rows& rows) {
    for (const auto& a : rows) StartRelease(core_, a);
  }

  void Together(const Listed& listed, const Rows& rows) {
    VolumeLocks::Names names;
    for (const auto& a : rows) names.emplace_back(a.driver, a.name);
    auto locks = VolumeLocks::Take(core_->env, core_->lock_file, names, core_->env.clock->MonotonicMs());
    if (!locks.ok()) return OneByOne(rows);  // somebody is at one of them
    std::map<std::string, Seen> seen;
    for (const auto& a : rows) seen[a.id] = listed.Of(a.name);
    AskForTheRest(listed, rows, &seen);
    Rows gone, mounted, silent;
    for (const auto& a : rows)
      (seen[a.id] == Seen::kNotMounted ? gone : seen[a.id] == Seen::kMounted ? mounted : silent).push_back(a);
    LetGoAll(&gone);
    if (!silent.empty()) Postpone(silent, why_);
    locks->reset();
    OneByOne(mounted);
  }

  // Get for those of which the list does not tell; as many at once as the driver may have.
  void AskForTheRest(const Listed& listed, const Rows& rows, std::map<std::string, Seen>* seen) {
    std::vector<const AttachmentRow*> left;
    for (const auto& a : rows)
      if ((*seen)[a.id] == Seen::kUnknown) left.push_back(&a);
    const size_t at_once = static_cast<size_t>(std::max(core_->settings.MaxInFlight(driver_), 1));
    for (size_t i = 0; i < left.size(); i += at_once) {
      std::vector<Call> calls;
      for (size_t k = i; k < std::min(i + at_once, left.size()); ++k) {
        Call get;
        get.driver = driver_, get.volume = left[k]->name, get.deadline_ms = Deadline();
        calls.push_back(std::move(get));
      }
      const auto answers = core_->plugins->Run(calls);
      for (size_t k = 0; k < answers.size(); ++k) {
        const Answer& get = answers[k];
        Seen& of = (*seen)[left[i + k]->id];
        if (get.kind == Answer::Kind::kOk)
          of = get.mountpoint.empty() ? Seen::kNotMounted : Seen::kMounted;
        else if (get.kind == Answer::Kind::kError && !listed.Names(left[i + k]->name))
          of = Seen::kNotMounted;  // neither its answer nor its list knows of it
        else
          why_ = KeptError(*core_, calls[k], get, {*left[i + k]});
      }
    }
  }

  // The caller holds their locks. One that was taken over meanwhile stays.
  void LetGoAll(Rows* rows) {
    if (rows->empty()) return;
    Rows done;
    Status s = core_->ledger->Apply(Commit::released, true, [&](LedgerTx& tx) -> Status {
      done.clear();
      for (const auto& a : *rows) {
        DVDI_ASSIGN_OR_RETURN(auto now, Releasable(*core_, tx, a.id));
        if (!now || now->boot_id != a.boot_id) continue;
        DVDI_RETURN_IF_ERROR(LetGo(tx, *now, "released-unconfirmed"));
        done.push_back(*now);
      }
      return Status();
    });
    if (!s.ok()) return LookAgain(*core_);
    for (const auto& a : done) {
      // After the commit, as for a single one.
      RemoveLetGo(core_->env, core_->stage_root, a.id);
      TellRelease(*core_, a, ReleaseResult::kUnconfirmed, Code::kOk, began_ns_);
      if (!a.also.empty()) LookAgain(*core_);
    }
  }

  void Postpone(const Rows& rows, const std::string& why) {
    int64_t next = INT64_MAX;
    Rows done;
    Status s = core_->ledger->Apply(Commit::postponed, false, [&](LedgerTx& tx) -> Status {
      done.clear();
      for (const auto& a : rows) {
        DVDI_ASSIGN_OR_RETURN(auto now, Releasable(*core_, tx, a.id));
        if (!now || now->boot_id != a.boot_id) continue;
        const AttachmentRow later = Postponed(*core_, *now, why);
        next = std::min(next, later.next_ms);
        DVDI_RETURN_IF_ERROR(tx.PutAttachment(later));
        done.push_back(a);
      }
      return Status();
    });
    if (!s.ok()) return LookAgain(*core_);
    for (const auto& a : done) TellRelease(*core_, a, ReleaseResult::kPending, Code::kUnavailable, began_ns_);
    core_->wake_at(DueAt(*core_, next));
  }

  const std::shared_ptr<Core> core_;
  const std::string driver_;
  const int64_t began_ns_;
  std::string why_;  // the last that gave no answer
};

}  // namespace

void StartEarlierReleases(const std::shared_ptr<Core>& core, const std::string& driver, Rows rows) {
  if (rows.size() == 1) {
    StartRelease(core, rows[0]);  // its own question is no more than the list
    return;
  }
  auto active = std::make_shared<ActiveOperation>(core.get(), "earlier releases of " + driver);
  if (!active->mine()) return;
  core->admission->Submit("release", {driver}, core->env.clock->MonotonicMs() + core->settings.call_max_ms,
                          [core, active, driver, rows = std::move(rows)](const Status& admitted) {
                            if (!admitted.ok()) return LookAgain(*core);
                            EarlierReleases(core, driver).Run(rows);
                          });
}

}  // namespace dvdi
