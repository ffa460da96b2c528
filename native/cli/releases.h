// Releases go on behind a cleanup's answer: whoever ends a scope at a prompt wants to know what became of
// them.
#ifndef DVDI_CLI_RELEASES_H_
#define DVDI_CLI_RELEASES_H_

#include "base/json.h"
#include "cli/engine.h"

namespace dvdi::cli {

// Waits until the volumes that `cleaned`, an answer of dvdi_cleanup, names as pending are released or their
// drivers have failed to, at most `wait_ms`. Those that are not released are named in a note, with the
// reason. Returns what is left of `wait_ms`.
int AwaitReleases(Engine* engine, const Json& cleaned, int wait_ms);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_RELEASES_H_
