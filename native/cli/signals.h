// Signals of `dvdi run`: which there are, and which the command must get from us.
#ifndef DVDI_CLI_SIGNALS_H_
#define DVDI_CLI_SIGNALS_H_

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/types.h>

#include <optional>

#include "base/fd.h"
#include "base/status.h"

namespace dvdi::cli {

// Blocks the signals that `run` handles (in this thread and the ones it starts later: call it before
// the engine opens) and gives them out through a descriptor. No signal handler is installed.
class Signals {
 public:
  static Result<Signals> Block();
  int fd() const { return fd_.get(); }
  // The mask from before, for the command.
  const sigset_t& original_mask() const { return original_; }
  // Whether the caller had it ignored, as nohup has SIGHUP: blocked, it comes all the same. It is for the
  // command alone then, which may have a use for it.
  bool Ignored(int signal) const { return ::sigismember(&ignored_, signal) == 1; }
  // The next signal, or nothing where none is pending. Never blocks.
  std::optional<signalfd_siginfo> Next();
  // Back to the mask from before; what is pending is dropped.
  void Unblock();

 private:
  sigset_t original_, ignored_;
  UniqueFd fd_;
};

// True for signals that ask the whole thing to end (INT, TERM, HUP, QUIT).
bool IsEnding(int signal);

// Passes a signal on to the command. What a terminal sent went to the whole foreground group already,
// so it is passed on only where the command left our process group.
void PassOn(const signalfd_siginfo& signal, pid_t child);

// Stops this process as the command was stopped (^Z), so that the shell sees the job stopped. Returns
// when it is continued. Does nothing where no terminal and no shell could continue it.
void StopWith(pid_t child, int signal);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_SIGNALS_H_
