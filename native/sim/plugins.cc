#include "sim/plugins.h"

#include <algorithm>
#include <cerrno>

namespace dvdi::sim {
namespace {

using Outcome = PluginReply::Outcome;

PluginReply Lost(Outcome outcome, bool sent, const char* detail) {
  PluginReply r;
  r.outcome = outcome, r.sent = sent, r.detail = detail;
  return r;
}

// Long enough for a driver's answer, short enough for any deadline.
constexpr int64_t kCallMs = 2;

std::string MountpointOf(const VolumeKey& volume) { return "/vol/" + volume.first + "-" + volume.second; }

}  // namespace

const SimDriver* PluginWorld::Driver(const std::string& name) const {
  for (const SimDriver& d : drivers)
    if (d.name == name) return &d;
  return nullptr;
}

const VolumeKey* PluginWorld::VolumeOf(const std::string& device) const {
  auto it = devices_.find(device);
  return it == devices_.end() ? nullptr : &it->second;
}

const MountEntry* PluginWorld::MountOf(const SimKernel& node, const VolumeKey& volume) const {
  return node.FindMount(MountpointOf(volume));
}

bool PluginWorld::Mounted(const SimKernel& node, const VolumeKey& volume) const {
  const MountEntry* m = MountOf(node, volume);
  const VolumeKey* shown = m == nullptr ? nullptr : VolumeOf(m->device);
  return shown != nullptr && *shown == volume;
}

SimVolume& PluginWorld::Make(const VolumeKey& key) {
  SimVolume& v = volumes[key];
  v.created_seq = ++events_;
  return v;
}

void PluginWorld::CreateElsewhere(const VolumeKey& volume) {
  if (volumes.count(volume) == 0) Make(volume);
}

void PluginWorld::Restart(const std::string& driver, SimKernel& node, bool really) {
  for (auto& [key, v] : volumes) {
    auto here = v.nodes.find(node.name());
    if (key.first != driver || here == v.nodes.end()) continue;
    if (really && !here->second.mountpoint.empty()) node.RemoveMount(here->second.mountpoint);
    // Without its mounts it has nothing to hold a lease for.
    if (really && v.holder == node.name()) v.holder.clear();
    if (!really) unremembered.insert({key, node.name()});
    v.nodes.erase(here);
  }
}

void PluginWorld::NodeRebooted(const std::string& node) {
  for (auto& [key, v] : volumes) v.nodes.erase(node);
}

std::vector<PluginReply> NodeTransport::Exchange(const std::vector<PluginRequest>& requests) {
  // They run side by side: each begins at the same time, and the last one's end is the end of all.
  std::vector<PluginReply> replies;
  for (const auto& r : requests) replies.push_back(world_->One(*process_, r));
  return replies;
}

PluginReply PluginWorld::One(SimProcess& process, const PluginRequest& request) {
  SimKernel& node = process.kernel();
  std::string name = request.address.path.substr(5, request.address.path.size() - 10);  // /sim/NAME.sock
  std::string method = request.path.substr(request.path.rfind('.') + 1);
  const SimDriver* driver = Driver(name);
  auto line = [&](std::string_view what) {
    say(process.name() + ": " + name + " " + method + " " + request.body + " = " + std::string(what));
  };
  if (process.dead()) return Lost(Outcome::kUnreachable, false, "killed");
  // The point before the call, where a killed process has sent nothing.
  if (int err = process.Change("call"); err != 0) return Lost(Outcome::kUnreachable, false, "killed");
  process.tasks().Yield(2);
  clock_->Advance(kCallMs / 2);
  SimPluginProcess& plugin = processes[{name, node.name()}];
  if (driver == nullptr || !plugin.up) {
    line("unreachable");
    return Lost(Outcome::kUnreachable, false, "connection refused");
  }
  auto timeout = [&](bool stuck) {
    process.env().scheduler->SleepUntil(request.deadline_ms);
    return Lost(Outcome::kTimeout, true, stuck ? "no answer" : "no answer in time");
  };
  uint64_t fault =
      fault_one_in > 0 && random_->OneIn(fault_one_in) ? 1 + random_->Below(errors_after_acts ? 8 : 7) : 0;
  if (plugin.stuck || fault == 1) {
    line("timeout without effect");
    return timeout(plugin.stuck);
  }
  if (fault == 2) {
    line("lost without effect");
    return Lost(Outcome::kLost, true, "connection reset");
  }
  PluginReply reply;
  reply.outcome = Outcome::kAnswer, reply.sent = true, reply.status = 200;
  if (fault == 3) {
    line("error without effect");
    reply.status = 500, reply.body = "{\"Err\":\"the backend is busy\"}";
    return reply;
  }
  auto parsed = ParseJson(request.body.empty() ? "{}" : request.body, "a request");
  reply.body = Act(process, *driver, method, parsed.ok() ? *parsed : Json::object(), &reply.status);
  line(reply.body + (fault > 3 ? " (not answered)" : ""));
  clock_->Advance(kCallMs / 2);
  // The point behind it: the plugin has acted, and the killed process does not know.
  if (int err = process.Change("answer"); err != 0 || process.dead())
    return Lost(Outcome::kLost, true, "killed");
  process.tasks().Yield(2);
  if (process.dead()) return Lost(Outcome::kLost, true, "killed");
  if (fault == 4) return timeout(false);
  if (fault == 5) return Lost(Outcome::kLost, true, "connection reset");
  // A Create that is answered so was none, as far as anybody can know.
  if (fault == 8 && method != "Create") {
    reply.status = 500, reply.body = "{\"Err\":\"the backend is busy\"}";
  } else if (fault == 6) {
    reply.status = 502, reply.body = "<html>bad gateway</html>";
  } else if (fault == 7) {
    reply.body = reply.body.substr(0, reply.body.size() / 2);
  } else if (method == "Mount" && parsed.ok()) {
    auto volume = volumes.find({name, GetString(*parsed, "Name")});
    if (volume != volumes.end())
      if (auto here = volume->second.nodes.find(node.name()); here != volume->second.nodes.end())
        here->second.told[GetString(*parsed, "ID")] = process.name();
  }
  return reply;
}

std::string PluginWorld::Act(SimProcess& process, const SimDriver& driver, const std::string& method,
                             const Json& in, int* status) {
  SimKernel& node = process.kernel();
  VolumeKey key{driver.name, GetString(in, "Name")};
  std::string id = GetString(in, "ID");
  const std::string title = driver.name + "/" + key.second;
  auto error = [&](const std::string& text) {
    *status = 500;
    return Dump({{"Err", text}});
  };
  auto answer = [](const std::string& mountpoint) { return Dump({{"Mountpoint", mountpoint}, {"Err", ""}}); };
  auto mountpoint_of = [&](const VolumeKey& volume, const SimVolume& v) -> std::string {
    if (driver.names == SimDriver::Names::kNothing) return "";
    if (driver.names == SimDriver::Names::kAll) return MountpointOf(volume);
    auto here = v.nodes.find(node.name());
    return here == v.nodes.end() ? "" : here->second.mountpoint;
  };
  const std::string done = "{\"Err\":\"\"}";
  ++events_;
  if (method == "Activate") return "{\"Implements\":[\"VolumeDriver\"]}";
  if (method == "Capabilities")
    return Dump({{"Capabilities", {{"Scope", driver.global ? "global" : "local"}}}});
  if (method == "List") {
    Json list = Json::array();
    for (const auto& [k, v] : volumes) {
      if (k.first != driver.name) continue;
      Json one = {{"Name", k.second}};
      if (driver.list_mountpoints) one["Mountpoint"] = mountpoint_of(k, v);
      list.push_back(std::move(one));
    }
    listed_[{process.name(), driver.name}] = events_;
    return Dump({{"Volumes", list}, {"Err", ""}});
  }
  auto it = volumes.find(key);
  if (method == "Create") {
    creating(process, key, GetMember(in, "Opts"));
    if (it != volumes.end()) {
      // Another node, or somebody else, may have been quicker; but what was there when it looked must be
      // seen.
      auto listed = listed_.find({process.name(), driver.name});
      if (listed == listed_.end() || it->second.created_seq <= listed->second)
        violation("Create of " + title + ", which exists");
      return error("volume " + key.second + " already exists");
    }
    SimVolume& v = Make(key);
    for (const auto& [option, value] : GetMember(in, "Opts").items()) v.options[option] = Dump(value);
    created(process, key);
    return done;
  }
  if (it == volumes.end()) {
    // As some real ones: success for a volume that it does not know.
    if (method == "Unmount" && !driver.unmount_unknown_is_error) return done;
    return error("no such volume " + key.second);
  }
  SimVolume& v = it->second;
  if (method == "Get" || method == "Path") {
    if (method == "Path") return answer(mountpoint_of(key, v));
    return Dump({{"Volume", {{"Name", key.second}, {"Mountpoint", mountpoint_of(key, v)}}}, {"Err", ""}});
  }
  if (method == "Mount") {
    mounting(process, key, id);
    if (driver.global && !v.holder.empty() && v.holder != node.name())
      return error("volume " + key.second + " is in use on node " + v.holder);
    // Nothing is mounted where there is no folder.
    node.disk.Make("/vol", S_IFDIR | 0755, nullptr);
    const int made = node.disk.Make(MountpointOf(key), S_IFDIR | 0755, nullptr);
    if (made < 0 && made != -EEXIST) return error("cannot make the folder: no space left on device");
    if (driver.global) v.holder = node.name();
    SimVolume::Here& here = v.nodes[node.name()];
    if (here.ids.insert(id).second) here.unrecorded.insert(id);
    if (here.mountpoint.empty()) {
      here.mountpoint = MountpointOf(key), here.mounted_by = Tasks::CurrentTask();
      if (node.FindMount(here.mountpoint) == nullptr) {
        std::string device = "7:" + std::to_string(next_device_++);
        devices_[device] = key;
        node.AddMount(here.mountpoint, device, "rw,relatime");
      }
    }
    return answer(here.mountpoint);
  }
  if (method == "Unmount") {
    if (in_use(node, key)) violation("Unmount of " + title + ", which is in use on " + node.name());
    unmounting(process, key, id);
    auto here = v.nodes.find(node.name());
    bool known = here != v.nodes.end() && here->second.ids.count(id) != 0;
    if (!known && driver.unmount_unknown_is_error) return error("volume " + key.second + " is not mounted");
    if (here == v.nodes.end()) {
      if (v.holder == node.name()) v.holder.clear();
      node.RemoveMount(MountpointOf(key));
      return done;
    }
    if (processes[{driver.name, node.name()}].busy) return error("the device is busy");
    here->second.ids.erase(id), here->second.unrecorded.erase(id);
    if (driver.counts_ids && !here->second.ids.empty()) return done;
    if (!here->second.mountpoint.empty()) node.RemoveMount(here->second.mountpoint);
    v.nodes.erase(here);
    if (v.holder == node.name()) v.holder.clear();
    return done;
  }
  if (method == "Remove") {
    if (!may_remove(process, key)) violation("Remove of " + title + ", which no operator asked for");
    for (const auto& [where, here] : v.nodes)
      if (!here.ids.empty()) return error("volume " + key.second + " is in use");
    // The lease is the backend's: it is there whatever the plugin of the node that has it has forgotten.
    if (!v.holder.empty() && v.holder != node.name())
      return error("volume " + key.second + " is in use on node " + v.holder);
    if (in_use(node, key)) violation("Remove of " + title + ", which is in use on " + node.name());
    volumes.erase(it);
    removals_[key] = events_;
    removed(process, key);
    return done;
  }
  if (method == "Fence") {
    if (v.holder == node.name()) return error("it is this node that has it");
    std::string from = v.holder;
    // Only the operator's word that the other node is powered off lets it go. Of a node that has the volume
    // mounted nobody says so: two nodes would write to it (docs/driver.md, "What remains possible").
    if (!from.empty() && (!GetBool(in, "NodeIsDead") || mounted_on(from, key)))
      return error("node " + from + " has it");
    v.holder.clear();
    return Dump({{"Err", ""}, {"Generation", 1}, {"WaitedMs", 0}, {"From", from}});
  }
  violation(method + " was sent");
  return error("not supported");
}

}  // namespace dvdi::sim
