#include "engine/in_sight.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/path.h"
#include "engine/meta.h"

namespace dvdi {
namespace {

// Before Linux 5.8 nobody tells: it is as the ledger, or mountinfo, says.
bool IsStillMounted(Core& core, const std::string& stage, bool otherwise) {
  bool root = false;
  return core.env.sys->IsMountRoot(stage.c_str(), &root) >= 0 ? root : otherwise;
}

// One of whichever volume: where nobody knows where a volume lies, it may be of that one.
Result<std::string> AnyUnknownStage(Core& core) {
  DVDI_ASSIGN_OR_RETURN(const auto mounts, core.Mounts());
  std::set<std::string> unknown;
  for (const MountEntry& m : mounts)
    if (IsStrictlyBelow(core.stage_root, m.mountpoint) && IsAttachmentId(core.AttachmentOf(m.mountpoint)))
      unknown.insert(m.mountpoint);
  if (unknown.empty()) return std::string();
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(const auto known, tx.StagePaths());
    for (const std::string& stage : known) unknown.erase(stage);
    return Status();
  }));
  for (const std::string& stage : unknown)
    if (IsStillMounted(core, stage, true)) return stage;
  return std::string();
}

}  // namespace

Result<std::string> UnknownStageOf(Core& core, std::string_view mountinfo,
                                   const std::vector<MountEntry>& mounts, const std::string& place) {
  const std::vector<std::string> stages = MountpointsOf(mountinfo, mounts, place, core.stage_root);
  if (stages.empty()) return std::string();
  std::vector<std::string> unknown;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    unknown.clear();
    for (const std::string& stage : stages) {
      DVDI_ASSIGN_OR_RETURN(auto known, tx.StagesOf(core.AttachmentOf(stage)));
      if (std::find(known.begin(), known.end(), stage) == known.end()) unknown.push_back(stage);
    }
    return Status();
  }));
  // A stage's row leaves the ledger behind its mount: one that went since mountinfo was read has neither.
  for (const std::string& stage : unknown)
    if (IsStillMounted(core, stage, true)) return stage;
  return std::string();
}

Result<std::string> StageInSight(Core& core, const AttachmentRow& a) {
  const std::string folder = core.stage_root + "/" + a.id;
  std::vector<std::string> names;
  const int r = core.env.sys->ListDir(AT_FDCWD, folder.c_str(), &names);
  if (r < 0 && r != -ENOENT)
    return Status::FromErrno(-r, "cannot look for stages of the volume in " + folder, folder);
  for (const std::string& name : names)
    if (IsStillMounted(core, folder + "/" + name, false)) return folder + "/" + name;
  if (a.boot_id != core.boot_id) return std::string();
  if (a.mountpoint.empty()) return AnyUnknownStage(core);
  // A prepare looked when it had the mountpoint from the driver, and noted what is mounted there if nobody
  // unknown had it.
  if (!a.device.empty()) return std::string();
  DVDI_ASSIGN_OR_RETURN(const std::string text, core.env.sys->Mountinfo());
  return UnknownStageOf(core, text, ParseMountinfo(text, {a.mountpoint}), a.mountpoint);
}

}  // namespace dvdi
