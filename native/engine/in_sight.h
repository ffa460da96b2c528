// Stages that are mounted here and of which the ledger knows nothing: what was known of them is lost or
// damaged, and a workload may be at work in each.
#ifndef DVDI_ENGINE_IN_SIGHT_H_
#define DVDI_ENGINE_IN_SIGHT_H_

#include <string>
#include <string_view>
#include <vector>

#include "engine/core.h"

namespace dvdi {

// How one is told of, behind its path, and what is to be done.
inline constexpr char kUsedByNobodyKnown[] = " is mounted, and nothing tells for which workload";
inline constexpr char kUnmountIt[] = "unmount it once nobody uses it";

// One of a volume that no workload has by the ledger: in its folder, or elsewhere of what lies at the
// volume's mountpoint, where it was not seen when the driver named that. "" where there is none. Any thread.
Result<std::string> StageInSight(Core& core, const AttachmentRow& a);

// One of what lies at `place`, with mountinfo's text and the mounts on the way there. "" where there is none.
// The caller holds the volume's lock. Any thread.
Result<std::string> UnknownStageOf(Core& core, std::string_view mountinfo,
                                   const std::vector<MountEntry>& mounts, const std::string& place);

}  // namespace dvdi

#endif  // DVDI_ENGINE_IN_SIGHT_H_
