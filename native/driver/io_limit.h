// Limits for the input and output of a volume, through the cgroup that the workloads run in.
//
// The kernel has no limit for a device alone: a limit is of a cgroup *and* a device. The operator names the
// cgroup beneath which the workloads run. In the unified hierarchy (io.max) it counts for all processes
// beneath it together, writeback included. In the old one (blkio.throttle.*) it counts for the processes of
// that very group.
#ifndef DVDI_DRIVER_IO_LIMIT_H_
#define DVDI_DRIVER_IO_LIMIT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace dvdi {

struct IoLimits {
  std::optional<int64_t> iops, bps;  // for each direction: operations, bytes a second
  bool any() const { return iops.has_value() || bps.has_value(); }
};

// Thread-safe.
class IoLimiter {
 public:
  // No cgroup: nothing can be limited.
  IoLimiter() = default;
  // kUnsupported, with what to do, where this cgroup cannot limit anything.
  static Result<IoLimiter> Open(const std::string& cgroup);

  bool can_limit() const { return !cgroup_.empty(); }
  const std::string& cgroup() const { return cgroup_; }
  // `device` is "MAJ:MIN". What is not limited is made unlimited. The kernel is asked afterwards whether it
  // has it.
  Status Set(const std::string& device, const IoLimits& limits) const;
  // Takes all limits of the device away.
  Status Clear(const std::string& device) const { return Set(device, {}); }

 private:
  std::string cgroup_;
  bool unified_ = false;
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_IO_LIMIT_H_
