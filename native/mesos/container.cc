#include <algorithm>

#include "mesos/adapter.h"
#include "mesos/json.h"

namespace dvdi_mesos {
namespace {

// No line breaks: what is said to users and logs is one line each.
std::string OneLine(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

// The agent's folders lie in its work folder, which its operator may have named through a symlink. Beneath it
// there is none, unless somebody who may not has put one there.
std::string RealFolder(const std::string& folder, const Options& options) {
  if (folder.rfind(options.work_dir + "/", 0) != 0) return folder;
  return options.real_work_dir + folder.substr(options.work_dir.size());
}

// A label `dvdi.KIND` or `dvdi.KIND.ANY`, as the annotations of OCI bundles have it.
bool IsOfKind(const std::string& key, const std::string& kind) {
  return key == kind || (key.rfind(kind + ".", 0) == 0 && key.size() > kind.size() + 1);
}

std::string TakeLabels(const Container& container, Json* sources, std::string* driver) {
  auto labels = container.labels;
  // The agent tells of a nested container with the executor that it is in: what that declares is that one's
  // own.
  if (!container.nested)
    labels.insert(labels.end(), container.executor_labels.begin(), container.executor_labels.end());
  std::sort(labels.begin(), labels.end());
  // The agent's own executor repeats its task's.
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  for (const auto& [key, value] : labels) {
    if (key.rfind("dvdi.", 0) != 0) continue;
    const char* form = IsOfKind(key, "dvdi.statement") ? "statement"
                       : IsOfKind(key, "dvdi.volume")  ? "volume"
                       : IsOfKind(key, "dvdi.mount")   ? "mount"
                                                       : nullptr;
    if (form != nullptr) {
      sources->push_back({{"form", form}, {"text", value}});
    } else if (key == "dvdi.driver") {
      *driver = value;
    } else {
      return "label " + key +
             " is not known: known are dvdi.volume, dvdi.mount, dvdi.statement (also with a suffix) and "
             "dvdi.driver";
    }
  }
  return "";
}

std::string TakeEnvironment(const Container& container, Json* sources) {
  Json env = Json::object();
  for (const Variable& v : container.environment) {
    if (v.name.rfind("DVDI_", 0) != 0 || env.contains(v.name)) continue;
    if (v.secret)
      return "variable " + v.name + " is a secret of Mesos, which declares no volume: give it as a value";
    env[v.name] = v.value;
  }
  if (!env.empty()) sources->push_back({{"form", "env"}, {"env", std::move(env)}});
  return "";
}

}  // namespace

std::string PrepareRequest(const Container& container, const Options& options, std::string* error) {
  error->clear();
  Json sources = Json::array();
  std::string driver = options.default_driver;
  if (!container.volumes.empty()) {
    Json volumes = Json::array();
    for (const auto& volume : container.volumes) volumes.push_back(Parse(volume));
    sources.push_back({{"form", "mesos"}, {"text", Dump({{"volumes", std::move(volumes)}})}});
  }
  *error = TakeLabels(container, &sources, &driver);
  if (error->empty()) *error = TakeEnvironment(container, &sources);
  if (!error->empty()) {
    *error = OneLine("DVDI: " + *error);
    return "";
  }
  if (sources.empty()) return "";
  Json base = {{"relative", RealFolder(container.sandbox, options)}};
  if (!container.rootfs.empty()) base["absolute"] = RealFolder(container.rootfs, options);
  Json request = {{"owner", options.owner},
                  {"scope", container.scope},
                  {"sources", std::move(sources)},
                  {"target_base", std::move(base)},
                  {"targets", "make"}};
  if (!driver.empty()) request["default_driver"] = driver;
  if (!container.user.empty()) request["user"] = {{"name", container.user}};
  try {
    return request.dump();
  } catch (const Json::type_error&) {
    // With marks in place of such bytes two names would become one.
    *error =
        "DVDI: a label or a DVDI_ variable of the task is not valid UTF-8. What to do: write it in UTF-8";
    return "";
  }
}

Prepared ReadPrepared(const std::string& answer, const Container& container, const Options& options) {
  Prepared out;
  Json json = Parse(answer);
  if (!Member(json, "volumes").is_array()) {
    out.error = ErrorLine(answer);
    return out;
  }
  const std::string sandbox = RealFolder(container.sandbox, options) + "/";
  for (const Json& note : Member(json, "notes"))
    if (note.is_string()) out.lines.push_back(OneLine(note.get<std::string>()));
  for (const Json& v : json["volumes"]) {
    Mount mount{Text(v, "stage"), Text(v, "target")};
    // A mount whose source is missing would fail later, and say nothing of volumes.
    if (mount.source.empty() || mount.target.empty()) {
      out.error = OneLine("DVDI: the engine named no folder for volume \"" + Text(v, "name") + "\" (driver " +
                          Text(v, "driver") + ")");
      return out;
    }
    // In a root of its own the sandbox is mounted elsewhere, over whatever is there.
    if (!container.rootfs.empty() && mount.target.rfind(sandbox, 0) == 0)
      mount.target = RealFolder(container.rootfs, options) + options.sandbox_directory + "/" +
                     mount.target.substr(sandbox.size());
    const std::string message = Text(v, "message");
    out.lines.push_back(OneLine("volume \"" + Text(v, "name") + "\" (driver " + Text(v, "driver") + ", " +
                                Text(v, "mode") + ", " + Text(v, "what") + ") at " + mount.target +
                                (message.empty() ? "" : ": " + message)));
    out.mounts.push_back(std::move(mount));
  }
  // One inside another's folder comes after it, or would be hidden.
  std::stable_sort(out.mounts.begin(), out.mounts.end(),
                   [](const Mount& a, const Mount& b) { return a.target < b.target; });
  return out;
}

std::string ErrorLine(const std::string& answer) {
  const Json json = Parse(answer);
  const Json& error = Member(json, "error");
  std::string line = Text(error, "message"), where, hint = Text(error, "hint");
  if (line.empty()) line = "the engine gave no reason: " + answer.substr(0, 200);
  for (const char* what : {"volume", "driver", "path"}) {
    const std::string value = Text(error, what);
    if (value.empty() || line.find(value) != std::string::npos) continue;
    where += (where.empty() ? "" : ", ") + std::string(what) + " " + value;
  }
  if (!where.empty()) line += " (" + where + ")";
  if (!hint.empty()) line += ". What to do: " + hint;
  return OneLine("DVDI: " + line);
}

std::string CleanupRequest(const Options& options, const std::string& scope) {
  return Dump({{"owner", options.owner}, {"scope", scope}});
}

std::string RecoverRequest(const Options& options, const std::vector<std::string>& live) {
  return Dump({{"owner", options.owner}, {"live", live}, {"original", options.work_dir + "/dvdimounts.pb"}});
}

std::vector<std::string> ReadEnded(const std::string& answer) {
  std::vector<std::string> lines;
  const Json json = Parse(answer);
  for (const Json& line : Member(json, "taken"))
    if (line.is_string()) lines.push_back(line.get<std::string>());
  for (const Json& scope : Member(json, "ended"))
    if (scope.is_string())
      lines.push_back("container " + scope.get<std::string>() + " has ended: its volumes are given back");
  for (const Json& p : Member(json, "pending")) {
    const std::string name = Text(p, "name");
    const std::string why = Text(p, "why");
    lines.push_back((name.empty() ? "" : "volume \"" + name + "\" (driver " + Text(p, "driver") + "): ") +
                    (why.empty() ? "giving it back is under way" : why));
  }
  for (const Json& r : Member(json, "reported"))
    if (r.is_string()) lines.push_back("not touched: " + r.get<std::string>());
  for (const Json& n : Member(json, "notes"))
    if (n.is_string()) lines.push_back(n.get<std::string>());
  for (auto& line : lines) line = OneLine(std::move(line));
  return lines;
}

std::vector<std::string> ReadScopes(const std::string& answer, const Options& options) {
  std::vector<std::string> scopes;
  const Json json = Parse(answer);
  for (const Json& s : Member(json, "scopes"))
    if (Text(s, "owner") == options.owner) scopes.push_back(Text(s, "scope"));
  return scopes;
}

std::string UsageRequest(const Options& options) {
  return Dump({{"what", "usage"}, {"owner", options.owner}, {"timeout_ms", 5000}});
}

std::vector<VolumeSample> ReadUsage(const std::string& answer) {
  std::vector<VolumeSample> out;
  const Json json = Parse(answer);
  for (const Json& v : Member(json, "volumes")) {
    VolumeSample s;
    s.driver = Text(v, "driver"), s.name = Text(v, "name"), s.state = Text(v, "state"),
    s.why = Text(v, "why");
    s.total_bytes = Count(v, "total_bytes"), s.used_bytes = Count(v, "used_bytes");
    for (const Json& u : Member(v, "users")) s.users.emplace_back(Text(u, "scope"), Text(u, "target"));
    out.push_back(std::move(s));
  }
  return out;
}

std::map<std::string, double> ReadGauges(const std::string& answer) {
  std::map<std::string, double> out;
  const Json json = Parse(answer);
  for (const auto& [key, value] : Member(json, "values").items())
    if (value.is_number()) out["dvdi/" + key] = value.get<double>();
  return out;
}

}  // namespace dvdi_mesos
