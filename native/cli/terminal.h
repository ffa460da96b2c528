// The terminal that a command shares with whoever started it.
#ifndef DVDI_CLI_TERMINAL_H_
#define DVDI_CLI_TERMINAL_H_

#include "base/status.h"

namespace dvdi::cli {

// From here on neither this process nor one that it starts can put input into a terminal (EPERM), which the
// shell behind it would read as typed by its own user: ioctl_tty(2), TIOCSTI and TIOCLINUX, also by the calls
// of a 32-bit program. Needs CAP_SYS_ADMIN; programs that are setuid stay so. OK, and nothing done, where the
// kernel has no seccomp filters, or does not let us have one, and on processors other than x86-64 and arm64.
Status RefuseTerminalInput();

}  // namespace dvdi::cli

#endif  // DVDI_CLI_TERMINAL_H_
