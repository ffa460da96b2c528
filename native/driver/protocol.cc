#include "driver/protocol.h"

#include <map>

#include "base/json.h"
#include "base/text.h"
#include "driver/driver.h"
#include "driver/log.h"

namespace dvdi {
namespace {

constexpr size_t kMaxOptions = 64;

HttpReply Reply(int status, Json body) {
  if (!body.contains("Err")) body["Err"] = "";
  return {status, Dump(body) + "\n"};
}

HttpReply Fail(int http, const std::string& method, const Status& s) {
  std::string text = s.message();
  if (!s.hint().empty()) text += "; " + s.hint();
  text = OneLine(text, 1500);
  // Clients ask Get before each Create: an absent volume is no event.
  bool expected = method == "Get" && s.code() == Code::kNotFound;
  if (!expected) Log(LogLevel::kWarning, method + ": " + text);
  return Reply(http, Json{{"Err", text}});
}

HttpReply Done(const std::string& method, const Status& s) {
  return s.ok() ? Reply(200, Json::object()) : Fail(500, method, s);
}

// A string field, matched without case. Missing or null is "".
Status StringField(const Json& body, const char* key, std::string* out) {
  const Json& m = GetMemberNoCase(body, key);
  if (m.is_null()) return OkStatus();
  if (!m.is_string()) return Status(Code::kInvalid, std::string("the request's ") + key + " is not a string");
  *out = m.get<std::string>();
  return OkStatus();
}

Result<std::map<std::string, std::string>> OptsField(const Json& body) {
  std::map<std::string, std::string> out;
  const Json& m = GetMemberNoCase(body, "Opts");
  if (m.is_null()) return out;
  if (!m.is_object()) return Status(Code::kInvalid, "the request's Opts is not an object");
  if (m.size() > kMaxOptions)
    return Status(Code::kInvalid, "the request has more than " + std::to_string(kMaxOptions) + " Opts");
  for (auto it = m.begin(); it != m.end(); ++it) {
    if (!it.value().is_string())
      return Status(Code::kInvalid, "option '" + OneLine(it.key(), 80) + "' is not a string",
                    "write it in quotes");
    out[it.key()] = it.value().get<std::string>();
  }
  return out;
}

// One word for people and scripts; the details stand beside it.
std::string State(const VolumeInfo& info) {
  if (!info.lost.empty()) return "shut-down";
  if (!info.doing.empty()) return info.doing.substr(0, info.doing.find_first_of(" :"));
  if (!info.mountpoint.empty()) return "mounted";
  if (info.lease.has_value() || !info.lease_problem.empty()) return "in-use";
  return info.clean ? "free" : "free-unclean";
}

Json IoJson(const Driver& driver, const VolumeInfo& info) {
  if (!info.limits.any()) return nullptr;
  Json io = {{"enforced", driver.limiter().can_limit()}};
  if (info.limits.iops.has_value()) io["iops"] = *info.limits.iops;
  if (info.limits.bps.has_value()) io["bps"] = *info.limits.bps;
  if (driver.limiter().can_limit())
    io["cgroup"] = driver.limiter().cgroup();
  else
    io["note"] = "not enforced: this driver has no --io-cgroup";
  return io;
}

Json VolumeJson(const Driver& driver, const VolumeInfo& info) {
  Json status = {{"pool", info.pool},
                 {"tier", info.tier},
                 {"label", info.label},
                 {"node", driver.node()},
                 {"state", State(info)},
                 {"size", FormatSize(info.size_bytes)},
                 {"size_bytes", info.size_bytes},
                 {"used_bytes", info.used_bytes},
                 {"pool_free_bytes", info.free_bytes},
                 {"sparse", true},
                 {"filesystem", FilesystemName(info.filesystem)},
                 {"formatted", info.formatted},
                 {"clean", info.clean},
                 {"generation", info.generation},
                 {"lease", nullptr},
                 {"io", IoJson(driver, info)}};
  if (info.lease.has_value())
    status["lease"] = {{"node", info.lease->holder.node},
                       {"since", info.lease->since},
                       {"generation", info.lease->generation},
                       {"lease_ms", info.lease->holder.lease_ms}};
  if (!info.lease_problem.empty()) status["lease"] = {{"problem", info.lease_problem}};
  Json notes = Json::array();
  if (!info.doing.empty()) status["doing"] = info.doing;
  if (!info.lost.empty()) status["lost"] = info.lost;
  if (info.grow) notes.push_back("it is to grow: its filesystem follows when it is mounted the next time");
  if (info.renew)
    notes.push_back("it was taken from a node by a fence: its image is copied before it is mounted");
  if (info.size_bytes - info.used_bytes > info.free_bytes)
    notes.push_back(
        "the image is sparse, and the pool's disk has less free than the volume may still take: writes fail "
        "when the disk is full");
  if (!notes.empty()) status["notes"] = notes;
  Json volume = {{"Name", info.name}, {"CreatedAt", info.created_at}, {"Status", status}};
  if (!info.mountpoint.empty()) volume["Mountpoint"] = info.mountpoint;
  return volume;
}

HttpReply TiersReply(Driver& driver) {
  auto tiers = driver.Tiers();
  if (!tiers.ok()) return Fail(500, "Tiers", tiers.status());
  Json list = Json::array();
  for (const auto& [config, room] : *tiers) {
    Json attributes = Json::object();
    for (const auto& [name, value] : config.attributes) attributes[name] = value;
    // Without a limit of its own, a tier is as large as its disk allows.
    Json tier = {{"Name", config.name},
                 {"Path", config.pool},
                 {"Label", config.label},
                 {"Filesystem", FilesystemName(config.filesystem)},
                 {"CapacityBytes", config.capacity.value_or(0)},
                 {"PromisedBytes", room.promised},
                 {"FreeBytes", room.free},
                 {"Overcommit", config.overcommit},
                 {"LeaseMs", config.lease_ms.value_or(0)},
                 {"Attributes", attributes}};
    if (!room.problem.empty()) tier["Problem"] = room.problem;
    list.push_back(tier);
  }
  return Reply(200, Json{{"Tiers", list}});
}

HttpReply FenceReply(Driver& driver, const Json& body) {
  std::string name;
  Status read = StringField(body, "Name", &name);
  const Json& dead = GetMemberNoCase(body, "NodeIsDead");
  if (read.ok() && name.empty()) read = Status(Code::kInvalid, "the request has no Name");
  if (read.ok() && !dead.is_null() && !dead.is_boolean())
    read = Status(Code::kInvalid, "the request's NodeIsDead is not true or false");
  if (!read.ok()) return Fail(400, "Fence", read);
  auto fenced = driver.Fence(name, dead.is_boolean() && dead.get<bool>());
  if (!fenced.ok()) return Fail(500, "Fence", fenced.status());
  return Reply(
      200, Json{{"Generation", fenced->generation}, {"WaitedMs", fenced->waited_ms}, {"From", fenced->from}});
}

HttpReply Volumes(Driver& driver) {
  auto list = driver.List();
  if (!list.ok()) return Fail(500, "List", list.status());
  Json volumes = Json::array();
  for (const auto& [name, mountpoint] : *list)
    volumes.push_back({{"Name", name}, {"Mountpoint", mountpoint}});
  return Reply(200, Json{{"Volumes", volumes}});
}

HttpReply Mountpoint(const std::string& method, const Result<std::string>& path) {
  if (!path.ok()) return Fail(500, method, path.status());
  return Reply(200, Json{{"Mountpoint", *path}});
}

HttpReply Dispatch(Driver& driver, const std::string& method, const Json& body) {
  std::string name, id;
  Status read = StringField(body, "Name", &name);
  if (read.ok()) read = StringField(body, "ID", &id);
  if (read.ok() && name.empty()) read = Status(Code::kInvalid, "the request has no Name");
  if (!read.ok()) return Fail(400, method, read);
  if (method == "Create") {
    auto opts = OptsField(body);
    if (!opts.ok()) return Fail(400, method, opts.status());
    return Done(method, driver.Create(name, *opts));
  }
  if (method == "Remove") return Done(method, driver.Remove(name));
  if (method == "Mount") {
    // The protocol has no Opts here; a client that sends them has read that this driver takes them.
    auto opts = OptsField(body);
    if (!opts.ok()) return Fail(400, method, opts.status());
    return Mountpoint(method, driver.Mount(name, id, *opts));
  }
  if (method == "Unmount") return Done(method, driver.Unmount(name, id));
  if (method == "Path") return Mountpoint(method, driver.Path(name));
  auto info = driver.Get(name);
  if (!info.ok()) return Fail(500, method, info.status());
  return Reply(200, Json{{"Volume", VolumeJson(driver, *info)}});
}

bool IsVolumeMethod(std::string_view method) {
  for (const char* known : {"Create", "Remove", "Mount", "Unmount", "Path", "Get"})
    if (method == known) return true;
  return false;
}

constexpr std::string_view kPrefix = "/VolumeDriver.", kOwnPrefix = "/DvdiDriver.";

HttpReply Handle(Driver& driver, const HttpRequest& request) {
  bool activate = request.target == "/Plugin.Activate";
  std::string method, own;
  if (request.target.rfind(kPrefix, 0) == 0) method = request.target.substr(kPrefix.size());
  if (request.target.rfind(kOwnPrefix, 0) == 0) own = request.target.substr(kOwnPrefix.size());
  bool plain = method == "List" || method == "Capabilities" || own == "Tiers" || own == "Fence";
  if (!activate && !plain && !IsVolumeMethod(method))
    return Fail(404, "request",
                Status(Code::kInvalid, "there is no " + OneLine(request.target, 100),
                       "this is a Docker volume plugin (VolumeDriver)"));
  if (request.method != "POST" && !(activate && request.method == "GET"))
    return Fail(405, "request",
                Status(Code::kInvalid, request.target + " takes POST, not " + OneLine(request.method, 20)));
  if (activate) return Reply(200, Json{{"Implements", {"VolumeDriver"}}});
  if (method == "Capabilities")
    return Reply(200, Json{{"Capabilities", {{"Scope", "global"}, {"MountOpts", true}}}});
  if (method == "List") return Volumes(driver);
  if (own == "Tiers") return TiersReply(driver);
  Json body = Json::object();
  if (request.body.find_first_not_of(" \t\r\n") != std::string::npos) {
    auto parsed = ParseJson(request.body, "the request's body", 8);
    if (!parsed.ok()) return Fail(400, method + own, parsed.status());
    if (!parsed->is_object() && !parsed->is_null())
      return Fail(400, method + own, Status(Code::kInvalid, "the request's body is not a JSON object"));
    if (parsed->is_object()) body = std::move(*parsed);
  }
  return own == "Fence" ? FenceReply(driver, body) : Dispatch(driver, method, body);
}

}  // namespace

HttpReply HandleRequest(Driver& driver, const HttpRequest& request) {
  try {
    return Handle(driver, request);
  } catch (const std::exception& e) {
    return Fail(500, "request", Status(Code::kInternal, std::string("unexpected: ") + e.what()));
  }
}

std::string DescribeRequest(const HttpRequest& request) {
  std::string_view method = request.target;
  for (const auto prefix : {kPrefix, kOwnPrefix})
    if (method.rfind(prefix, 0) == 0) method.remove_prefix(prefix.size());
  std::string text = OneLine(method, 40), name;
  if (auto body = ParseJson(request.body, "it", 8); body.ok() && StringField(*body, "Name", &name).ok())
    if (!name.empty()) text += " of volume " + OneLine(name, 128);
  return text;
}

}  // namespace dvdi
