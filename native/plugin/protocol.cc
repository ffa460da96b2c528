#include "plugin/protocol.h"

#include <strings.h>

#include <algorithm>
#include <cctype>

#include "base/guards.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/text.h"

namespace dvdi {
namespace {

constexpr size_t kMaxPath = 4096;
constexpr size_t kMaxText = 64 * 1024;  // of a name or an option

struct MethodEntry {
  Method method;
  const char* name;
};
constexpr MethodEntry kMethods[] = {{Method::kActivate, "Activate"}, {Method::kCapabilities, "Capabilities"},
                                    {Method::kGet, "Get"},           {Method::kList, "List"},
                                    {Method::kPath, "Path"},         {Method::kCreate, "Create"},
                                    {Method::kMount, "Mount"},       {Method::kUnmount, "Unmount"},
                                    {Method::kRemove, "Remove"},     {Method::kTiers, "Tiers"},
                                    {Method::kFence, "Fence"}};

bool IsOperators(Method m) { return m == Method::kTiers || m == Method::kFence; }
bool NamesVolume(Method m) {
  return m != Method::kActivate && m != Method::kCapabilities && m != Method::kList && m != Method::kTiers;
}
bool HasId(Method m) { return m == Method::kMount || m == Method::kUnmount; }

bool Sendable(const std::string& text, bool control_allowed) {
  if (text.size() > kMaxText || !IsValidUtf8(text)) return false;
  return control_allowed ||
         std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

bool Blank(const Json& value) {
  return value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty());
}

// A member whatever the case of its name. The reference client's decoder takes any spelling; where a
// plugin sends two, the one that says something counts.
const Json& Field(const Json& object, std::string_view name) {
  const Json* found = &GetMemberNoCase(object, name);
  if (!object.is_object() || !Blank(*found)) return *found;
  for (auto it = object.begin(); it != object.end(); ++it)
    if (it.key().size() == name.size() && strncasecmp(it.key().data(), name.data(), name.size()) == 0 &&
        !Blank(*it))
      return *it;
  return *found;
}

std::string TextField(const Json& object, std::string_view name) {
  const Json& member = Field(object, name);
  return member.is_string() ? member.get<std::string>() : "";
}

bool UsablePath(const std::string& path) {
  return !path.empty() && path[0] == '/' && path.size() < kMaxPath && path.find('\0') == std::string::npos;
}

// The mountpoint where it is told for information: some plugins put a word there while unmounted.
std::string Mountpoint(const Json& object) {
  std::string path = TextField(object, "Mountpoint");
  return UsablePath(path) ? path : "";
}

class Reader {
 public:
  Reader(const Call& call, const PluginReply& reply) : call_(call), reply_(reply) {
    answer_.sent = reply.sent;
    answer_.http_status = reply.status;
    answer_.peer_pid = reply.peer_pid;
  }
  Answer Read();

 private:
  std::string What() const {
    std::string what = "driver " + OneLine(call_.driver, 130) + ": " + MethodName(call_.method);
    return NamesVolume(call_.method) ? what + " of volume " + OneLine(call_.volume, 130) : what;
  }
  Answer Ok() {
    answer_.kind = Answer::Kind::kOk;
    return std::move(answer_);
  }
  Answer Error(std::string text) {
    answer_.kind = Answer::Kind::kError;
    answer_.error = std::move(text);
    return std::move(answer_);
  }
  Answer Unknown(const char* reason, const std::string& why) {
    answer_.kind = Answer::Kind::kUnknown;
    answer_.reason = reason;
    answer_.error = What() + " " + why;
    return std::move(answer_);
  }
  Answer Malformed(const std::string& why) { return Unknown("malformed", "was answered with " + why); }
  Answer NotJson();
  Answer ReadGet(const Json& body);
  Answer ReadList(const Json& volumes);
  Answer ReadActivate(const Json& body);
  Answer ReadMount(const Json& body);

