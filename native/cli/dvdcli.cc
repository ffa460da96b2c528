#include "cli/dvdcli.h"

#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/text.h"
#include "cli/bind.h"
#include "cli/elsewhere.h"
#include "cli/engine.h"
#include "cli/print.h"
#include "cli/sources.h"

namespace dvdi::cli {
namespace {

constexpr int kFailed = 1;
constexpr char kOwner[] = "dvdcli";
// Mesos kills a mount after 120 s and an unmount after 10 min. Who ends by himself undoes what he began.
constexpr int64_t kMountMs = 110'000;
constexpr int64_t kUnmountMs = 9 * 60'000;
constexpr int64_t kAskMs = 110'000;
constexpr int kUndoMs = 5'000;

// One volume, held by one scope of its own from mount to unmount.
class Client {
 public:
  explicit Client(const DvdcliCall& call) : call_(call), scope_(call.driver + "/" + call.volume) {}

  // Gives what a failed mount began a moment to be undone.
  void Close(int wait_ms) {
    if (engine_ != nullptr) engine_->Close(wait_ms);
  }

  Status Open() {
    GlobalOptions options;
    if (const char* config = ::getenv("DVDI_CONFIG"); config != nullptr) options.config = config;
    options.keeper = false;  // it is over before anybody could retry
    DVDI_ASSIGN_OR_RETURN(engine_, Engine::Open(options));
    return OkStatus();
  }

  Status Create();
  Status Remove();
  Status Mount();
  Status Unmount();
  Status Path();
  Status Get();
  Status List();

 private:
  Result<Json> Statement() const;
  // The stage of our scope, where it has the volume and the stage is mounted; else "". `held`: the scope is
  // there.
  Result<std::string> Held(bool* held);
  Result<Json> Ask(bool plugin);
  // Our scope, or null. Its "state" is "running", "committed" or "undoing".
  Result<Json> Scope();
  Status EndScope();
  // Ends it, so that it can begin anew, where somebody took its mount away. Refused where that is not proved.
  Status EndLost();
  Status NotHere(const std::string& stage) const;
  static void Print(const std::string& text) { PrintText(Clean(text) + "\n"); }

