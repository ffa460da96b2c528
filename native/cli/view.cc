#include "cli/view.h"

#include <time.h>

#include <algorithm>

#include "base/text.h"
#include "cli/bind.h"
#include "cli/options.h"
#include "cli/print.h"

namespace dvdi::cli {
namespace {

// RFC 3339 in UTC, as docker shows times; "" for 0.
std::string Rfc3339(int64_t unix_ms) {
  if (unix_ms <= 0) return "";
  time_t seconds = static_cast<time_t>(unix_ms / 1000);
  struct tm parts;
  char buffer[64];
  if (::gmtime_r(&seconds, &parts) == nullptr ||
      ::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
    return "";
  return buffer;
}

bool IsTrue(const std::string& value) { return value == "true" || value == "1" || value == "yes"; }
bool IsTruth(const std::string& value) {
  return IsTrue(value) || value == "false" || value == "0" || value == "no";
}

std::string Or(std::string first, std::string second) { return first.empty() ? second : first; }

}  // namespace

std::string UserTarget(const std::vector<MountEntry>& mounts, const Json& user) {
  std::string target = GetString(user, "target"), stage = GetString(user, "stage");
  if (GetString(user, "owner") == "manual" && !IsBindOf(mounts, stage, target)) return stage;
  return GetString(user, "owner") == "dvdcli" ? stage : target;
}

Json VolumeView(const Json& volume, const std::vector<MountEntry>& mounts) {
  const Json& plugin = GetMember(volume, "plugin");
  Json users = Json::array(), targets = Json::array();
  for (const auto& user : GetMember(volume, "users")) {
    std::string target = UserTarget(mounts, user);
    targets.push_back(target);
    users.push_back({{"Owner", GetString(user, "owner")},
                     {"Scope", GetString(user, "scope")},
                     {"Target", target},
                     {"Mode", GetString(user, "mode")},
                     {"Access", GetString(user, "access")},
                     {"Stage", GetString(user, "stage")},
                     {"Since", Rfc3339(GetInt(user, "since_ms"))}});
  }
  int64_t last = GetInt(volume, "last_used_ms");
  std::string state = GetString(volume, "state");
  const Json& status = GetMember(plugin, "status");
  return {{"Name", GetString(volume, "name")},
          {"Driver", GetString(volume, "driver")},
          {"State", state},
          {"Mountpoint", Or(GetString(volume, "mountpoint"), GetString(plugin, "mountpoint"))},
          {"ID", GetString(volume, "id")},
          {"CreatedAt", Or(GetString(plugin, "created_at"), Rfc3339(GetInt(volume, "created_ms")))},
          {"CreatedHere", GetBool(volume, "created_by_us")},
          {"LastUsed", Rfc3339(last)},
          {"Used", state == "attached" && !users.empty() ? "in use"
                   : last > 0                            ? Ago(last, NowMs())
                                                         : "never"},
          {"Unused", GetBool(volume, "unused")},
          {"Links", users.size()},
          {"Users", users},
          {"Targets", targets},
          {"Status", status.is_object() ? status : Json::object()},
          {"Plugin", GetString(plugin, "kind")},
          {"Error", Or(GetString(volume, "error"), GetString(plugin, "error"))},
          // The plugin protocol has none of these; templates that were written for docker name them.
          {"Labels", Json()},
          {"Options", Json()},
          {"Scope", "local"},
          {"Size", "N/A"}};
}

Result<Filters> Filters::Parse(const std::vector<std::string>& texts, bool prune) {
  static const std::vector<std::string> kLs = {"driver", "name",  "dangling", "state",
                                               "unused", "owner", "scope"};
  static const std::vector<std::string> kPrune = {"driver", "name", "until"};
  const auto& keys = prune ? kPrune : kLs;
  Filters filters;
  for (const std::string& text : texts) {
    size_t equals = text.find('=');
    std::string key = text.substr(0, equals);
    if (key == "label" || key == "label!")
      return Status(Code::kInvalid, "--filter label: volumes of plugins have no labels",
                    "The plugin protocol knows none; filter by name or driver");
    if (equals == std::string::npos || std::find(keys.begin(), keys.end(), key) == keys.end()) {
      std::string known;
      for (const auto& k : keys) known += (known.empty() ? "" : ", ") + k + "=";
      return Status(Code::kInvalid, "--filter " + text + " is not known", "Known are " + known);
    }
    Condition condition{key, text.substr(equals + 1)};
    if ((key == "dangling" || key == "unused") && !IsTruth(condition.value))
      return Status(Code::kInvalid, "--filter " + text + ": true or false is wanted");
    if (key == "until") {
      auto ms = ParseDuration(condition.value);
      if (!ms.ok()) return Status(ms.status()).WithContext("--filter until");
      condition.ms = *ms;
    }
    filters.conditions_.push_back(std::move(condition));
  }
  return filters;
}

bool Filters::Holds(const Condition& c, const Json& volume, int64_t now_ms) {
  const Json& users = GetMember(volume, "users");
  if (c.key == "driver" || c.key == "state") return GetString(volume, c.key.c_str()) == c.value;
  if (c.key == "name") return GetString(volume, "name").find(c.value) != std::string::npos;
  if (c.key == "dangling") return users.empty() == IsTrue(c.value);
  if (c.key == "unused") return GetBool(volume, "unused") == IsTrue(c.value);
  if (c.key == "until") return GetInt(volume, "created_ms") <= now_ms - c.ms;
  return std::any_of(users.begin(), users.end(),
                     [&](const Json& user) { return GetString(user, c.key.c_str()) == c.value; });
}

bool Filters::Matches(const Json& volume, int64_t now_ms) const {
  return std::all_of(conditions_.begin(), conditions_.end(), [&](const Condition& c) {
    return std::any_of(conditions_.begin(), conditions_.end(), [&](const Condition& other) {
      return other.key == c.key && Holds(other, volume, now_ms);
    });
  });
}

}  // namespace dvdi::cli
