// The operations of the volume plugin over the pools of its tiers, one node, one mount root.
#ifndef DVDI_DRIVER_DRIVER_H_
#define DVDI_DRIVER_DRIVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "driver/attempt.h"
#include "driver/fence.h"
#include "driver/io_limit.h"
#include "driver/keeper.h"
#include "driver/lease.h"
#include "driver/local_state.h"
#include "driver/mounts.h"
#include "driver/open_tiers.h"
#include "driver/options.h"
#include "driver/pool.h"
#include "driver/tier_gate.h"
#include "driver/tiers.h"
#include "driver/volume_locks.h"

namespace dvdi {

struct DriverOptions {
  std::string node, mount_root;             // a plain name; an absolute path
  std::string pool;                         // absolute path of the one pool, where there are no `tiers`
  int64_t default_size = int64_t{1} << 30;  // of that one
  Filesystem default_filesystem = Filesystem::kExt4;  // of that one
  std::vector<TierConfig> tiers;
  std::optional<int64_t> lease_ms;  // of tiers that name none; none: by the kind of the pool
  std::string io_cgroup;            // where workloads run, "" where nothing can be limited
  bool accept_unenforced = false;   // take iops and bps where nothing can be limited
  int detach_wait_ms = 3000;        // how long Unmount waits for the loop device to let go of the image
  // Of the requests that hang in one tier so many are waited for, of 128 connections (server.h), and the next
  // ones are refused; 0: a share that leaves room for the other tiers.
  size_t most_slow = 0;
  int64_t slow_ms = 30'000;  // what has been at work for so long may hang
  int open_wait_ms = 5000;   // how long a start, or a request, waits for a pool that does not answer
};

struct VolumeInfo {
  std::string name, mountpoint, created_at;
  std::string pool, tier, label;
  int64_t size_bytes = 0, used_bytes = 0, free_bytes = 0;  // free_bytes: of the pool's disk
  Filesystem filesystem = Filesystem::kExt4;
  bool formatted = false, clean = false, grow = false, renew = false;
  uint64_t generation = 0;
  std::optional<Lease> lease;
  std::string lease_problem;  // why the lease file cannot be relied on, "" where it can
  std::string doing;          // "checking: pass 2 of 5", "" where nothing long is under way
  std::string lost;           // why it was shut down here, "" where it was not
  IoLimits limits;
};

struct TierInfo {
  TierConfig config;
  TierRoom room;
};

// Thread-safe: operations on different volumes run side by side, those on one volume one after another.
// Nothing is remembered in memory that matters: files in the pool and the mount root, and the kernel's
// mount table, tell all, so that a killed driver is continued by the next one.
class Driver {
 public:
  // Opens pools and mount root, and ends or takes over what an earlier driver of this node left: mounts
  // stay mounted, leases without a mount are given back, half-made volumes are removed. A tier whose pool
  // cannot be had is opened later (open_tiers.h), and then the same is done there; it fails where that is
  // every tier, none merely does not answer, and nothing is mounted here that could be unmounted. Until then
  // what may be in such a tier is kUnavailable: it is not known not to be there.
  static Result<std::unique_ptr<Driver>> Open(const DriverOptions& options);
  ~Driver();  // waits until this is settled

  const std::string& node() const { return self_.node; }
  // Those of the tiers that are open, for people: "/srv/nvme, /srv/nfs"; "" where none is.
  std::string Pools() const;

  // Makes a volume. Where it exists: OK where the options given agree with it, a larger size grows it, a
  // smaller one or another filesystem or tier is kRefused.
  Status Create(const std::string& name, const std::map<std::string, std::string>& opts);
  // kRefused while it is mounted here or leased by another node.
  Status Remove(const std::string& name);
  // The mountpoint. Any number of IDs may have the volume on this node; the same ID twice counts once.
  // Options, where a client sends them with a Mount, are taken as Create takes them for a volume that exists.
  Result<std::string> Mount(const std::string& name, const std::string& id,
                            const std::map<std::string, std::string>& opts = {});
  // OK where that ID does not have the volume. Unmounts, and gives the lease back, with the last ID; where
  // its tier is closed, the lease is given back when that opens.
  Status Unmount(const std::string& name, const std::string& id);
  // kRefused where it is not mounted here.
  Result<std::string> Path(const std::string& name);
  Result<VolumeInfo> Get(const std::string& name);
  // (name, mountpoint or ""), sorted by name.
  Result<std::vector<std::pair<std::string, std::string>>> List();

