// The engine's side of dvdi-helper: whatever may hang on a plugin's filesystem runs in that process. A
// thread stuck in a dead FUSE mount cannot be killed; a helper can be left behind.
#ifndef DVDI_HELPER_HELPER_H_
#define DVDI_HELPER_HELPER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "mount/types.h"
#include "sys/env.h"

namespace dvdi {

struct HelperRequest {
  enum class Op {
    kFolder,  // open the folder (or its subpath, beneath it), see that its filesystem lives, set its
              // ownership
    kStatfs,  // statfs(2) of the folder
  };
  Op op = Op::kFolder;
  std::string mountpoint;  // the plugin's folder; at most one helper is stuck for each
  std::string path;        // kStatfs: what to ask where it is not the mountpoint itself (a stage of it)
  int fd = -1;             // kFolder: its O_PATH descriptor where the caller has one (stays the caller's)
  std::string subpath;     // kFolder: relative, normalized, "" for the folder itself
  Ownership ownership = Ownership::kNone;
  uid_t uid = 0;
  gid_t gid = 0;
  int64_t deadline_ms = 0;                     // Clock::MonotonicMs; 0: 10 s from now
  std::function<void(int64_t done)> progress;  // kRecursive; on the calling thread; may be null
};

struct HelperReply {
  // Descriptors are the caller's, to be closed through Sys.
  int folder = -1;      // kFolder: O_PATH
  int userns = -1;      // kIdmap: the user namespace; -1 where the folder is uid:gid's already
  std::string real;     // kFolder without `fd`: where the mountpoint really is
  int mount_id = -1;    // kFolder: id in mountinfo of the mount that it is on; -1 where unknown
  int64_t chowned = 0;  // entries whose owner was changed
  Usage usage;          // kStatfs
};

class HelperRunner {
 public:
  virtual ~HelperRunner() = default;
  // Runs the request in a helper; returns by its deadline. Any thread; requests for the same mountpoint
  // run one after the other. Errors:
  //   kTimeout      it did not answer: the helper was killed, and is abandoned where it cannot die. Until
  //                 it does, other requests for the same mountpoint fail at once
  //   kNotFound     the folder or the subpath does not exist
  //   kUnavailable  the filesystem is dead: its server has ended, its device is gone
  //   kRefused      the subpath leaves the volume, or something is no folder, or a system folder
  //   kUnsupported  the filesystem or the kernel cannot do it
  //   kSystem       anything else, among it a helper that cannot be started
  virtual Result<HelperReply> Run(const Env& env, const HelperRequest& request) = 0;
  // Real processes: a few are kept waiting for the next request. Never destroyed.
  static HelperRunner* Real();
};

// The runner of that Env.
inline HelperRunner* HelperOf(const Env& env) {
  return env.helper != nullptr ? env.helper : HelperRunner::Real();
}

// Where the executable is; "" looks again in the default places: beside the file that this code is in,
// ../libexec/dvdi and ../helper from there, and the path of the installation. Process-wide. It must belong
// to root or to us, and nobody else may write it.
void SetHelperPath(std::string path);

// For `status` and `doctor`: helpers that hang.
struct StuckHelper {
  pid_t pid = 0;
  std::string mountpoint;
};
std::vector<StuckHelper> StuckHelpers();
// OK where a helper can be started.
Status CheckHelper();

}  // namespace dvdi

#endif  // DVDI_HELPER_HELPER_H_
