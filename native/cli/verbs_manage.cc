// create, rm, prune: volumes themselves, as `docker volume` has them.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "base/text.h"
#include "cli/prepare.h"
#include "cli/print.h"
#include "cli/sources.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "sys/env.h"

namespace dvdi::cli {
namespace {

// KEY=VALUE texts as an object.
Result<Json> Pairs(const char* option, const std::vector<std::string>& texts) {
  Json out = Json::object();
  for (const std::string& text : texts) {
    size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      return Status(Code::kInvalid, std::string(option) + " " + text + " is no KEY=VALUE",
                    std::string("Write it as in ") + option + " size=5");
    if (!IsValidUtf8(text))
      return Status(Code::kInvalid, std::string(option) + " " + OneLine(text) + " is not valid UTF-8");
    out[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return out;
}

// The volume's driver: as it was named, or as the ledger knows it.
Result<VolumeName> WholeName(Engine& engine, const std::string& text, const std::string& driver) {
  VolumeName volume = SplitVolumeName(text, driver);
  if (!volume.driver.empty()) return volume;
  auto known = engine.Ask(dvdi_status, {{"what", "volume"}, {"name", volume.name}});
  if (!known.ok()) {
    if (known.status().code() != Code::kNotFound) return known.status();
    return Status(Code::kNotFound, "no volume " + volume.name + " is known on this node",
                  "Name its driver, as in DRIVER/" + volume.name);
  }
  volume.driver = GetString(*known, "driver");
  return volume;
}

Json RemoveRequest(const Options& options, const VolumeName& volume) {
  return {{"driver", volume.driver}, {"name", volume.name}, {"deadline_ms", options.global.timeout_ms}};
}

// Reads one line of the terminal; true for y or yes.
bool Agreed() {
  std::string line;
  if (!std::getline(std::cin, line)) return false;
  std::transform(line.begin(), line.end(), line.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return line == "y" || line == "yes";
}

}  // namespace

int Create(const Options& options) {
  VolumeName volume = SplitVolumeName(options.volume, options.default_driver);
  bool by_class = !options.attributes.empty();
  if (by_class && options.volume.find('/') != std::string::npos) volume.name = options.volume;
  // As docker does it: a name that nobody else has.
  if (volume.name.empty()) volume.name = Random::Real()->HexId(32);
  auto driver_options = Pairs("--opt", options.driver_options);
  auto attributes = Pairs("--class", options.attributes);
  if (!driver_options.ok()) return Failed(options, driver_options.status());
  if (!attributes.ok()) return Failed(options, attributes.status());
  Json declared = {{"name", volume.name}, {"container_path", "/mnt/volume"}, {"create", "if-missing"}};
  if (!volume.driver.empty() && !by_class) declared["driver"] = volume.driver;
  if (by_class) {
    // Numbers and truth values are what they look like: "3000" is no word.
    for (auto& value : *attributes) {
      const auto& text = value.get_ref<const std::string&>();
      bool digits = !text.empty() && text.size() < 16 &&
                    std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (digits)
        value = std::stoll(text);
      else if (text == "true" || text == "false")
        value = text == "true";
    }
    declared["class"] = *attributes;
  }
  if (!driver_options->empty()) declared["options"] = *driver_options;
  if (!options.size.empty()) declared["size"] = options.size;
  auto sources = OneVolume(std::move(declared));
  if (!sources.ok()) return Failed(options, sources.status());
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  Json request = PrepareRequest(options, "manual", "create", std::move(*sources));
  request["goal"] = "create";
  request["targets"] = "ignore";
  request.erase("default_driver");
  auto answer = (*engine)->Do(dvdi_prepare, request, "creating " + volume.name);
  if (!answer.ok()) return Failed(options, AboutOneVolume(answer.status()));
  if (options.global.json) {
    PrintJson(*answer);
    return kExitOk;
  }
  PrintPrepared(*answer, false);
  PrintText(Clean(volume.name) + "\n");
  return kExitOk;
}

int Remove(const Options& options) {
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  int code = kExitOk;
  Json all = Json::array();
  for (const std::string& text : options.volumes) {
    auto volume = WholeName(*engine->engine, text, options.default_driver);
    auto answer = volume.ok()
                      ? (*engine)->Do(dvdi_remove, RemoveRequest(options, *volume), "removing " + text)
                      : Result<Json>(volume.status());
    Status failure = answer.status();
    bool gone = answer.ok() && !GetBool(*answer, "existed", true);
    // Of a name whose driver nobody knows, no driver has said that the volume is not there.
    if (gone && !options.force)
      failure = std::move(Status(Code::kNotFound, "the driver does not have the volume " + volume->name)
                              .WithVolume(volume->driver, volume->name));
    if (failure.ok()) {
      if (!options.global.json && !gone && answer.ok()) PrintText(Clean(text) + "\n");
      if (answer.ok()) all.push_back(*answer);
      continue;
    }
    // The others may go all the same, as with docker; the exit code is the first failure's.
    if (!options.global.json) PrintError(failure, false);
    all.push_back({{"error", ParseJson(failure.ToJson(), "a status").value()}});
    if (code == kExitOk) code = ExitCodeFor(failure);
  }
  if (options.global.json) PrintJson({{"volumes", all}});
  return code;
}

int Prune(const Options& options) {
  auto filters = Filters::Parse(options.filters, true);
  if (!filters.ok()) return Failed(options, filters.status());
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  auto known = (*engine)->Ask(dvdi_status, {{"what", "volumes"}});
  if (!known.ok()) return Failed(options, known.status());
  std::vector<VolumeName> chosen;
  for (const auto& v : GetMember(*known, "volumes"))
    if (GetBool(v, "unused") && filters->Matches(v, NowMs()))
      chosen.push_back({GetString(v, "driver"), GetString(v, "name")});
  Json removed = Json::array(), kept = Json::array();
  int code = kExitOk;
  if (!chosen.empty() && !options.force) {
    if (!::isatty(STDIN_FILENO))
      return Failed(options,
                    Status(Code::kInvalid, "`dvdi prune` asks before it removes, and there is nobody to ask",
                           "--force removes without asking"));
    std::string text =
        "These volumes were created on this node and never used; their data is removed with them:\n";
    for (const auto& v : chosen) text += "  " + Clean(v.name + " (driver " + v.driver + ")") + "\n";
    ::fputs((text + "Remove " + std::to_string(chosen.size()) +
             (chosen.size() == 1 ? " volume" : " volumes") + "? [y/N] ")
                .c_str(),
            stderr);
    if (!Agreed()) {
      PrintNote("nothing was removed");
      return kExitOk;
    }
  }
  for (const auto& v : chosen) {
    Json request = RemoveRequest(options, v);
    request["unused_only"] = true;
    if (options.shared_drivers) request["global"] = true;
    auto answer = (*engine)->Do(dvdi_remove, request, "removing " + v.name);
    if (answer.ok()) {
      removed.push_back(GetMember(*answer, "removed"));
      if (!options.global.json) PrintText(Clean(v.name) + "\n");
      continue;
    }
    Json one = {{"driver", v.driver}, {"name", v.name}};
    one["error"] = ParseJson(answer.status().ToJson(), "a status").value();
    kept.push_back(std::move(one));
    // What may not be removed is left, which is no failure of prune; what could not be removed is one.
    bool left = answer.status().code() == Code::kRefused;
    if (!options.global.json) PrintNote((left ? "left: " : "") + ErrorLine(answer.status()));
    if (!left && code == kExitOk) code = ExitCodeFor(answer.status());
  }
  if (options.global.json)
    PrintJson({{"removed", removed}, {"kept", kept}});
  else if (chosen.empty())
    PrintNote("there is nothing to remove");
  return code;
}

}  // namespace dvdi::cli
