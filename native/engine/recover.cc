// Bringing ledger and reality together: after a crash, a reboot, a lost ledger.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string_view>
#include <vector>

#include "base/guards.h"
#include "base/path.h"
#include "engine/ask_policy.h"
#include "engine/engine.h"
#include "engine/meta.h"
#include "engine/stage_meta.h"
#include "engine/tell.h"
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

// Of two IDs of one volume that nothing uses the later one counts: whoever took it found the other in no row,
// so that one's Mount was never sent, or is over.
bool IsSuperseded(const AttachmentRow& known, const AttachmentRow& found) {
  return known.state == kReleasing && known.created_ms < found.created_ms;
}

}  // namespace

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

bool KnowsPid(const Core& core, const OperationRow& o) {
  return o.pid_namespace == 0 || o.pid_namespace == core.pid_namespace;
}

namespace {

// Its prepare was answered with an error, and its stages alone could be told so: the ledger has it as
// committed by a commit that failed at its fsync.
bool ItsStagesHaveEnded(Core& core, const OperationRow& o) {
  std::vector<EffectRow> effects;
  const Status read = core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(effects, tx.Effects(o.id));
    return Status();
  });
  return read.ok() && std::any_of(effects.begin(), effects.end(), [&](const EffectRow& e) {
           return e.kind == kStage && StageHasEnded(core.env, e.path);
         });
}

}  // namespace

bool ScopeIsOver(Core& core, const OperationRow& o) {
  if (o.boot_id != core.boot_id) return true;
  if (o.mount_namespace != 0) {
    // The process first: it is one look instead of one at every process of the node.
    uint64_t start = 0, ns = 0;
    if (KnowsPid(core, o) && core.env.sys->ProcessStart(o.pid, &start) == 0 && start == o.start_time &&
        core.env.sys->MountNamespace(o.pid, &ns) == 0 && ns == o.mount_namespace)
      return false;
    // In a container the processes of the node's scopes, and of another container's, cannot be seen: that
    // none is found there says nothing.
    if (DVDI_GUARD(pids_in_sight) && !KnowsPid(core, o) && core.pid_namespace != kFirstPidNamespace) {
      bool ended = false;
      return core.env.sys->MountNamespaceEnded(o.mount_namespace, &ended) == 0 && ended;
    }
    auto deserted = core.env.sys->IsDeserted(o.mount_namespace, KnowsPid(core, o) ? o.start_time : 0);
    return deserted.ok() && *deserted;
  }
  // Without a process only a reboot ends it, or its owner's word. That its stages are not in our mountinfo
  // says nothing: we may be in another mount namespace than the one that uses them.
  return ItsStagesHaveEnded(core, o);
}

Result<bool> TakeDown(Core& core, const OperationRow& seen, const char* kind, const Status& why,
                      int64_t lock_deadline_ms, UndoOutcome* outcome) {
  ActiveOperation active(&core, seen.id);
  if (!active.mine()) return false;
  bool claimed = false;
  Undoing what;
  what.operation = seen;
  what.operation.state = kUndoing, what.operation.instance = core.instance->id();
  Json volumes;
  Status begun = core.ledger->Apply(Commit::undoing, false, [&](LedgerTx& tx) -> Status {
    volumes = Json::array();
    DVDI_ASSIGN_OR_RETURN(claimed, tx.ClaimOperation(seen, kUndoing, core.instance->id()));
    if (!claimed) return Status();
    DVDI_RETURN_IF_ERROR(what.Read(tx));
    for (const auto& [driver, name] : what.volumes) {
      DVDI_ASSIGN_OR_RETURN(auto a, tx.FindAttachment(driver, name));
      std::vector<UserRow> users;
      if (a) {
        DVDI_ASSIGN_OR_RETURN(users, tx.Users(a->id, core.boot_id));
      }
      bool last =
          std::all_of(users.begin(), users.end(), [&](const UserRow& u) { return u.operation == seen.id; });
      volumes.push_back({{"driver", driver}, {"name", name}, {"last_user", last}});
    }
    return Status();
  });
  if (!begun.ok()) {
    core.back_off.Failed(seen.id, begun.message(), false, core.env.clock->MonotonicMs());
    return begun;
  }
  if (!claimed) return false;
  Recorder recorder(core.env, kind, core.settings.record_bytes);
  EndAdvice advice = AskPolicy(
      core, "cleanup",
      {{"scope", {{"owner", seen.owner}, {"id", seen.scope}}}, {"volumes", std::move(volumes)}}, &recorder);
  for (const auto& line : advice.report) recorder.Note(line);
  auto undone = Undo(core, what, false, lock_deadline_ms, advice.retry_base_ms, advice.retry_max_ms,
                     &recorder, why.ok() ? "ok" : CodeName(why.code()), why);
  core.observer->Operation(kind, CodeName(undone.status().code()),
                           recorder.Context(what.operation).duration_us);
  if (!undone.ok()) return undone.status();
  *outcome = std::move(*undone);
  return true;
}

Result<std::vector<OperationRow>> AllOperations(Core& core) {
  std::vector<OperationRow> operations;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(operations, tx.Operations());
    return Status();
  }));
  return operations;
}

RecoverOutcome RecoverOwner(Core& core, const std::string& owner, const Json* live,
                            const std::vector<OperationRow>& operations) {
  RecoverOutcome out;
  for (const auto& o : operations) {
    bool unfinished = o.state != kCommitted;
    bool over = false;
    if (unfinished) {
      // Promise of the instance lock: what a running engine has begun is its own to end.
      over = !DVDI_GUARD(dead_instances) || !InstanceAlive(core.env, core.instances, o.instance);
      if (o.instance == core.instance->id())
        over = true;  // left over by a try of ours; active ones are passed over
    } else if (o.owner == owner) {
      bool named = false;
      if (live != nullptr)
        for (const Json& s : *live) named |= s.is_string() && s.get_ref<const std::string&>() == o.scope;
      // One whose engine still runs is about to be cleaned up by that one, which would find it half undone.
      auto left_alone = [&] {
        return o.instance == core.instance->id() || !InstanceAlive(core.env, core.instances, o.instance);
      };
      over = live != nullptr ? !named : ScopeIsOver(core, o) && left_alone();
    }
    if (!over) continue;
    UndoOutcome undo;
    auto taken = TakeDown(core, o, "recover", Status(), core.env.clock->MonotonicMs() + 2000, &undo);
    if (!taken.ok()) out.problems.push_back(taken.status().message());
    if (!taken.ok() || !*taken) continue;
    for (const auto& p : undo.problems) out.problems.push_back(p);
    (unfinished ? out.undone : out.ended).push_back(unfinished ? o.id : o.scope);
  }
  return out;
}

}  // namespace dvdi
