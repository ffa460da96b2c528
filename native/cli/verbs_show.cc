// ls, inspect, status: what the ledger knows.
#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "cli/bind.h"
#include "cli/doctor.h"
#include "cli/format.h"
#include "cli/print.h"
#include "cli/verbs.h"
#include "cli/view.h"

namespace dvdi::cli {
namespace {

Color StateColor(const std::string& state) {
  if (state == "attached") return Color::kGreen;
  if (state == "releasing") return Color::kYellow;
  if (state == "released-unconfirmed") return Color::kRed;
  return Color::kPlain;
}

std::string When(int64_t unix_ms) { return unix_ms > 0 ? Ago(unix_ms, NowMs()) : "-"; }

std::string TriedText(int64_t attempts) {
  if (attempts == 0) return "no attempt has ended";
  return attempts == 1 ? "tried once" : "tried " + std::to_string(attempts) + " times";
}

void Put(const std::string& text) { PrintText(text); }

void PutField(const char* name, const std::string& value) {
  if (value.empty()) return;
  std::string label = std::string(name) + ":";
  label.resize(std::max<size_t>(label.size() + 1, 16), ' ');
  Put(Paint(Color::kBold, label) + Clean(value) + "\n");
}

// A value of a plugin's Status as text: nested ones as JSON.
std::string ValueText(const Json& value) {
  return value.is_string() ? value.get<std::string>() : SafeJson(value);
}

std::vector<MountEntry> MountsOrNone() {
  auto mounts = OwnMounts();
  return mounts.ok() ? std::move(*mounts) : std::vector<MountEntry>();
}

void PutVolume(const Json& volume) {
  auto mounts = MountsOrNone();
  PutField("Volume", GetString(volume, "name"));
  PutField("Driver", GetString(volume, "driver"));
  PutField("State", GetString(volume, "state"));
  PutField("Mountpoint", GetString(volume, "mountpoint"));
  PutField("Attachment", GetString(volume, "id"));
  if (int64_t created = GetInt(volume, "created_ms"); created > 0)
    PutField("Created", LocalTime(created) + (GetBool(volume, "created_by_us") ? " (by this node)" : ""));
  int64_t used = GetInt(volume, "last_used_ms");
  PutField("Last used", used > 0 ? LocalTime(used) + " (" + When(used) + ")" : "never");
  for (const auto& user : GetMember(volume, "users")) {
    std::string processes;
    for (const auto& pid : GetMember(user, "processes"))
      processes += (processes.empty() ? "; its processes: " : " ") + ValueText(pid);
    PutField("User", GetString(user, "owner") + " " + GetString(user, "scope") + " at " +
                         UserTarget(mounts, user) + " (" + GetString(user, "mode") + ", " +
                         GetString(user, "access") + "), since " + When(GetInt(user, "since_ms")) +
                         processes);
  }
  const Json& plugin = GetMember(volume, "plugin");
  if (!plugin.is_object()) return;
  std::string kind = GetString(plugin, "kind");
  PutField("Plugin says", kind == "ok" ? "ok" : kind + ": " + GetString(plugin, "error"));
  PutField("  Mountpoint", GetString(plugin, "mountpoint"));
  PutField("  Created", GetString(plugin, "created_at"));
  const Json& status = GetMember(plugin, "status");
  if (status.is_object())
    for (const auto& [key, value] : status.items()) PutField(("  " + Clean(key)).c_str(), ValueText(value));
}

}  // namespace

int List(const Options& options) {
  auto filters = Filters::Parse(options.filters, false);
  if (!filters.ok()) return Failed(options, filters.status());
  bool formatted = !options.format.empty() && options.format != "table";
  auto format = Format::Parse(formatted ? options.format : "");
  if (!format.ok()) return Failed(options, format.status());
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  auto answer = (*engine)->Ask(dvdi_status, {{"what", "volumes"}});
  if (!answer.ok()) return Failed(options, answer.status());
  Json volumes = Json::array();
  int64_t now = NowMs();
  for (const auto& v : GetMember(*answer, "volumes"))
    if (filters->Matches(v, now)) volumes.push_back(v);
  if (options.global.json) {
    (*answer)["volumes"] = std::move(volumes);
    PrintJson(*answer);
    return kExitOk;
  }
  if (options.quiet) {
    for (const auto& v : volumes) Put(Clean(GetString(v, "name")) + "\n");
    return kExitOk;
  }
  auto mounts = MountsOrNone();
  if (formatted) {
    Json rows = Json::array();
    for (const auto& v : volumes) rows.push_back(VolumeView(v, mounts));
    auto text = FormatRows(*format, rows);
    if (!text.ok()) return Failed(options, text.status());
    Put(*text);
    return kExitOk;
  }
  Table table({"VOLUME", "DRIVER", "STATE", "USERS", "TARGETS", "LAST-USED"});
  for (const auto& v : volumes) {
    Json view = VolumeView(v, mounts);
    std::string targets;
    for (const auto& target : view["Targets"])
      targets += (targets.empty() ? "" : ", ") + target.get<std::string>();
    std::string state = GetString(v, "state");
    int64_t last = GetInt(v, "last_used_ms");
    table.Add({GetString(v, "name"), GetString(v, "driver"), state, std::to_string(view["Users"].size()),
               targets, GetString(view, "Used") == "in use" ? "in use" : When(last)},
              StateColor(state), 2);
  }
  if (table.empty())
    PrintNote(options.filters.empty() ? "no volume is known on this node" : "no volume matches");
  else
    Put(table.Text());
  return kExitOk;
}

int Inspect(const Options& options) {
  auto format = Format::Parse(options.format);
  if (!format.ok()) return Failed(options, format.status());
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  Json found = Json::array();
  Status failure;
  for (const std::string& text : options.volumes) {
    VolumeName volume = SplitVolumeName(text, options.default_driver);
    Json query = {{"what", "volume"}, {"name", volume.name}, {"ask_plugin", true}};
    if (!volume.driver.empty()) query["driver"] = volume.driver;
    if (options.global.timeout_ms > 0) query["timeout_ms"] = options.global.timeout_ms;
    auto answer = (*engine)->Ask(dvdi_status, query);
    if (answer.ok())
      found.push_back(std::move(*answer));
    else if (options.volumes.size() == 1)
      return Failed(options, answer.status());
    else if (failure.ok())
      failure = answer.status();
  }
  if (options.global.json) {
    // One volume is itself; several are a list.
    PrintJson(options.volumes.size() == 1 ? found[0] : found);
  } else if (!options.format.empty()) {
    Json rows = Json::array();
    auto mounts = MountsOrNone();
    for (const auto& v : found) rows.push_back(VolumeView(v, mounts));
    auto text = FormatRows(*format, rows);
    if (!text.ok()) return Failed(options, text.status());
    Put(*text);
  } else {
    for (size_t i = 0; i < found.size(); ++i) {
      if (i > 0) Put("\n");
      PutVolume(found[i]);
    }
  }
  // Those that were found are shown all the same.
  if (failure.ok()) return kExitOk;
  PrintError(failure, false);
  return ExitCodeFor(failure);
}

int ShowStatus(const Options& options) {
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  auto answer = (*engine)->Ask(dvdi_status, {{"what", "summary"}});
  if (!answer.ok()) return Failed(options, answer.status());
  if (options.global.json) {
    PrintJson(*answer);
    return kExitOk;
  }
  const Json& a = *answer;
  const int64_t free = GetInt(a, "state_free_bytes", -1);
  PutField("Version", GetString(a, "version", dvdi_version()));
  PutField("Node", GetString(a, "node"));
  PutField("Boot", GetString(a, "boot_id"));
  PutField(
      "State folder",
      GetString(a, "state_dir") +
          (free >= 0 && IsFull(static_cast<uint64_t>(free), GetBool(a, "state_reserve"))
               ? ": full, " + SizeText(static_cast<double>(free)) +
                     " are free; until there is room no workload with volumes starts (those that run can end)"
               : ""));
  const Json& ledger = GetMember(a, "ledger");
  std::string note = GetString(ledger, "note");
  PutField("Ledger", (GetBool(ledger, "ok") ? "ok" : "not ok") + (note.empty() ? "" : ": " + note));
  const Json& policy = GetMember(a, "policy");
  const Json& broken = GetMember(policy, "error");
  PutField("Policy", broken.is_object() ? "none that works: " + GetString(broken, "message") + "; " +
                                              GetString(broken, "hint")
                                        : GetString(policy, "name") + " " + GetString(policy, "version") +
                                              " (" + GetString(policy, "source") + ", sha256 " +
                                              GetString(policy, "sha256").substr(0, 12) + ")");
  PutField("Volumes", std::to_string(GetInt(a, "volumes")));
  PutField("Scopes", std::to_string(GetInt(a, "scopes")));
  PutField("Operations", std::to_string(GetInt(a, "operations")));
  const Json& drivers = GetMember(a, "drivers");
  if (drivers.is_object())
    for (const auto& [name, breaker] : drivers.items())
      PutField("Driver", name + ": " +
                             (breaker.is_string() ? breaker.get<std::string>()
                                                  : GetString(breaker, "state", SafeJson(breaker))));
  for (const auto& p : GetMember(a, "pending")) {
    int64_t left_s = (GetInt(p, "next_ms") - NowMs() + 999) / 1000;
    std::string error = GetString(p, "error");
    PutField("Pending", "release of " + GetString(p, "name") + " (driver " + GetString(p, "driver") + "), " +
                            TriedText(GetInt(p, "attempts")) + ", next " +
                            (left_s > 0 ? "in " + std::to_string(left_s) + " s" : "now") +
                            (error.empty() ? "" : "; " + error));
  }
  for (const auto& r : GetMember(a, "reported"))
    PutField("Not ours", r.is_string() ? r.get<std::string>() : SafeJson(r));
  return kExitOk;
}

}  // namespace dvdi::cli