  const DvdcliCall& call_;
  const std::string scope_;
  std::unique_ptr<Engine> engine_;
};

Result<Json> Client::Statement() const {
  Json volume = {{"name", call_.volume},
                 {"driver", call_.driver},
                 {"container_path", "/mnt/volume"},  // it is bound nowhere: the caller does that
                 {"create", call_.explicit_create ? "never" : "if-missing"}};
  if (!call_.options.empty()) volume["options"] = call_.options;
  return OneVolume(std::move(volume));
}

Result<Json> Client::Ask(bool plugin) {
  Json query = {{"what", "volume"}, {"driver", call_.driver}, {"name", call_.volume}};
  if (plugin) query["ask_plugin"] = true, query["timeout_ms"] = kAskMs;
  return engine_->Ask(dvdi_status, query);
}

Result<std::string> Client::Held(bool* held) {
  *held = false;
  auto known = Ask(false);
  if (!known.ok()) {
    if (known.status().code() == Code::kNotFound) return std::string();
    return known.status();
  }
  std::string stage;
  for (const auto& user : GetMember(*known, "users"))
    if (GetString(user, "owner") == kOwner && GetString(user, "scope") == scope_)
      *held = true, stage = GetString(user, "stage");
  if (stage.empty() || GetString(*known, "state") != "attached") return std::string();
  DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
  return FindMount(mounts, stage) != nullptr ? stage : std::string();
}

Result<Json> Client::Scope() {
  DVDI_ASSIGN_OR_RETURN(Json scopes, engine_->Ask(dvdi_status, {{"what", "scopes"}}));
  for (const auto& scope : GetMember(scopes, "scopes"))
    if (GetString(scope, "owner") == kOwner && GetString(scope, "scope") == scope_) return scope;
  return Json();
}

Status Client::EndScope() {
  Json request = {{"owner", kOwner},
                  {"scope", scope_},
                  {"release_ms", kUnmountMs},
                  {"volumes", {{{"driver", call_.driver}, {"name", call_.volume}}}}};
  DVDI_ASSIGN_OR_RETURN(Json answer, engine_->Do(dvdi_cleanup, request));
  for (const auto& pending : GetMember(answer, "pending"))
    return std::move(Status(Code::kDriver, "not unmounted: " + GetString(pending, "why"),
                            "It is tried again by the next unmount and by `dvdi recover`")
                         .WithVolume(call_.driver, call_.volume));
  return OkStatus();
}

Status Client::NotHere(const std::string& stage) const {
  return std::move(Status(Code::kSystem, "the stage " + stage + " is not mounted here",
                          "Run dvdcli in the mount namespace in which it mounted the volume")
                       .WithVolume(call_.driver, call_.volume));
}

Status Client::EndLost() {
  DVDI_ASSIGN_OR_RETURN(Json scope, Scope());
  const Json& volumes = GetMember(scope, "volumes");
  if (GetString(scope, "state") != "committed" || volumes.empty()) return OkStatus();
  const std::string stage = GetString(volumes[0], "stage");
  DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
  if (FindMount(mounts, stage) != nullptr) return OkStatus();  // another mount was quicker
  // A process of another mount namespace may be at work in it.
  return MountedNowhere(stage, GetBool(scope, "same_mount_namespace")) ? EndScope() : NotHere(stage);
}

Status Client::Mount() {
  bool renewed = false;
  int refusals = 0;
  DVDI_ASSIGN_OR_RETURN(const Json sources, Statement());
  auto give_up = std::chrono::steady_clock::now() + std::chrono::milliseconds(kMountMs);
  for (;;) {
    bool held = false;
    DVDI_ASSIGN_OR_RETURN(std::string stage, Held(&held));
    if (!stage.empty()) {
      Print(stage);
      return OkStatus();
    }
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(give_up - std::chrono::steady_clock::now());
    Json request = {{"owner", kOwner},
                    {"scope", scope_},
                    {"sources", sources},
                    {"targets", "ignore"},
                    {"deadline_ms", std::max<int64_t>(left.count(), 1)}};
    auto answer = engine_->Do(dvdi_prepare, request);
    if (!answer.ok()) {
      // Another mount of the same volume may be at it: its outcome is ours. Or its mount has gone since: then
      // the scope is begun anew.
      if (answer.status().code() != Code::kRefused || ++refusals > 3) return AboutOneVolume(answer.status());
      DVDI_ASSIGN_OR_RETURN(Json scope, Scope());
      if (scope.is_null()) return answer.status();
      if (GetString(scope, "state") == "committed" && held) DVDI_RETURN_IF_ERROR(EndLost());
      while (!scope.is_null() && GetString(scope, "state") != "committed") {
        if (std::chrono::steady_clock::now() >= give_up) return answer.status();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        DVDI_ASSIGN_OR_RETURN(scope, Scope());
      }
      continue;
    }
    const Json& volumes = GetMember(*answer, "volumes");
    for (const auto& note : GetMember(*answer, "notes"))
      if (note.is_string()) PrintNote("note: " + note.get<std::string>());
    std::string made = volumes.empty() ? "" : GetString(volumes[0], "stage");
    DVDI_ASSIGN_OR_RETURN(auto mounts, OwnMounts());
    if (made.empty() || FindMount(mounts, made) == nullptr) {
      if (renewed || !GetBool(*answer, "stored")) return NotHere(made);
      renewed = true;
      DVDI_RETURN_IF_ERROR(EndLost());
      continue;
    }
    if (GetString(volumes[0], "what") == "created") PrintNote(GetString(volumes[0], "message"));
    Print(made);
    return OkStatus();
  }
}

Status Client::Unmount() { return EndScope(); }

Status Client::Create() {
  DVDI_ASSIGN_OR_RETURN(Json sources, Statement());
  Json request = {{"owner", kOwner},     {"scope", scope_},         {"sources", std::move(sources)},
                  {"targets", "ignore"}, {"deadline_ms", kMountMs}, {"goal", "create"}};
  auto answer = engine_->Do(dvdi_prepare, request);
  if (!answer.ok()) return AboutOneVolume(answer.status());
  for (const auto& v : GetMember(*answer, "volumes")) PrintNote(GetString(v, "message"));
  return OkStatus();
}

Status Client::Remove() {
  DVDI_ASSIGN_OR_RETURN(Json answer, engine_->Do(dvdi_remove, {{"driver", call_.driver},
                                                               {"name", call_.volume},
                                                               {"deadline_ms", kMountMs}}));
  if (GetBool(answer, "existed", true)) return OkStatus();
  return std::move(
      Status(Code::kNotFound, "the driver does not have the volume").WithVolume(call_.driver, call_.volume));
}

Status Client::Path() {
  bool held = false;
  DVDI_ASSIGN_OR_RETURN(std::string stage, Held(&held));
  if (!stage.empty()) {
    Print(stage);
    return OkStatus();
  }
  DVDI_ASSIGN_OR_RETURN(Json volume, Ask(true));
  const Json& plugin = GetMember(volume, "plugin");
  if (GetString(plugin, "kind") != "ok")
    return std::move(
        Status(Code::kDriver, GetString(plugin, "error")).WithVolume(call_.driver, call_.volume));
  if (std::string at = GetString(plugin, "mountpoint"); !at.empty()) Print(at);
  return OkStatus();
}

Status Client::Get() {
  DVDI_ASSIGN_OR_RETURN(Json volume, Ask(true));
  const Json& plugin = GetMember(volume, "plugin");
  if (GetString(plugin, "kind") != "ok")
    return std::move(
        Status(Code::kDriver, GetString(plugin, "error")).WithVolume(call_.driver, call_.volume));
  Print(call_.volume);
  return OkStatus();
}

Status Client::List() {
  Json query = {{"what", "listed"}, {"driver", call_.driver}, {"timeout_ms", kAskMs}};
  DVDI_ASSIGN_OR_RETURN(Json listed, engine_->Ask(dvdi_status, query));
  for (const auto& v : GetMember(listed, "volumes")) Print(GetString(v, "name"));
  return OkStatus();
}

int PrintVersion() {
  std::string version = dvdi_version();
  struct utsname host;
  std::string arch = ::uname(&host) == 0 ? std::string(host.sysname) + "-" + host.machine : "unknown";
  ::printf("Binary: dvdcli (dvdi)\nSemVer: %s\nOsArch: %s\n",
           Clean(version.substr(0, version.find(' '))).c_str(), Clean(arch).c_str());
  return kExitOk;
}

}  // namespace

int Dvdcli(const std::vector<std::string>& arguments) {
  SetProgramName("dvdcli");
  auto call = ParseDvdcli(arguments);
  if (!call.ok()) {
    PrintError(call.status(), false);
    return kFailed;
  }
  if (call->verb.empty() || call->verb == "help") {
    PrintText(DvdcliUsage());
    return kExitOk;
  }
  if (call->verb == "version") return PrintVersion();
  Client client(*call);
  Status s = client.Open();
  if (s.ok())
    s = call->verb == "create"    ? client.Create()
        : call->verb == "remove"  ? client.Remove()
        : call->verb == "mount"   ? client.Mount()
        : call->verb == "unmount" ? client.Unmount()
        : call->verb == "path"    ? client.Path()
        : call->verb == "get"     ? client.Get()
                                  : client.List();
  if (s.ok()) return kExitOk;
  PrintError(s, false);
  client.Close(kUndoMs);
  return kFailed;
}

}  // namespace dvdi::cli
