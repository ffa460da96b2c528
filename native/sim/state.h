// All that there is in a history: nodes with their engines, workloads, plugins. Invariants look at it, steps
// change it.
#ifndef DVDI_SIM_STATE_H_
#define DVDI_SIM_STATE_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "sim/plan.h"
#include "sim/plugins.h"
#include "sim/process.h"

namespace dvdi::sim {

inline constexpr const char* kPluginDir = "/etc/docker/plugins";
inline constexpr const char* kStateDir = "/var/lib/dvdi";
inline constexpr const char* kStageRoot = "/var/lib/dvdi/stage";
inline constexpr const char* kTargets = "/srv";
inline constexpr const char* kSecret = "s3cr3t-of-a-workload";

// One that has its volumes: it was told so, and has not ended.
struct Workload {
  std::string owner, scope;
  pid_t pid = 0;  // in its container
  Json request, answer;
  struct Use {
    VolumeKey volume;
    std::string mode, access, target, stage;
    bool broken = false;  // its plugin was restarted beneath it: nobody can keep what is gone
    bool bare = false;    // before the engine saw its mount: as if the driver's volumes were plain folders
    // Whether the ledger does not know it, for it was lost and its files cannot be read: now, and a step ago.
    mutable bool unknown = false, was_unknown = false;
    mutable std::set<std::string> unknown_to;  // scopes that were given its volume meanwhile
  };
  std::vector<Use> uses;
};

// What an engine was asked and has not answered.
struct Asked {
  std::string what;
  Json request;
  int64_t deadline_ms = 0;
  std::string policy;               // that was active when it was asked; "" where that changed since
  std::set<std::string> restarted;  // drivers that lost their mounts since
  std::set<VolumeKey> unseen;       // volumes whose mounts were lost before the engine had seen them
  int64_t events = 0;               // that plugins had had then
  mutable bool late = false;        // reported already
};

struct NodeState;

// A process that runs an engine.
struct EngineProcess {
  EngineProcess(NodeState* node, PluginWorld* world, Tasks* tasks, SimClock* clock, int number)
      : node(node), sys(&state_kernel(node), tasks, clock, number), transport(world, &sys) {}
  static SimKernel& state_kernel(NodeState* node);

  NodeState* node;
  SimProcess sys;
  NodeTransport transport;
  std::shared_ptr<Engine> engine;
  std::map<int, Asked> asked;
};

struct NodeState {
  explicit NodeState(const std::string& name) : kernel(name) {}
  SimKernel kernel;
  std::unique_ptr<EngineProcess> processes[2];
  std::map<std::string, Workload> live;                    // by scope
  std::set<std::pair<std::string, std::string>> to_clean;  // owner, scope: of those that only a word ends
  std::string policy = "stock";                            // the active one; "" where it is damaged
  bool busy_mounts = false, mount_errors = false, power_was_lost = false, ledger_was_lost = false,
       ledger_was_restored = false;
  // One in so many writes and fsyncs of its engines fails; 0: none. Or fsyncs alone.
  uint64_t disk_error_one_in = 0;
  bool only_fsyncs = false;
  // One in so many looks at mountinfo, starts of threads, and looks at files of the state folder fails; 0:
  // none.
  uint64_t no_mount_table_one_in = 0, no_threads_one_in = 0, looks_fail_one_in = 0;
  bool unmount_errors = false;
  std::string unreadable;                 // what lies there, and below it, answers EIO; "": nothing does
  std::set<std::string> were_unreadable;  // folders of stages that this has met
  // Whether an engine may refuse to open.
  bool MayRefuse() const {
    return kernel.disk.full() || mount_errors ||
           disk_error_one_in + no_mount_table_one_in + no_threads_one_in + looks_fail_one_in > 0 ||
           !unreadable.empty();
  }
  // Stages that the ledger was seen to cover, and the disk's version then: invariants.cc.
  std::vector<std::string> covered;
  uint64_t covered_at = 0;
  std::map<std::string, std::string> ledger_copy;                // by the file's name; empty: none was made
  std::set<std::pair<std::string, std::string>> scopes_of_copy;  // owner, scope: what it may name
  bool loses_power = false;                               // with the next of its processes that is killed
  std::map<std::string, std::vector<std::string>> ended;  // stages of workloads that have ended, by scope
  // Volumes that a Create of its engines has made, and that no Remove has taken away.
  struct Created {
    bool told = false;  // somebody was answered that it is there: no loss of power may lose that
    bool ours = false;  // and that it was made for him
  };
  std::map<VolumeKey, Created> created;
};

struct State {
  explicit State(uint64_t seed) : random(seed), tasks(&clock, seed), plugins(&random, &clock) {}
  SimRandom random;
  SimClock clock;
  Tasks tasks;
  PluginWorld plugins;
  std::vector<std::unique_ptr<NodeState>> nodes;
  std::set<VolumeKey> forgotten;  // an operator has given up what a driver may still hold

  bool InUse(const SimKernel& node, const VolumeKey& volume) const;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_STATE_H_
