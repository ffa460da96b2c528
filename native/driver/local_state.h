// What one node remembers of a volume that it has mounted: who uses it. Node-local, and void after a
// reboot.
#ifndef DVDI_DRIVER_LOCAL_STATE_H_
#define DVDI_DRIVER_LOCAL_STATE_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "sys/boot.h"

namespace dvdi {

struct LocalState {
  std::string boot_id;
  uint64_t generation = 0;    // of the lease that it was mounted under
  std::set<std::string> ids;  // of the Mounts not yet followed by an Unmount; "" where a client sent none
  std::string device;         // "MAJ:MIN" of the loop device, "" where it is not known
  bool limited = false;       // the device may have limits of input and output
  std::string lost;           // why the filesystem was shut down, "" while it lives. Read only: MarkLost
};

// Files NAME.json in the folder `dirfd`. Thread-safe for different volumes.
class LocalStates {
 public:
  LocalStates(int dirfd, std::string node, Boot boot)
      : dirfd_(dirfd), node_(std::move(node)), boot_(std::move(boot)) {}
  // Empty where there is none, or one of another boot. A damaged file reads as empty too, with a line in the
  // log: what is mounted is known from mountinfo, and what is in use is not unmounted by the kernel.
  Result<LocalState> Read(const std::string& volume) const;
  Status Write(const std::string& volume, const LocalState& state) const;
  // From now on Read says so, until Remove. In a file of its own: it is written while another thread may be
  // at work on the volume.
  Status MarkLost(const std::string& volume, const std::string& why) const;
  Status Remove(const std::string& volume) const;
  // Volumes with a state, of whatever boot; removes temporary files.
  Result<std::vector<std::string>> List() const;

 private:
  const int dirfd_;
  const std::string node_;
  const Boot boot_;
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_LOCAL_STATE_H_
