#include "helper/helper.h"

#include <errno.h>
#include <poll.h>

#include <algorithm>
#include <condition_variable>
#include <list>
#include <mutex>
#include <set>

#include "base/json.h"
#include "base/text.h"
#include "helper/process.h"
#include "helper/protocol.h"

namespace dvdi {
namespace {

constexpr size_t kMaxIdle = 2;
constexpr int64_t kDefaultMs = 10'000;
// A helper that was killed takes a moment to die; only one that outlives this is called stuck.
constexpr int64_t kDyingMs = 50;

class RealRunner : public HelperRunner {
 public:
  Result<HelperReply> Run(const Env& env, const HelperRequest& request) override;
  void SetPath(std::string path);
  std::vector<StuckHelper> Stuck();
  Status Check();

 private:
  struct Abandoned {
    HelperProcess process;
    std::string mountpoint;
  };

  // Each with mu_ held.
  void ReapLocked();
  bool IsStuckLocked(const std::string& mountpoint, pid_t* pid) const;
  Status EnterLocked(const Env& env, std::unique_lock<std::mutex>& lock, const std::string& mountpoint,
                     int64_t deadline_ms);
  Result<HelperProcess> TakeLocked();
  Result<int> ExecutableLocked();

  // What became of the process that was asked.
  enum class After { kReady, kGone, kStuck };
  // Without mu_.
  Result<HelperReply> Ask(const Env& env, const HelperRequest& request, int64_t deadline_ms,
                          HelperProcess* process, After* after);

