// Unmount: an attachment that nobody uses is given back to its driver, now or later (promise 6).
#ifndef DVDI_ENGINE_RELEASE_H_
#define DVDI_ENGINE_RELEASE_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "engine/core.h"

namespace dvdi {

enum class ReleaseResult { kReleased, kUnconfirmed, kPending, kTakenOver };

// Tries once. The caller holds the volume's lock. kPending: the driver is down or refused; the ledger has
// the time of the next try. kTakenOver: somebody uses it again, or it is gone: nothing was done. The driver's
// answer is waited for until `deadline_ms` (monotonic), and no longer than any call's.
Result<ReleaseResult> Release(Core& core, const std::string& attachment, int64_t deadline_ms = INT64_MAX);

// For somebody who waits: tries those releases one after the other. Those that are done go to `released`, as
// {"driver", "name"}; the others to `pending`, with "why".
void ReleaseNow(Core& core, const std::vector<AttachmentRow>& rows, int64_t deadline_ms, Json* released,
                Json* pending);

// The same for an attachment that is releasing and that the caller has kept from being used since it saw
// that: it held the volume's lock all the time.
Result<ReleaseResult> ReleaseHeld(Core& core, const AttachmentRow& attachment,
                                  int64_t deadline_ms = INT64_MAX);

// Releases an attachment as soon as its driver has room, on a thread of its own; false where that is under
// way.
bool StartRelease(const std::shared_ptr<Core>& core, const AttachmentRow& attachment);

// Starts a thread for each release that is due (at most `max_in_flight` for a driver); returns the wall time
// of the next one that is not, INT64_MAX where there is none. `all`: those that wait for their time too.
int64_t StartDueReleases(const std::shared_ptr<Core>& core, bool all);

}  // namespace dvdi

#endif  // DVDI_ENGINE_RELEASE_H_
