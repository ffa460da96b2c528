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

Json VolumeJson(const Driver& driver, const VolumeInfo& info) {
  Json status = {{"pool", driver.pool()},
                 {"node", driver.node()},
                 {"size", FormatSize(info.size_bytes)},
                 {"size_bytes", info.size_bytes},
                 {"used_bytes", info.used_bytes},
                 {"filesystem", FilesystemName(info.filesystem)},
                 {"formatted", info.formatted},
                 {"clean", info.clean},
                 {"generation", info.generation},
                 {"lease", nullptr}};
  if (info.lease.has_value())
    status["lease"] = {{"node", info.lease->holder.node},
                       {"since", info.lease->since},
                       {"generation", info.lease->generation}};
  if (!info.lease_problem.empty()) status["lease"] = {{"problem", info.lease_problem}};
  Json volume = {{"Name", info.name}, {"CreatedAt", info.created_at}, {"Status", status}};
  if (!info.mountpoint.empty()) volume["Mountpoint"] = info.mountpoint;
  return volume;
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
  if (method == "Mount") return Mountpoint(method, driver.Mount(name, id));
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

HttpReply Handle(Driver& driver, const HttpRequest& request) {
  constexpr std::string_view kPrefix = "/VolumeDriver.";
  bool activate = request.target == "/Plugin.Activate";
  std::string method;
  if (request.target.rfind(kPrefix, 0) == 0) method = request.target.substr(kPrefix.size());
  bool plain = method == "List" || method == "Capabilities";
  if (!activate && !plain && !IsVolumeMethod(method))
    return Fail(404, "request",
                Status(Code::kInvalid, "there is no " + OneLine(request.target, 100),
                       "this is a Docker volume plugin (VolumeDriver)"));
  if (request.method != "POST" && !(activate && request.method == "GET"))
    return Fail(405, "request",
                Status(Code::kInvalid, request.target + " takes POST, not " + OneLine(request.method, 20)));
  if (activate) return Reply(200, Json{{"Implements", {"VolumeDriver"}}});
  if (method == "Capabilities") return Reply(200, Json{{"Capabilities", {{"Scope", "global"}}}});
  if (method == "List") return Volumes(driver);
  Json body = Json::object();
  if (request.body.find_first_not_of(" \t\r\n") != std::string::npos) {
    auto parsed = ParseJson(request.body, "the request's body", 8);
    if (!parsed.ok()) return Fail(400, method, parsed.status());
    if (!parsed->is_object() && !parsed->is_null())
      return Fail(400, method, Status(Code::kInvalid, "the request's body is not a JSON object"));
    if (parsed->is_object()) body = std::move(*parsed);
  }
  return Dispatch(driver, method, body);
}

}  // namespace

HttpReply HandleRequest(Driver& driver, const HttpRequest& request) {
  try {
    return Handle(driver, request);
  } catch (const std::exception& e) {
    return Fail(500, "request", Status(Code::kInternal, std::string("unexpected: ") + e.what()));
  }
}

}  // namespace dvdi