  std::mutex mu_;
  std::condition_variable cv_;
  std::string path_;
  UniqueFd executable_;
  std::vector<HelperProcess> idle_;
  std::list<Abandoned> abandoned_;    // killed, not reaped yet
  std::list<HelperProcess> leaving_;  // told to end (socket closed), not reaped yet
  std::set<std::string> in_use_;      // mountpoints that a request runs for
};

Status Gone(const HelperRequest& request) {
  return Status(Code::kSystem, "dvdi-helper ended before it answered for " + request.mountpoint,
                "look for an out-of-memory kill in the kernel's log, then try again")
      .WithPath(request.mountpoint);
}

std::string RequestText(const HelperRequest& request, int64_t left_ms) {
  Json json = {{"v", kHelperProtocol},
               {"path", request.path.empty() ? request.mountpoint : request.path},
               {"left_ms", left_ms}};
  if (request.op == HelperRequest::Op::kStatfs) {
    json["op"] = "statfs";
  } else {
    json["op"] = "folder";
    json["subpath"] = request.subpath;
    json["ownership"] = static_cast<int>(request.ownership);
    json["uid"] = request.uid;
    json["gid"] = request.gid;
  }
  return Dump(json);
}

Status ErrorFrom(const Json& error, const std::string& path) {
  Code code = CodeFromName(GetString(error, "code"));
  if (code == Code::kOk) code = Code::kInternal;
  return Status(code, OneLine(GetString(error, "message", "dvdi-helper gave no reason")),
                OneLine(GetString(error, "hint")))
      .WithPath(path);
}

Result<HelperReply> ReplyFrom(const HelperRequest& request, const Json& ok, std::vector<UniqueFd>* fds) {
  HelperReply reply;
  reply.mount_id = static_cast<int>(GetInt(ok, "mount_id", -1));
  reply.real = GetString(ok, "real");
  reply.chowned = GetInt(ok, "chowned");
  if (request.op == HelperRequest::Op::kStatfs) {
    const Json& usage = GetMember(ok, "usage");
    reply.usage = {GetInt(usage, "total"), GetInt(usage, "used"), GetInt(usage, "free"),
                   GetInt(usage, "inodes"), GetInt(usage, "inodes_free")};
    return reply;
  }
  if (fds->empty()) return Status(Code::kInternal, "dvdi-helper passed no descriptor of the folder");
  reply.folder = (*fds)[0].release();
  if (fds->size() > 1) reply.userns = (*fds)[1].release();
  return reply;
}

void RealRunner::ReapLocked() {
  abandoned_.remove_if([](Abandoned& a) { return a.process.Reap(); });
  leaving_.remove_if([](HelperProcess& p) { return p.Reap(); });
}

bool RealRunner::IsStuckLocked(const std::string& mountpoint, pid_t* pid) const {
  for (const Abandoned& a : abandoned_) {
    if (a.mountpoint != mountpoint) continue;
    *pid = a.process.pid;
    return true;
  }
  return false;
}

Status RealRunner::EnterLocked(const Env& env, std::unique_lock<std::mutex>& lock,
                               const std::string& mountpoint, int64_t deadline_ms) {
  int64_t dying_until = env.clock->MonotonicMs() + kDyingMs;
  for (;;) {
    ReapLocked();
    pid_t pid = 0;
    int64_t now = env.clock->MonotonicMs();
    bool stuck = IsStuckLocked(mountpoint, &pid);
    if (stuck && now >= std::min(dying_until, deadline_ms))
      return Status(Code::kTimeout,
                    "an earlier helper (pid " + std::to_string(pid) + ") still hangs in " + mountpoint +
                        ": the filesystem there does not answer",
                    "restart the driver, or unmount it with umount -f; then try again")
          .WithPath(mountpoint);
    if (!stuck && in_use_.count(mountpoint) == 0 && now < deadline_ms) {
      in_use_.insert(mountpoint);
      return Status();
    }
    if (now >= deadline_ms && in_use_.count(mountpoint) == 0)
      return Status(Code::kTimeout, "the deadline had passed before " + mountpoint + " could be looked at",
                    "give the operation more time")
          .WithPath(mountpoint);
    if (now >= deadline_ms)
      return Status(Code::kTimeout,
                    "another operation was still at work in " + mountpoint + " at the deadline",
                    "try again later")
          .WithPath(mountpoint);
    env.scheduler->Wait(lock, cv_, stuck ? std::min(now + 2, deadline_ms) : deadline_ms);
  }
}

Result<int> RealRunner::ExecutableLocked() {
  if (!executable_.valid()) {
    DVDI_ASSIGN_OR_RETURN(executable_, OpenHelperExecutable(path_));
  }
  return executable_.get();
}

Result<HelperProcess> RealRunner::TakeLocked() {
  while (!idle_.empty()) {
    HelperProcess process = std::move(idle_.back());
    idle_.pop_back();
    if (process.Usable()) return process;
    process.socket.reset();
    leaving_.push_back(std::move(process));
  }
  DVDI_ASSIGN_OR_RETURN(int executable, ExecutableLocked());
  return StartHelper(executable);
}

Result<HelperReply> RealRunner::Ask(const Env& env, const HelperRequest& request, int64_t deadline_ms,
                                    HelperProcess* process, After* after) {
  *after = After::kStuck;
  int socket = process->socket.get();
  int64_t start = env.clock->MonotonicMs();
  std::vector<int> fds;
  if (request.fd >= 0) fds.push_back(request.fd);
  if (int r = SendPacket(socket, RequestText(request, deadline_ms - start), fds); r < 0) {
    if (r == -EPIPE || r == -ECONNRESET) *after = After::kGone;
    return Status::FromErrno(-r, "cannot ask dvdi-helper about " + request.mountpoint, request.mountpoint);
  }
  for (;;) {
    int64_t left = deadline_ms - env.clock->MonotonicMs();
    struct pollfd poll = {socket, POLLIN, 0};
    int ready = ::poll(&poll, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 3'600'000)));
    if (ready < 0 && errno != EINTR)
      return Status::FromErrno(errno, "cannot wait for dvdi-helper about " + request.mountpoint,
                               request.mountpoint);
    if (ready == 0 && env.clock->MonotonicMs() >= deadline_ms)
      return Status(Code::kTimeout,
                    request.mountpoint + " did not answer within " + std::to_string(deadline_ms - start) +
                        " ms: the filesystem there hangs or is very slow",
                    "see whether the driver and its backend are alive; then try again")
          .WithPath(request.mountpoint);
    if (ready <= 0) continue;
    std::string text;
    std::vector<UniqueFd> passed;
    int r = ReceivePacket(socket, false, &text, &passed);
    if (r == -EAGAIN) continue;
    if (r == 0 || r == -ECONNRESET) {
      *after = After::kGone;
      return Gone(request);
    }
    if (r < 0)
      return Status::FromErrno(-r, "cannot read dvdi-helper's answer about " + request.mountpoint,
                               request.mountpoint);
    DVDI_ASSIGN_OR_RETURN(Json json, ParseJson(text, "dvdi-helper's answer"));
    if (json.contains("progress")) {
      if (request.progress) request.progress(GetInt(json, "progress"));
      continue;
    }
    *after = After::kReady;
    if (json.contains("ok")) return ReplyFrom(request, GetMember(json, "ok"), &passed);
    return ErrorFrom(GetMember(json, "error"), request.mountpoint);
  }
}

