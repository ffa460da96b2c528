// What a program of ours inherits from its caller, and must not be ended or misled by.
#ifndef DVDI_BASE_CALLER_H_
#define DVDI_BASE_CALLER_H_

namespace dvdi {

// Keeps 0, 1 and 2 from becoming descriptors of ours where the caller has closed them: what is read or
// written there still fails (EBADF), for us and for a command. Before anything is opened.
void HoldStandardStreams();

// Takes off what would end us halfway: SIGPIPE, when the reader of our output goes away, and a limit of the
// size of files, which is for the caller's files and not for the node's ledger or a volume's image. A SIGCHLD
// that is ignored would keep from us how a child of ours has ended. A child that was forked before keeps all.
void ShedInherited();

}  // namespace dvdi

#endif  // DVDI_BASE_CALLER_H_
