#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "mesos/adapter.h"
#include "mesos/json.h"

namespace dvdi_mesos {
namespace {

// The agent's flag: --NAME=VALUE, or MESOS_NAME in its environment. The first wins, as in the agent.
std::string Flag(const std::string& command_line, const std::function<const char*(const char*)>& get_env,
                 const std::string& name) {
  const std::string wanted = "--" + name + "=";
  for (size_t at = 0; at < command_line.size();) {
    size_t end = command_line.find('\0', at);
    if (end == std::string::npos) end = command_line.size();
    if (command_line.compare(at, wanted.size(), wanted) == 0)
      return command_line.substr(at + wanted.size(), end - at - wanted.size());
    at = end + 1;
  }
  std::string variable = "MESOS_";
  for (char c : name) variable += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  const char* value = get_env(variable.c_str());
  return value == nullptr ? "" : value;
}

std::string Wrong(const std::string& key, const std::string& what) {
  return "the module's parameter \"" + key + "\" " + what;
}

}  // namespace

std::string ReadOptions(const Pairs& parameters, const std::string& command_line,
                        const std::function<const char*(const char*)>& get_env, Options* out) {
  Json engine = Json::object(), settings = Json::object();
  Options& o = *out;
  o.work_dir = Flag(command_line, get_env, "work_dir");
  o.sandbox_directory = Flag(command_line, get_env, "sandbox_directory");
  // Mesos's own isolator, which takes every DOCKER_VOLUME.
  const std::string isolation = "," + Flag(command_line, get_env, "isolation") + ",";
  const bool other = isolation.find(",docker/volume,") != std::string::npos;
  std::map<std::string, std::string> given;
  const std::set<std::string> folders = {"state_dir", "runtime_dir", "policy_dir", "helper"};
  const std::set<std::string> paths = {"config", "work_dir", "sandbox_directory"};
  const std::map<std::string, std::set<std::string>> words = {{"docker_volumes", {"take", "leave"}},
                                                              {"lost_volume", {"report", "kill"}}};
  for (const auto& [key, value] : parameters) {
    if (!given.emplace(key, value).second) return Wrong(key, "is given twice");
    if (folders.count(key) + paths.count(key) > 0 && (value.empty() || value[0] != '/'))
      return Wrong(key, "wants an absolute path, not \"" + value + "\"");
    auto word = words.find(key);
    if (folders.count(key) > 0 || key == "node") {
      settings[key] = value;
    } else if (key == "config") {
      engine["config"] = value;
    } else if (key == "settings") {
      Json more = Parse(value);
      if (!more.is_object()) return Wrong(key, "wants a JSON object of settings (docs/settings.md)");
      settings.update(more);
    } else if (key == "default_driver") {
      o.default_driver = value;
    } else if (word != words.end()) {
      if (word->second.count(value) == 0)
        return Wrong(key, "is \"" + value + "\"; " + *word->second.rbegin() + " or " + *word->second.begin() +
                              " are accepted");
    } else if (paths.count(key) == 0) {
      return Wrong(key,
                   "is not known; known are config, state_dir, runtime_dir, policy_dir, helper, node, "
                   "settings, work_dir, sandbox_directory, default_driver, docker_volumes, lost_volume");
    }
  }
  if (given.count("work_dir") > 0) o.work_dir = given["work_dir"];
  if (given.count("sandbox_directory") > 0) o.sandbox_directory = given["sandbox_directory"];
  const std::string take = given["docker_volumes"];
  if (take == "take" && other)
    return Wrong("docker_volumes",
                 "is \"take\", and --isolation has docker/volume: both would mount each "
                 "DOCKER_VOLUME; take that one out, or set the parameter to \"leave\"");
  o.docker_volumes = take.empty() ? !other : take == "take";
  if (Flag(command_line, get_env, "launcher") == "posix")
    return "the agent's --launcher is \"posix\", under which no container has mounts of its own, and each "
           "that "
           "declares a volume would fail: set --launcher=linux";
  o.kill_on_loss = given["lost_volume"] == "kill";
  if (o.sandbox_directory.empty()) o.sandbox_directory = "/mnt/mesos/sandbox";
  if (o.work_dir.empty() || o.work_dir[0] != '/')
    return "the agent's work folder is not known (--work_dir is \"" + o.work_dir +
           "\"): give it to the module as the parameter \"work_dir\", an absolute path";
  while (o.work_dir.size() > 1 && o.work_dir.back() == '/') o.work_dir.pop_back();
  std::error_code error;
  auto real = std::filesystem::weakly_canonical(o.work_dir, error);
  if (error) return "the agent's work folder " + o.work_dir + " cannot be looked at: " + error.message();
  o.real_work_dir = real.string();
  o.owner = "mesos:" + o.real_work_dir;
  if (!settings.empty()) engine["settings"] = settings;
  o.engine = Dump(engine);
  return "";
}

}  // namespace dvdi_mesos
