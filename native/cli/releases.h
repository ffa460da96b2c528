// Releases go on behind a cleanup's answer: whoever ends a scope at a prompt wants to know what became of
// them.
#ifndef DVDI_CLI_RELEASES_H_
#define DVDI_CLI_RELEASES_H_

#include "base/json.h"
#include "cli/engine.h"

namespace dvdi::cli {

// What a cleanup waits for volumes that others hold (an operation of another command, say): who is closed
// behind it does not look again, and what it left would wait for the next command.
inline constexpr int kHeldMs = 5000;

// Waits until the volumes that `cleaned`, an answer of dvdi_cleanup, names as pending are released or their
// drivers have failed to, at most `wait_ms`. Those that are not released are named in a note, with the
// reason. Returns what is left of `wait_ms`.
int AwaitReleases(Engine* engine, const Json& cleaned, int wait_ms);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_RELEASES_H_
