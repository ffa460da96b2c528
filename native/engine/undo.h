// The one place where effects are undone: for an operation that did not commit, for cleanup (the undo of
// a committed one), and for recovery after a crash.
#ifndef DVDI_ENGINE_UNDO_H_
#define DVDI_ENGINE_UNDO_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "engine/core.h"
#include "engine/recorder.h"
#include "ledger/rows.h"

namespace dvdi {

struct UndoOutcome {
  bool finished = false;                 // nothing of the operation is left in the ledger
  std::vector<AttachmentRow> releasing;  // attachments that nobody uses any more: Unmount is due
  std::vector<AttachmentRow> kept;       // attachments that others still use
  std::vector<AttachmentRow> dropped;    // attachments whose Mount was never sent
  std::vector<std::string> problems;     // what could not be undone now, for people
};

// Undoes an operation that this engine has claimed (state undoing, instance ours) as far as it can: stages
// and folders always; attachments when the volume locks can be had by `lock_deadline_ms` (or `locked`: the
// caller holds them). What is left stays in the ledger. Plugins are not called: see release.h.
// `retry_base_ms`, `retry_max_ms`: the schedule for releasing.
Result<UndoOutcome> Undo(Core& core, const OperationRow& operation, bool locked, int64_t lock_deadline_ms,
                         int64_t retry_base_ms, int64_t retry_max_ms, Recorder* recorder,
                         const std::string& outcome, const Status& why);

// The volumes that the operation's effects name, sorted, each once.
Result<VolumeLocks::Names> VolumesOf(Core& core, const std::string& operation);

}  // namespace dvdi

#endif  // DVDI_ENGINE_UNDO_H_
