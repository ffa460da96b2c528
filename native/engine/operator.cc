#include "engine/operator.h"

#include <algorithm>

#include "base/guards.h"
#include "base/text.h"
#include "engine/driver_words.h"
#include "engine/tell.h"

namespace dvdi {

OperatorTask::OperatorTask(Core& core, const char* kind, std::string driver, std::string name,
                           int64_t deadline_ms)
    : core_(core),
      kind_(kind),
      driver_(std::move(driver)),
      name_(std::move(name)),
      deadline_ms_(deadline_ms),
      recorder_(core.env, kind, core.settings.record_bytes) {
  operation_.id = core.env.random->HexId(16);
  operation_.owner = "manual", operation_.scope = kind;
}

Answer OperatorTask::Do(Call call) {
  call.driver = driver_;
  bool of_driver = call.method == Method::kList || call.method == Method::kCapabilities;
  if (!of_driver) call.volume = name_;
  int64_t now = core_.env.clock->MonotonicMs();
  call.deadline_ms = std::min(deadline_ms_, now + core_.settings.call_max_ms);
  int64_t begin = core_.env.clock->MonotonicNs();
  Answer answer = core_.plugins->RunOne(call);
  Json request = {{"method", MethodName(call.method)}, {"driver", driver_}};
  if (!of_driver) request["name"] = name_;
  if (call.method == Method::kFence) request["node_is_dead"] = call.node_is_dead;
  Json said = {{"kind", answer.kind == Answer::Kind::kOk      ? "ok"
                        : answer.kind == Answer::Kind::kError ? "error"
                                                              : "unknown"}};
  const std::string kept = KeptError(core_, call, answer);
  if (!kept.empty()) said["error"] = kept;
  if (kept != answer.error) left_out_ = kept;
  if (answer.kind == Answer::Kind::kUnknown) said["reason"] = answer.reason, said["sent"] = answer.sent;
  if (!answer.mountpoint.empty()) said["mountpoint"] = OneLine(answer.mountpoint, 4096);
  recorder_.HostCall("plugin_call", Dump({{"calls", {request}}}), Dump({{"ok", {{"answers", {said}}}}}),
                     core_.env.clock->MonotonicNs() - begin);
  return answer;
}

Result<OperatorTask::Use> OperatorTask::FindUse() {
  Use use;
  DVDI_RETURN_IF_ERROR(core_.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(use.row, tx.GetVolume(driver_, name_));
    DVDI_ASSIGN_OR_RETURN(use.attachment, tx.FindAttachment(driver_, name_));
    if (use.attachment) {
      DVDI_ASSIGN_OR_RETURN(use.users, tx.Users(use.attachment->id, core_.boot_id));
    }
    return Status();
  }));
  return use;
}

Status OperatorTask::CheckUnused(const Use& use, const char* what) {
  if (!DVDI_GUARD(operator_in_use) || use.users.empty()) return Status();
  const UserRow& user = use.users[0];
  return Status(Code::kRefused,
                "volume " + OneLine(name_, 255) + " is in use on this node by scope " + user.scope + " of " +
                    user.owner + ": it is not " + what,
                "end that scope first; `dvdi inspect` shows all users, and their processes");
}

OperatorTask::There OperatorTask::Look(Answer* get, std::string* why) {
  Call call;
  call.method = Method::kGet;
  *get = Do(call);
  if (get->kind == Answer::Kind::kOk) return There::kYes;
  *why = get->error;
  if (get->kind == Answer::Kind::kUnknown) return There::kUnknown;
  call.method = Method::kList;
  Answer list = Do(call);
  if (list.kind != Answer::Kind::kOk) {
    *why = list.error;
    return There::kUnknown;
  }
  bool named = std::any_of(list.volumes.begin(), list.volumes.end(),
                           [&](const ListedVolume& v) { return v.name == name_; });
  return named ? There::kYes : There::kNo;
}

Status OperatorTask::Finish(const Status& status, const char* event,
                            const std::function<Status(LedgerTx&)>& changes) {
  Code code = status.code();
  bool refused = code == Code::kInvalid || code == Code::kRefused || code == Code::kNotFound;
  TellOperator(core_, kind_,
               status.ok() ? event
               : refused   ? "refused"
                           : "failed",
               driver_, name_, "", status);
  // Of what was refused by us the reason; of what its driver answered only what may be kept.
  Status kept = status;
  if (!left_out_.empty() && !status.ok() && !refused) kept = Status(code, left_out_, status.hint());
  return core_.ledger->Apply(Commit::operated, changes != nullptr, [&](LedgerTx& tx) -> Status {
    if (changes != nullptr) DVDI_RETURN_IF_ERROR(changes(tx));
    return tx.PutRecord(recorder_.Finish(operation_, status.ok() ? "ok" : CodeName(status.code()), kept),
                        {{driver_, name_}}, core_.settings.records_keep);
  });
}

Status SubmitOperator(const std::shared_ptr<Core>& core, const char* kind, const Json& request,
                      OperatorBody body, Engine::Done done) {
  std::string driver = GetString(request, "driver"), name = GetString(request, "name");
  if (driver.empty() || name.empty())
    return Status(Code::kInvalid, std::string(kind) + " wants a driver and a volume's name");
  DVDI_RETURN_IF_ERROR(core->settings.CheckDriver(driver, name));
  if (core->closing) return Status(Code::kRefused, "the engine is being closed");
  int64_t wait = GetInt(request, "deadline_ms");
  if (wait <= 0) wait = core->settings.prepare_ms;
  int64_t deadline = core->In(wait);
  core->admission->Submit(
      kind, {driver}, deadline, [core, kind, driver, name, deadline, body, done](const Status& admitted) {
        if (!admitted.ok()) return done(admitted, Json());
        auto locks = VolumeLocks::Take(core->env, core->lock_file, {{driver, name}}, deadline);
        if (!locks.ok()) return done(locks.status(), Json());
        OperatorTask task(*core, kind, driver, name, deadline);
        Result<Json> answer = body(task);
        core->plugins->CloseIdle();
        if (answer.ok()) return done(Status(), *answer);
        Status failed = answer.status();
        done(failed.WithVolume(OneLine(driver, 128), OneLine(name, 255)), Json());
      });
  return Status();
}

}  // namespace dvdi
