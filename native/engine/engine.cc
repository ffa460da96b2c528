#include "engine/engine.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "base/caught.h"
#include "base/guards.h"
#include "engine/operation.h"
#include "engine/release.h"
#include "engine/tell.h"
#include "helper/helper.h"
#include "mount/paths.h"
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
  // Nothing is made behind one: neither SQLite nor the stages go there.
  if (SysFd found(env.sys, OpenNoSymlinks(env.sys, path, O_PATH)); found.error() == ELOOP) {
    std::string real;
    const bool there = env.sys->RealPath(path.c_str(), &real) >= 0;
    return Status(Code::kRefused, "the state folder " + path + " lies behind a symbolic link",
                  "put the real path into the settings" +
                      (there ? " (state_dir: " + real + ")" : ", as state_dir"))
        .WithPath(path);
  }
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

// One at a time opens (and, where need be, rebuilds) the ledger.
Status OpenLedger(Core& core, Status (Ledger::*open)()) {
  DVDI_ASSIGN_OR_RETURN(auto lock,
                        VolumeLocks::Take(core.env, core.lock_file, {{"", "ledger"}},
                                          core.env.clock->MonotonicMs() + core.settings.lock_wait_ms));
  DVDI_RETURN_IF_ERROR((core.ledger.get()->*open)());
  return DVDI_GUARD(rebuild_ledger) ? RebuildLedger(core) : Status();
}

// How long a thread that has given its answer may take to end.
constexpr int64_t kTailMs = 50;

}  // namespace

Result<std::shared_ptr<Engine>> Engine::Open(const Env& env, EngineOptions options) {
  auto core = std::make_shared<Core>();
  core->env = env;
  core->settings = std::move(options.settings);
  DVDI_RETURN_IF_ERROR(TakeSettingSecrets(&core->settings, &core->setting_secrets));
  core->classic_mounts = options.classic_mounts;
  core->back_off.Set(core->settings.release_base_ms, core->settings.release_max_ms);
  const Settings& s = core->settings;
  DVDI_ASSIGN_OR_RETURN(core->boot_id, env.sys->BootId());
  DVDI_ASSIGN_OR_RETURN(core->pid_namespace, OwnPidNamespace(core->env.sys));
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
  const int error = instance.status().error_number();
  if (error == ENOSPC || error == EDQUOT) {
    core->ledger->SpendReserve();  // or somebody else has, meanwhile
    instance = InstanceLock::Take(env, core->instances);
  }
  if (!instance.ok()) return instance.status();
  core->instance = std::move(*instance);
  DVDI_RETURN_IF_ERROR(OpenLedger(*core, &Ledger::Open));
  if (DVDI_GUARD(ledger_is_there))
    core->ledger->OnReplaced([raw = core.get()] { return OpenLedger(*raw, &Ledger::Reopen); });
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
  engine->core_->admission->OnWait([keeper = engine->keeper_](int64_t at) { keeper->WakeAt(at); });
  if (options.keeper != Keeping::kNothing)
    DVDI_RETURN_IF_ERROR(engine->StartKeeper(options.keeper == Keeping::kAll));
  return engine;
}

Engine::~Engine() = default;

class Engine::Promised {
 public:
  Promised(std::shared_ptr<Engine> engine, Done done) : engine_(std::move(engine)), done_(std::move(done)) {
    std::lock_guard lock(engine_->front_mu_);
    ++engine_->unanswered_;
  }
  ~Promised() {
    if (!answered_) Answer(Status(Code::kInternal, "the operation ended without an answer"), Json());
  }
  Promised(const Promised&) = delete;
  Promised& operator=(const Promised&) = delete;

  void Answer(const Status& status, const Json& answer) {
    if (answered_.exchange(true)) return;
    (void)Caught([&] { done_(status, answer); });
    std::lock_guard lock(engine_->front_mu_);
    --engine_->unanswered_;
    engine_->answered_.notify_all();
  }

 private:
  const std::shared_ptr<Engine> engine_;
  const Done done_;
  std::atomic<bool> answered_ = false;
};

