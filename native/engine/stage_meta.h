// STAGE.json beside a stage's folder: whose stage it is. Not fsynced: a stage does not outlive the boot,
// and this file serves only to rebuild a lost ledger within it.
#ifndef DVDI_ENGINE_STAGE_META_H_
#define DVDI_ENGINE_STAGE_META_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "ledger/rows.h"
#include "mount/mountinfo.h"
#include "sys/env.h"

namespace dvdi {

struct StageMeta {
  OperationRow operation;  // id, owner, scope, boot_id, process, started_ms
  EffectRow attach;        // attachment, target, mode, access
  // The attachment's, as it was when the stage was made; "" in a file of an engine that wrote none.
  std::string mountpoint, device;
  // The mount namespace in which it was mounted; 0 where that is not known.
  uint64_t made_in = 0;
  std::string stage;   // the stage's folder
  bool ended = false;  // its operation is being undone: EndStageMeta
};

Status WriteStageMeta(const Env& env, const StageMeta& meta);
// Says of a stage that cannot be removed now that nobody has it any more: a ledger that is rebuilt would take
// it for one in use. It is a rename, which has room on a full disk. OK where it was said before.
Status EndStageMeta(const Env& env, const std::string& stage);
// Whether that was said of it.
bool StageHasEnded(const Env& env, const std::string& stage);
// Whether there is a file of that stage, whatever it says.
Result<bool> StageIsTold(const Env& env, const std::string& stage);
// Those of one attachment. Files that say nothing of a stage are passed over; one that the system does not
// let us read, or the folder, is an error: it may be what tells of a stage.
Result<std::vector<StageMeta>> ReadStageMetas(const Env& env, const std::string& stage_root,
                                              const std::string& attachment);
// Whether that stage, of this boot, is mounted, or may be where we do not see it: in another mount namespace,
// in which it was made, and which goes on as far as anybody can tell. `mounts`: our own.
bool MayBeMounted(const Env& env, const std::vector<MountEntry>& mounts, const StageMeta& s);
// OK where it is gone.
Status RemoveStageMeta(const Env& env, const std::string& stage);

}  // namespace dvdi

#endif  // DVDI_ENGINE_STAGE_META_H_
