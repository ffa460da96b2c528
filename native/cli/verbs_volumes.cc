// mount, unmount, forget: volumes that an operator holds.
#include <algorithm>
#include <cctype>
#include <cstdio>

#include "base/path.h"
#include "cli/bind.h"
#include "cli/elsewhere.h"
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

// Takes the volumes of a scope from the node's folders, or none where one is in use: as the cleanup would,
// which takes stages away from whoever uses them.
Status TakeAway(const Json& volumes) {
  struct Place {
    std::string target, stage, driver, name;
  };
  std::vector<Place> places;
  for (const auto& v : volumes)
    places.push_back(
        {GetString(v, "target"), GetString(v, "stage"), GetString(v, "driver"), GetString(v, "name")});
  // Innermost first: the longest path is inside the others, if any is.
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.target.size() > b.target.size(); });
  auto at = [](const Place& place, Status s) {
    return s.ok() ? s : Status(std::move(s).WithVolume(place.driver, place.name));
  };
  auto check = [](const std::string& path) -> Status {
    DVDI_ASSIGN_OR_RETURN(bool used, MountInUse(path));
    return used ? InUse(path) : OkStatus();
  };
  DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
  for (const Place& p : places) {
    // One that holds another target is in use by that one, until that is gone.
    const bool holds = std::any_of(places.begin(), places.end(), [&](const Place& other) {
      return IsStrictlyBelow(p.target, other.target);
    });
    if (!holds && IsBindOf(mounts, p.stage, p.target)) DVDI_RETURN_IF_ERROR(at(p, check(p.target)));
    DVDI_RETURN_IF_ERROR(at(p, check(p.stage)));
  }
  // A stage is what proves that a target is ours: it goes when all targets are gone.
  for (const Place& p : places) DVDI_RETURN_IF_ERROR(at(p, UnbindStage(p.stage, p.target).status()));
  for (const Place& p : places) DVDI_RETURN_IF_ERROR(at(p, UnmountStage(p.stage)));
  return OkStatus();
}

// Behind TakeAway: what is still mounted of a scope that was begun in another mount namespace, where a
// process may be at work in it. To remove a stage's folder would detach it there.
Status CheckElsewhere(const Json& scope) {
  if (GetBool(scope, "same_mount_namespace", true) || GetBool(scope, "mount_namespace_ended"))
    return OkStatus();
  for (const auto& v : GetMember(scope, "volumes")) {
    const std::string stage = GetString(v, "stage");
    if (stage.empty() || MountedNowhere(stage, false)) continue;
    Status s(Code::kRefused, stage + " was mounted in another mount namespace, and may be in use there",
             "Run `dvdi unmount` there (see `nsenter --mount`)");
    return std::move(std::move(s).WithPath(stage).WithVolume(GetString(v, "driver"), GetString(v, "name")));
  }
  return OkStatus();
}

// The folders of a volume that is not bound, where they are mounted: after an `unmount` that got halfway, or
// another one's umount, the path would lead to the node's own disk.
Status CheckStages(const Json& volumes, const std::string& scope) {
  DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
  for (const auto& v : volumes) {
    std::string stage = GetString(v, "stage");
    if (FindMount(mounts, stage) != nullptr) continue;
    Status s(Code::kSystem, "the stage " + stage + " is not mounted here",
             "`dvdi unmount --name " + scope + "` ends what is left of the earlier mount; then mount again");
    return std::move(s.WithVolume(GetString(v, "driver"), GetString(v, "name")));
  }
  return OkStatus();
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
  if (path_only && GetBool(*answer, "stored"))
    if (Status s = CheckStages(volumes, scope); !s.ok()) return Failed(options, s);
  if (Status s = path_only ? OkStatus() : BindAll(volumes, &bound); !s.ok())
    return Failed(options, Undo(*engine, options, scope, *answer, bound, std::move(s)));
  if (options.global.json) {
    PrintJson(*answer);
    return kExitOk;
  }
  PrintPrepared(*answer, false);
  for (const auto& v : volumes) PrintText(Clean(GetString(v, path_only ? "stage" : "target")) + "\n");
  return kExitOk;
}

int Unmount(const Options& options) {
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  auto scope = FindScope(*engine->engine, options);
  if (!scope.ok()) return Failed(options, scope.status());
  if (Status s = TakeAway(GetMember(*scope, "volumes")); !s.ok()) return Failed(options, s);
  if (Status s = CheckElsewhere(*scope); !s.ok()) return Failed(options, s);
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
