#include "engine/undo.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "base/guards.h"
#include "base/path.h"
#include "engine/meta.h"
#include "engine/stage_meta.h"
#include "engine/tell.h"
#include "mount/stage.h"
#include "sys/files.h"

namespace dvdi {
namespace {

struct Local {
  bool changed = false;  // something was undone, or passed on
  std::vector<EffectRow> attaches;
  std::set<std::string> stuck;  // attachments of which a stage is still mounted
  std::vector<std::string> problems;
  std::vector<UndoneStage> stages;
};

// Removes the folder unless another operation has a target at or below it, or has yet to remove a folder
// below it: rmdir(2) of a folder would take a mount on it away in every other mount namespace. The other one
// inherits it then, and `passed` is true: the effect is no longer this operation's, whoever has it by now.
Status UndoFolder(Core& core, const EffectRow& e, bool* passed) {
  DVDI_ASSIGN_OR_RETURN(auto lock, VolumeLocks::Take(core.env, core.lock_file, {kFoldersLock},
                                                     core.env.clock->MonotonicMs() + 5000));
  std::string other;
  DVDI_RETURN_IF_ERROR(core.ledger->Apply(Commit::folder, false, [&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(other, tx.OtherUserOfFolder(e.path, e.operation));
    return other.empty() ? Status() : tx.PassEffect(e.operation, e.seq, other);
  }));
  *passed = !other.empty();
  return *passed ? Status() : RemoveFolder(core.env, e.path);
}

// Stages and folders, last first. What was undone leaves `effects`' rows in the ledger with the next commit.
Local UndoLocal(Core& core, const std::vector<EffectRow>& effects, std::vector<EffectRow>* gone,
                Recorder* recorder) {
  Local local;
  std::vector<EffectRow> order(effects.rbegin(), effects.rend());
  // Folders are made last. Those that another operation passed on stand in its order: the inner ones go
  // first.
  auto folders_end =
      std::stable_partition(order.begin(), order.end(), [](const EffectRow& e) { return e.kind == kFolder; });
  std::sort(order.begin(), folders_end,
            [](const EffectRow& a, const EffectRow& b) { return a.path > b.path; });
  std::string kept;  // the last folder that could not be removed
  for (const EffectRow& e : order) {
    Status s;
    bool was_there = true;
    if (e.kind == kStage) {
      s = RemoveStage(core.env, core.stage_root, e.path, &was_there);
      // It is unmounted, and somebody has written there when it was not mounted (it is the node's own folder
      // then, as after a reboot). That is in no volume: it is kept, and keeps nothing else.
      if (s.error_number() == ENOTEMPTY || s.error_number() == EEXIST) {
        if (recorder != nullptr) recorder->Note("kept, and not in the volume: files in " + e.path);
        s = Status();
      }
      if (s.ok()) s = RemoveStageMeta(core.env, e.path);
      if (!s.ok()) {
        local.stuck.insert(e.attachment);
        if (Status said = EndStageMeta(core.env, e.path); !said.ok())
          local.problems.push_back(said.message());
      }
      local.stages.push_back({e, s});
    } else if (e.kind == kFolder) {
      bool passed = false;
      if (IsStrictlyBelow(e.path, kept)) continue;  // not empty yet
      s = UndoFolder(core, e, &passed);
      if (!s.ok()) kept = e.path;
      if (s.ok() && passed) {
        local.changed = true;
        continue;
      }
    } else {
      local.attaches.push_back(e);
      continue;
    }
    if (s.ok()) {
      local.changed = true;
      gone->push_back(e);
      if (recorder != nullptr && was_there) recorder->Undone(e.kind + " " + e.path);
    } else {
      local.problems.push_back(s.message());
    }
  }
  return local;
}

// Where its volumes are mounted, as its stages have it: whoever began it died before it wrote that down, and
// once the stages are gone nothing else says so. A driver that never does may refuse the Unmount, and have
// them still.
Status RecordPlaces(Core& core, const Undoing& what) {
  std::vector<StageMeta> stages;
  for (const std::string& id : what.unplaced) {
    auto read = ReadStageMetas(core.env, core.stage_root, id);
    if (!read.ok() && CanBeReadLater(read.status())) return read.status();
    if (!read.ok()) continue;
    for (StageMeta& s : *read)
      if (s.operation.id == what.operation.id && !s.mountpoint.empty()) stages.push_back(std::move(s));
  }
  if (stages.empty()) return Status();
  return core.ledger->Apply(Commit::placed, false, [&](LedgerTx& tx) -> Status {
    for (const StageMeta& s : stages) {
      DVDI_ASSIGN_OR_RETURN(auto row, tx.GetAttachment(s.attach.attachment));
      if (!row || !row->mountpoint.empty()) continue;
      row->mountpoint = s.mountpoint, row->device = s.device;
      DVDI_RETURN_IF_ERROR(tx.PutAttachment(*row));
    }
    return Status();
  });
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += (text.empty() ? "" : "; ") + line;
  return text;
}

// Ends the use of an attachment; decides, under the volume's lock, whether anybody else uses it.
Status UndoAttach(Core& core, LedgerTx& tx, const EffectRow& e, int64_t base_ms, int64_t max_ms,
                  UndoOutcome* out) {
  DVDI_RETURN_IF_ERROR(tx.DeleteEffect(e));
  DVDI_ASSIGN_OR_RETURN(auto found, tx.GetAttachment(e.attachment));
  if (!found) return Status();
  AttachmentRow a = *found;
  if (DVDI_GUARD(in_use)) {  // promise 1: a volume in use is never unmounted
    DVDI_ASSIGN_OR_RETURN(auto users, tx.Users(a.id, core.boot_id));
    if (!users.empty()) {
      bool own = std::all_of(users.begin(), users.end(),
                             [&](const UserRow& u) { return u.operation == e.operation; });
      if (!own) out->kept.push_back(a);
      return Status();  // the last of this operation's uses will find no other
    }
  }
  int64_t now = core.env.clock->WallMs();
  if (!a.mount_sent) {
    out->dropped.push_back(a);
    return tx.DeleteAttachment(a.id);
  }
  a.state = kReleasing;
  a.next_ms = now;
  a.attempts = 0;
  a.retry_base_ms = base_ms, a.retry_max_ms = max_ms;
  out->releasing.push_back(a);
  return tx.PutAttachment(a);
}

}  // namespace

Status Undoing::Read(LedgerTx& tx) {
  DVDI_ASSIGN_OR_RETURN(effects, tx.Effects(operation.id));
  by_attachment.clear(), unplaced.clear();
  std::set<std::pair<std::string, std::string>> found;
  for (const auto& e : effects) {
    if (e.kind != kAttach) continue;
    DVDI_ASSIGN_OR_RETURN(auto a, tx.GetAttachment(e.attachment));
    if (!a) continue;
    found.insert({a->driver, a->name});
    by_attachment[a->id] = {a->driver, a->name};
    if (a->mountpoint.empty()) unplaced.insert(a->id);
  }
  volumes.assign(found.begin(), found.end());
  return Status();
}

Result<UndoOutcome> Undo(Core& core, const Undoing& what, bool locked, int64_t lock_deadline_ms,
                         int64_t retry_base_ms, int64_t retry_max_ms, Recorder* recorder,
                         const std::string& outcome, const Status& why) {
  const OperationRow& operation = what.operation;
  UndoOutcome out;
  std::vector<EffectRow> gone;
  auto failed = [&](const Status& s) {
    core.back_off.Failed(operation.id, s.message(), false, core.env.clock->MonotonicMs());
    return s;
  };
  if (Status s = RecordPlaces(core, what); !s.ok()) {
    // Its stages stay for now. A ledger that is lost meanwhile, and rebuilt from them, is to know it undone.
    for (const EffectRow& e : what.effects)
      if (e.kind == kStage) (void)EndStageMeta(core.env, e.path);
    return failed(s);
  }
  Local local = UndoLocal(core, what.effects, &gone, recorder);
  out.problems = local.problems;

  bool can_detach = true;
  if (!locked && !what.volumes.empty()) {
    auto taken = VolumeLocks::Take(core.env, core.lock_file, what.volumes, lock_deadline_ms);
    can_detach = taken.ok();
    if (taken.ok())
      out.locks = std::move(*taken);
    else
      out.problems.push_back(taken.status().message());
  }
  // What is tried again and again, and fails as before, is told once: the records that are kept are so many.
  const std::string problems = Joined(out.problems);
  const bool news = core.back_off.IsNews(operation.id, problems);
  if (recorder != nullptr) {
    if (!news) std::erase_if(local.stages, [](const UndoneStage& stage) { return !stage.status.ok(); });
    TellUndone(core, *recorder, operation, what.by_attachment, local.stages);
    for (const auto& p : out.problems) recorder->Note("not undone: " + recorder->Redact(p));
  }
  std::set<std::string> recorded;
  Status s = core.ledger->Apply(Commit::undone, false, [&](LedgerTx& tx) -> Status {
    UndoOutcome fresh;  // the body may run again
    bool changed = local.changed;
    for (const auto& e : gone) DVDI_RETURN_IF_ERROR(tx.DeleteEffect(e));
    for (const auto& e : local.attaches) {
      if (!can_detach || local.stuck.count(e.attachment) != 0) continue;
      changed = true;
      DVDI_RETURN_IF_ERROR(UndoAttach(core, tx, e, retry_base_ms, retry_max_ms, &fresh));
    }
    out.releasing = fresh.releasing, out.kept = fresh.kept, out.dropped = fresh.dropped;
    DVDI_ASSIGN_OR_RETURN(auto left, tx.Effects(operation.id));
    out.finished = left.empty();
    if (out.finished) DVDI_RETURN_IF_ERROR(tx.DeleteOperation(operation.id));
    // It stays what it is, also in a ledger that was rebuilt since, and has it as committed: somebody else
    // would take it for one in use.
    if (!out.finished) {
      OperationRow undoing = operation;
      undoing.state = kUndoing;
      DVDI_RETURN_IF_ERROR(tx.PutOperation(undoing));
    }
    if (recorder == nullptr || !(changed || out.finished || news)) return Status();
    for (const auto& a : out.releasing)
      if (recorded.insert(a.id).second) recorder->Undone("attach " + a.driver + "/" + a.name);
    return tx.PutRecord(recorder->Finish(operation, outcome, why), what.volumes, core.settings.records_keep);
  });
  if (!s.ok()) return failed(s);
  if (out.finished)
    core.back_off.Done(operation.id);
  else
    core.back_off.Failed(operation.id, problems, local.problems.empty(), core.env.clock->MonotonicMs());
  for (const auto& a : out.dropped) RemoveLetGo(core.env, core.stage_root, a.id);
  return out;
}

}  // namespace dvdi
