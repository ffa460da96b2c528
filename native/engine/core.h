// What the parts of one engine share. Held by shared_ptr: a thread that is stuck in a dead driver keeps
// it alive after the engine was closed.
#ifndef DVDI_ENGINE_CORE_H_
#define DVDI_ENGINE_CORE_H_

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "engine/admission.h"
#include "engine/back_off.h"
#include "engine/locks.h"
#include "engine/secrets.h"
#include "ledger/ledger.h"
#include "mount/mountinfo.h"
#include "observe/observer.h"
#include "plugin/client.h"
#include "policy/revision.h"
#include "policy/runtime.h"
#include "settings/settings.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {

// How long the keeper sleeps where nothing is due.
inline constexpr int64_t kLookMs = 60'000;

// A hundred years: in nanoseconds it is still a number.
inline constexpr int64_t kLongestMs = int64_t{100} * 365 * 24 * 3600 * 1000;

struct Core {
  Env env;
  Settings settings;
  SecretList setting_secrets;  // of what settings.policy has handles
  Boot boot_id;
  uint64_t pid_namespace = 0;  // whose processes we see
  std::string stage_root;      // STATE/stage
  std::string lock_file;       // STATE/volumes.lock
  std::string instances;       // STATE/instances
  bool classic_mounts = false;

  std::unique_ptr<InstanceLock> instance;
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<Observer> observer;
  std::atomic<int64_t> metrics_due_ms{0};  // monotonic: when the settings' metrics file is old
  std::unique_ptr<PluginClient> plugins;
  std::shared_ptr<PolicyRuntime> runtime;
  std::unique_ptr<PolicySelector> policy;
  // Shared with its tasks: where an engine was closed, the last of them may end behind everything else.
  std::shared_ptr<Admission> admission;
  std::atomic<bool> closing{false};
  std::atomic<bool> stage_root_ready{false};  // seen so once
  // Has somebody look at what is due, at that monotonic time at the latest. Never null.
  std::function<void(int64_t monotonic_ms)> wake_at = [](int64_t) {};

  // Operations that a thread of this engine works on now: nobody else takes them up.
  std::mutex active_mu;
  std::map<std::string, bool> active;  // true: another thread has come for it meanwhile
  BackOff back_off;                    // of what could not be undone
  // What was found that is not ours, for status.
  std::mutex reported_mu;
  std::vector<std::string> reported;

  // The monotonic time (ms) that is so long from now; of what a caller names. However long that is, it can be
  // reckoned with: a caller that wants no end may say INT64_MAX.
  int64_t In(int64_t ms) const { return env.clock->MonotonicMs() + std::clamp<int64_t>(ms, 0, kLongestMs); }
  Result<std::vector<MountEntry>> Mounts() {
    DVDI_ASSIGN_OR_RETURN(std::string text, env.sys->Mountinfo());
    return ParseMountinfo(text);
  }
  // Those at or above these paths.
  Result<std::vector<MountEntry>> Mounts(const std::vector<std::string>& paths) {
    DVDI_ASSIGN_OR_RETURN(std::string text, env.sys->Mountinfo());
    return ParseMountinfo(text, paths);
  }
  std::string StagePath(const std::string& attachment, const std::string& stage) const {
    return stage_root + "/" + attachment + "/" + stage;
  }
  // The ID of the attachment in whose folder that path, strictly below the stage root, lies.
  std::string AttachmentOf(const std::string& path) const {
    const size_t id = stage_root.size() + 1;
    return path.substr(id, path.find('/', id) - id);
  }
};

// Marks an operation as worked on by this thread, if no other thread of this engine does.
class ActiveOperation {
 public:
  ActiveOperation(Core* core, std::string id) : core_(core), id_(std::move(id)) {
    std::lock_guard lock(core_->active_mu);
    auto [at, mine] = core_->active.try_emplace(id_, false);
    mine_ = mine;
    if (!mine) at->second = true;
  }
  ~ActiveOperation() {
    std::lock_guard lock(core_->active_mu);
    if (mine_) core_->active.erase(id_);
  }
  ActiveOperation(const ActiveOperation&) = delete;
  ActiveOperation& operator=(const ActiveOperation&) = delete;
  bool mine() const { return mine_; }
  // For one that is mine() and could do nothing. True: it is mine no more. False: another thread came for it
  // meanwhile and left it to this one, which has to try again.
  bool Leave() {
    std::lock_guard lock(core_->active_mu);
    if (std::exchange(core_->active[id_], false)) return false;
    core_->active.erase(id_);
    mine_ = false;
    return true;
  }

 private:
  Core* core_;
  std::string id_;
  bool mine_;
};

// "MAJ:MIN root" of the mount that holds the path: what is there now, to be compared later.
std::string DeviceAt(const std::vector<MountEntry>& mounts, const std::string& path);

}  // namespace dvdi

#endif  // DVDI_ENGINE_CORE_H_
