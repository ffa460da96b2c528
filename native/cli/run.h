// `dvdi run`: a command with its volumes.
#ifndef DVDI_CLI_RUN_H_
#define DVDI_CLI_RUN_H_

#include "cli/options.h"

namespace dvdi::cli {

// The exit code: the command's (128 + n where a signal n ended it), 126 and 127 where it could not be
// started, 125 where dvdi failed. Must be called while the process has one thread.
int Run(const Options& options);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_RUN_H_