Result<HelperReply> RealRunner::Run(const Env& env, const HelperRequest& request) {
  if (!IsValidUtf8(request.mountpoint) || !IsValidUtf8(request.subpath))
    return Status(Code::kInvalid, "a path that is not UTF-8 cannot be used")
        .WithPath(OneLine(request.mountpoint));
  int64_t deadline = request.deadline_ms != 0 ? request.deadline_ms : env.clock->MonotonicMs() + kDefaultMs;
  std::unique_lock lock(mu_);
  DVDI_RETURN_IF_ERROR(EnterLocked(env, lock, request.mountpoint, deadline));
  Result<HelperReply> reply = Status(Code::kInternal, "not run");
  // A helper that waited may have been killed since it was looked at: then another one is asked. All that
  // is asked of a helper may be asked twice.
  for (;;) {
    auto process = TakeLocked();
    if (!process.ok()) {
      reply = process.status();
      break;
    }
    After after = After::kStuck;
    bool waited = process->waited;
    lock.unlock();
    reply = Ask(env, request, deadline, &*process, &after);
    lock.lock();
    if (after == After::kReady) {
      process->waited = true;
      if (idle_.size() < kMaxIdle) {
        idle_.push_back(std::move(*process));
      } else {
        process->socket.reset();
        leaving_.push_back(std::move(*process));
      }
      break;
    }
    process->Kill();
    process->socket.reset();
    if (after == After::kGone) {
      leaving_.push_back(std::move(*process));
      if (waited) continue;
    } else {
      abandoned_.push_back({std::move(*process), request.mountpoint});
    }
    break;
  }
  in_use_.erase(request.mountpoint);
  ReapLocked();
  cv_.notify_all();
  return reply;
}

void RealRunner::SetPath(std::string path) {
  std::lock_guard lock(mu_);
  path_ = std::move(path);
  executable_.reset();
  for (HelperProcess& process : idle_) {
    process.socket.reset();
    leaving_.push_back(std::move(process));
  }
  idle_.clear();
  ReapLocked();
}

std::vector<StuckHelper> RealRunner::Stuck() {
  std::lock_guard lock(mu_);
  ReapLocked();
  std::vector<StuckHelper> out;
  for (const Abandoned& a : abandoned_) out.push_back({a.process.pid, a.mountpoint});
  return out;
}

Status RealRunner::Check() {
  std::lock_guard lock(mu_);
  return ExecutableLocked().status();
}

RealRunner* TheRunner() {
  static auto* runner = new RealRunner;
  return runner;
}

}  // namespace

HelperRunner* HelperRunner::Real() { return TheRunner(); }
void SetHelperPath(std::string path) { TheRunner()->SetPath(std::move(path)); }
std::vector<StuckHelper> StuckHelpers() { return TheRunner()->Stuck(); }
Status CheckHelper() { return TheRunner()->Check(); }

}  // namespace dvdi
