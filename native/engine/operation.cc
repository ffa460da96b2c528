#include "engine/operation.h"

#include <algorithm>

#include "base/caught.h"
#include "base/text.h"
#include "engine/meta.h"
#include "engine/operation_json.h"
#include "engine/watch.h"
#include "mount/stage.h"
#include "policy/answer.h"

namespace dvdi {

Status ScopeTaken(const OperationRow& operation) {
  const std::string& owner = operation.owner;
  std::string hint = "end it first, or give this one another name";
  if (owner == "manual")
    hint = "end it first (`dvdi unmount --name " + OneLine(operation.scope, 255) +
           "`), or give this one another name";
  if (owner == "oci")
    hint =
        "a container with this ID still has a process: delete that container with its runtime, or give this "
        "one another ID";
  return Status(Code::kRefused, "scope " + operation.scope + " of " + owner + " has volumes already", hint);
}

PrepareOperation::PrepareOperation(Core& core, PrepareRequest request,
                                   std::shared_ptr<const Revision> revision, Recorder recorder)
    : core_(core),
      request_(std::move(request)),
      revision_(std::move(revision)),
      recorder_(std::move(recorder)) {
  OperationRow& o = request_.operation;
  o.id = core_.env.random->HexId(16);
  o.instance = core_.instance->id();
  o.boot_id = core_.boot_id.id;
  o.state = kRunning;
  o.started_ms = core_.env.clock->WallMs();
  volumes_ = FreshVolumes();
}

std::vector<VolumeState> PrepareOperation::FreshVolumes() const {
  std::vector<VolumeState> volumes;
  for (const Json& r : request_.volumes) {
    VolumeState v;
    v.request = r;
    v.driver = GetString(r, "driver"), v.name = GetString(r, "name");
    v.target = TargetOf(GetString(r, "container_path"));
    v.mode = GetString(r, "mode", "rw"), v.access = GetString(r, "access", "single-writer");
    v.first = volumes.size();
    for (size_t i = 0; i < volumes.size(); ++i) {
      if (volumes[i].driver == v.driver && volumes[i].name == v.name) {
        v.first = i;
        break;
      }
    }
    volumes.push_back(std::move(v));
  }
  return volumes;
}

std::string PrepareOperation::TargetOf(const std::string& container_path) const {
  if (container_path.empty()) return container_path;
  const bool absolute = container_path[0] == '/';
  const std::string& base = absolute ? request_.absolute_base : request_.relative_base;
  if (base.empty()) return container_path;
  return absolute ? base + container_path : base + "/" + container_path;
}

int64_t PrepareOperation::LeftMs() const {
  return std::max<int64_t>(0, request_.deadline_ms - core_.env.clock->MonotonicMs());
}

VolumeLocks::Names PrepareOperation::Names() const {
  VolumeLocks::Names names;
  for (const auto& v : volumes_) names.push_back({v.driver, v.name});
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Json PrepareOperation::Notes() const {
  Json notes = request_.notes;
  for (const Json& n : GetMember(policy_answer_, "notes"))
    if (n.is_string()) notes.push_back(n);
  return notes;
}

std::string PrepareOperation::PolicyMessage(size_t volume) const {
  for (const Json& v : GetMember(policy_answer_, "volumes"))
    if (GetInt(v, "index", -1) == static_cast<int64_t>(volume)) return GetString(v, "message");
  return "";
}

PrepareOperation::Outcome PrepareOperation::Run() {
  if (request_.goal != Goal::kWorkload) return RunApart();
  Outcome outcome;
  ActiveOperation active(&core_, request_.operation.id);
  Status s = Caught([&] { return Try(&outcome); });
  if (!s.ok()) Fail(s, &outcome);
  return outcome;
}

Status PrepareOperation::Try(Outcome* outcome) {
  if (refused_at_ms_ >= 0) Resume();
  Status s = CheckTargets();
  if (s.ok()) s = LookAndDecide();
  if (!s.ok() && Pauses(s)) {
    outcome->again_ms = core_.env.clock->MonotonicMs() + again_ms_;
    return Status();
  }
  NoteWait();
  DVDI_RETURN_IF_ERROR(std::move(s));
  DVDI_RETURN_IF_ERROR(MakeTargets());
  DVDI_ASSIGN_OR_RETURN(Json answer, Commit());
  Tell(Status());
  outcome->answer = std::move(answer);
  return Status();
}

Status PrepareOperation::LookAndDecide() {
  DVDI_ASSIGN_OR_RETURN(locks_, VolumeLocks::Take(core_.env, core_.lock_file, Names(), request_.deadline_ms));
  DVDI_RETURN_IF_ERROR(Look());
  return Decide();
}

void PrepareOperation::Watch(const Status& status) const {
  if (request_.goal == Goal::kRehearsal) return;
  WatchPolicies(core_, *revision_, recorder_, request_.operation, status, policy_failed_);
}

Status PrepareOperation::CheckTargets() {
  if (request_.targets == "ignore") return Status();
  TargetRules rules{core_.settings.target_roots};
  std::vector<std::string> forbidden = {core_.settings.state_dir, core_.settings.runtime_dir,
                                        core_.settings.policy_dir};
  // A base is a workload's own folder or root: what the node's system folders are called means nothing there.
  TargetRules within;
  within.system_folders = false;
  for (const auto& v : volumes_) {
    const bool based = v.target != GetString(v.request, "container_path");
    Status s = CheckTarget(core_.env, based ? within : rules, forbidden, v.target);
    if (!s.ok()) return std::move(s).WithVolume(v.driver, v.name);
  }
  return Status();
}

std::string PrepareOperation::StageOf(size_t index) const {
  return core_.StagePath(volumes_[index].attachment.id,
                         request_.operation.id.substr(0, 12) + "-" + std::to_string(index));
}

// Into the ledger, in one entry before anything is done: the first time all that the operation may come to
// do, so that anybody can undo it; and that these Mounts and Creates are about to be sent.
Status PrepareOperation::Journal(const std::vector<size_t>& mounts, const std::vector<size_t>& creates) {
  // What is begun must be possible to end, also when the disk is full by then.
  if (!begun_) DVDI_RETURN_IF_ERROR(core_.ledger->KeepReserve());
  int64_t seq = next_seq_;
  Status s = core_.ledger->Apply(Commit::intent, false, [&](LedgerTx& tx) -> Status {
    seq = next_seq_;
    for (size_t i : mounts) volumes_[i].attachment.mount_sent = true;
    // No Unmount is owed for a volume that the workload had before, until all of them are taken over: many
    // drivers would take it away under the workload, whoever mounted it. Whoever undoes this, also after a
    // crash, drops the row.
    if (request_.take_over)
      for (VolumeState& v : volumes_) v.attachment.mount_sent = v.before == "attached";
    for (size_t i : mounts) volumes_[i].attachment.boot_id = core_.boot_id.id;
    for (size_t i : creates) {
      if (volumes_[i].history) continue;
      VolumeRow row;
      row.driver = volumes_[i].driver, row.name = volumes_[i].name, row.state = "creating";
      DVDI_RETURN_IF_ERROR(tx.TouchVolume(row));
    }
    // What only creates has nothing that would be undone.
    bool known = request_.goal == Goal::kCreate;
    if (begun_) {
      DVDI_ASSIGN_OR_RETURN(known, HasIntent(tx));
    } else if (!known) {
      seq = AttachSeq(static_cast<int64_t>(volumes_.size()));
    }
    if (!known) {
      DVDI_RETURN_IF_ERROR(ScopeIsFree(tx));
      return PutIntent(tx);
    }
    for (size_t i : mounts) DVDI_RETURN_IF_ERROR(tx.PutAttachment(volumes_[i].attachment));
    return Status();
  });
  if (!s.ok() || request_.goal == Goal::kCreate) return s;
  next_seq_ = seq;
  begun_ = true;
  return s;
}

Status PrepareOperation::PutIntent(LedgerTx& tx) {
  DVDI_RETURN_IF_ERROR(tx.PutOperation(request_.operation));
  for (size_t i = 0; i < volumes_.size(); ++i) {
    VolumeState& v = volumes_[i];
    if (v.first == i) DVDI_RETURN_IF_ERROR(tx.PutAttachment(v.attachment));
    EffectRow e;
    e.operation = request_.operation.id, e.attachment = v.attachment.id, e.target = v.target;
    e.seq = AttachSeq(static_cast<int64_t>(i)), e.kind = kAttach, e.mode = v.mode, e.access = v.access;
    DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
    ++e.seq, e.kind = kStage, e.mode.clear(), e.access.clear(), e.path = StageOf(i);
    DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
  }
  return Status();
}

// A ledger that was replaced meanwhile may know some of it, as committed (RebuildLedger), or nothing.
Result<bool> PrepareOperation::HasIntent(LedgerTx& tx) const {
  DVDI_ASSIGN_OR_RETURN(auto mine, tx.GetOperation(request_.operation.id));
  return mine && mine->state == kRunning;
}

// Somebody may have begun it in a ledger that knew nothing of this one: whoever comes second is refused, and
// undone.
Status PrepareOperation::ScopeIsFree(LedgerTx& tx) const {
  const OperationRow& o = request_.operation;
  DVDI_ASSIGN_OR_RETURN(auto other, tx.FindOperation(o.owner, o.scope));
  return other && other->id != o.id ? ScopeTaken(o) : Status();
}

Status PrepareOperation::Decide() {
  std::string input = Dump(InputForPolicy());
  recorder_.Input("prepare", input);
  auto text = request_.policy->Call(
      "prepare", input,
      [this](std::string_view name, std::string_view request) { return HostCall(name, request); });
  request_.policy.reset();
  // What the engine ended is no fault of the policy's.
  policy_failed_ = !text.ok() && text.status().code() == Code::kPolicy && !core_.closing;
  if (!text.ok()) return policy_failed_ ? PolicyFault(*revision_, text.status()) : text.status();
  recorder_.Answer("prepare", *text);
  Json said;
  auto answer = ParsePolicyAnswer("prepare", *text, &said);
  if (!answer.ok()) {
    policy_failed_ = said.is_null();
    again_ms_ = GetInt(said, "again_ms");
    return policy_failed_ ? PolicyFault(*revision_, answer.status()) : answer.status();
  }
  policy_answer_ = std::move(*answer);
  for (const auto& v : volumes_) {
    if (request_.goal == Goal::kCreate) {
      if (volumes_[v.first].there) continue;
      policy_failed_ = true;
      return PolicyFault(*revision_, Status(Code::kPolicy, "it said that volume " + v.name +
                                                               " is there, and its driver did not"))
          .WithVolume(v.driver, v.name);
    }
    if (!v.stage.empty()) continue;
    policy_failed_ = true;
    return PolicyFault(*revision_,
                       Status(Code::kPolicy, "it said that all is ready but made no stage for volume " +
                                                 v.name + (v.unstaged.empty() ? "" : ": " + v.unstaged)))
        .WithVolume(v.driver, v.name);
  }
  return Status();
}

Status PrepareOperation::MakeTargets() {
  if (request_.targets != "make") return Status();
  std::unique_ptr<VolumeLocks> lock;
  for (const auto& v : volumes_) {
    if (v.target.empty()) continue;
    if (!lock) {
      DVDI_ASSIGN_OR_RETURN(
          lock, VolumeLocks::Take(core_.env, core_.lock_file, {kFoldersLock}, request_.deadline_ms));
    }
    DVDI_ASSIGN_OR_RETURN(auto missing, MissingFolders(core_.env, v.target));
    if (missing.empty()) continue;
    DVDI_RETURN_IF_ERROR(core_.ledger->Apply(Commit::folders, false, [&](LedgerTx& tx) -> Status {
      // Others may have passed folders on to this operation meanwhile, as its last effects.
      DVDI_ASSIGN_OR_RETURN(auto effects, tx.Effects(request_.operation.id));
      int64_t seq = effects.empty() ? next_seq_ : std::max(next_seq_, effects.back().seq + 1);
      for (const auto& path : missing) {
        EffectRow e;
        e.operation = request_.operation.id, e.seq = seq++, e.kind = kFolder, e.path = path;
        DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
      }
      return Status();
    }));
    for (const auto& path : missing) {
      Status s = MakeFolder(core_.env, path);
      if (!s.ok()) return std::move(s).WithVolume(v.driver, v.name);
    }
  }
  return Status();
}

Result<Json> PrepareOperation::Commit() {
  int64_t now = core_.env.clock->WallMs();
  Json list = Json::array();
  for (size_t i = 0; i < volumes_.size(); ++i) {
    const VolumeState& v = volumes_[i];
    bool created = volumes_[v.first].created;
    Json one = {{"driver", v.driver},
                {"name", v.name},
                {"id", v.attachment.id},
                {"stage", v.stage},
                {"target", v.target},
                {"mode", v.mode},
                {"what", created                  ? "created"
                         : v.before == "attached" ? "shared"
                                                  : "re-attached"},
                {"last_used", nullptr},
                {"message", PolicyMessage(i)}};
    if (v.history && v.history->last_used_ms > 0) one["last_used"] = v.history->last_used_ms;
    list.push_back(std::move(one));
  }
  const PolicyManifest& m = revision_->module->manifest();
  Json answer = {
      {"operation", request_.operation.id},
      {"scope", request_.operation.scope},
      {"volumes", std::move(list)},
      {"notes", Notes()},
      {"policy", {{"name", m.name}, {"version", m.version}, {"sha256", revision_->module->sha256()}}}};
  OperationRow committed = request_.operation;
  committed.state = kCommitted;
  Json stored = answer;
  // For whoever does not see the stages, and would say that they are gone.
  uint64_t made_in = 0;
  if (core_.env.sys->MountNamespace(0, &made_in) >= 0) stored[kMadeIn] = made_in;
  committed.answer = Dump(stored);
  std::vector<AttachmentRow> attachments;
  commit_tried_ = true;
  // Durable where something was made that outlives the boot; all else is known from meta.json, or dies with
  // the boot (docs/ledger.md, "Durability").
  DVDI_RETURN_IF_ERROR(core_.ledger->Apply(Commit::committed, created_any_, [&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(const bool known, HasIntent(tx));
    if (!known) {
      DVDI_RETURN_IF_ERROR(ScopeIsFree(tx));
      DVDI_RETURN_IF_ERROR(PutIntent(tx));
    }
    DVDI_RETURN_IF_ERROR(tx.PutOperation(committed));
    for (VolumeState& v : volumes_) {
      if (&volumes_[v.first] != &v) continue;
      v.attachment.state = kAttached, v.attachment.mount_sent = true;
      v.attachment.attempts = 0, v.attachment.error.clear();
      DVDI_RETURN_IF_ERROR(tx.PutAttachment(v.attachment));
      VolumeRow row;
      row.driver = v.driver, row.name = v.name, row.state = "known";
      row.created_by_us = v.created, row.created_ms = v.created ? now : 0, row.last_used_ms = now;
      DVDI_RETURN_IF_ERROR(tx.TouchVolume(row));
    }
    if (request_.hide) {
      DVDI_ASSIGN_OR_RETURN(attachments, tx.Attachments());
    }
    return tx.PutRecord(recorder_.Finish(committed, "ok", Status()), Names(), core_.settings.records_keep);
  }));
  if (request_.take_over) OweUnmounts();
  Json hide = Json::array();
  for (const auto& a : attachments)
    if (!a.mountpoint.empty()) hide.push_back(a.mountpoint);
  answer["hide"] = std::move(hide);
  if (request_.hide) answer["hide_last"] = core_.stage_root;
  return answer;
}

// From here on they are as any others. Where it cannot be written, their stages say so.
void PrepareOperation::OweUnmounts() const {
  for (const VolumeState& v : volumes_) {
    if (v.before == "attached") continue;
    auto meta = ReadMeta(core_.env, core_.stage_root, v.attachment.id);
    if (!meta.ok()) continue;
    for (MetaEntry& e : meta->attachments) e.owed = true;
    (void)WriteMeta(core_.env, core_.stage_root, *meta);
    return;  // one file has all of them
  }
}

}  // namespace dvdi
