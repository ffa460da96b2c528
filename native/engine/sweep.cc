// What lies in the stage folder and is in no row: left over, of a row that was lost, or not ours.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/meta.h"

namespace dvdi {
namespace {

struct Sweep {
  Core& core;
  const MetaWriters& writers;
  const std::vector<MountEntry>& mounts;
  int64_t lock_deadline_ms;
  bool cut_short = false;  // a meta.json was met that was never whole
};

// One folder below the stage root: adopted or removed, where no row has its ID.
Status SweepFolder(Sweep& sweep, const std::string& id) {
  Core& core = sweep.core;
  bool known = false;
  auto look = [&] {
    return core.ledger->Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto row, tx.GetAttachment(id));
      known = row.has_value();
      if (known) return Status();
      DVDI_ASSIGN_OR_RETURN(known, tx.IsOwedToo(id));
      if (known) return Status();
      // A rebuild may have found its volume attached by another ID: its stages are that one's.
      DVDI_ASSIGN_OR_RETURN(const auto stages, tx.StagePaths());
      known = std::any_of(stages.begin(), stages.end(),
                          [&](const std::string& stage) { return core.AttachmentOf(stage) == id; });
      return Status();
    });
  };
  DVDI_RETURN_IF_ERROR(look());
  if (known) return Status();
  auto meta = ReadMeta(core.env, core.stage_root, id);
  if (!meta.ok() && meta.status().error_number() == ENOENT) {
    // A folder comes first, then its file, then its row: this one may be on the way.
    if (MetaIsBeingWritten(core.env, core.stage_root)) return Status();
    meta = ReadMeta(core.env, core.stage_root, id);
  }
  if (!meta.ok() && meta.status().error_number() != ENOENT) {
    // Not provably ours: reported. But where it is seen that the file was never whole, nothing was done
    // with it.
    if (meta.status().code() != Code::kInvalid ||
        !MetaWasCutShort(core.env, core.stage_root, sweep.writers, id))
      return Status();
    sweep.cut_short = true;
  }
  AttachmentRow a;
  if (meta.ok())
    for (const auto& e : meta->attachments)
      if (e.id == id) a.driver = e.driver, a.name = e.name;
  DVDI_ASSIGN_OR_RETURN(
      auto lock, VolumeLocks::Take(core.env, core.lock_file, {{a.driver, a.name}}, sweep.lock_deadline_ms));
  // Whoever had the lock may have been the one that attaches it.
  DVDI_RETURN_IF_ERROR(look());
  if (known) return Status();
  bool adopted = false;
  if (meta.ok() && meta->operation.boot_id != core.boot_id) {
    // The row may have been lost with the power while this file was not: the driver is to be asked.
    DVDI_RETURN_IF_ERROR(core.ledger->Apply(Commit::adopted, false, [&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto other, tx.FindAttachment(a.driver, a.name));
      a.id = id, a.boot_id = meta->operation.boot_id, a.mount_sent = true, a.state = kReleasing;
      a.next_ms = core.env.clock->WallMs(), a.created_ms = meta->operation.started_ms;
      adopted = !other || (other->boot_id != core.boot_id && IsSuperseded(*other, a));
      if (!adopted) return Status();
      if (other) DVDI_RETURN_IF_ERROR(tx.DeleteAttachment(other->id));
      return tx.PutAttachment(a);
    }));
  }
  // In one boot no row gets lost: this one was let go, and its folder was to be removed.
  if (!adopted) RemoveRemains(core.env, core.stage_root, id, sweep.mounts);
  return Status();
}

}  // namespace

Status SweepStageRoot(Core& core) {
  const MetaWriters writers{core.instances, core.instance->id(), [&core](const std::string& operation) {
                              std::lock_guard lock(core.active_mu);
                              return core.active.count(operation) != 0;
                            }};
  SweepTemporaryMeta(core.env, core.stage_root, writers);
  auto ids = ListMeta(core.env, core.stage_root);
  if (!ids.ok()) return ids.status();
  DVDI_ASSIGN_OR_RETURN(auto mounts, core.Mounts());
  Sweep sweep{core, writers, mounts, core.env.clock->MonotonicMs() + 1000};
  Status first;  // of one that somebody is at for long; the others must not wait for it
  for (const auto& id : *ids)
    if (Status s = SweepFolder(sweep, id); !s.ok() && first.ok()) first = std::move(s);
  if (sweep.cut_short) SweepTemporaryMeta(core.env, core.stage_root, writers);
  return first;
}

namespace {

// A folder of a stage that was, in this folder of an attachment that was, which holds files; or "".
std::string FilesOfNoVolume(Core& core, const std::string& folder) {
  std::vector<std::string> stages, files;
  auto mounts = core.Mounts();  // what is mounted may be a dead one, and is not looked into
  if (!mounts.ok() || core.env.sys->ListDir(AT_FDCWD, folder.c_str(), &stages) < 0) return "";
  for (const auto& name : stages) {
    const std::string path = folder + "/" + name;
    if (FindMount(*mounts, path) != nullptr) continue;
    if (core.env.sys->ListDir(AT_FDCWD, path.c_str(), &files) == 0 && !files.empty()) return path;
  }
  return "";
}

}  // namespace

void ReportStrangers(Core& core) {
  std::vector<std::string> found;
  std::vector<std::string> names;
  if (core.env.sys->ListDir(AT_FDCWD, core.stage_root.c_str(), &names) == 0) {
    for (const auto& name : names) {
      std::string path = core.stage_root + "/" + name;
      if (name.starts_with(".meta-")) continue;  // about to become a meta.json
      if (!IsAttachmentId(name)) {
        found.push_back(path + " is not dvdi's");
        continue;
      }
      auto meta = ReadMeta(core.env, core.stage_root, name);
      if (!meta.ok()) {
        const Status& why = meta.status();
        // A folder comes before its file.
        if (why.error_number() == ENOENT && MetaIsBeingWritten(core.env, core.stage_root)) continue;
        std::string files = why.error_number() == ENOENT ? FilesOfNoVolume(core, path) : "";
        if (!files.empty()) {
          found.push_back(
              files +
              " holds files that were written where a volume was not mounted any more: they are in no "
              "volume; save what is wanted, then remove " +
              path);
          continue;
        }
        found.push_back(why.message() + "; " +
                        (!why.hint().empty()
                             ? why.hint()
                             : "nobody can tell which volume it is of, so it is kept: remove " + path +
                                   " once nothing is mounted in it and no driver has a volume "
                                   "mounted here that dvdi ls does not list"));
        continue;
      }
    }
  }
  std::lock_guard lock(core.reported_mu);
  core.reported = std::move(found);
}

}  // namespace dvdi
