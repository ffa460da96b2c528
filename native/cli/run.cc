#include "cli/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "base/caller.h"
#include "base/path.h"
#include "base/text.h"
#include "cli/bind.h"
#include "cli/child.h"
#include "cli/engine.h"
#include "cli/prepare.h"
#include "cli/print.h"
#include "cli/progress.h"
#include "cli/releases.h"
#include "cli/signals.h"
#include "cli/sources.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi::cli {
namespace {

constexpr int kReleaseWaitMs = 10000;

int RunFailed(const Options& options, const Status& status) {
  // Standard output is the command's: even as JSON, a failure goes to standard error.
  if (options.global.json)
    ::dprintf(STDERR_FILENO, "{\"error\":%s}\n",
              SafeJson(ParseJson(status.ToJson(), "a status").value()).c_str());
  else
    PrintError(status, false);
  return kExitRunFailed;
}

// The workdir where only a volume can bring it: then one has to cover it. "" where it is there, or may be
// behind a symlink that leads into a volume.
std::string MissingWorkdir(const std::string& workdir) {
  std::error_code none;
  if (workdir.empty() || std::filesystem::is_directory(workdir, none)) return "";
  std::error_code error;
  const std::string path = NormalPath(std::filesystem::absolute(workdir, error).lexically_normal().string());
  if (error) return "";
  for (std::string up = path; up.size() > 1; up = ParentOf(up))
    if (std::filesystem::is_symlink(up, none)) return "";
  return path;
}

Json RequestFor(const Options& options, const std::string& scope, Json sources) {
  Json request = PrepareRequest(options, "run", scope, std::move(sources));
  if (std::string path = MissingWorkdir(options.workdir); !path.empty()) request["covers"] = path;
  return request;
}

// What one `dvdi run` holds. Its steps return an exit code only where the run is over.
class Session {
 public:
  Session(const Options& options, Json sources, Signals signals)
      : options_(options), sources_(std::move(sources)), signals_(std::move(signals)) {}

  int Run();

 private:
  int Fail(const Status& status) { return RunFailed(options_, status); }
  Status Begin(Json* request);
  Status HoldNamespace();
  // `what` is shown where it takes long; "" for what the command does.
  Status WaitFor(int fd, const std::string& what = "");
  Result<Json> Prepare(const Json& request);
  Status GiveVolumes(const Json& answer);
  Result<ChildReport> StartCommand();
  int Supervise();
  void StopChild();
  void CleanUp();
  bool ProcessesLeft();
  void Close(int wait_ms);

