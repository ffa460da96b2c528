// Simulated volume plugins: honest about their state, unreliable in answering.
#include <sys/stat.h>

#include "base/json.h"
#include "sim/world.h"

namespace dvdi::sim {
namespace {

PluginReply Lost(PluginReply::Outcome outcome, bool sent, const char* detail) {
  PluginReply r;
  r.outcome = outcome, r.sent = sent, r.detail = detail;
  return r;
}

}  // namespace

std::vector<PluginReply> SimTransport::Exchange(const std::vector<PluginRequest>& requests) {
  std::vector<PluginReply> replies;
  for (const auto& r : requests) replies.push_back(One(r));
  return replies;
}

PluginReply SimTransport::One(const PluginRequest& request) {
  using Outcome = PluginReply::Outcome;
  std::string driver = request.address.path.substr(5, request.address.path.size() - 10);  // /sim/NAME.sock
  std::string method = request.path.substr(request.path.rfind('.') + 1);
  auto it = plugins.find(driver);
  auto line = [&](const char* what) {
    transcript.push_back(driver + " " + method + " " + request.body + " " + what);
  };
  clock_->Advance(1);
  // A killed engine sends nothing.
  if (sys_->crashed()) return Lost(Outcome::kUnreachable, false, "crashed");
  if (it == plugins.end() || !it->second.up) {
    line("unreachable");
    return Lost(Outcome::kUnreachable, false, "connection refused");
  }
  uint64_t fault = fault_rate > 0 && random_->OneIn(fault_rate) ? 1 + random_->Below(6) : 0;
  if (fault == 1) {
    line("timeout without effect");
    clock_->AdvanceTo(request.deadline_ms);
    return Lost(Outcome::kTimeout, true, "no answer");
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
  reply.body = Act(driver, it->second, method, request.body, &reply.status);
  if (fault == 4) {
    line("timeout after the act");
    clock_->AdvanceTo(request.deadline_ms);
    return Lost(Outcome::kTimeout, true, "no answer");
  }
  if (fault == 5) {
    line("lost after the act");
    return Lost(Outcome::kLost, true, "connection reset");
  }
  if (fault == 6) {
    line("no JSON after the act");
    reply.status = 502, reply.body = "<html>bad gateway</html>";
    return reply;
  }
  line(reply.body.c_str());
  return reply;
}

void SimTransport::TakeAway(SimPlugin&, SimPlugin::Volume& volume) {
  if (!volume.mountpoint.empty()) sys_->RemoveMount(volume.mountpoint);
  volume.mountpoint.clear();
}

void SimTransport::ForgetMounts(const std::string& driver, bool really) {
  for (auto& [name, v] : plugins[driver].volumes) {
    v.ids.clear();
    if (really)
      TakeAway(plugins[driver], v);
    else
      v.mountpoint.clear();
  }
}

std::string SimTransport::Act(const std::string& driver, SimPlugin& plugin, const std::string& method,
                              const std::string& body, int* status) {
  auto json = ParseJson(body.empty() ? "{}" : body, "a request");
  Json in = json.ok() ? *json : Json::object();
  std::string name = GetString(in, "Name"), id = GetString(in, "ID");
  auto it = plugin.volumes.find(name);
  auto error = [&](const std::string& text) {
    *status = 500;
    return Dump({{"Err", text}});
  };
  if (method == "Activate") return "{\"Implements\":[\"VolumeDriver\"]}";
  if (method == "Capabilities") return "{\"Capabilities\":{\"Scope\":\"local\"}}";
  if (method == "List") {
    Json list = Json::array();
    for (const auto& [n, v] : plugin.volumes) list.push_back({{"Name", n}, {"Mountpoint", v.mountpoint}});
    return Dump({{"Volumes", list}, {"Err", ""}});
  }
  if (method == "Create") {
    if (it != plugin.volumes.end()) violation("Create of " + driver + "/" + name + ", which exists");
    plugin.volumes[name];
    return "{\"Err\":\"\"}";
  }
  if (it == plugin.volumes.end()) {
    // As some real ones: success for a volume that it does not know.
    if (method == "Unmount") return "{\"Err\":\"\"}";
    return error("no such volume " + name);
  }
  SimPlugin::Volume& v = it->second;
  if (method == "Get" || method == "Path")
    return Dump({{"Volume", {{"Name", name}, {"Mountpoint", v.mountpoint}}},
                 {"Mountpoint", v.mountpoint},
                 {"Err", ""}});
  if (method == "Mount") {
    if (id.size() != 64) violation("Mount of " + driver + "/" + name + " with ID \"" + id + "\"");
    v.ids.insert(id);
    if (v.mountpoint.empty()) {
      v.mountpoint = root_ + "/" + driver + "-" + name;
      ::mkdir(v.mountpoint.c_str(), 0755);
      if (!sys_->IsMounted(v.mountpoint))
        sys_->AddMount(v.mountpoint, "ext4", "7:" + std::to_string(++plugin.device));
    }
    return Dump({{"Mountpoint", v.mountpoint}, {"Err", ""}});
  }
  if (method == "Unmount") {
    if (in_use(driver, name)) violation("Unmount of " + driver + "/" + name + ", which is in use");
    v.ids.erase(id);
    if (v.ids.empty()) TakeAway(plugin, v);
    return "{\"Err\":\"\"}";
  }
  violation(method + " was sent");
  return error("not supported");
}

}  // namespace dvdi::sim
