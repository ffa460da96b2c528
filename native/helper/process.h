// Starting, killing and reaping helper processes.
#ifndef DVDI_HELPER_PROCESS_H_
#define DVDI_HELPER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace dvdi {

// One helper process. It ends by itself when `socket` is closed. Reaped by Reap() only: this code lives in
// processes that have children of their own and handlers of their own.
struct HelperProcess {
  pid_t pid = 0;
  UniqueFd pidfd;  // invalid where the kernel has none
  UniqueFd socket;
  uint64_t mount_namespace = 0;  // that it was started in
  pid_t owner = 0;               // who started it
  bool waited = false;           // it has answered before

  // True where it waits for a request of this process, in the mount namespace of this thread. A forked child
  // of ours has a copy of the socket, and would take answers that are the parent's.
  bool Usable() const;
  void Kill();
  // True when it is gone for good. Never waits.
  bool Reap();
};

// Opens and checks the executable, at `path` or in the default places: an O_PATH descriptor, by which it
// is started, so that what was checked is what runs, also after an upgrade has replaced the file.
Result<UniqueFd> OpenHelperExecutable(const std::string& path);
// Starts it: own session, no environment, no descriptors but its socket, default signals.
Result<HelperProcess> StartHelper(int executable);
// Inode number of the calling thread's mount namespace; 0 where /proc does not say.
uint64_t OwnMountNamespace();

}  // namespace dvdi

#endif  // DVDI_HELPER_PROCESS_H_