  const Options& options_;
  Json sources_;
  Signals signals_;
  std::optional<Child> child_;
  std::unique_ptr<Engine> engine_;
  std::string scope_;
  UniqueFd namespace_;
  uint64_t child_start_ = 0;
  Json cleaned_;         // the answer of the cleanup
  int interrupted_ = 0;  // the signal that asked us to end before the command ran
  bool started_ = false;
};

// Waits until `fd` is readable, and handles signals meanwhile. kRefused where the user gave up.
Status Session::WaitFor(int fd, const std::string& what) {
  std::optional<Progress> progress;
  if (!what.empty()) progress.emplace(what);
  for (;;) {
    struct pollfd fds[2] = {{fd, POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
    if (::poll(fds, 2, progress.has_value() ? progress->WaitMs() : -1) < 0 && errno != EINTR)
      return Status::FromErrno(errno, "cannot poll");
    if (progress.has_value()) fds[1].revents != 0 ? progress->Clear() : progress->Tick();
    while (auto signal = signals_.Next()) {
      int number = static_cast<int>(signal->ssi_signo);
      if (started_) {
        if (number != SIGCHLD) PassOn(*signal, child_->pid());
      } else if (signals_.Ignored(number)) {
        continue;
      } else if (number == SIGTSTP) {
        ::raise(SIGSTOP);
      } else if (IsEnding(number)) {
        if (interrupted_ != 0) {
          PrintNote("left as it is; `dvdi recover` cleans up");
          ::_exit(128 + number);
        }
        interrupted_ = number;
        PrintNote(
            "interrupted: waiting for the drivers, to undo what was begun (once more: leave it to `dvdi "
            "recover`)");
      }
    }
    if (fds[0].revents != 0) return OkStatus();
  }
}

// Holds the child's mount namespace open. The number of one that ended is given to the next that is made, by
// whomever: without this a stranger's processes could be taken for what the command left behind.
Status Session::HoldNamespace() {
  const std::string path = "/proc/" + std::to_string(child_->pid()) + "/ns/mnt";
  namespace_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!namespace_.valid()) return Status::FromErrno(errno, "cannot open " + path, path);
  if (const int r = Sys::Real()->ProcessStart(child_->pid(), &child_start_); r < 0)
    return Status::FromErrno(-r, "cannot tell when process " + std::to_string(child_->pid()) + " began");
  return OkStatus();
}

// The child, the engine, and what to ask of it.
Status Session::Begin(Json* request) {
  ChildSpec spec;
  spec.command = options_.command;
  spec.workdir = options_.workdir;
  spec.mask = signals_.original_mask();
  if (!options_.user.empty()) {
    DVDI_ASSIGN_OR_RETURN(spec.user, ResolveUser(options_.user));
  }
  scope_ = options_.scope.empty() ? Random::Real()->HexId(16) : options_.scope;
  DVDI_ASSIGN_OR_RETURN(child_, Child::Start(spec));
  ShedInherited();  // after the fork: the command gets all as we got it
  DVDI_ASSIGN_OR_RETURN(engine_, Engine::Open(options_.global));
  // Before there is a namespace: the kernel gives a new one the number of one that has just ended, and the
  // run that had it would seem to go on.
  engine_->RecoverRuns(options_.global.json);
  DVDI_RETURN_IF_ERROR(child_->Enter());
  DVDI_RETURN_IF_ERROR(WaitFor(child_->fd()));
  DVDI_ASSIGN_OR_RETURN(ChildReport report, child_->Receive());
  if (report.kind == ChildReport::Kind::kFailed) return report.failure;
  if (report.kind != ChildReport::Kind::kReady)
    return Status(Code::kSystem, "the child process of dvdi run died before the command started");
  DVDI_RETURN_IF_ERROR(HoldNamespace());
  *request = RequestFor(options_, scope_, std::move(sources_));
  (*request)["process"] = {{"pid", child_->pid()}};
  if (spec.user.has_value()) (*request)["user"] = {{"uid", spec.user->uid}, {"gid", spec.user->gid}};
  return OkStatus();
}

Result<Json> Session::Prepare(const Json& request) {
  // A request that was answered before is answered the same again: two runs of one name would share a scope,
  // and the first to end would end it for both.
  if (!options_.scope.empty()) {
    DVDI_ASSIGN_OR_RETURN(Json scopes, engine_->Ask(dvdi_status, {{"what", "scopes"}}));
    for (const auto& scope : GetMember(scopes, "scopes"))
      if (GetString(scope, "owner") == "run" && GetString(scope, "scope") == scope_)
        return Status(Code::kRefused, "a run with the name " + scope_ + " is there already",
                      "Give another --name, or none");
  }
  DVDI_ASSIGN_OR_RETURN(Pending pending, engine_->Start(dvdi_prepare, request));
  DVDI_RETURN_IF_ERROR(WaitFor(pending.fd(), "attaching volumes"));
  return pending.Take();
}

Status Session::GiveVolumes(const Json& answer) {
  for (const auto& mountpoint : GetMember(answer, "hide"))
    if (mountpoint.is_string()) DVDI_RETURN_IF_ERROR(child_->Hide(mountpoint.get<std::string>()));
  std::vector<Placement> places;
  for (const auto& v : GetMember(answer, "volumes"))
    places.push_back(
        {GetString(v, "target"), GetString(v, "stage"), GetString(v, "driver"), GetString(v, "name")});
  DVDI_RETURN_IF_ERROR(child_->Place(std::move(places)));
  const std::string stages = GetString(answer, "hide_last");
  return stages.empty() ? OkStatus() : child_->Hide(stages);
}

Result<ChildReport> Session::StartCommand() {
  DVDI_RETURN_IF_ERROR(child_->Go());
  started_ = true;
  DVDI_RETURN_IF_ERROR(WaitFor(child_->fd()));
  return child_->Receive();
}

// Until the command ends; its exit code.
int Session::Supervise() {
  for (;;) {
    struct pollfd fd = {signals_.fd(), POLLIN, 0};
    // First look, then wait: the command may have ended before anybody looked.
    for (;;) {
      int status = 0;
      pid_t pid = ::waitpid(child_->pid(), &status, WNOHANG | WUNTRACED);
      if (pid < 0 && errno == EINTR) continue;
      if (pid < 0) return Fail(Status::FromErrno(errno, "cannot wait for the command"));
      if (pid == 0) break;
      if (WIFEXITED(status)) return WEXITSTATUS(status);
      if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
      if (WIFSTOPPED(status)) StopWith(child_->pid(), WSTOPSIG(status));
    }
    if (::poll(&fd, 1, -1) < 0 && errno != EINTR) return Fail(Status::FromErrno(errno, "cannot poll"));
    while (auto signal = signals_.Next())
      if (signal->ssi_signo != SIGCHLD) PassOn(*signal, child_->pid());
  }
}

// Ends a child that has not become the command.
void Session::StopChild() {
  if (!child_.has_value()) return;
  child_->Abandon();
  while (::waitpid(child_->pid(), nullptr, 0) < 0 && errno == EINTR) {
  }
}

// Whether the command left processes behind. Those that are ending just now get a moment.
bool Session::ProcessesLeft() {
  uint64_t number = 0;
  int r = Sys::Real()->MountNamespaceOf(namespace_.get(), &number);
  for (int round = 0;; ++round) {
    auto left = r < 0 ? Result<std::vector<pid_t>>(Status::FromErrno(-r, "cannot read the mount namespace"))
                      : Sys::Real()->ProcessesIn(number);
    if (left.ok() && left->empty()) return false;
    if (IsForbidden(left.status().error_number())) {
      // For the kernel, which is asked instead, it is there as long as we hold it.
      namespace_.reset();
      if (auto deserted = Sys::Real()->IsDeserted(number, child_start_); deserted.ok() && *deserted)
        return false;
    }
    if (round == 20) {
      if (!left.ok()) PrintNote("note: " + ErrorLine(left.status()));
      const size_t n = left.ok() ? left->size() : 0;
      const std::string behind = left.ok()
                                     ? std::to_string(n) + (n == 1 ? " process behind" : " processes behind")
                                     : "processes behind, as far as can be told";
      PrintNote("note: the command left " + behind +
                ": the volumes stay until they end; then any `dvdi` call releases them");
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
}

void Session::CleanUp() {
  // Its mounts would hold the volumes' devices.
  namespace_.reset();
  Json request = {
      {"owner", "run"}, {"scope", scope_}, {"deadline_ms", options_.global.timeout_ms}, {"held_ms", kHeldMs}};
  auto answer = engine_->Do(dvdi_cleanup, request);
  if (answer.ok())
    cleaned_ = std::move(*answer);
  else
    PrintNote("note: the volumes are not released yet, `dvdi recover` tries again: " +
              ErrorLine(answer.status()));
}

void Session::Close(int wait_ms) {
  namespace_.reset();
  // From here on a signal may end us: what is left is in the ledger.
  signals_.Unblock();
  if (engine_ != nullptr) engine_->Close(AwaitReleases(engine_.get(), cleaned_, wait_ms));
}

int Session::Run() {
  Json request;
  if (Status s = Begin(&request); !s.ok()) {
    int code = Fail(s);
    StopChild();
    Close(0);
    return code;
  }
  auto answer = interrupted_ != 0 ? Result<Json>(Status(Code::kRefused, "interrupted")) : Prepare(request);
  if (!answer.ok() || interrupted_ != 0) {
    int code = interrupted_ != 0 ? 128 + interrupted_ : Fail(answer.status());
    StopChild();
    if (answer.ok()) CleanUp();
    Close(CloseWait(options_, kReleaseWaitMs));
    return code;
  }
  PrintPrepared(*answer, options_.global.json);
  int code = kExitRunFailed;
  Status failure = GiveVolumes(*answer);
  auto report = failure.ok() ? StartCommand() : Result<ChildReport>(failure);
  // A lost connection is the child's failure, which it has told before it went.
  if (!report.ok() && Child::IsLost(report.status())) report = child_->Receive();
  if (!report.ok()) {
    code = Fail(report.status());
    StopChild();
  } else if (report->kind == ChildReport::Kind::kFailed) {
    Fail(report->failure);
    code = report->exit_code;
    StopChild();
  } else {
    code = Supervise();
  }
  bool left = ProcessesLeft();
  if (!left) CleanUp();
  Close(left ? 0 : CloseWait(options_, kReleaseWaitMs));
  return code;
}

int DryRun(const Options& options) {
  auto sources = LoadSources(options.sources);
  if (!sources.ok()) {
    PrintError(sources.status(), options.global.json);
    return kExitRunFailed;
  }
  auto engine = Engine::Open(options.global);
  auto answer = engine.ok() ? Result<Json>(Json()) : Result<Json>(engine.status());
  if (engine.ok()) {
    std::string scope = options.scope.empty() ? Random::Real()->HexId(16) : options.scope;
    Json request = RequestFor(options, scope, std::move(*sources));
    request["dry_run"] = true;
    if (!options.user.empty()) {
      auto user = ResolveUser(options.user);
      if (!user.ok()) {
        PrintError(user.status(), options.global.json);
        return kExitRunFailed;
      }
      request["user"] = {{"uid", user->uid}, {"gid", user->gid}};
    }
    answer = (*engine)->Do(dvdi_prepare, request, "asking the drivers");
  }
  if (!answer.ok()) {
    PrintError(answer.status(), options.global.json);
    return kExitRunFailed;
  }
  PrintDecision(*answer, options.global.json);
  // As the run itself would have ended.
  return GetMember(*answer, "error").is_object() ? kExitRunFailed : kExitOk;
}

}  // namespace

int Run(const Options& options) {
  if (options.dry_run) return DryRun(options);
  // With the signals as they were: what is read may never come, and nothing is begun that would have to be
  // undone.
  auto sources = LoadSources(options.sources);
  if (!sources.ok()) return RunFailed(options, sources.status());
  auto signals = Signals::Block();
  if (!signals.ok()) return RunFailed(options, signals.status());
  return Session(options, std::move(*sources), std::move(*signals)).Run();
}

}  // namespace dvdi::cli
