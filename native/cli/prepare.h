// What `run` and `mount` share: the request to prepare, and what is said about its answer.
#ifndef DVDI_CLI_PREPARE_H_
#define DVDI_CLI_PREPARE_H_

#include <string>

#include "base/json.h"
#include "cli/options.h"

namespace dvdi::cli {

// A request for dvdi_prepare; missing targets are made.
Json PrepareRequest(const Options& options, const std::string& owner, const std::string& scope, Json sources);

// One line for each volume on standard error: `created new volume x`, `re-attached x (last used …)`; then
// the notes. With `json`, the whole answer as one line instead.
void PrintPrepared(const Json& answer, bool json);

// The answer of a dry run, on standard output.
void PrintDecision(const Json& answer, bool json);

// How long to wait for releases at the end: --timeout where it is given.
int CloseWait(const Options& options, int otherwise_ms);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_PREPARE_H_
