// What drivers say, where it stays: in the ledger and in records (promise 10). A prepare knows the secrets
// that its driver's words may repeat, and quotes them without (Recorder::Redact). A release and an
// operator's verb do not: they come later, in another process, and the driver may have been told long ago.
#ifndef DVDI_ENGINE_DRIVER_WORDS_H_
#define DVDI_ENGINE_DRIVER_WORDS_H_

#include <string>
#include <vector>

#include "engine/core.h"
#include "engine/recorder.h"
#include "plugin/client.h"

namespace dvdi {

// Whether drivers may have been told a secret on this node: the settings list options that are secrets, or
// there are values to refer to. True where that cannot be seen.
bool MayTellSecrets(const Env& env, const Settings& settings);

// Why a call was not answered with a yes, for who does not know the secrets of its driver. A driver's own
// words are left out where it may have been told any: by MayTellSecrets, or as `attachments`, those that the
// call is about, were made where that was so.
std::string KeptError(Core& core, const Call& call, const Answer& answer,
                      const std::vector<AttachmentRow>& attachments = {});

// Whether an answer holds words of the driver's own: all else that it says is ours, such as that it did not
// come.
bool HasWords(const Answer& answer);

// Hides the values that a reference may have given to the driver when its volume was made, by whomever: who
// mounts it today is not told them, and its words may repeat them.
void HideWhatItMayRepeat(const Core& core, const std::string& driver, Recorder* recorder);

}  // namespace dvdi

#endif  // DVDI_ENGINE_DRIVER_WORDS_H_
