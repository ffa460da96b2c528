// The ledger anew, from what the stage folder proves: where it was lost, or does not know what is mounted.
#include <algorithm>
#include <cerrno>
#include <set>
#include <string_view>
#include <vector>

#include "base/path.h"
#include "engine/engine.h"
#include "engine/meta.h"
#include "engine/stage_meta.h"
#include "sys/files.h"

namespace dvdi {
namespace {

Result<std::set<std::string>> MountedStages(Core& core) {
  DVDI_ASSIGN_OR_RETURN(auto mounts, core.Mounts());
  std::set<std::string> found;
  for (const auto& m : mounts)
    if (IsStrictlyBelow(core.stage_root, m.mountpoint)) found.insert(m.mountpoint);
  return found;
}

// Of a meta.json: there is none, or it proves nothing; another look will not tell more.
bool SaysNothing(const Status& meta) { return meta.error_number() == 0 || meta.error_number() == ENOENT; }

// What the ledger does not know.
struct Lost {
  std::vector<std::string> stages;
  std::string unread;  // another one that is mounted, of which it cannot be told now whether it is ours
  bool whole = true;   // as the ledger has it
};

// Stages that are mounted and that the ledger does not know. SQLite takes a log that is damaged for
// one that ended early, so a ledger may look sound and know too little. A stage's row is there before it is
// mounted and leaves after it is not: one that was mounted, then unknown, then still mounted is one that was
// lost.
Result<Lost> LostStages(Core& core) {
  Lost lost;
  DVDI_ASSIGN_OR_RETURN(std::set<std::string> unknown, MountedStages(core));
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(lost.whole, tx.IsWhole());
    DVDI_ASSIGN_OR_RETURN(auto paths, tx.StagePaths());
    for (const auto& path : paths) unknown.erase(path);
    return Status();
  }));
  if (unknown.empty()) return lost;
  DVDI_ASSIGN_OR_RETURN(std::set<std::string> still, MountedStages(core));
  for (const auto& path : unknown) {
    if (still.count(path) == 0) continue;
    // Only what is provably ours, and so will be known after a rebuild.
    const std::string id = core.AttachmentOf(path);
    auto meta = ReadMeta(core.env, core.stage_root, id);
    if (!meta.ok() && CanBeReadLater(meta.status())) return meta.status();
    if (!meta.ok()) {
      if (!SaysNothing(meta.status())) lost.unread = path;
      continue;
    }
    auto stages = ReadStageMetas(core.env, core.stage_root, id);
    if (!stages.ok() && CanBeReadLater(stages.status())) return stages.status();
    if (!stages.ok()) {
      lost.unread = path;
      continue;
    }
    for (const auto& s : *stages)
      if (s.stage == path && s.operation.boot_id == core.boot_id) lost.stages.push_back(path);
  }
  return lost;
}

Status SetWhole(Core& core, bool whole) {
  return core.ledger->Apply(Commit::whole, false, [&](LedgerTx& tx) { return tx.SetWhole(whole); });
}

// In the ledger's note: stages that a rebuild, gone through to its end, did not bring back, since the stage
// folder says two things of their volume. Another one would not either.
constexpr std::string_view kContradicted = "the stage folder says something else of ";

bool WasContradicted(const std::string& note, const std::string& stage) {
  const size_t at = note.find(kContradicted);
  return at != std::string::npos && note.find(stage, at) != std::string::npos;
}

bool IsOwedToo(const AttachmentRow& a, const std::string& id) { return a.also.find(id) != std::string::npos; }

// Of AttachmentRow::also: these IDs, then those.
std::string Joined(const std::string& ids, const std::string& more) {
  return ids + (ids.empty() || more.empty() ? "" : " ") + more;
}

