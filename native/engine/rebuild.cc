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

// Stages that are mounted and that the ledger does not know. SQLite takes a log that is damaged for
// one that ended early, so a ledger may look sound and know too little. A stage's row is there before it is
// mounted and leaves after it is not: one that was mounted, then unknown, then still mounted is one that was
// lost.
Result<std::vector<std::string>> LostStages(Core& core) {
  std::vector<std::string> lost;
  DVDI_ASSIGN_OR_RETURN(std::set<std::string> unknown, MountedStages(core));
  if (unknown.empty()) return lost;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
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
    if (!meta.ok()) continue;
    auto stages = ReadStageMetas(core.env, core.stage_root, id);
    if (!stages.ok() && CanBeReadLater(stages.status())) return stages.status();
    if (!stages.ok()) continue;
    for (const auto& s : *stages)
      if (s.stage == path && s.operation.boot_id == core.boot_id) lost.push_back(path);
  }
  return lost;
}

// In the ledger's note: stages that a rebuild, gone through to its end, did not bring back, since the stage
// folder says two things of their volume. Another one would not either.
constexpr std::string_view kContradicted = "the stage folder says something else of ";

bool WasContradicted(const std::string& note, const std::string& stage) {
  const size_t at = note.find(kContradicted);
  return at != std::string::npos && note.find(stage, at) != std::string::npos;
}

}  // namespace

bool IsSuperseded(const AttachmentRow& known, const AttachmentRow& found) {
  return known.state == kReleasing && known.created_ms < found.created_ms;
}

Status RebuildLedger(Core& core) {
  DVDI_ASSIGN_OR_RETURN(std::vector<std::string> ids, ListMeta(core.env, core.stage_root));
  if (!core.ledger->rebuilt()) {
    if (ids.empty()) return Status();
    DVDI_ASSIGN_OR_RETURN(std::vector<std::string> lost, LostStages(core));
    const std::string note = core.ledger->note();
    std::erase_if(lost, [&](const std::string& stage) { return WasContradicted(note, stage); });
    if (lost.empty()) return Status();
    DVDI_RETURN_IF_ERROR(core.ledger->BeginAnew("it knew nothing of " + lost[0] + ", which is mounted"));
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
      const int error = meta.status().error_number();
      whole &= error == 0 || error == ENOENT;
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
    DVDI_RETURN_IF_ERROR(core.ledger->Apply(Commit::rebuilt, false, [&](LedgerTx& tx) -> Status {
      // Brought back by a rebuild that did not come to its end, or attached since.
      DVDI_ASSIGN_OR_RETURN(auto mine, tx.GetAttachment(id));
      if (mine) return Status();
      DVDI_ASSIGN_OR_RETURN(auto other, tx.FindAttachment(a.driver, a.name));
      if (other && other->id != a.id) {
        // The one in use stays; the other's Unmount would hit both.
        if (other->state == kAttached || (stages.empty() && !IsSuperseded(*other, a))) return Status();
        DVDI_RETURN_IF_ERROR(tx.DeleteAttachment(other->id));
      }
      DVDI_RETURN_IF_ERROR(tx.PutAttachment(a));
      VolumeRow v;
      v.driver = a.driver, v.name = a.name, v.state = "known", v.last_used_ms = a.created_ms;
      DVDI_RETURN_IF_ERROR(tx.TouchVolume(v));
      for (const auto& s : stages) {
        DVDI_ASSIGN_OR_RETURN(auto known, tx.GetOperation(s.operation.id));
        // As its operation numbers them, which may be at it.
        const int64_t seq = AttachSeq(std::atoll(s.stage.c_str() + s.stage.rfind('-') + 1));
        if (!known) {
          known = s.operation;
          known->state = kCommitted, known->instance = "rebuilt";
        }
        // One of whose stages cannot be removed is undone as a whole: nobody will ever say that it is over.
        if (s.ended) known->state = kUndoing;
        DVDI_RETURN_IF_ERROR(tx.PutOperation(*known));
        EffectRow e = s.attach;
        e.operation = s.operation.id, e.seq = seq, e.kind = kAttach, e.done = true;
        DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
        e.seq = seq + 1, e.kind = kStage, e.path = s.stage;
        DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
      }
      return Status();
    }));
  }
  if (whole) {
    DVDI_RETURN_IF_ERROR(
        core.ledger->Apply(Commit::whole, false, [](LedgerTx& tx) { return tx.SetWhole(); }));
  }
  if (ids.empty()) return Status();
  std::string note = core.ledger->note();
  if (note.empty())
    note = "the ledger was missing, or had lost all that it held; it was rebuilt from the stage folder";
  DVDI_ASSIGN_OR_RETURN(std::vector<std::string> lost, LostStages(core));
  for (const std::string& stage : lost)
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
