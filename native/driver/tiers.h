// The tiers of a driver: pools of different kinds, and which of them gets a new volume.
#ifndef DVDI_DRIVER_TIERS_H_
#define DVDI_DRIVER_TIERS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "driver/options.h"

namespace dvdi {

struct TierConfig {
  std::string name;                           // as CheckName takes it
  std::string pool;                           // absolute path
  std::string label;                          // for people, one line; may be ""
  Filesystem filesystem = Filesystem::kExt4;  // of a volume that names none
  int64_t default_size = int64_t{1} << 30;    // of a volume that names none, in bytes
  std::optional<int64_t> capacity;            // what all volumes together may have, in bytes
  double overcommit =
      1;  // above 1, volumes may be promised that much more than the capacity, or the free disk
  std::optional<int64_t> lease_ms;  // how long leases last without renewal; 0: for ever; none: by the pool
  std::map<std::string, std::string> attributes;  // lower-case names; a value of digits is a least value
};

// What is left in a tier, in bytes.
struct TierRoom {
  int64_t promised = 0;  // the sizes of all its volumes
  int64_t free = 0;      // of the disk beneath it
  std::string problem;   // why it is not known, "" where it is
};

// Reads tiers from YAML or JSON (docs/driver.md). kInvalid names the file, the line and what would be right.
// The file must belong to root or this user, and nobody else may write to it.
Result<std::vector<TierConfig>> ReadTiers(const std::string& path);

// Whether leases may last so long: 0 (for ever), or 2 s to a day.
bool LeaseTimeFits(int64_t lease_ms);

// All attributes' names.
std::set<std::string> AttributeNames(const std::vector<TierConfig>& tiers);

// Why a volume with these options does not belong into the tier, "" where it does: "media hdd, not ssd".
std::string TierMismatch(const TierConfig& tier, const CreateOptions& wanted);

// The first tier that fits the options, and has room: its index. kRefused names every tier that was passed
// over and why.
Result<size_t> ChooseTier(const std::vector<TierConfig>& tiers, const std::vector<TierRoom>& rooms,
                          const CreateOptions& wanted, const std::string& volume);

// Why a volume of `bytes` (or that many more) has no place in the tier, "" where it has: "has no room: …".
std::string NoRoom(const TierConfig& tier, const TierRoom& room, int64_t bytes);

}  // namespace dvdi

#endif  // DVDI_DRIVER_TIERS_H_
