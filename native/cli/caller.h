// What this program inherits from its caller, and must not be ended or misled by.
#ifndef DVDI_CLI_CALLER_H_
#define DVDI_CLI_CALLER_H_

namespace dvdi::cli {

// Keeps 0, 1 and 2 from becoming descriptors of ours where the caller has closed them: what is read or
// written there still fails (EBADF), for us and for a command. Before anything is opened.
void HoldStandardStreams();

// Takes off what would end us halfway: SIGPIPE, when the reader of our output goes away, and a limit of the
// size of files, which is for the caller's files and not for the node's ledger. A child that was forked
// before keeps both.
void ShedInherited();

}  // namespace dvdi::cli

#endif  // DVDI_CLI_CALLER_H_
