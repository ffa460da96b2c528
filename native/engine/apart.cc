// Prepares that are for no workload: volumes that are only to exist, and rehearsals. The policy decides as
// always; what would have to be undone is not done.
#include "base/caught.h"
#include "base/text.h"
#include "engine/operation.h"

namespace dvdi {

PrepareOperation::Outcome PrepareOperation::RunApart() {
  Outcome outcome;
  bool rehearsal = request_.goal == Goal::kRehearsal;
  Status s = Caught([&]() -> Status {
    if (rehearsal) {
      DVDI_RETURN_IF_ERROR(CheckTargets());
    } else {
      DVDI_ASSIGN_OR_RETURN(locks_,
                            VolumeLocks::Take(core_.env, core_.lock_file, Names(), request_.deadline_ms));
    }
    DVDI_RETURN_IF_ERROR(Look());
    for (VolumeState& v : volumes_) v.there = v.attached;
    return Decide();
  });
  if (rehearsal) {
    outcome.answer = RehearsalAnswer(s);
    return outcome;
  }
  // Whoever is told that a volume was made for him must find that in the ledger.
  if (Status kept = create_tried_ ? RecordCreated() : Status(); s.ok() && !kept.ok()) s = NotKept(kept);
  (void)core_.ledger->Apply(Commit::recorded, false, [&](LedgerTx& tx) {
    return tx.PutRecord(recorder_.Finish(request_.operation, s.ok() ? "ok" : CodeName(s.code()), s), Names(),
                        core_.settings.records_keep);
  });
  (void)Caught([&] { Tell(s); });
  outcome.status = s;
  if (s.ok()) outcome.answer = CreateAnswer();
  outcome.locks = std::move(locks_);
  return outcome;
}

Status PrepareOperation::NotKept(Status why) const {
  std::string made;
  for (const VolumeState& v : volumes_)
    if (v.created || v.create_sent)
      made += (made.empty() ? "" : ", ") + OneLine(v.driver + "/" + v.name, 255);
  const bool says_what_to_do = !why.hint().empty();
  why = std::move(why).WithContext("what was created (" + made + ") cannot be written down");
  if (says_what_to_do) return why;
  return std::move(why).WithHint(
      "see what is wrong with the disk of the state folder; what was created is there, and stays");
}

Json PrepareOperation::CreateAnswer() const {
  Json list = Json::array();
  for (size_t i = 0; i < volumes_.size(); ++i) {
    const VolumeState& v = volumes_[i];
    list.push_back({{"driver", v.driver},
                    {"name", v.name},
                    {"what", volumes_[v.first].created ? "created" : "existed"},
                    {"message", PolicyMessage(i)}});
  }
  return {{"operation", request_.operation.id}, {"volumes", std::move(list)}, {"notes", Notes()}};
}

Json PrepareOperation::RehearsalAnswer(const Status& decided) const {
  Json list = Json::array();
  for (size_t i = 0; i < volumes_.size(); ++i) {
    const VolumeState& v = volumes_[i];
    Json one = v.request;
    one["state"] = v.before.empty() ? "none" : v.before;
    Json users = Json::array();
    for (const auto& u : v.users) users.push_back({{"owner", u.owner}, {"scope", u.scope}, {"mode", u.mode}});
    one["users"] = std::move(users);
    if (std::string message = PolicyMessage(i); !message.empty()) one["message"] = message;
    list.push_back(std::move(one));
  }
  Json answer = {{"dry_run", true}, {"volumes", std::move(list)}, {"calls", rehearsed_}, {"notes", Notes()}};
  if (!decided.ok()) answer["error"] = Json::parse(decided.ToJson(), nullptr, false);
  // What the policy saw of a secret is its handle; what a driver repeated of it is hidden.
  return Json::parse(recorder_.RedactJson(Dump(answer)), nullptr, false);
}

Json PrepareOperation::AnswerApart(const Json& item, const Call& call, size_t volume) {
  bool effect = call.method == Method::kCreate || call.method == Method::kMount;
  if (request_.goal == Goal::kWorkload || !effect) return Json();
  VolumeState& v = volumes_[volumes_[volume].first];
  if (request_.goal == Goal::kCreate) {
    if (call.method == Method::kCreate) return Json();
    return {{"kind", "refused"}, {"error", "this operation only creates volumes, and mounts none"}};
  }
  if (call.method == Method::kMount && v.attached) return Json();  // the ledger answers
  Json done = {{"call", MethodName(call.method)}, {"driver", v.driver}, {"name", v.name}};
  if (call.method == Method::kCreate) {
    v.created = v.there = true;
    v.get_said_no = v.list_without = false;
    done["options"] = GetMember(item, "options").is_object() ? GetMember(item, "options") : Json::object();
    rehearsed_.push_back(std::move(done));
    return {{"kind", "ok"}};
  }
  v.attached = true;
  v.attachment.mountpoint = core_.stage_root + "/" + v.attachment.id;  // any absolute path; nothing is there
  rehearsed_.push_back(std::move(done));
  return {{"kind", "ok"}, {"mountpoint", v.attachment.mountpoint}};
}

Result<Json> PrepareOperation::StageApart(const Json& items, const std::vector<size_t>& volumes) {
  if (request_.goal == Goal::kCreate)
    return Status(Code::kPolicy, "stage: this operation only creates volumes",
                  "the policy does not know this goal: install a newer one");
  Json out = Json::array();
  for (size_t k = 0; k < volumes.size(); ++k) {
    VolumeState& v = volumes_[volumes[k]];
    v.stage = "-";
    Json done = {{"call", "stage"}, {"driver", v.driver}, {"name", v.name}, {"target", v.target}};
    for (const char* key : {"read_only", "nosuid", "nodev", "subpath", "ownership"})
      if (items[k].contains(key)) done[key] = items[k][key];
    if (v.mode == "ro") done["read_only"] = true;
    rehearsed_.push_back(std::move(done));
    out.push_back({{"ok", true}});
  }
  return Json{{"stages", std::move(out)}};
}

}  // namespace dvdi
