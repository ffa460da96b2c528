#include "engine/testing/tmpfs_plugins.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/json.h"

namespace dvdi {

std::vector<PluginReply> TmpfsPlugins::Exchange(const std::vector<PluginRequest>& requests) {
  std::vector<PluginReply> replies;
  for (const auto& r : requests) {
    std::string driver = r.address.path.substr(5, r.address.path.size() - 10);  // /sim/NAME.sock
    PluginReply reply;
    reply.outcome = PluginReply::Outcome::kAnswer, reply.sent = true, reply.status = 200;
    reply.body = Act(driver, r.path.substr(r.path.rfind('.') + 1), r.body, &reply.status);
    replies.push_back(std::move(reply));
  }
  return replies;
}

void TmpfsPlugins::AddUser(const std::string& driver, const std::string& name, int n) {
  std::lock_guard lock(mu_);
  volumes_[{driver, name}].users += n;
}

std::vector<std::string> TmpfsPlugins::violations() const {
  std::lock_guard lock(mu_);
  return violations_;
}

int TmpfsPlugins::mounted() const {
  std::lock_guard lock(mu_);
  int n = 0;
  for (const auto& [key, v] : volumes_) n += v.mounted ? 1 : 0;
  return n;
}

int TmpfsPlugins::calls(const std::string& method) const {
  std::lock_guard lock(mu_);
  auto it = calls_.find(method);
  return it == calls_.end() ? 0 : it->second;
}

std::string TmpfsPlugins::Act(const std::string& driver, const std::string& method, const std::string& body,
                              int* status) {
  auto json = ParseJson(body.empty() ? "{}" : body, "a request");
  const Json in = json.ok() ? *json : Json::object();
  const std::string name = GetString(in, "Name"), id = GetString(in, "ID");
  if (before) before(method, name);
  std::lock_guard lock(mu_);
  ++calls_[method];
  auto error = [&](const std::string& text) {
    *status = 500;
    return Dump({{"Err", text}});
  };
  if (method == "Activate") return "{\"Implements\":[\"VolumeDriver\"]}";
  if (method == "Capabilities") return "{\"Capabilities\":{\"Scope\":\"local\"}}";
  if (method == "List") {
    Json list = Json::array();
    for (const auto& [key, v] : volumes_)
      if (key.first == driver)
        list.push_back(
            {{"Name", key.second}, {"Mountpoint", v.mounted ? Mountpoint(driver, key.second) : ""}});
    return Dump({{"Volumes", list}, {"Err", ""}});
  }
  auto it = volumes_.find({driver, name});
  if (method == "Create") {
    if (it != volumes_.end()) violations_.push_back("Create of " + name + ", which exists");
    volumes_[{driver, name}];
    return "{\"Err\":\"\"}";
  }
  if (it == volumes_.end()) return error("no such volume");
  Volume& v = it->second;
  const std::string mountpoint = Mountpoint(driver, name);
  if (method == "Get")
    return Dump({{"Volume", {{"Name", name}, {"Mountpoint", v.mounted ? mountpoint : ""}}}, {"Err", ""}});
  if (method == "Mount") {
    ::mkdir(mountpoint.c_str(), 0755);
    if (!v.mounted && ::mount("dvdi-test", mountpoint.c_str(), "tmpfs", 0, "size=64k") < 0)
      return error(std::string("cannot mount: ") + ::strerror(errno));
    v.mounted = true;
    v.ids.insert(id);
    auto instead = named.find(name);
    return Dump({{"Mountpoint", instead == named.end() ? mountpoint : instead->second}, {"Err", ""}});
  }
  if (method == "Unmount") {
    v.ids.erase(id);
    if (!v.ids.empty() || !v.mounted) return "{\"Err\":\"\"}";
    if (v.users > 0) violations_.push_back("Unmount of " + name + ", which is in use");
    if (::umount2(mountpoint.c_str(), 0) < 0)
      return error(std::string("cannot unmount: ") + ::strerror(errno));
    v.mounted = false;
    return "{\"Err\":\"\"}";
  }
  violations_.push_back(method + " was sent");
  return error("not supported");
}

}  // namespace dvdi