  // Takes a volume from the node that has it (fence.h). May take as long as a lease lasts; operations on
  // other volumes, and questions about this one, go on meanwhile.
  Result<FenceResult> Fence(const std::string& name, bool node_is_dead);
  Result<std::vector<TierInfo>> Tiers() const;
  // Whether iops and bps are enforced, and if not, why that is fine: for Status.
  const IoLimiter& limiter() const { return limiter_; }

  // Gives back leases of volumes whose last copy of the mount, in some other namespace, went away
  // meanwhile, and opens tiers that can be had by now. To be called now and then. On a thread for each tier:
  // one that hangs holds up its own volumes only, and this for `wait_ms` at the most.
  void ReleaseDrained(int wait_ms = 30'000);
  // Whether those threads have nothing more to do, for now, by the end of `wait_ms`. While they have, this
  // must not be destroyed by who cannot wait for them.
  bool Settled(int wait_ms) const;

 private:
  struct Volume {  // an open volume's folder
    UniqueFd fd;
    std::optional<LeaseFile> lease;
    Tier* tier = nullptr;
    const Pool& pool() const { return tier->pool; }
  };
  // To be held by each request while it is at work (but a fence, which takes its time): in the tier where the
  // volume was seen last, or in those where it is looked for. Taken before the volume's lock, which a request
  // that hangs may have.
  Result<TierGate::Pass> Enter(const std::string& name) const;
  using Options = CreateOptions;
  struct Plan {  // what is to become of a volume that exists
    VolumeMeta meta;
    int64_t old_size = 0;  // as it is recorded
    bool limits = false;   // whether they change
    bool nothing() const { return meta.size_bytes == old_size && !limits; }
  };

  Driver(const DriverOptions& options, MountRoot root, Holder self, IoLimiter limiter);
  // kNotFound only where every tier was looked into: kUnavailable where one is closed. kRefused as
  // Pool::OpenVolume says.
  Result<Volume> OpenVolume(const std::string& name, Pool::For why = Pool::For::kUse) const;
  Result<TierRoom> Room(const Tier& tier) const;
  Result<Options> ReadOptions(const std::string& name, const std::map<std::string, std::string>& opts) const;
  Status CheckLimits(const Options& options) const;
  Status CreateNew(const std::string& name, const Options& options);
  // kRefused where the volume cannot become what is asked for.
  Result<Plan> MakePlan(const std::string& name, const Volume& volume, const Options& options) const;
  Status Change(const std::string& name, const Volume& volume, const Options& options);
  Status Alter(const Plan& plan, const Volume& volume);
  // The lease, guarded by the tier's keeper from then on; and giving it back.
  Result<Lease> TakeLease(const std::string& name, const Volume& volume);
  Status ReleaseLease(const std::string& name, const Volume& volume, const Lease& lease, bool clean);

  Result<std::string> MountLocked(const std::string& name, const std::string& id, const Volume& volume);
  Result<std::string> JoinMount(const std::string& name, const std::string& id, const Volume& volume,
                                const std::string& device);
  // Sets *attached once the image may be attached by this call, *mounted once it may be mounted.
  Status FreshMount(VolumeMeta meta, const std::string& id, const Volume& volume, const Lease& lease,
                    bool clean, bool* attached, bool* mounted);
  Status PrepareImage(VolumeMeta* meta, const Volume& volume, bool clean, bool* formatted_now);
  Status MakeFilesystem(VolumeMeta* meta, const Volume& volume, bool* formatted_now);
  Status CheckImage(const VolumeMeta& meta, const Volume& volume);
  Status Replace(VolumeMeta* meta, const Volume& volume);
  Status GrowUnmounted(VolumeMeta* meta, const Volume& volume);
  Status FinishGrowing(VolumeMeta meta, const Volume& volume, const std::string& device);
  Status Limit(const VolumeMeta& meta, LocalState* state) const;
  Status Unlimit(const std::string& name, const LocalState& state) const;
  void UndoFreshMount(const std::string& name, const Volume& volume, const Lease& lease, bool attached,
                      bool clean);
  // Whether the image, attached nowhere any more, tells that it was unmounted whole.
  bool LooksWhole(const std::string& name, const Volume& volume, int image) const;
  // What the loop device wrote must be at the pool's server before another node may look. Where it cannot be
  // brought there, the volume is not given back as clean any more, whatever a second try says.
  Status FlushImage(const std::string& name, int image, const LocalState& state);
  Status GiveBack(const std::string& name, const Volume& volume, const LocalState& state, bool was_mounted);
  // Takes a volume that is mounted from that ID. True where no other ID has it: it is to be unmounted.
  Result<bool> EndUse(const std::string& name, const std::string& id, LocalState* state);
  Status UnmountOrphan(const std::string& name, const std::string& id);
  // Ends the use of a volume that may be in a tier that is closed, which `closed` says. The pool is not
  // asked.
  Status LetGo(const std::string& name, const std::string& id, const Status& closed);

  // A tier that has been opened: its volumes are known, and to be recovered.
  void Opened(size_t index, const Tier& tier);
  void Recover();
  Status RecoverVolume(const std::string& name);
  void RecoverLater(const std::string& name);
  struct Late {  // what is to be done in one tier
    std::vector<std::string> unrecovered, draining;
    bool sweep = false;
  };
  void DoLate(size_t index, const Late& late);
  void SweepTier(size_t index);
  void ReleaseOne(const std::string& name);
  Status RecoverLeased(const std::string& name, const Volume& volume, const Lease& lease, bool mounted);
  // The leases of these volumes end: their filesystems are shut down. Never touches a pool.
  void Lose(const std::vector<std::string>& names, const std::string& why);
  // kUnavailable where the lease has ended.
  Status StillHeld(const std::string& name, const Volume& volume) const;
  // Writes the metadata of a volume whose lease still lasts: what comes late would replace another node's.
  Status WriteHeld(const Volume& volume, const VolumeMeta& meta) const;
  std::function<bool()> GiveUp(const std::string& name, const Volume& volume) const;

  // Says in Status what is done to a volume, while it lives.
  class Doing {
   public:
    Doing(Driver* driver, std::string name, const std::string& what);
    ~Doing();
    // Shown as "WHAT: TEXT"; logged where it differs up to the first comma.
    void Progress(const std::string& text);

   private:
    Driver* const driver_;
    const std::string name_, what_;
    std::string logged_;
  };

  const DriverOptions options_;
  const MountRoot root_;
  const Holder self_;  // without a session
  const IoLimiter limiter_;
  const LocalStates states_;
  VolumeLocks locks_;
  mutable TierGate gate_;
  mutable std::mutex mu_;  // guards the next
  // To be recovered still: not done yet, or the pool or a device failed. With what was said of it last.
  std::map<std::string, std::string> unrecovered_;
  std::set<size_t> unswept_;                  // tiers with sessions of earlier drivers
  std::set<std::string> draining_;            // unmounted here, but the image is still attached
  std::map<std::string, std::string> doing_;  // volume -> what is done to it
  // tier -> what goes on there late; the number of tiers stands for where it is not known.
  std::map<size_t, std::shared_ptr<Attempt<bool>>> late_;
  mutable std::map<std::string, size_t> found_in_;  // volume -> the tier it was seen in last
  bool started_ = false;                            // from then on volumes are in use by their hint
  std::mutex create_mu_;                            // one new volume at a time, for the room that is left
  mutable OpenTiers tiers_;                         // last: their keepers call this
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_DRIVER_H_
