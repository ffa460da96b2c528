#include "cli/oci_config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sstream>

#include "base/fd.h"
#include "base/path.h"
#include "base/text.h"
#include "base/yaml.h"

namespace dvdi::cli {
namespace {

// "dvdi.volume" and "dvdi.volume.ANY" are of the kind "volume".
bool IsOfKind(std::string_view key, std::string_view kind) {
  return key == kind ||
         (key.size() > kind.size() + 1 && key.substr(0, kind.size()) == kind && key[kind.size()] == '.');
}

Status TakeAnnotation(const std::string& key, const std::string& value, OciConfig* config) {
  if (IsOfKind(key, "dvdi.volume")) {
    config->sources.push_back({{"form", "volume"}, {"text", value}});
  } else if (IsOfKind(key, "dvdi.mount")) {
    config->sources.push_back({{"form", "mount"}, {"text", value}});
  } else if (IsOfKind(key, "dvdi.statement")) {
    std::string text = value;
    size_t first = text.find_first_not_of(" \t\r\n");
    if (first == std::string::npos || (text[first] != '{' && text[first] != '[')) {
      DVDI_ASSIGN_OR_RETURN(Json yaml, ParseYaml(text, "annotation " + OneLine(key, 80)));
      text = Dump(yaml);
    }
    config->sources.push_back({{"form", "statement"}, {"text", std::move(text)}});
  } else if (key == "dvdi.driver") {
    config->default_driver = value;
  } else {
    return Status(Code::kInvalid, "annotation " + OneLine(key, 80) + " is not known",
                  "Known are dvdi.volume, dvdi.mount, dvdi.statement (also with a suffix) and dvdi.driver");
  }
  return OkStatus();
}

// The node's number of an ID in the container's user namespace.
Result<uint32_t> HostId(const Json& mappings, int64_t id, const char* what) {
  if (!mappings.is_array() || mappings.empty()) return static_cast<uint32_t>(id);
  for (const Json& m : mappings) {
    int64_t from = GetInt(m, "containerID"), size = GetInt(m, "size");
    if (id >= from && id - from < size) return static_cast<uint32_t>(GetInt(m, "hostID") + id - from);
  }
  return Status(Code::kInvalid, std::string("the container's ") + what + " " + std::to_string(id) +
                                    " is not in the mappings of its user namespace");
}

}  // namespace

Result<std::string> ReadOciFile(const std::string& path, int fd) {
  UniqueFd file;
  if (fd < 0) {
    file.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file.valid()) return Status::FromErrno(errno, "cannot open " + path, path);
    fd = file.get();
  }
  std::string text;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromErrno(errno, "cannot read " + path, path);
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMostBundleBytes)
      return Status(Code::kInvalid, path + " is larger than 4 MiB").WithPath(path);
  }
}

Result<OciConfig> ReadOciConfig(const std::string& text, const std::string& bundle) {
  DVDI_ASSIGN_OR_RETURN(Json json, ParseJson(text, bundle + "/config.json"));
  OciConfig config;
  const Json& annotations = GetMember(json, "annotations");
  if (annotations.is_object()) {
    for (const auto& [key, value] : annotations.items()) {
      if (key.substr(0, 5) != "dvdi.") continue;
      if (!value.is_string())
        return Status(Code::kInvalid, "annotation " + OneLine(key, 80) + " is not text");
      DVDI_RETURN_IF_ERROR(TakeAnnotation(key, value.get<std::string>(), &config));
    }
  }
  if (config.sources.empty()) return config;
  std::string root = GetString(GetMember(json, "root"), "path");
  config.root = NormalPath(root.substr(0, 1) == "/" ? root : bundle + "/" + root);
  if (root.empty() || config.root.empty())
    return Status(Code::kInvalid, bundle + "/config.json names no usable root folder");
  const Json& process = GetMember(json, "process");
  config.cwd = GetString(process, "cwd", "/");
  const Json &user = GetMember(process, "user"), &system = GetMember(json, "linux");
  for (const Json& ns : GetMember(system, "namespaces")) {
    const std::string type = GetString(ns, "type");
    const bool joined = ns.contains("path");
    config.mount_namespace = config.mount_namespace || (type == "mount" && !joined);
    config.joins_user = config.joins_user || (type == "user" && joined);
  }
  const Json own = config.joins_user ? Json() : system;
  DVDI_ASSIGN_OR_RETURN(config.uid, HostId(GetMember(own, "uidMappings"), GetInt(user, "uid"), "user"));
  DVDI_ASSIGN_OR_RETURN(config.gid, HostId(GetMember(own, "gidMappings"), GetInt(user, "gid"), "group"));
  return config;
}

Status MapIds(pid_t pid, OciConfig* config) {
  if (!config->joins_user) return OkStatus();
  for (const bool group : {false, true}) {
    const std::string path = "/proc/" + std::to_string(pid) + (group ? "/gid_map" : "/uid_map");
    DVDI_ASSIGN_OR_RETURN(std::string text, ReadOciFile(path));
    Json mappings = Json::array();
    std::istringstream lines(text);
    for (int64_t inside = 0, outside = 0, size = 0; lines >> inside >> outside >> size;)
      mappings.push_back({{"containerID", inside}, {"hostID", outside}, {"size", size}});
    if (mappings.empty())
      return Status(Code::kInvalid, "the container's user namespace has no mappings").WithPath(path);
    uint32_t& id = group ? config->gid : config->uid;
    DVDI_ASSIGN_OR_RETURN(id, HostId(mappings, id, group ? "group" : "user"));
  }
  return OkStatus();
}

Result<std::string> OciTarget(const std::string& target, const std::string& cwd) {
  std::string path = NormalPath(target.substr(0, 1) == "/" ? target : cwd + "/" + target);
  bool refused = path.empty() || path == "/";
  for (const char* own : {"/proc", "/sys", "/dev"})
    refused = refused || path == own || IsStrictlyBelow(own, path);
  if (!refused) return path;
  return Status(Code::kRefused, "a volume cannot be at " + OneLine(target, 200) + " in a container",
                "Choose a folder that is not the root and not in /proc, /sys or /dev")
      .WithPath(target);
}

}  // namespace dvdi::cli
