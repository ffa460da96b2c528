// plugins, pools, fence: where volumes come from.
#include <cstdio>

#include "base/text.h"
#include "cli/format.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace dvdi::cli {
namespace {

// `none` is what 0 means.
std::string Bytes(const Json& object, const char* key, const char* none = "0 B") {
  const Json& member = GetMember(object, key);
  if (!member.is_number()) return "";
  if (member.get<double>() == 0) return none;
  return SizeText(member.get<double>());
}

std::string AttributesText(const Json& attributes) {
  std::string out;
  if (!attributes.is_object()) return out;
  for (const auto& [key, value] : attributes.items())
    out += (out.empty() ? "" : ", ") + key + "=" + TextOfValue(value);
  return out;
}

std::string DriverState(const Json& driver) {
  if (!GetBool(driver, "allowed", true)) return "forbidden";
  if (!driver.contains("reachable")) return "";
  if (!GetBool(driver, "reachable")) return "no answer";
  return GetBool(driver, "volume_driver") ? "answers" : "no volume driver";
}

// What --format knows of a plugin.
Json PluginView(const Json& d) {
  const Json& same = GetMember(d, "same_mount_namespace");
  return {{"Name", GetString(d, "name")},
          {"Address", GetString(d, "address")},
          {"State", DriverState(d)},
          {"Answers", GetBool(d, "reachable")},
          {"VolumeDriver", GetBool(d, "volume_driver")},
          {"Scope", GetString(d, "scope")},
          {"Breaker", GetString(d, "breaker")},
          {"Allowed", GetBool(d, "allowed", true)},
          {"SameMountNamespace", same},
          {"Error", GetString(d, "error")}};
}

}  // namespace

int Plugins(const Options& options) {
  auto format = Format::Parse(options.format == "table" ? "" : options.format);
  if (!format.ok()) return Failed(options, format.status());
  auto engine = Engine::Open(options.global);
  if (!engine.ok()) return Failed(options, engine.status());
  auto answer = (*engine)->Ask(dvdi_status, {{"what", "drivers"}, {"ask", !options.quiet}});
  if (!answer.ok()) return Failed(options, answer.status());
  const Json& drivers = GetMember(*answer, "drivers");
  if (options.global.json) {
    PrintJson(*answer);
    return kExitOk;
  }
  if (options.quiet) {
    for (const auto& d : drivers) PrintText(Clean(GetString(d, "name")) + "\n");
    return kExitOk;
  }
  if (!options.format.empty() && options.format != "table") {
    Json rows = Json::array();
    for (const auto& d : drivers) rows.push_back(PluginView(d));
    auto text = FormatRows(*format, rows);
    if (!text.ok()) return Failed(options, text.status());
    PrintText(*text);
    return kExitOk;
  }
  Table table({"PLUGIN", "STATE", "SCOPE", "ADDRESS", "WHY"});
  for (const auto& d : drivers) {
    std::string state = DriverState(d);
    std::string why = GetString(d, "error");
    const Json& same = GetMember(d, "same_mount_namespace");
    if (why.empty() && same.is_boolean() && !same.get<bool>())
      why = "its mounts are made in another mount namespace";
    table.Add({GetString(d, "name"), state, GetString(d, "scope"), GetString(d, "address"), why},
              state == "answers" ? Color::kGreen : Color::kRed, 1);
  }
  if (table.empty()) {
    // Where they belong on this node is the settings' word; the engine's doctor has it.
    auto doctor = (*engine)->Ask(dvdi_status, {{"what", "doctor"}});
    std::string where;
    if (doctor.ok())
      for (const auto& check : GetMember(*doctor, "checks"))
        if (GetString(check, "name") == "drivers") where = GetString(check, "fix");
    PrintNote("no plugin was found" + (where.empty() ? "" : "; " + where));
  } else {
    PrintText(table.Text());
  }
  return kExitOk;
}

int Pools(const Options& options) {
  auto engine = Engine::Open(options.global);
  if (!engine.ok()) return Failed(options, engine.status());
  Json query = {{"what", "pools"}};
  if (!options.default_driver.empty()) query["driver"] = options.default_driver;
  auto answer = (*engine)->Ask(dvdi_status, query);
  if (!answer.ok()) return Failed(options, answer.status());
  if (options.global.json) {
    PrintJson(*answer);
    return kExitOk;
  }
  Table pools({"POOL", "DRIVER", "ATTRIBUTES", "OPTIONS"});
  for (const auto& p : GetMember(*answer, "pools"))
    pools.Add({GetString(p, "name"),
               GetString(p, "driver") + (GetBool(p, "allowed", true) ? "" : " (not allowed)"),
               AttributesText(GetMember(p, "attributes")), AttributesText(GetMember(p, "options"))});
  Table tiers({"TIER", "DRIVER", "FILESYSTEM", "CAPACITY", "PROMISED", "FREE", "ATTRIBUTES", "FOLDER"});
  for (const auto& t : GetMember(*answer, "tiers"))
    tiers.Add({GetString(t, "name"), GetString(t, "driver"), GetString(t, "filesystem"),
               Bytes(t, "capacity_bytes", "its disk"), Bytes(t, "promised_bytes"), Bytes(t, "free_bytes"),
               AttributesText(GetMember(t, "attributes")), GetString(t, "path")});
  std::string text;
  if (!pools.empty()) text += pools.Text();
  if (!pools.empty() && !tiers.empty()) text += "\n";
  if (!tiers.empty()) text += tiers.Text();
  if (text.empty())
    PrintNote("there are no pools (policy.pools in the settings), and no driver that answers has tiers");
  PrintText(text);
  return kExitOk;
}

int Fence(const Options& options) {
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  VolumeName volume = SplitVolumeName(options.volume, options.default_driver);
  if (volume.driver.empty())
    return Failed(options, Status(Code::kInvalid, "the volume's driver must be named",
                                  "Write DRIVER/" + volume.name + ", or --driver DRIVER"));
  Json request = {
      {"driver", volume.driver}, {"name", volume.name}, {"deadline_ms", options.global.timeout_ms}};
  if (options.node_is_dead) request["node_is_dead"] = true;
  auto answer = (*engine)->Do(dvdi_fence, request,
                              options.node_is_dead ? "fencing " + volume.name
                                                   : "waiting for the lease on " + volume.name + " to end");
  if (!answer.ok()) return Failed(options, answer.status());
  if (options.global.json) {
    PrintJson(*answer);
    return kExitOk;
  }
  std::string from = GetString(*answer, "from");
  char waited[32];
  std::snprintf(waited, sizeof waited, "%.1f s", static_cast<double>(GetInt(*answer, "waited_ms")) / 1000);
  ::printf("%s\n",
           Clean("fenced " + volume.name + (from.empty() ? "" : ", which " + from + " had") +
                 "; generation " + std::to_string(GetInt(*answer, "generation")) + ", waited " + waited)
               .c_str());
  return kExitOk;
}

}  // namespace dvdi::cli
