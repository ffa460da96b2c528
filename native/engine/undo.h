// The one place where effects are undone: for an operation that did not commit, for cleanup (the undo of
// a committed one), and for recovery after a crash.
#ifndef DVDI_ENGINE_UNDO_H_
#define DVDI_ENGINE_UNDO_H_

#include <map>
#include <memory>
#include <set>
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
  std::unique_ptr<VolumeLocks> locks;    // of its volumes, where they were taken for it
};

// An operation that is to be undone, as the ledger has it.
struct Undoing {
  OperationRow operation;
  std::vector<EffectRow> effects;
  VolumeLocks::Names volumes;  // that the effects name, sorted, each once
  std::map<std::string, std::pair<std::string, std::string>> by_attachment;  // the same: driver, name
  std::set<std::string> unplaced;  // attachments of which the ledger does not say where they are mounted
  Status Read(LedgerTx& tx);       // all but the operation
};

// Undoes an operation that this engine has claimed (state undoing, instance ours) as far as it can: stages
// and folders always; attachments when the volume locks can be had by `lock_deadline_ms` (or `locked`: the
// caller holds them). What is left stays in the ledger. Plugins are not called: see release.h.
// `retry_base_ms`, `retry_max_ms`: the schedule for releasing.
Result<UndoOutcome> Undo(Core& core, const Undoing& what, bool locked, int64_t lock_deadline_ms,
                         int64_t retry_base_ms, int64_t retry_max_ms, Recorder* recorder,
                         const std::string& outcome, const Status& why);

}  // namespace dvdi

#endif  // DVDI_ENGINE_UNDO_H_
