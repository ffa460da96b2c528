#include "engine/tell.h"

#include "base/text.h"
#include "sys/files.h"

namespace dvdi {
namespace {

// An operation that was not allowed, or one that went wrong.
const char* EventOf(const Status& why) {
  switch (why.code()) {
    case Code::kInvalid:
    case Code::kRefused:
    case Code::kPolicy:
    case Code::kNotFound: return "refused";
    default: return "failed";
  }
}

VolumeEvent EventFor(const char* event, const std::string& driver, const std::string& name,
                     const std::string& id) {
  VolumeEvent e;
  e.event = event, e.driver = driver, e.name = name, e.id = id;
  return e;
}

}  // namespace

void StartObserver(Core* core) {
  // What keeps it from being made is what keeps the counters from being shared, and said there.
  (void)EnsureOwnFolder(core->env.sys, core->settings.runtime_dir);
  AuditSettings& audit = core->settings.audit;
  if (audit.file.empty()) audit.file = core->settings.state_dir + "/audit.log";
  core->observer = std::make_unique<Observer>(core->env, core->settings.node, audit,
                                              core->settings.runtime_dir + "/counters");
}

void PrepareOperation::TellCreated(const VolumeState& v) const {
  // At once: it is the one thing that stays whatever becomes of the operation.
  core_.observer->Volumes(
      recorder_.Context(request_.operation),
      {EventFor("created", v.driver, v.name, request_.goal == Goal::kCreate ? "" : v.attachment.id)});
}

void PrepareOperation::Tell(const Status& why) const {
  EventContext context = recorder_.Context(request_.operation);
  core_.observer->Operation(context.kind, CodeName(why.code()), context.duration_us);
  std::vector<VolumeEvent> events;
  for (const VolumeState& v : volumes_) {
    const bool first = &volumes_[v.first] == &v;
    if (first && v.attached && v.before != "attached")
      events.push_back(EventFor("mounted", v.driver, v.name, v.attachment.id));
    if (!v.owned.empty()) {
      events.push_back(EventFor("ownership-changed", v.driver, v.name, v.attachment.id));
      events.back().detail = v.owned;
    }
    if (!v.stage.empty()) {
      events.push_back(EventFor("staged", v.driver, v.name, v.attachment.id));
      events.back().target = v.target, events.back().mode = v.mode;
    }
    if (why.ok() || !first) continue;
    events.push_back(EventFor(EventOf(why), v.driver, v.name, begun_ ? v.attachment.id : ""));
    events.back().outcome = CodeName(why.code());
    events.back().error = recorder_.Redact(why.message());
  }
  core_.observer->Volumes(context, events);
}

void TellRefused(Core& core, const Recorder& recorder, const PrepareRequest& request, const Status& why) {
  if (request.goal == Goal::kRehearsal) return;  // nothing was to be done
  EventContext context = recorder.Context(request.operation);
  core.observer->Operation(context.kind, CodeName(why.code()), context.duration_us);
  std::vector<VolumeEvent> events;
  std::set<std::pair<std::string, std::string>> seen;
  for (const Json& v : request.volumes) {
    std::string driver = GetString(v, "driver"), name = GetString(v, "name");
    if (driver.empty() || name.empty() || !seen.insert({driver, name}).second) continue;
    events.push_back(EventFor(EventOf(why), driver, name, ""));
    events.back().outcome = CodeName(why.code());
    events.back().error = recorder.Redact(why.message());
  }
  core.observer->Volumes(context, events);
}

void TellUndone(Core& core, const Recorder& recorder, const OperationRow& operation,
                const std::map<std::string, std::pair<std::string, std::string>>& volumes,
                const std::vector<UndoneStage>& stages) {
  std::vector<VolumeEvent> events;
  for (const UndoneStage& s : stages) {
    auto it = volumes.find(s.effect.attachment);
    if (it == volumes.end()) continue;
    events.push_back(EventFor("unstaged", it->second.first, it->second.second, s.effect.attachment));
    events.back().target = s.effect.target;
    events.back().outcome = CodeName(s.status.code());
    events.back().error = recorder.Redact(s.status.message());
  }
  core.observer->Volumes(recorder.Context(operation), events);
}

void TellRelease(Core& core, const AttachmentRow& a, ReleaseResult result, Code why, int64_t started_ns) {
  EventContext context;
  context.kind = "release";
  context.duration_us = (core.env.clock->MonotonicNs() - started_ns) / 1000;
  VolumeEvent e = EventFor(result == ReleaseResult::kUnconfirmed ? "released-unconfirmed" : "unmounted",
                           a.driver, a.name, a.id);
  // Without the driver's words: this engine need not know the secrets that they could repeat.
  if (result == ReleaseResult::kPending) e.outcome = CodeName(why);
  core.observer->Operation("release", e.outcome, context.duration_us);
  core.observer->Volumes(context, {e});
}

void TellCall(Observer& observer, const Call& call, const Answer& answer, int64_t ns) {
  // What was never sent for want of a plugin: its driver's name is a workload's word.
  if (answer.reason == "not-found" || answer.reason == "invalid") return;
  const char* kind = answer.kind == Answer::Kind::kOk      ? "ok"
                     : answer.kind == Answer::Kind::kError ? "error"
                                                           : answer.reason.c_str();
  observer.PluginCall(call.driver, MethodName(call.method), kind, ns);
}

void TellOperator(Core& core, const char* kind, const char* event, const std::string& driver,
                  const std::string& name, const std::string& id, const Status& status) {
  EventContext context;
  context.kind = kind, context.owner = "operator";
  VolumeEvent e = EventFor(event, driver, name, id);
  e.outcome = CodeName(status.code());
  // Of what was refused by us the reason; of what a driver answered only the kind.
  if (status.code() != Code::kDriver && status.code() != Code::kUnavailable) e.error = status.message();
  core.observer->Operation(kind, e.outcome, 0);
  core.observer->Volumes(context, {e});
}

}  // namespace dvdi
