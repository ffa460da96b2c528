// The questions that a policy answers about ends: how often to retry, what to report. Each has a default, so
// that nothing that must be undone waits for a policy (promise 7).
#ifndef DVDI_ENGINE_ASK_POLICY_H_
#define DVDI_ENGINE_ASK_POLICY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/core.h"
#include "engine/recorder.h"

namespace dvdi {

struct EndAdvice {
  int64_t retry_base_ms = 0, retry_max_ms = 0;  // 0: the settings'
  std::vector<std::string> report;              // for people, one line each
};

// Runs the export "cleanup" or "recover" of the active policy. Whatever goes wrong, the defaults are the
// answer. `recorder` may be null.
EndAdvice AskPolicy(Core& core, const char* export_name, Json input, Recorder* recorder);

}  // namespace dvdi

#endif  // DVDI_ENGINE_ASK_POLICY_H_
