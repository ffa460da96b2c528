// Waiting for a lock that another process has.
#ifndef DVDI_SYS_LOCK_H_
#define DVDI_SYS_LOCK_H_

#include <cstdint>

#include "sys/env.h"

namespace dvdi {

// Sys::TryLock until it succeeds, at most until `deadline_ms` (monotonic): at first again after 1 ms, later
// every 50 ms. 0; -EAGAIN where another open file had the lock all the time, or what else went wrong. Tries
// once however late it is. Thread-safe; the descriptor is the caller's.
int WaitForLock(const Env& env, int fd, int64_t deadline_ms, int64_t offset = 0, int64_t length = 0);

}  // namespace dvdi

#endif  // DVDI_SYS_LOCK_H_
