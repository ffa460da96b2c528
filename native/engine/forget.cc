// The operator's last word on an attachment that cannot be released.
#include "base/text.h"
#include "engine/engine.h"
#include "engine/meta.h"
#include "engine/release.h"
#include "engine/tell.h"

namespace dvdi {

Result<Json> Engine::Forget(const Json& request) {
  Core& core = *core_;
  std::string driver = GetString(request, "driver"), name = GetString(request, "name");
  if (driver.empty() || name.empty()) return Status(Code::kInvalid, "forget wants a driver and a name");
  DVDI_ASSIGN_OR_RETURN(auto locks, VolumeLocks::Take(core.env, core.lock_file, {{driver, name}},
                                                      core.env.clock->MonotonicMs() + 1000));
  std::optional<AttachmentRow> found;
  Status s = core.ledger->Apply(Commit::forgotten, true, [&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(found, tx.FindAttachment(driver, name));
    if (!found)
      return Status(Code::kNotFound,
                    "nothing of volume " + OneLine(name, 255) + " is attached or pending on this node");
    DVDI_ASSIGN_OR_RETURN(auto users, tx.Users(found->id, core.boot_id));
    if (!users.empty())
      return Status(
          Code::kRefused,
          "volume " + OneLine(name, 255) + " is in use by scope " + users[0].scope + " of " + users[0].owner,
          "end that scope first; `dvdi inspect` shows its processes");
    DVDI_RETURN_IF_ERROR(tx.SetVolumeState(driver, name, "forgotten"));
    return tx.DeleteAttachment(found->id);
  });
  TellOperator(core, "forget", s.ok() ? "forgotten" : "refused", driver, name, found ? found->id : "", s);
  if (!s.ok()) return std::move(s).WithVolume(driver, name);
  for (AttachmentRow a = *found;; a = NextOwed(a)) {
    RemoveLetGo(core.env, core.stage_root, a.id);
    if (a.also.empty()) break;
  }
  return Json{{"forgotten", {{"driver", driver}, {"name", name}, {"id", found->id}}}};
}

}  // namespace dvdi