  const Call& call_;
  const PluginReply& reply_;
  Answer answer_;
};

Answer Reader::NotJson() {
  std::string seen = OneLine(reply_.body, 160);
  std::string status = "status " + std::to_string(reply_.status);
  if (seen.empty()) return Unknown("not-json", "was answered with " + status + " and an empty body");
  return Unknown("not-json", "was answered with " + status + " and no JSON: " + seen);
}

Answer Reader::Read() {
  bool success = reply_.status >= 200 && reply_.status < 300;
  Json body;
  bool json = false;
  if (IsValidUtf8(reply_.body)) {
    auto parsed = ParseJson(reply_.body, "answer");
    json = parsed.ok();
    if (json) body = std::move(parsed).value();
  }
  std::string error;
  if (body.is_object()) {
    const Json& err = Field(body, "Err");
    if (!err.is_null() && !err.is_string()) return Malformed("an Err that is not text");
    if (err.is_string()) error = err.get<std::string>();
  }
  if (!error.empty()) {
    std::string line = OneLine(error);
    return Error(line.empty() ? "an error without words" : line);
  }
  // Plugins older than Capabilities have no such method; what they can do is local.
  if (call_.method == Method::kCapabilities &&
      (reply_.status == 404 || reply_.status == 405 || reply_.status == 501)) {
    answer_.scope = "local";
    return Ok();
  }
  // A page or a plain line may come from anything that is not the plugin's own word on the volume.
  if (!json && !DVDI_GUARD(answer_is_json) && !success) return Error(OneLine(reply_.body));
  if (!json) return NotJson();
  if (!success)
    return Malformed("status " + std::to_string(reply_.status) + " and no Err: " + OneLine(reply_.body, 160));
  if (call_.method == Method::kList && body.is_array()) return ReadList(body);
  if (!body.is_object() && !body.is_null()) return Malformed("JSON that is no object");

  switch (call_.method) {
    case Method::kActivate: return ReadActivate(body);
    case Method::kCapabilities: {
      std::string scope = TextField(Field(body, "Capabilities"), "Scope");
      std::transform(scope.begin(), scope.end(), scope.begin(),
                     [](unsigned char c) { return std::tolower(c); });
      answer_.scope = scope == "global" ? "global" : "local";
      const Json& mount_opts = Field(Field(body, "Capabilities"), "MountOpts");
      answer_.mount_opts = mount_opts.is_boolean() && mount_opts.get<bool>();
      return Ok();
    }
    case Method::kGet: return ReadGet(body);
    case Method::kList: return ReadList(Field(body, "Volumes"));
    case Method::kMount: return ReadMount(body);
    case Method::kPath: answer_.mountpoint = Mountpoint(body); return Ok();
    case Method::kCreate:
    case Method::kUnmount:
    case Method::kRemove: return Ok();
    case Method::kTiers:
    case Method::kFence: answer_.body_json = Dump(body); return Ok();
  }
  return Malformed("something for an unknown method");
}

Answer Reader::ReadActivate(const Json& body) {
  const Json& list = Field(body, "Implements");
  if (!list.is_null() && !list.is_array()) return Malformed("an Implements that is no list");
  for (const Json& item : list)
    if (item.is_string()) answer_.implements.push_back(OneLine(item.get_ref<const std::string&>(), 100));
  return Ok();
}

Answer Reader::ReadGet(const Json& body) {
  const Json* volume = &Field(body, "Volume");
  if (!volume->is_null() && !volume->is_object()) return Malformed("a Volume that is no object");
  // One-struct plugins put the members beside Volume.
  if (volume->is_null() && TextField(body, "Name") == call_.volume) volume = &body;
  answer_.mountpoint = Mountpoint(*volume);
  answer_.created_at = OneLine(TextField(*volume, "CreatedAt"), 100);
  const Json& status = Field(*volume, "Status");
  if (status.is_object() && !status.empty()) answer_.status_json = Dump(status);
  // The reference client takes success without a volume as "no such volume".
  if (TextField(*volume, "Name").empty() && answer_.mountpoint.empty() && answer_.status_json.empty() &&
      answer_.created_at.empty())
    return Error("success, but no volume in the answer: it does not know " + OneLine(call_.volume, 130));
  return Ok();
}

// An entry that cannot be read makes the whole list unknown: it could be the volume that somebody is
// about to create.
Answer Reader::ReadList(const Json& volumes) {
  if (volumes.is_null()) return Ok();
  if (!volumes.is_array()) return Malformed("a list of Volumes that is no list");
  for (const Json& item : volumes) {
    if (item.is_null()) continue;
    ListedVolume listed;
    listed.name = item.is_string() ? item.get<std::string>() : TextField(item, "Name");
    if (listed.name.empty()) return Malformed("a list in which a volume has no name");
    listed.mountpoint = Mountpoint(item);
    answer_.volumes.push_back(std::move(listed));
  }
  return Ok();
}

Answer Reader::ReadMount(const Json& body) {
  const Json& member = Field(body, "Mountpoint");
  if (Blank(member))
    return Error("Mount was answered with success, but without a mountpoint: it did not mount " +
                 OneLine(call_.volume, 130));
  std::string path = TextField(body, "Mountpoint");
  if (!UsablePath(path))
    return Malformed("a mountpoint that is no absolute path: " + OneLine(Dump(member), 160));
  answer_.mountpoint = std::move(path);
  return Ok();
}

}  // namespace

const char* MethodName(Method method) {
  for (const MethodEntry& e : kMethods)
    if (e.method == method) return e.name;
  return "?";
}

bool MethodFromName(const std::string& name, Method* method) {
  for (const MethodEntry& e : kMethods) {
    if (name != e.name || IsOperators(e.method)) continue;
    *method = e.method;
    return true;
  }
  return false;
}

std::string MethodPath(Method method) {
  const char* service = method == Method::kActivate ? "/Plugin."
                        : IsOperators(method)       ? "/DvdiDriver."
                                                    : "/VolumeDriver.";
  return service + std::string(MethodName(method));
}

Status CheckCall(const Call& call) {
  std::string what = "driver " + OneLine(call.driver, 130) + ": " + MethodName(call.method);
  if (!NamesVolume(call.method)) return OkStatus();
  if (call.volume.empty() || !Sendable(call.volume, false))
    return Status(Code::kInvalid, what + " needs a volume's name of printable text, not \"" +
                                      OneLine(call.volume, 130) + "\"");
  what += " of volume " + OneLine(call.volume, 130);
  if (HasId(call.method) && (call.id.empty() || !Sendable(call.id, false)))
    return Status(Code::kInvalid, what + " needs an ID");
  if (call.method != Method::kCreate) return OkStatus();
  for (const auto& [key, value] : call.options) {
    // The value is not shown: it may be a secret.
    if (key.empty() || !Sendable(key, false) || !Sendable(value, true))
      return Status(Code::kInvalid,
                    what + ": option \"" + OneLine(key, 100) + "\" is not text of at most 64 KiB");
  }
  return OkStatus();
}

namespace {

// A Create's options may be secrets: written into one buffer of the right size.
std::string CreateBody(const Call& call) {
  size_t size = 64 + 6 * call.volume.size();
  for (const auto& [key, value] : call.options) size += 64 + 6 * (key.size() + value.size());
  std::string body;
  body.reserve(size);
  auto put = [&body](const char* before, const std::string& text) {
    body += before;
    AppendJsonEscaped(&body, text, false);
    body += '"';
  };
  put("{\"Name\":\"", call.volume);
  // An empty object where there are none: it is as right as null, and nobody stumbles over it.
  body += ",\"Opts\":{";
  for (auto it = call.options.begin(); it != call.options.end(); ++it) {
    put(it == call.options.begin() ? "\"" : ",\"", it->first);
    put(":\"", it->second);
  }
  body += "}}\n";
  return body;
}

}  // namespace

std::string CallBody(const Call& call) {
  if (call.method == Method::kCreate) return CreateBody(call);
  Json body = Json::object();
  if (NamesVolume(call.method)) body["Name"] = call.volume;
  if (HasId(call.method)) body["ID"] = call.id;
  if (call.method == Method::kFence) body["NodeIsDead"] = call.node_is_dead;
  if (call.method == Method::kMount && !call.options.empty()) body["Opts"] = call.options;
  return Dump(body) + "\n";
}

Answer ReadAnswer(const Call& call, const PluginReply& reply) { return Reader(call, reply).Read(); }

}  // namespace dvdi
