// Taking a volume from a node that is gone, or cut off.
#ifndef DVDI_DRIVER_FENCE_H_
#define DVDI_DRIVER_FENCE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "driver/keeper.h"
#include "driver/lease.h"
#include "driver/pool.h"
#include "driver/tiers.h"

namespace dvdi {

struct FenceResult {
  uint64_t generation = 0;  // of the volume's last lease, which is over
  int64_t waited_ms = 0;
  std::string from;  // the node that the volume was taken from; "" where none had it (any more)
};

// First step, which may take as long as a lease: makes sure that the holder's lease has ended. It watches the
// session's counter until that has stood still for the lease time and a margin, by this node's clock. Nothing
// where the volume is free, or was given back meanwhile. kRefused where the holder is alive (its counter
// moves), is this node itself, or has a lease that is never renewed: then only `node_is_dead` helps, which is
// the operator's word that the holder runs no more; nothing is waited for.
Result<std::optional<Lease>> WaitForLeaseEnd(const Pool& pool, const std::string& name, const Holder& self,
                                             bool node_is_dead, int64_t* waited_ms);

// Second step: takes the volume from `lease` by the next number, which one node can do, removes what the
// fenced node could still put in place by a late rename, gives the volume another image file than the one
// that the node may still write to (not with `node_is_dead`), and gives it back as not clean. The image is
// copied for that, unless the pool's filesystem can share extents; a copy that fails or is interrupted is
// made up for before the next mount: it is on record before the volume is free, else this node keeps the
// lease, which says it too.
Result<FenceResult> TakeFenced(const Pool& pool, LeaseKeeper& keeper, const std::string& name,
                               const Holder& self, const Lease& lease, bool node_is_dead,
                               const std::function<void(int64_t)>& progress);

// Both steps, for a command line: opens the pools of `tiers` for itself, whether a driver of this node runs
// or not. `lease_ms` as in DriverOptions.
Result<FenceResult> FenceWithoutDriver(const std::vector<TierConfig>& tiers, std::optional<int64_t> lease_ms,
                                       const std::string& node, const std::string& name, bool node_is_dead);

}  // namespace dvdi

#endif  // DVDI_DRIVER_FENCE_H_
