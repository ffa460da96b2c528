#include "engine/engine.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/guards.h"
#include "engine/ask_policy.h"
#include "engine/operation.h"
#include "engine/release.h"
#include "engine/tell.h"
#include "helper/helper.h"
#include "mount/stage.h"
#include "sys/files.h"

namespace dvdi {
namespace {

// Filesystems on which several nodes may see one folder: OFD locks and SQLite's WAL are not to be trusted
// there.
bool IsNetworkFilesystem(int64_t type) {
  constexpr int64_t kTypes[] = {0x6969 /*nfs*/,      0x517B /*smb*/,     0xFF534D42 /*cifs*/,
                                0xFE534D42 /*smb2*/, 0x01021997 /*9p*/,  0x00C36400 /*ceph*/,
                                0x65735546 /*fuse*/, 0x5346414F /*afs*/, 0x7461636F /*ocfs2*/,
                                0x01161970 /*gfs2*/};
  return std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
}

Status CheckStateFolder(const Env& env, const std::string& path) {
  DVDI_RETURN_IF_ERROR(EnsureOwnFolder(env.sys, path));
  int fd = env.sys->OpenAt(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) return Status::FromErrno(-fd, "cannot open the state folder " + path, path);
  int64_t type = 0;
  int r = env.sys->FsType(fd, &type);
  env.sys->Close(fd);
  if (r < 0) return Status::FromErrno(-r, "cannot look at the filesystem of " + path, path);
  if (IsNetworkFilesystem(type))
    return Status(Code::kUnsupported, "the state folder " + path + " is on a network or FUSE filesystem",
                  "choose a folder on a local disk (state_dir in the settings): each node has its own")
        .WithPath(path);
  return Status();
}

// How long a thread that has given its answer may take to end.
constexpr int64_t kTailMs = 50;
// A recovery that waits for releases looks so often.
constexpr int64_t kLookAgainMs = 100;

}  // namespace

Result<std::shared_ptr<Engine>> Engine::Open(const Env& env, EngineOptions options) {
  auto core = std::make_shared<Core>();
  core->env = env;
  core->settings = std::move(options.settings);
  DVDI_RETURN_IF_ERROR(TakeSettingSecrets(&core->settings, &core->setting_secrets));
  core->classic_mounts = options.classic_mounts;
  const Settings& s = core->settings;
  DVDI_ASSIGN_OR_RETURN(core->boot_id, env.sys->BootId());
  DVDI_RETURN_IF_ERROR(CheckStateFolder(env, s.state_dir));
  core->stage_root = s.state_dir + "/stage";
  core->lock_file = s.state_dir + "/volumes.lock";
  core->instances = s.state_dir + "/instances";
  DVDI_RETURN_IF_ERROR(EnsureOwnFolder(env.sys, core->stage_root));
  DVDI_RETURN_IF_ERROR(EnsureOwnFolder(env.sys, core->instances));
  DVDI_RETURN_IF_ERROR(EnsureOwnFolder(env.sys, s.policy_dir));  // the compiled blob is kept there
  StartObserver(core.get());
  core->ledger = std::make_unique<Ledger>(env, s.state_dir + "/ledger.db");
  auto instance = InstanceLock::Take(env, core->instances);
  // On a full disk what is to be ended must be ended all the same.
  if (instance.status().error_number() == ENOSPC && core->ledger->SpendReserve())
    instance = InstanceLock::Take(env, core->instances);
  if (!instance.ok()) return instance.status();
  core->instance = std::move(*instance);
  {
    // One at a time opens (and, where need be, rebuilds) the ledger.
    DVDI_ASSIGN_OR_RETURN(auto lock, VolumeLocks::Take(env, core->lock_file, {{"", "ledger"}},
                                                       env.clock->MonotonicMs() + s.lock_wait_ms));
    DVDI_RETURN_IF_ERROR(core->ledger->Open());
    if (DVDI_GUARD(rebuild_ledger)) DVDI_RETURN_IF_ERROR(RebuildLedger(*core));
  }
  SweepInstances(env, core->instances);
  if (!s.helper.empty()) SetHelperPath(s.helper);
  core->plugins = std::make_unique<PluginClient>(env, s.plugin_paths, s.breaker, s.max_body);
  core->plugins->OnAnswer(
      [observer = core->observer.get()](const Call& call, const Answer& answer, int64_t ns) {
        TellCall(*observer, call, answer, ns);
      });
  core->runtime = std::move(options.runtime);
  if (!core->runtime) {
    DVDI_ASSIGN_OR_RETURN(core->runtime, PolicyRuntime::Create(env, s.limits, s.policy_dir + "/compiled"));
  }
  core->policy = std::make_unique<PolicySelector>(env, core->runtime.get(), s.policy_dir, s.policy);
  Core* raw = core.get();
  core->admission = std::make_shared<Admission>(
      env, [raw](const std::string& driver) { return raw->settings.MaxInFlight(driver); },
      OperationStackKb(raw->settings.limits));
  std::shared_ptr<Engine> engine(new Engine(std::move(core)));
  engine->core_->wake_at = [keeper = engine->keeper_](int64_t at) { keeper->WakeAt(at); };
  if (options.keeper) engine->StartKeeper();
  return engine;
}

Engine::~Engine() = default;

Engine::Done Engine::Promise(Done done) {
  std::lock_guard lock(front_mu_);
  ++unanswered_;
  return [this, self = shared_from_this(), done = std::move(done)](const Status& status, const Json& answer) {
    done(status, answer);
    std::lock_guard lock(front_mu_);
    --unanswered_;
    answered_.notify_all();
  };
}

Status Engine::Front(std::function<Rest()> task) {
  {
    std::lock_guard lock(front_mu_);
    front_.push_back(std::move(task));
    if (front_running_) return Status();
    front_running_ = true;
  }
  auto self = shared_from_this();
  Status s = core_->env.scheduler->Spawn([self] { self->FrontLoop(); }, "dvdi-op",
                                         OperationStackKb(core_->settings.limits));
  if (!s.ok()) {
    std::lock_guard lock(front_mu_);
    front_running_ = false;
    front_.pop_back();
  }
  return s;
}

void Engine::FrontLoop() {
  for (;;) {
    std::function<Rest()> task;
    {
      std::lock_guard lock(front_mu_);
      if (front_.empty()) {
        front_running_ = false;
        return;
      }
      task = std::move(front_.front());
      front_.pop_front();
    }
    Rest rest = task();
    task = nullptr;
    if (!rest) continue;
    bool more = false;
    {
      std::lock_guard lock(front_mu_);
      more = !front_.empty();
      front_running_ = more;
    }
    auto self = shared_from_this();
    bool instead = more && core_->env.scheduler
                               ->Spawn([self] { self->FrontLoop(); }, "dvdi-op",
                                       OperationStackKb(core_->settings.limits))
                               .ok();
    rest();
    if (!more || instead) return;
  }
}

Status Engine::Recover(const Json& request, Done done) {
  std::string owner = GetString(request, "owner");
  if (owner.empty()) return Status(Code::kInvalid, "recover wants an owner");
  Json live = GetMember(request, "live");
  int64_t wait = GetInt(request, "wait_ms");
  std::string original = GetString(request, "original");
  if (core_->closing) return Status(Code::kRefused, "the engine is being closed");
  auto core = core_;
  // The list is of now: what is prepared behind it lives without being named.
  std::optional<std::vector<OperationRow>> known;
  if (live.is_array() && original.empty() && DVDI_GUARD(living_at_the_call)) {
    DVDI_ASSIGN_OR_RETURN(known, AllOperations(*core));
  }
  done = Promise(std::move(done));
  core->admission->Submit(
      "recover", {}, INT64_MAX,
      [this, self = shared_from_this(), core, owner, live, wait, original, known = std::move(known),
       done](const Status& admitted) {
        if (!admitted.ok()) return done(admitted, Json());
        Json taken = original.empty() ? Json::array() : TakeOver(owner, original);
        Result<std::vector<OperationRow>> operations = known ? *known : AllOperations(*core);
        if (!operations.ok()) return done(operations.status(), Json());
        auto outcome = RecoverOwner(*core, owner, live.is_array() ? &live : nullptr, *operations);
        Status swept = SweepStageRoot(*core);
        if (!swept.ok()) outcome.problems.push_back(swept.message());
        ReportStrangers(*core);
        std::vector<AttachmentRow> before, after;
        auto list = [&core](std::vector<AttachmentRow>* to) {
          return core->ledger->Read([&](LedgerTx& tx) -> Status {
            DVDI_ASSIGN_OR_RETURN(*to, tx.Releasing(10'000));
            return Status();
          });
        };
        std::map<std::string, const AttachmentRow*> still;  // `after` by id
        Status s = list(&before);
        Json waiting = Json::array(), notes = Json::array();
        for (const auto& a : before)
          waiting.push_back(
              {{"driver", a.driver}, {"name", a.name}, {"attempts", a.attempts}, {"error", a.error}});
        if (!before.empty()) {
          // What the policy has to say of them goes to whoever asked for the recovery.
          EndAdvice advice =
              AskPolicy(*core, "recover", {{"owner", owner}, {"pending", std::move(waiting)}}, nullptr);
          for (auto& line : advice.report) notes.push_back(std::move(line));
        }
        const int64_t deadline = core->env.clock->MonotonicMs() + wait;
        bool all = wait > 0;  // those too whose next try is not due yet
        for (;; all = false) {
          const int64_t next = DueAt(*core, StartDueReleases(core, all));
          // This task itself counts as running.
          while (!before.empty() && core->env.clock->MonotonicMs() < deadline &&
                 core->admission->running() > 1)
            core->env.scheduler->SleepUntil(core->env.clock->MonotonicMs() + 5);
          if (s.ok()) s = list(&after);
          still.clear();
          for (const auto& a : after) still[a.id] = &a;
          const bool any = std::any_of(before.begin(), before.end(),
                                       [&](const AttachmentRow& b) { return still.contains(b.id); });
          const int64_t now = core->env.clock->MonotonicMs();
          if (!s.ok() || now >= deadline || !any) break;
          // One that failed is tried again when it is due; and others may be at it, too.
          core->env.scheduler->SleepUntil(std::min({deadline, next, now + kLookAgainMs}));
        }
        if (!s.ok()) return done(s, Json());
        Json released = Json::array(), pending = Json::array();
        for (const auto& b : before) {
          auto it = still.find(b.id);
          if (it == still.end())
            released.push_back({{"driver", b.driver}, {"name", b.name}});
          else
            pending.push_back(
                {{"driver", b.driver},
                 {"name", b.name},
                 {"why", it->second->error.empty() ? "its release is under way" : it->second->error}});
        }
        Json reported = Json::array();
        {
          std::lock_guard lock(core->reported_mu);
          for (const auto& r : core->reported) reported.push_back(r);
        }
        for (const auto& p : outcome.problems) pending.push_back({{"driver", ""}, {"name", ""}, {"why", p}});
        done(Status(), {{"taken", std::move(taken)},
                        {"undone", outcome.undone},
                        {"ended", outcome.ended},
                        {"released", std::move(released)},
                        {"pending", std::move(pending)},
                        {"reported", std::move(reported)},
                        {"notes", std::move(notes)}});
        Wake();
      });
  return Status();
}

int64_t Engine::Tick() {
  Core& core = *core_;
  int64_t now = core.env.clock->MonotonicMs();
  if (core.closing) return now + kLookMs;
  core.admission->Expire();
  std::vector<OperationRow> unfinished;
  (void)core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(unfinished, tx.UnfinishedOperations());
    return Status();
  });
  for (const auto& o : unfinished) {
    // Those that a thread of ours is at are passed over by TakeDown; any other of ours is what could not be
    // undone.
    if (o.instance != core.instance->id() && InstanceAlive(core.env, core.instances, o.instance)) continue;
    UndoOutcome outcome;
    (void)TakeDown(core, o, "recover", Status(), 0, &outcome);
  }
  (void)core.ledger->KeepReserve();  // whoever begins something asks again
  (void)core.policy->Current();      // one that another process swapped in is ready before it is wanted
  core.policy->Tidy();
  WriteMetrics(false);
  int64_t next = DueAt(core, StartDueReleases(core_, false));
  if (!unfinished.empty()) next = std::min(next, now + 1000);
  return std::min({now + kLookMs, next, core.admission->NextDue()});
}

void Engine::StartKeeper() {
  auto keeper = keeper_;
  std::weak_ptr<Engine> weak = shared_from_this();
  Env env = core_->env;
  keeper->running = true;
  // Not at once: an engine that is opened for one question has nothing to keep.
  keeper->next_ms = env.clock->MonotonicMs() + 1000;
  Status s = env.scheduler->Spawn(
      [keeper, weak, env] {
        std::unique_lock lock(keeper->mu);
        while (!keeper->stop) {
          int64_t now = env.clock->MonotonicMs();
          if (now < keeper->next_ms) {
            env.scheduler->Wait(lock, keeper->cv, keeper->next_ms);
            continue;
          }
          keeper->next_ms = now + kLookMs;
          lock.unlock();
          int64_t next = INT64_MAX;
          auto engine = weak.lock();
          if (engine) next = engine->Tick();
          engine.reset();
          lock.lock();
          keeper->next_ms = std::min(keeper->next_ms, next);
        }
        keeper->running = false;
        keeper->cv.notify_all();
      },
      "dvdi-keeper", OperationStackKb(core_->settings.limits));
  if (!s.ok()) keeper->running = false;
}

void Engine::Keeper::WakeAt(int64_t monotonic_ms) {
  std::lock_guard lock(mu);
  if (monotonic_ms >= next_ms) return;
  next_ms = monotonic_ms;
  cv.notify_all();
}

void Engine::Close(int64_t wait_ms) {
  Core& core = *core_;
  int64_t deadline = core.env.clock->MonotonicMs() + std::max<int64_t>(wait_ms, 0);
  core.admission->EndPauses();
  {
    // Each callback that was promised is called before this returns: operations end by their own deadlines.
    std::unique_lock lock(front_mu_);
    while (unanswered_ > 0) core.env.scheduler->Wait(lock, answered_, core.env.clock->MonotonicMs() + 1000);
  }
  if (wait_ms > 0) StartDueReleases(core_, false);
  // A thread that has given its answer needs a moment to end.
  (void)core.admission->Drain(std::max(deadline, core.env.clock->MonotonicMs() + kTailMs));
  WriteMetrics(true);
  core.closing = true;
  {
    std::unique_lock lock(keeper_->mu);
    keeper_->stop = true;
    keeper_->cv.notify_all();
    while (keeper_->running)
      core.env.scheduler->Wait(lock, keeper_->cv, core.env.clock->MonotonicMs() + 1000);
  }
  // What still runs (a driver does not answer) is this engine's own until its process ends.
  if (core.admission->running() == 0 && core.admission->waiting() == 0) core.instance->End();
}

}  // namespace dvdi
