// Simulated volume plugins: each driver has a backend that keeps the data, and a plugin process on each node,
// honest about its state and unreliable in answering.
#ifndef DVDI_SIM_PLUGINS_H_
#define DVDI_SIM_PLUGINS_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "plugin/transport.h"
#include "sim/process.h"

namespace dvdi::sim {

using VolumeKey = std::pair<std::string, std::string>;  // driver, name

// How one driver behaves, whatever goes wrong.
struct SimDriver {
  std::string name;
  bool global = false;     // one backend for all nodes; a volume is held by one node at a time
  bool counts_ids = true;  // unmounts with the last ID, else with any
  bool unmount_unknown_is_error = false;
  bool list_mountpoints = true;
  enum class Names { kWhatIsMounted, kNothing, kAll };
  Names names = Names::kWhatIsMounted;  // whose mountpoints Get, Path and List tell
};

struct SimVolume {
  int64_t created_seq = 0;
  std::map<std::string, std::string> options;
  struct Here {  // on one node
    std::set<std::string> ids;
    std::string mountpoint;
    int64_t mounted_by = 0;  // the task that asked for that
    // Of `ids`: no engine was told where it is, or none has ended its operation (and written that down) or
    // begun a stage of it since it was. And the processes that were told, by ID.
    std::set<std::string> unrecorded;
    std::map<std::string, std::string> told;
  };
  std::map<std::string, Here> nodes;
  std::set<std::string> had_by;  // nodes with workloads whose data is in it
  std::string holder;            // of a global driver: the node that has the lease
};

// What a plugin process of one node is like now.
struct SimPluginProcess {
  bool up = true;
  bool busy = false;   // Unmount: the device is busy
  bool stuck = false;  // accepts and never answers
};

class PluginWorld {
 public:
  PluginWorld(SimRandom* random, SimClock* clock) : random_(random), clock_(clock) {}

  std::vector<SimDriver> drivers;
  std::map<VolumeKey, SimVolume> volumes;
  std::map<VolumeKey, SimPluginProcess> processes;  // by driver, node
  uint64_t fault_one_in = 0;                        // of the calls of one kind of fault; 0 for none
  bool errors_after_acts = false;                   // are among these faults
  // Volume and node: it is mounted there, and its plugin has forgotten that.
  std::set<std::pair<VolumeKey, std::string>> unremembered;

  // What an honest driver would call a violation of the protocol by its client, or of what the engine
  // promises.
  std::function<void(const std::string& what)> violation;
  std::function<bool(const SimKernel& node, const VolumeKey& volume)> in_use;
  // Whether the node of that name has the volume mounted.
  std::function<bool(const std::string& node, const VolumeKey& volume)> mounted_on;
  // Whether an operator has asked that process to remove it.
  std::function<bool(const SimProcess& process, const VolumeKey& volume)> may_remove;
  // Asked before these act.
  std::function<void(SimProcess& process, const VolumeKey& volume, const Json& options)> creating;
  std::function<void(SimProcess&process, const VolumeKey&volume, const std::string&id)> mounting, unmounting;
  // Told when these have acted.
  std::function<void(SimProcess&process, const VolumeKey&volume)> created, removed;
  std::function<void(const std::string& line)> say;

  const SimDriver* Driver(const std::string& name) const;
  // The plugin was started anew: its mounts are gone with it (`really`), or it knows nothing of them any
  // more.
  void Restart(const std::string& driver, SimKernel& node, bool really);
  // The node's mounts are gone; leases of global volumes stay until somebody takes them.
  void NodeRebooted(const std::string& node);
  // The volume that a mount with that device shows.
  const VolumeKey* VolumeOf(const std::string& device) const;
  bool Mounted(const SimKernel& node, const VolumeKey& volume) const;
  // Calls that have acted, and what others have made, are numbered: the last one's number.
  int64_t events() const { return events_; }
  // Whether a Remove has acted on it since that event.
  bool RemovedSince(const VolumeKey& volume, int64_t event) const {
    auto it = removals_.find(volume);
    return it != removals_.end() && it->second > event;
  }
  // The mount that a node sees where the driver has the volume; null where it sees none.
  const MountEntry* MountOf(const SimKernel& node, const VolumeKey& volume) const;
  // Made by somebody else, as docker volume create does.
  void CreateElsewhere(const VolumeKey& volume);

 private:
  friend class NodeTransport;
  PluginReply One(SimProcess& process, const PluginRequest& request);
  std::string Act(SimProcess& process, const SimDriver& driver, const std::string& method, const Json& in,
                  int* status);
  SimVolume& Make(const VolumeKey& key);

  SimRandom* random_;
  SimClock* clock_;
  std::map<std::string, VolumeKey> devices_;
  // When a process saw last that a driver does not have a volume: in its List, the events' number.
  std::map<std::pair<std::string, std::string>, int64_t> listed_;  // by process, driver
  std::map<VolumeKey, int64_t> removals_;
  int64_t events_ = 0;
  int next_device_ = 1;
};

// One process' way to the plugins of its node.
class NodeTransport : public PluginTransport {
 public:
  NodeTransport(PluginWorld* world, SimProcess* process) : world_(world), process_(process) {}
  std::vector<PluginReply> Exchange(const std::vector<PluginRequest>& requests) override;

 private:
  PluginWorld* world_;
  SimProcess* process_;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_PLUGINS_H_
