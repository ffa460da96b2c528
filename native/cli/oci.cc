// `dvdi oci hook`: an OCI runtime calls it when a container's namespaces and mounts are there and its program
// is not (createRuntime), and when the container is gone (poststop). The scope is the container, for as long
// as a process is in its mount namespace: whatever becomes of the runtime, `dvdi recover` ends it.
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <set>

#include "base/text.h"
#include "cli/child.h"
#include "cli/oci_config.h"
#include "cli/prepare.h"
#include "cli/print.h"
#include "cli/releases.h"
#include "cli/verbs.h"

namespace dvdi::cli {
namespace {

constexpr char kOwner[] = "oci";
constexpr int kReleaseWaitMs = 5000;
// How long a container's last processes may take to go after its runtime has said that it is gone.
constexpr int kEndTries = 20;
constexpr useconds_t kEndPauseUs = 100'000;

struct State {
  std::string id, status, bundle;
  pid_t pid = 0;
};

Result<State> ReadState() {
  DVDI_ASSIGN_OR_RETURN(std::string text,
                        ReadOciFile("the container's state on standard input", STDIN_FILENO));
  DVDI_ASSIGN_OR_RETURN(Json json, ParseJson(text, "the container's state on standard input"));
  State s;
  s.id = GetString(json, "id"), s.status = GetString(json, "status"), s.bundle = GetString(json, "bundle");
  s.pid = static_cast<pid_t>(GetInt(json, "pid"));
  if (s.id.empty() || s.status.empty())
    return Status(Code::kInvalid, "standard input is no state of a container: it has no id or status",
                  "`dvdi oci hook` is called by a runtime: `dvdi oci bundle` adds it to a bundle");
  return s;
}

// The volumes at their places in the container's namespace.
Status Place(Child* child, const Json& answer, const OciConfig& config) {
  std::vector<Placement> places;
  for (const Json& v : GetMember(answer, "volumes")) {
    auto target = OciTarget(GetString(v, "target"), config.cwd);
    if (!target.ok()) return Status(target.status()).WithVolume(GetString(v, "driver"), GetString(v, "name"));
    places.push_back({*target, GetString(v, "stage"), GetString(v, "driver"), GetString(v, "name")});
  }
  std::set<std::string> targets;
  for (const Placement& place : places)
    if (!targets.insert(place.target).second)
      return Status(Code::kInvalid, "two volumes are to be at " + place.target + " in the container");
  Status sent = child->Place(std::move(places));
  if (sent.ok()) sent = child->Go();
  if (!sent.ok() && !Child::IsLost(sent)) return sent;
  DVDI_ASSIGN_OR_RETURN(ChildReport report, child->Receive());
  return report.kind == ChildReport::Kind::kFailed ? report.failure : OkStatus();
}

// Its status; what it had to say came over its socket.
Status End(Child* child) {
  child->Abandon();
  int status = 0;
  while (::waitpid(child->pid(), &status, 0) < 0)
    if (errno != EINTR)
      return Status::FromErrno(errno, "cannot wait for the process in the container's namespace");
  if (WIFEXITED(status) && WEXITSTATUS(status) == kExitOk) return OkStatus();
  return Status(Code::kSystem, "the process that was to mount in the container's namespace ended early");
}

Status Begin(const Options& options, const State& state) {
  if (state.bundle.empty() || state.pid <= 0)
    return Status(Code::kInvalid,
                  "the state of container " + OneLine(state.id, 80) + " has no bundle or no pid");
  DVDI_ASSIGN_OR_RETURN(std::string text, ReadOciFile(state.bundle + "/config.json"));
  DVDI_ASSIGN_OR_RETURN(OciConfig config, ReadOciConfig(text, state.bundle));
  if (config.sources.empty()) return OkStatus();
  if (!config.mount_namespace)
    return Status(Code::kUnsupported, "the container has no mount namespace of its own, and declares volumes",
                  "Give it one in config.json (linux.namespaces)");
  DVDI_RETURN_IF_ERROR(MapIds(state.pid, &config));
  ChildSpec spec;
  spec.join = state.pid, spec.root = config.root;
  // Before the engine, whose threads a fork would not take along.
  DVDI_ASSIGN_OR_RETURN(Child child, Child::Start(spec));
  if (Status entered = child.Enter(); !entered.ok()) return entered;
  auto ready = child.Receive();
  Status s =
      ready.ok() ? (ready->kind == ChildReport::Kind::kReady ? OkStatus() : ready->failure) : ready.status();
  auto engine = s.ok() ? Engine::Open(options.global) : Result<std::unique_ptr<Engine>>(s);
  if (!engine.ok()) {
    (void)End(&child);
    return engine.status();
  }
  Json request = PrepareRequest(options, kOwner, state.id, std::move(config.sources));
  request["targets"] = "ignore";  // they are the container's, not the node's
  request["process"] = {{"pid", state.pid}};
  request["user"] = {{"uid", config.uid}, {"gid", config.gid}};
  if (!config.default_driver.empty()) request["default_driver"] = config.default_driver;
  auto answer = (*engine)->Do(dvdi_prepare, request);
  s = answer.status();
  if (answer.ok()) {
    s = Place(&child, *answer, config);
    Status ended = End(&child);
    if (s.ok()) s = ended;
    if (s.ok()) {
      PrintPrepared(*answer, false);
    } else if (!GetBool(*answer, "stored")) {
      // Else an earlier call of the hook gave the container its volumes, for as long as it lives.
      auto undone =
          (*engine)->Do(dvdi_cleanup, {{"owner", kOwner}, {"scope", state.id}, {"held_ms", kHeldMs}});
      if (!undone.ok())
        PrintNote("note: the volumes are not released yet, `dvdi recover` tries again: " +
                  ErrorLine(undone.status()));
    }
  } else {
    (void)End(&child);
  }
  (*engine)->Close(s.ok() ? 0 : CloseWait(options, kReleaseWaitMs));
  return s;
}

// Ends what is over, not what is named: another runtime may have a container of the same name that lives.
Status EndOver(const Options& options, const State& state) {
  DVDI_ASSIGN_OR_RETURN(auto engine, Engine::Open(options.global));
  Status s;
  for (int i = 0; i < kEndTries && s.ok(); ++i) {
    if (i > 0) ::usleep(kEndPauseUs);
    s = engine->Do(dvdi_recover, {{"owner", kOwner}, {"wait_ms", 0}}).status();
    auto scopes = engine->Ask(dvdi_status, {{"what", "scopes"}});
    if (!scopes.ok()) s = scopes.status();
    bool left = false;
    if (scopes.ok())
      for (const Json& scope : GetMember(*scopes, "scopes"))
        left = left || (GetString(scope, "owner") == kOwner && GetString(scope, "scope") == state.id);
    if (!left) break;
  }
  engine->Close(CloseWait(options, kReleaseWaitMs));
  return s;
}

}  // namespace

int OciHook(const Options& options) {
  auto state = ReadState();
  if (!state.ok()) return Failed(options, state.status());
  Status s;
  if (state->status == "creating" || state->status == "created")
    s = Begin(options, *state);
  else if (state->status == "stopped")
    s = EndOver(options, *state);
  else
    s = Status(Code::kInvalid,
               "a container that is " + OneLine(state->status, 40) + " is no moment for this hook",
               "It belongs into createRuntime and poststop");
  if (s.ok()) return kExitOk;
  // Runtimes throw away what a hook writes: the reason has to be found somewhere.
  ::openlog("dvdi", LOG_PID, LOG_DAEMON);
  ::syslog(LOG_ERR, "container %s: %s", Clean(state->id).c_str(), ErrorLine(s).c_str());
  ::closelog();
  return Failed(options, s);
}

}  // namespace dvdi::cli
