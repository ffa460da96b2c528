// The namespace side of `dvdi run` and of a container's hook: a child in a mount namespace of its own, which
// waits for its volumes and then becomes the command, or that enters a container's to put them there.
#ifndef DVDI_CLI_CHILD_H_
#define DVDI_CLI_CHILD_H_

#include <signal.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "sys/user.h"

namespace dvdi::cli {

struct ChildSpec {
  std::vector<std::string> command;
  std::optional<UserIds> user;
  std::string workdir;  // "" keeps the caller's
  sigset_t mask;        // the signal mask that the command starts with
  // Instead of making a namespace: enters that of the process `join`, mounts at targets below the folder
  // `root` as BindInRoot does, and ends after Go, with 0; there is no command.
  pid_t join = 0;
  std::string root;
};

// A volume's stage and where the child is to mount it.
struct Placement {
  std::string target, stage, driver, name;
};

// What the child said.
struct ChildReport {
  enum class Kind { kReady, kStarted, kFailed };
  Kind kind = Kind::kFailed;  // kReady: it is in its namespace
  int exit_code = 0;          // kFailed: 125, or 126 or 127 where the command could not be started
  Status failure;
};

// The parent's handle. The child outlives it: it is never killed here, but one that was not told to
// start ends by itself as soon as the handle is gone.
class Child {
 public:
  // Forks, so the caller must have one thread only. The child keeps no descriptor but 0, 1, 2.
  static Result<Child> Start(const ChildSpec& spec);

  pid_t pid() const { return pid_; }
  // Readable when the child has something to say; Receive then does not block.
  int fd() const { return socket_.get(); }
  // kStarted is the end of the connection without a failure: the command runs (or the child died,
  // which its wait status says).
  Result<ChildReport> Receive();

  // The first step, which makes (or enters) the namespace; kReady is its answer.
  Status Enter();
  // Steps that the child takes after it, in order. It answers only when one fails, or after Go.
  // Unmounts a mountpoint in the child's namespace; that it is no mount there is fine.
  Status Hide(const std::string& mountpoint);
  // Mounts stages at their targets, a target inside another one after it. A failure, also one that Receive
  // gives, names its volume.
  Status Place(std::vector<Placement> places);
  Status Go();
  // Whether a step could not be sent because the child is gone; Receive says why it went.
  static bool IsLost(const Status& status);
  // Hangs up: a child that was not told to go ends.
  void Abandon() { socket_.reset(); }

 private:
  Status Send(const std::string& message, int fd);
  // `tree` as in BindStage.
  Status Bind(const UniqueFd& tree, const std::string& stage, const std::string& target);
  pid_t pid_ = -1;
  UniqueFd socket_;
  std::vector<Placement> places_;
};

}  // namespace dvdi::cli

#endif  // DVDI_CLI_CHILD_H_