// Of these, those whose rows were lost. A stage's row is there before its file, and leaves after it: what has
// a file and no row while nobody else can write has lost it.
Result<std::vector<const StageMeta*>> WithoutRows(Core& core, LedgerTx& tx,
                                                  const std::vector<StageMeta>& stages) {
  std::vector<const StageMeta*> lost;
  for (const StageMeta& s : stages) {
    DVDI_ASSIGN_OR_RETURN(const auto effects, tx.Effects(s.operation.id));
    if (std::any_of(effects.begin(), effects.end(),
                    [&](const EffectRow& e) { return e.kind == kStage && e.path == s.stage; }))
      continue;
    DVDI_ASSIGN_OR_RETURN(const bool told, StageIsTold(core.env, s.stage));
    if (told) lost.push_back(&s);
  }
  return lost;
}

// The attachment `a` as its files have it, with its stages that may be mounted, where the ledger does not
// know of them: in one that is new, or an older one, or one that others have used since.
Status BringBack(Core& core, LedgerTx& tx, const AttachmentRow& a, const std::vector<StageMeta>& stages) {
  DVDI_ASSIGN_OR_RETURN(const auto lost, WithoutRows(core, tx, stages));
  AttachmentRow row = a;
  DVDI_ASSIGN_OR_RETURN(auto mine, tx.GetAttachment(a.id));
  if (mine) {
    if (lost.empty()) return Status();
    row = *mine;
    row.state = kAttached, row.boot_id = a.boot_id, row.mount_sent |= a.mount_sent;
    if (!a.mountpoint.empty()) row.mountpoint = a.mountpoint, row.device = a.device;
  } else {
    if (!stages.empty() && lost.empty()) return Status();  // they have ended meanwhile
    DVDI_ASSIGN_OR_RETURN(auto other, tx.FindAttachment(a.driver, a.name));
    if (other && lost.empty() && IsOwedToo(*other, a.id)) return Status();
    // Of one volume one row: of the one in use, else of the later one. The other's Unmount would hit both,
    // and is sent behind its.
    const bool goes_on = other && (other->state == kAttached || (stages.empty() && !IsSuperseded(*other, a)));
    const bool both = other && a.mount_sent && other->mount_sent && other->boot_id == a.boot_id;
    if (goes_on && lost.empty()) return both ? tx.SetAlso(other->id, Joined(other->also, a.id)) : Status();
    if (goes_on) {
      // Its driver had lost this one's mount: by another ID it has the volume where nobody is.
      row = *other;
    } else if (other) {
      if (both) row.also = Joined(other->id, other->also);
      DVDI_RETURN_IF_ERROR(tx.DeleteAttachment(other->id));
    }
  }
  DVDI_RETURN_IF_ERROR(tx.PutAttachment(row));
  VolumeRow v;
  v.driver = a.driver, v.name = a.name, v.state = "known", v.last_used_ms = a.created_ms;
  DVDI_RETURN_IF_ERROR(tx.TouchVolume(v));
  for (const StageMeta* s : lost) {
    DVDI_ASSIGN_OR_RETURN(auto known, tx.GetOperation(s->operation.id));
    // As its operation numbers them, which may be at it.
    const int64_t seq = AttachSeq(std::atoll(s->stage.c_str() + s->stage.rfind('-') + 1));
    if (!known) {
      known = s->operation;
      known->state = kCommitted, known->instance = "rebuilt";
    }
    // One of whose stages cannot be removed is undone as a whole: nobody will ever say that it is over.
    if (s->ended) known->state = kUndoing;
    DVDI_RETURN_IF_ERROR(tx.PutOperation(*known));
    EffectRow e = s->attach;
    e.operation = s->operation.id, e.attachment = row.id, e.seq = seq, e.kind = kAttach, e.done = true;
    DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
    e.seq = seq + 1, e.kind = kStage, e.path = s->stage;
    DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
  }
  return Status();
}

}  // namespace

bool IsSuperseded(const AttachmentRow& known, const AttachmentRow& found) {
  return known.state == kReleasing && known.created_ms < found.created_ms;
}

