// mount, unmount, forget: volumes that an operator holds.
#include <algorithm>
#include <cctype>
#include <cstdio>

#include "cli/bind.h"
#include "cli/prepare.h"
#include "cli/print.h"
#include "cli/releases.h"
#include "cli/sources.h"
#include "cli/verbs.h"
#include "sys/env.h"

namespace dvdi::cli {
namespace {

constexpr char kOwner[] = "manual";
constexpr int kReleaseWaitMs = 10000;

std::string ManualScope(const VolumeName& volume) {
  return "manual:" + (volume.driver.empty() ? "" : volume.driver + "/") + volume.name;
}

// A name for the scope of `mount -v`, from the volume where its name is plain to see.
std::string ScopeOfSource(const Options& options) {
  const SourceOption& first = options.sources.front();
  std::string name;
  if (first.form == "volume") {
    name = first.value.substr(0, first.value.find(':'));
  } else {
    for (const char* key : {"source=", "src="}) {
      size_t at = first.value.find(key);
      if (at == std::string::npos || (at > 0 && first.value[at - 1] != ',')) continue;
      at += std::string(key).size();
      name = first.value.substr(at, first.value.find(',', at) - at);
    }
  }
  if (name.empty()) name = Random::Real()->HexId(8);
  return ManualScope({options.default_driver, name});
}

// Where a volume that is bound nowhere would be: a container path must be named, and `ls` shows it.
std::string NominalTarget(const std::string& name) {
  std::string plain;
  for (char c : name) plain += std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ? c : '-';
  return "/mnt/" + plain;
}

Status BindAll(const Json& volumes, std::vector<std::pair<std::string, std::string>>* bound) {
  DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
  for (const auto& v : volumes) {
    std::string stage = GetString(v, "stage"), target = GetString(v, "target");
    // The same mount asked for again gets the same answer: it is there, and is not laid over itself.
    if (IsBindOf(mounts, stage, target)) continue;
    DVDI_ASSIGN_OR_RETURN(UniqueFd tree, CloneStage(stage, false));
    Status s = BindStage(tree, stage, target);
    if (!s.ok()) return std::move(s.WithVolume(GetString(v, "driver"), GetString(v, "name")));
    bound->emplace_back(stage, target);
  }
  return OkStatus();
}

Json CleanupRequest(const Options& options, const std::string& scope) {
  return {
      {"owner", kOwner}, {"scope", scope}, {"deadline_ms", options.global.timeout_ms}, {"held_ms", kHeldMs}};
}

// All or none: takes away again what this call has bound. The scope ends only where this call began it too:
// of an earlier mount, others use what it holds.
Status Undo(OpenedEngine& engine, const Options& options, const std::string& scope, const Json& answer,
            const std::vector<std::pair<std::string, std::string>>& bound, Status failure) {
  for (auto it = bound.rbegin(); it != bound.rend(); ++it) {
    auto undone = UnbindStage(it->first, it->second);
    if (!undone.ok()) PrintNote("note: " + ErrorLine(undone.status()));
  }
  if (GetBool(answer, "stored"))
    return std::move(failure).WithHint(
        "The earlier mount is left as it is: put this right and mount again, or end it with `dvdi unmount "
        "--name " +
        scope + "`");
  auto ended = engine->Do(dvdi_cleanup, CleanupRequest(options, scope));
  if (!ended.ok())
    PrintNote("note: `dvdi unmount --name " + scope + "` must follow: " + ErrorLine(ended.status()));
  engine.close_wait_ms = CloseWait(options, kReleaseWaitMs);
  return failure;
}

// The manual scope that a volume's name (or --name) means.
Result<Json> FindScope(Engine& engine, const Options& options) {
  auto answer = engine.Ask(dvdi_status, {{"what", "scopes"}});
  if (!answer.ok()) return answer.status();
  VolumeName wanted = SplitVolumeName(options.volume, options.default_driver);
  Json found;
  for (const auto& scope : GetMember(*answer, "scopes")) {
    if (GetString(scope, "owner") != kOwner) continue;
    bool match = !options.scope.empty() && GetString(scope, "scope") == options.scope;
    if (options.scope.empty()) {
      for (const auto& v : GetMember(scope, "volumes"))
        match |= GetString(v, "name") == wanted.name &&
                 (wanted.driver.empty() || GetString(v, "driver") == wanted.driver);
    }
    if (!match) continue;
    if (!found.is_null())
      return Status(
          Code::kInvalid, "more than one mount holds the volume " + wanted.name,
          "Say which one: --name " + GetString(found, "scope") + " or --name " + GetString(scope, "scope"));
    found = scope;
  }
  if (!found.is_null()) return found;
  if (!options.scope.empty())
    return Status(Code::kNotFound, "no mount has the name " + options.scope,
                  "`dvdi ls` shows what is in use");
  Status status(Code::kNotFound, "the volume " + wanted.name + " is not held by `dvdi mount`",
                "`dvdi ls` shows what uses it");
  return std::move(status.WithVolume(wanted.driver, wanted.name));
}

}  // namespace

int Mount(const Options& options) {
  bool path_only = !options.volume.empty();
  VolumeName volume = SplitVolumeName(options.volume, options.default_driver);
  auto sources = path_only
                     ? Result<Json>(Json::array(
                           {{{"form", "mount"},
                             {"text", MountText(volume.driver, volume.name, NominalTarget(volume.name))}}}))
                     : LoadSources(options.sources);
  if (!sources.ok()) return Failed(options, sources.status());
  std::string scope = !options.scope.empty() ? options.scope
                      : path_only            ? ManualScope(volume)
                                             : ScopeOfSource(options);
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  Json request = PrepareRequest(options, kOwner, scope, std::move(*sources));
  if (path_only) {
    request["targets"] = "ignore";
    // The driver is in the source: DRIVER/NAME and --driver are one request, which may be made twice.
    if (!volume.driver.empty()) request.erase("default_driver");
  }
  auto answer = (*engine)->Do(dvdi_prepare, request, "attaching volumes");
  if (!answer.ok()) {
    engine->close_wait_ms = CloseWait(options, kReleaseWaitMs);
    return Failed(options, answer.status());
  }
  const Json& volumes = GetMember(*answer, "volumes");
  std::vector<std::pair<std::string, std::string>> bound;
  if (Status s = path_only ? OkStatus() : BindAll(volumes, &bound); !s.ok())
    return Failed(options, Undo(*engine, options, scope, *answer, bound, std::move(s)));
  if (options.global.json) {
    PrintJson(*answer);
    return kExitOk;
  }
  PrintPrepared(*answer, false);
  for (const auto& v : volumes) ::puts(Clean(GetString(v, path_only ? "stage" : "target")).c_str());
  return kExitOk;
}

int Unmount(const Options& options) {
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  auto scope = FindScope(*engine->engine, options);
  if (!scope.ok()) return Failed(options, scope.status());
  // Innermost first: the longest path is inside the others, if any is.
  std::vector<std::pair<std::string, std::string>> targets;
  for (const auto& v : GetMember(*scope, "volumes"))
    targets.emplace_back(GetString(v, "target"), GetString(v, "stage"));
  std::sort(targets.begin(), targets.end(),
            [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  for (const auto& [target, stage] : targets) {
    auto undone = UnbindStage(stage, target);
    if (!undone.ok()) return Failed(options, undone.status());
  }
  auto answer =
      (*engine)->Do(dvdi_cleanup, CleanupRequest(options, GetString(*scope, "scope")), "unmounting");
  if (!answer.ok()) return Failed(options, answer.status());
  if (options.global.json) PrintJson(*answer);
  engine->close_wait_ms = AwaitReleases(engine->engine.get(), *answer, CloseWait(options, kReleaseWaitMs));
  return kExitOk;
}

int Forget(const Options& options) {
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  VolumeName volume = SplitVolumeName(options.volume, options.default_driver);
  if (volume.driver.empty()) {
    // The engine wants the whole name here; the ledger knows whose volume it is, or that several have one.
    auto known = (*engine)->Ask(dvdi_status, {{"what", "volume"}, {"name", volume.name}});
    if (!known.ok()) return Failed(options, known.status());
    volume.driver = GetString(*known, "driver");
  }
  auto answer = (*engine)->Ask(dvdi_forget, {{"driver", volume.driver}, {"name", volume.name}});
  if (!answer.ok()) return Failed(options, answer.status());
  if (options.global.json)
    PrintJson(*answer);
  else
    PrintNote("forgot the volume " + volume.name + "; its driver was not called and may still hold it");
  return kExitOk;
}

}  // namespace dvdi::cli
