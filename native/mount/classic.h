// Stages by mount(2), for kernels without open_tree(2) or mount_setattr(2). Inside mount/ only.
#ifndef DVDI_MOUNT_CLASSIC_H_
#define DVDI_MOUNT_CLASSIC_H_

#include <string>

#include "base/status.h"
#include "mount/stage.h"

namespace dvdi {

// Mounts the folder (an O_PATH descriptor) at the stage with `flags` (MS_RDONLY, MS_NOSUID, MS_NODEV) beside
// those that it has. It is made ready out of sight and then moved: a bind gets its flags only by a second
// call, which reaches no copy that another namespace has got meanwhile. On failure nothing stays mounted.
Result<StageResult> MakeClassicStage(const Env& env, int folder, const std::string& stage,
                                     unsigned long flags);

}  // namespace dvdi

#endif  // DVDI_MOUNT_CLASSIC_H_
