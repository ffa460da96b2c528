// The tiers of a running driver. One whose pool cannot be had holds up no other: it is closed until it can be
// opened, at the start or later.
#ifndef DVDI_DRIVER_OPEN_TIERS_H_
#define DVDI_DRIVER_OPEN_TIERS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "driver/attempt.h"
#include "driver/keeper.h"
#include "driver/pool.h"
#include "driver/tiers.h"

namespace dvdi {

struct Tier {
  TierConfig config;  // with its pool's resolved path and its lease time
  Pool pool;
  std::unique_ptr<LeaseKeeper> keeper;
  std::vector<std::string> found;  // the volumes that were in it when it was opened
};

struct TierOptions {
  std::string node, mount_root;     // the mount root resolved, as its descriptor has it
  std::optional<int64_t> lease_ms;  // as in DriverOptions
  int wait_ms = 0;                  // how long a caller waits for a pool that does not answer
  // As in KeeperOptions.
  std::function<void(const std::vector<std::string>& volumes, const std::string& why)> lost;
  // A tier has been opened just now; on the thread of whoever asked for it, or waited for the start.
  std::function<void(size_t index, const Tier& tier)> opened;
};

// Thread-safe.
class OpenTiers {
 public:
  OpenTiers(std::vector<TierConfig> configs, TierOptions options);

  // Opens them side by side, within `wait_ms`. OK where one of them can be used, or does not answer yet: the
  // others are in the log, and closed. kInvalid where one is configured wrongly. Where each says why it
  // cannot be used, nothing can be done but to start again.
  Status Start();

  size_t size() const { return slots_.size(); }
  // Nothing where it is closed; what is there stays, as long as this.
  Tier* Get(size_t index) const;
  // Opens it first, where it is closed. kUnavailable, after `wait_ms` at the latest, names the tier, its
  // pool, why it cannot be used, and what to do.
  Result<Tier*> Reach(size_t index);
  // The same for all that are closed, without waiting: the next call finds what has come of it.
  void TryAll();
  // As configured; as opened, where it is open.
  TierConfig Config(size_t index) const;

 private:
  using Opening = Attempt<std::unique_ptr<Tier>>;
  struct Slot {
    TierConfig config;
    std::unique_ptr<Tier> tier;
    std::shared_ptr<Opening> opening;  // under way
    int64_t begun = 0, ended = 0;      // of the last one
    Status why;                        // why it is closed, as far as an attempt has told
    std::string logged;
  };
  void Begin(Slot& slot) const;
  void Settle(size_t index, const std::shared_ptr<Opening>& opening);
  Status Closed(const Slot& slot) const;
  void Note(Slot& slot) const;

  const TierOptions options_;
  mutable std::mutex mu_;    // guards the next
  std::vector<Slot> slots_;  // their number never changes
};

// kInvalid where one lies in the other: a volume that is mounted would hide files of the pool. Both are
// absolute; `mount_root` and `pool` are what messages call them.
Status CheckApart(const std::string& root_path, const std::string& pool_path, const std::string& mount_root,
                  const std::string& pool);

}  // namespace dvdi

#endif  // DVDI_DRIVER_OPEN_TIERS_H_
