// What operations tell the audit log and the counters, each at the one place where it ends.
#ifndef DVDI_ENGINE_TELL_H_
#define DVDI_ENGINE_TELL_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/core.h"
#include "engine/operation.h"
#include "engine/recorder.h"
#include "engine/release.h"

namespace dvdi {

// Opens what is told to; never fails.
void StartObserver(Core* core);

// A prepare that ended before it was begun in the ledger, for each of its volumes that are known.
void TellRefused(Core& core, const Recorder& recorder, const PrepareRequest& request, const Status& why);

struct UndoneStage {
  EffectRow effect;
  Status status;  // why it is still there
};
// The stages of an operation that is undone. `volumes`: driver and name by attachment.
void TellUndone(Core& core, const Recorder& recorder, const OperationRow& operation,
                const std::map<std::string, std::pair<std::string, std::string>>& volumes,
                const std::vector<UndoneStage>& stages);

// A try to give an attachment back. `why`: kOk, or what kind of answer its driver gave.
void TellRelease(Core& core, const AttachmentRow& attachment, ReleaseResult result, Code why,
                 int64_t started_ns);

// A call of a plugin, and what it answered.
void TellCall(Observer& observer, const Call& call, const Answer& answer, int64_t ns);

// Something that the operator did by a verb of `kind` to one volume: "forgotten", "removed", "fenced", …
// `id`: the attachment's, or "".
void TellOperator(Core& core, const char* kind, const char* event, const std::string& driver,
                  const std::string& name, const std::string& id, const Status& status);

}  // namespace dvdi

#endif  // DVDI_ENGINE_TELL_H_