Engine::Done Engine::Promise(Done done) {
  auto promised = std::make_shared<Promised>(shared_from_this(), std::move(done));
  return [promised](const Status& status, const Json& answer) { promised->Answer(status, answer); };
}

void Engine::Front(Done done, std::function<Rest()> task) {
  {
    std::lock_guard lock(front_mu_);
    front_.push_back({std::move(done), std::move(task)});
    if (front_running_) return;
    front_running_ = true;
  }
  auto self = shared_from_this();
  Status s = core_->env.scheduler->Spawn([self] { self->FrontLoop(); }, "dvdi-op",
                                         OperationStackKb(core_->settings.limits));
  if (s.ok()) return;
  // Also those that came while there seemed to be a thread.
  std::deque<FrontTask> all;
  {
    std::lock_guard lock(front_mu_);
    front_running_ = false;
    all.swap(front_);
  }
  for (const FrontTask& t : all) t.done(s, Json());
}

void Engine::FrontLoop() {
  for (;;) {
    FrontTask task;
    {
      std::lock_guard lock(front_mu_);
      if (front_.empty()) {
        front_running_ = false;
        return;
      }
      task = std::move(front_.front());
      front_.pop_front();
    }
    Rest rest;
    if (Status s = Caught([&] { rest = task.run(); }); !s.ok()) task.done(s, Json());
    task.run = nullptr;
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
    if (Status s = Caught(rest); !s.ok()) task.done(s, Json());
    if (!more || instead) return;
  }
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
  core.back_off.KeepOnly(unfinished);
  int64_t again = INT64_MAX;  // when the next of them is to be looked at
  for (const auto& o : unfinished) {
    // Those that a thread of ours is at are passed over by TakeDown; any other of ours is what could not be
    // undone.
    const bool others =
        o.instance != core.instance->id() && InstanceAlive(core.env, core.instances, o.instance);
    if (!others && core.back_off.DueAt(o.id) <= now) {
      // One that throws keeps nothing from the others.
      UndoOutcome outcome;
      Status s = Caught([&] { (void)TakeDown(core, o, "recover", Status(), 0, &outcome); });
      if (!s.ok()) core.back_off.Failed(o.id, s.message(), false, now);
    }
    again = std::min(again, std::max(now + 1000, core.back_off.DueAt(o.id)));
  }
  (void)core.ledger->KeepReserve();  // whoever begins something asks again
  (void)core.policy->Current();      // one that another process swapped in is ready before it is wanted
  core.policy->Tidy();
  WriteMetrics(false);
  int64_t next = DueAt(core, StartDueReleases(core_, false));
  return std::min({now + kLookMs, next, again, core.admission->NextDue()});
}

int64_t Engine::LookAtWaits() {
  core_->admission->Expire();
  return core_->admission->NextDue();
}

Status Engine::StartKeeper(bool all) {
  auto keeper = keeper_;
  std::weak_ptr<Engine> weak = shared_from_this();
  Env env = core_->env;
  keeper->running = true;
  // Not at once: an engine that is opened for one question has nothing to keep.
  keeper->next_ms = env.clock->MonotonicMs() + 1000;
  Status s = env.scheduler->Spawn(
      [keeper, weak, env, all] {
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
          // What one look throws is left to the next.
          if (engine) (void)Caught([&] { next = all ? engine->Tick() : engine->LookAtWaits(); });
          engine.reset();
          lock.lock();
          keeper->next_ms = std::min(keeper->next_ms, next);
        }
        keeper->running = false;
        keeper->cv.notify_all();
      },
      "dvdi-keeper", OperationStackKb(core_->settings.limits));
  if (s.ok()) return s;
  keeper->running = false;
  // Without it what waits would wait for ever.
  return std::move(s).WithContext("the thread that looks after what waits cannot be started");
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
    // Each callback that was promised is called before this returns: operations end by their own deadlines,
    // those that wait for room too.
    std::unique_lock lock(front_mu_);
    while (unanswered_ > 0) {
      lock.unlock();
      core.admission->Expire();
      const int64_t next = std::min(core.env.clock->MonotonicMs() + 1000, core.admission->NextDue());
      lock.lock();
      if (unanswered_ > 0) core.env.scheduler->Wait(lock, answered_, next);
    }
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