Status RebuildLedger(Core& core) {
  DVDI_ASSIGN_OR_RETURN(std::vector<std::string> ids, ListMeta(core.env, core.stage_root));
  if (!core.ledger->rebuilt()) {
    if (ids.empty()) return Status();
    DVDI_ASSIGN_OR_RETURN(Lost lost, LostStages(core));
    const std::string note = core.ledger->note();
    std::erase_if(lost.stages, [&](const std::string& stage) { return WasContradicted(note, stage); });
    if (lost.stages.empty()) {
      if (!lost.unread.empty())
        core.ledger->KeepNote("the ledger knows nothing of " + lost.unread +
                              ", which is mounted, and what tells whose it is cannot be read");
      return lost.unread.empty() == lost.whole ? Status() : SetWhole(core, lost.unread.empty());
    }
    DVDI_RETURN_IF_ERROR(
        core.ledger->BeginAnew("it knew nothing of " + lost.stages[0] + ", which is mounted"));
  }
  DVDI_ASSIGN_OR_RETURN(auto mounts, core.Mounts());
  bool whole = true;
  for (const auto& id : ids) {
    auto meta = ReadMeta(core.env, core.stage_root, id);
    auto of_stages = ReadStageMetas(core.env, core.stage_root, id);
    // For want of a descriptor or of memory: whoever went on would take a volume for released that is in use,
    // or for nobody's.
    for (const Status& s : {meta.status(), of_stages.status()})
      if (!s.ok() && CanBeReadLater(s)) return s;
    if (!of_stages.ok()) {
      whole = false;
      continue;
    }
    if (!meta.ok()) {
      // ReportStrangers names it. One that could not be read now may be by who opens the ledger next.
      whole &= SaysNothing(meta.status());
      continue;
    }
    AttachmentRow a;
    a.id = id, a.boot_id = meta->operation.boot_id, a.mount_sent = true;
    a.created_ms = meta->operation.started_ms;
    a.state = kReleasing, a.next_ms = core.env.clock->WallMs();
    for (const auto& e : meta->attachments)
      if (e.id == id) a.driver = e.driver, a.name = e.name, a.mount_sent = e.owed;
    std::vector<StageMeta> stages;
    for (auto& s : *of_stages) {
      if (s.operation.boot_id == core.boot_id && MayBeMounted(core.env, mounts, s))
        stages.push_back(std::move(s));
    }
    // Whoever has a stage has its volume by our Mount. Else a take-over has failed, or died, and a workload
    // keeps its volume by somebody else's: not even the driver is asked.
    a.mount_sent |= a.boot_id != core.boot_id ||
                    std::any_of(stages.begin(), stages.end(), [](const StageMeta& s) { return !s.ended; });
    if (!a.mount_sent && stages.empty()) continue;
    if (!stages.empty()) a.state = kAttached;
    // Where its driver has it. It may have been mounted anew since some of them were made: what is so now
    // counts.
    for (const auto& s : stages)
      if (!s.mountpoint.empty() && (a.mountpoint.empty() || DeviceAt(mounts, s.mountpoint) == s.device))
        a.mountpoint = s.mountpoint, a.device = s.device;
    DVDI_RETURN_IF_ERROR(core.ledger->Apply(Commit::rebuilt, false,
                                            [&](LedgerTx& tx) { return BringBack(core, tx, a, stages); }));
  }
  if (whole) DVDI_RETURN_IF_ERROR(SetWhole(core, true));
  if (ids.empty()) return Status();
  std::string note = core.ledger->note();
  if (note.empty())
    note = "the ledger was missing, or had lost all that it held; it was rebuilt from the stage folder";
  DVDI_ASSIGN_OR_RETURN(const Lost lost, LostStages(core));
  for (const std::string& stage : lost.stages)
    if (!WasContradicted(note, stage)) note.append("; ").append(kContradicted).append(stage);
  if (note != core.ledger->note()) core.ledger->KeepNote(note);
  return Status();
}

Status LearnWhatIsLeft(Core& core) {
  bool whole = true;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(whole, tx.IsWhole());
    return Status();
  }));
  return whole ? Status() : core.ledger->Refill();
}

}  // namespace dvdi
