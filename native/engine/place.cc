// Where drivers mount: which folders none may name as a volume, beside those of the system (mount/paths.h),
// and what the ledger keeps of it where a prepare fails.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/guards.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/in_sight.h"
#include "engine/operation.h"
#include "mount/paths.h"

namespace dvdi {
namespace {

// One is the other, or lies in it.
bool Overlap(const std::string& a, const std::string& b) {
  return a == b || IsStrictlyBelow(a, b) || IsStrictlyBelow(b, a);
}

}  // namespace

// What the engine keeps for itself: as the settings have it, and where that really is. Looked at when it is
// first needed: an engine must open whatever lies on the way.
const std::vector<std::string>& PrepareOperation::OwnFolders() {
  if (!own_folders_.empty()) return own_folders_;
  const Settings& s = core_.settings;
  for (const std::string& folder : {s.state_dir, s.runtime_dir, s.policy_dir, s.secrets_dir}) {
    const std::string normal = NormalPath(folder);
    if (normal.empty()) continue;
    own_folders_.push_back(normal);
    std::string real;
    if (core_.env.sys->RealPath(normal.c_str(), &real) >= 0 && real != normal) own_folders_.push_back(real);
  }
  return own_folders_;
}

Status PrepareOperation::MayBeAt(const VolumeState& v, const std::string& place) {
  // A workload that was given our ledger could take every promise back.
  for (const std::string& own : OwnFolders())
    if (DVDI_GUARD(place_is_free) && Overlap(place, own))
      return NoPlaceForVolume(place, "but the engine keeps its own in " + own).WithPath(place);
  if (!DVDI_GUARD(place_of_others)) return Status();
  // That was looked at when the driver answered its Mount.
  const VolumeState& first = volumes_[v.first];
  if (first.attached && place == first.attachment.mountpoint) return Status();
  auto others = [&](const AttachmentRow& a) -> Status {
    return NoPlaceForVolume(place, "but driver " + OneLine(a.driver, 255) + " has its volume " +
                                       OneLine(a.name, 255) + " at " + OneLine(a.mountpoint))
        .WithPath(place);
  };
  for (const VolumeState& other : volumes_)
    if (other.attached && other.driver != v.driver && Overlap(place, other.attachment.mountpoint))
      return others(other.attachment);
  std::optional<AttachmentRow> found;
  DVDI_RETURN_IF_ERROR(core_.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(found, tx.OtherDriversAt(place, v.driver, core_.boot_id));
    return Status();
  }));
  return found ? others(*found) : Status();
}

// Who has what lies there counts as its only writer.
Status PrepareOperation::NobodyUnknownHas(const VolumeState& v, const std::string& place) {
  DVDI_ASSIGN_OR_RETURN(const std::string stage, UnknownStageOf(core_, mountinfo_, mounts_, place));
  if (!DVDI_GUARD(unknown_user) || stage.empty()) return Status();  // promise 8
  return Status(Code::kRefused, "volume " + v.name + " is in use: " + stage + kUsedByNobodyKnown, kUnmountIt)
      .WithVolume(v.driver, v.name)
      .WithPath(stage);
}

// Where the volumes are mounted: a driver that never says so may refuse the Unmount, and have them still.
Status PrepareOperation::RecordPlaces() {
  auto place = [](const VolumeState& v) { return v.attached ? v.attachment.mountpoint : v.unseen; };
  if (std::all_of(volumes_.begin(), volumes_.end(), [&](const VolumeState& v) { return place(v).empty(); }))
    return Status();
  return core_.ledger->Apply(Commit::placed, false, [&](LedgerTx& tx) -> Status {
    for (const VolumeState& v : volumes_) {
      if (place(v).empty() || &volumes_[v.first] != &v) continue;
      DVDI_ASSIGN_OR_RETURN(auto row, tx.GetAttachment(v.attachment.id));
      const std::string device = v.attached ? v.attachment.device : "";
      if (!row || (row->mountpoint == place(v) && row->device == device)) continue;
      row->mountpoint = place(v), row->device = device;
      DVDI_RETURN_IF_ERROR(tx.PutAttachment(*row));
    }
    return Status();
  });
}

}  // namespace dvdi
