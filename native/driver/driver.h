// The operations of the volume plugin over one pool, one node, one mount root.
#ifndef DVDI_DRIVER_DRIVER_H_
#define DVDI_DRIVER_DRIVER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "driver/lease.h"
#include "driver/local_state.h"
#include "driver/mounts.h"
#include "driver/options.h"
#include "driver/pool.h"
#include "driver/volume_locks.h"

namespace dvdi {

struct DriverOptions {
  std::string pool, node, mount_root;  // absolute paths; `node` a plain name
  int64_t default_size = int64_t{1} << 30;
  Filesystem default_filesystem = Filesystem::kExt4;
  int detach_wait_ms = 3000;  // how long Unmount waits for the loop device to let go of the image
};

struct VolumeInfo {
  std::string name, mountpoint, created_at;
  int64_t size_bytes = 0, used_bytes = 0;
  Filesystem filesystem = Filesystem::kExt4;
  bool formatted = false, clean = false;
  uint64_t generation = 0;
  std::optional<Lease> lease;
  std::string lease_problem;  // why the lease file cannot be relied on, "" where it can
};

// Thread-safe: operations on different volumes run side by side, those on one volume one after another.
// Nothing is remembered in memory that matters: files in the pool and the mount root, and the kernel's
// mount table, tell all, so that a killed driver is continued by the next one.
class Driver {
 public:
  // Opens pool and mount root, and ends or takes over what an earlier driver of this node left: mounts
  // stay mounted, leases without a mount are given back, half-made volumes are removed.
  static Result<std::unique_ptr<Driver>> Open(const DriverOptions& options);
  ~Driver();

  const std::string& node() const { return self_.node; }
  const std::string& pool() const { return pool_.path(); }

  // Makes a volume; OK where it exists and the options given agree with it, kRefused where not.
  Status Create(const std::string& name, const std::map<std::string, std::string>& opts);
  // kRefused while it is mounted here or leased by another node.
  Status Remove(const std::string& name);
  // The mountpoint. Any number of IDs may have the volume on this node; the same ID twice counts once.
  Result<std::string> Mount(const std::string& name, const std::string& id);
  // OK where that ID does not have the volume. Unmounts, and gives the lease back, with the last ID.
  Status Unmount(const std::string& name, const std::string& id);
  // kRefused where it is not mounted here.
  Result<std::string> Path(const std::string& name);
  Result<VolumeInfo> Get(const std::string& name);
  // (name, mountpoint or ""), sorted by name.
  Result<std::vector<std::pair<std::string, std::string>>> List();

  // Gives back leases of volumes whose last copy of the mount, in some other namespace, went away
  // meanwhile. To be called now and then.
  void ReleaseDrained();

 private:
  struct Volume {  // an open volume's folder
    UniqueFd fd;
    std::optional<LeaseFile> lease;
  };

  Driver(const DriverOptions& options, Pool pool, MountRoot root, Holder self);
  Result<Volume> OpenVolume(const std::string& name) const;
  Result<std::string> JoinMount(const std::string& name, const std::string& id, const Volume& volume,
                                const std::string& device);
  // Sets *attached once the image may be attached by this call.
  Status FreshMount(const VolumeMeta& meta, const std::string& id, const Volume& volume, const Lease& lease,
                    bool* attached);
  Status PrepareImage(VolumeMeta meta, const Volume& volume, bool* formatted_now);
  void UndoFreshMount(const std::string& name, const Volume& volume, const Lease& lease, bool attached,
                      bool clean);
  Status GiveBack(const std::string& name, const Volume& volume, uint64_t generation, bool was_mounted);
  Status UnmountOrphan(const std::string& name, const std::string& id);
  void Recover();
  Status RecoverVolume(const std::string& name);
  Status RecoverLeased(const std::string& name, const Volume& volume, const Lease& lease, bool mounted);

  const DriverOptions options_;
  const Pool pool_;
  const MountRoot root_;
  const Holder self_;
  const LocalStates states_;
  VolumeLocks locks_;
  std::mutex mu_;                   // guards the next
  std::set<std::string> draining_;  // unmounted here, but the image is still attached
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_DRIVER_H_
