// What the host calls have in common.
#ifndef DVDI_ENGINE_HOST_CALLS_H_
#define DVDI_ENGINE_HOST_CALLS_H_

#include <cstddef>
#include <cstdint>

#include "base/json.h"

namespace dvdi {

// The most plugin calls, or stages, that one host call may ask for.
inline constexpr size_t kMaxCallsAtOnce = 256;

// The member "volume" of what a policy wrote, where it is an index below `count`; else -1.
inline int64_t VolumeIndex(const Json& item, size_t count) {
  int64_t i = GetInt(item, "volume", -1);
  return i >= 0 && i < static_cast<int64_t>(count) ? i : -1;
}

}  // namespace dvdi

#endif  // DVDI_ENGINE_HOST_CALLS_H_
