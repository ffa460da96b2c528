// The end of a prepare that failed.
#include "base/caught.h"
#include "engine/operation.h"
#include "engine/stage_meta.h"

namespace dvdi {

void PrepareOperation::Fail(const Status& why, Outcome* outcome) {
  outcome->status = why;
  outcome->locks = std::move(locks_);
  // Whatever telling and undoing throw, this is its end. What could not be undone now stays in the ledger,
  // and the keeper takes it up.
  (void)Caught([&] { Tell(why); });
  (void)Caught([&] { UndoBegun(why, outcome); });
}

void PrepareOperation::UndoBegun(const Status& why, Outcome* outcome) {
  if (!begun_) {
    (void)core_.ledger->Apply(Commit::recorded, false, [&](LedgerTx& tx) {
      return tx.PutRecord(recorder_.Finish(request_.operation, CodeName(why.code()), why), Names(),
                          core_.settings.records_keep);
    });
    return;
  }
  if (create_tried_) (void)RecordCreated();
  (void)RecordPlaces();
  Undoing what{request_.operation, {}, {}};
  bool known = false;
  Status read = core_.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(known, HasIntent(tx));
    return what.Read(tx);
  });
  // A commit that fails at its fsync is in the log all the same, and whoever opens the ledger next finds the
  // scope committed, unless something was written since. Until then nothing may be taken away under it.
  if (commit_tried_) what.operation.state = kUndoing;
  if (read.ok() && (!known || commit_tried_))
    read = core_.ledger->Apply(commit_tried_ ? Commit::undoing : Commit::intent, false,
                               [&](LedgerTx& tx) -> Status {
                                 if (!known) DVDI_RETURN_IF_ERROR(PutIntent(tx));
                                 if (commit_tried_) DVDI_RETURN_IF_ERROR(tx.PutOperation(what.operation));
                                 return what.Read(tx);
                               });
  if (!read.ok()) return EndStages();
  auto undone = Undo(core_, what, true, 0, 0, 0, &recorder_, CodeName(why.code()), why);
  if (undone.ok()) outcome->releasing = std::move(undone->releasing);
}

// Where the ledger can say nothing of the operation: one that is lost, and rebuilt from the stages, would
// have it as one that has its volumes, as would one whose last commit failed at its fsync; and whoever was
// answered with an error ends nothing.
void PrepareOperation::EndStages() const {
  for (size_t i = 0; i < volumes_.size(); ++i) (void)EndStageMeta(core_.env, StageOf(i));
}

// Data is never undone: what was made, or may have been, is known as made and unused.
Status PrepareOperation::RecordCreated() {
  return core_.ledger->Apply(Commit::created, true, [&](LedgerTx& tx) -> Status {
    for (const VolumeState& v : volumes_) {
      if (v.created || v.create_sent) {
        VolumeRow row;
        row.driver = v.driver, row.name = v.name, row.state = "created";
        row.created_by_us = v.created, row.created_ms = v.created ? core_.env.clock->WallMs() : 0;
        DVDI_RETURN_IF_ERROR(tx.TouchVolume(row));
      } else if (!v.history) {
        DVDI_RETURN_IF_ERROR(tx.DeleteVolume(v.driver, v.name, "creating"));
      }
    }
    return Status();
  });
}

}  // namespace dvdi
