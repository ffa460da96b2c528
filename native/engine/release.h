// Unmount: an attachment that nobody uses is given back to its driver, now or later (promise 6).
#ifndef DVDI_ENGINE_RELEASE_H_
#define DVDI_ENGINE_RELEASE_H_

#include <optional>
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

// A wall time of the ledger as a monotonic one, at most kLookMs from now; never at once, so that what cannot
// be had is not tried without end. INT64_MAX stays.
int64_t DueAt(Core& core, int64_t wall_ms);

// For who could not try a release, or could not write down what came of it: somebody is to look for it again.
void LookAgain(Core& core);

// The attachment, where it waits for its release: nobody uses it, and nobody has let it go. Under its lock.
Result<std::optional<AttachmentRow>> Releasable(Core& core, LedgerTx& tx, const std::string& attachment);

// --- release_earlier.cc
// Those of one driver that an earlier boot has left, on a thread of their own: the driver is asked for its
// volumes once, and for single ones where its list does not tell.
void StartEarlierReleases(const std::shared_ptr<Core>& core, const std::string& driver,
                          std::vector<AttachmentRow> rows);

// --- what both write into the ledger
// How the volume is mounted as its driver sees it now.
enum class Seen { kMounted, kNotMounted, kUnknown, kNoVolume };
// Lets it go, and has the next ID of its volume that is owed too in its place. `volume_state`: what its
// volume is known as from now on; null: as before.
Status LetGo(LedgerTx& tx, const AttachmentRow& attachment, const char* volume_state);
// What LetGo puts in its place. Of one that has others that are owed too.
AttachmentRow NextOwed(AttachmentRow attachment);
// The row of the next try, with the pause that its tries so far make due. `why` is kept (KeptError).
AttachmentRow Postponed(Core& core, AttachmentRow attachment, const std::string& why);

// Starts a thread for each release that is due (at most `max_in_flight` for a driver), and one for all of
// a driver that an earlier boot has left; returns the wall time of the next one that is not due, INT64_MAX
// where there is none. What is started and fails says itself when it is to be tried again. `all`: those that
// wait for their time too.
int64_t StartDueReleases(const std::shared_ptr<Core>& core, bool all);

}  // namespace dvdi

#endif  // DVDI_ENGINE_RELEASE_H_
