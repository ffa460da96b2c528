// Opening, finding, making and removing volumes (what is told about them: driver_tell.cc).
#include "driver/driver.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/text.h"
#include "driver/files.h"
#include "driver/log.h"
#include "driver/loop.h"
#include "driver/shutdown.h"

namespace dvdi {
namespace {

// The tiers' share of the server's connections; what is left is for those that do not hang.
constexpr size_t kSlowOfAll = 96, kLeastSlow = 8;

// Before anything is made: by what the operator wrote of the pools, which are not asked here, as one of them
// may hang. What is behind their links is seen when they are opened (open_tiers.cc).
Status CheckApartAsWritten(const std::string& mount_root, const std::vector<TierConfig>& tiers) {
  // As far as it is there; what cannot be resolved cannot be opened either, which says why.
  std::error_code failed;
  const std::string root = std::filesystem::weakly_canonical(mount_root, failed).string();
  for (const auto& tier : tiers) DVDI_RETURN_IF_ERROR(CheckApart(root, tier.pool, mount_root, tier.pool));
  return OkStatus();
}

}  // namespace

Driver::Driver(const DriverOptions& options, MountRoot root, Holder self, IoLimiter limiter)
    : options_(options),
      root_(std::move(root)),
      self_(std::move(self)),
      limiter_(std::move(limiter)),
      states_(root_.state_fd(), self_.node, self_.boot_id),
      gate_(options.most_slow != 0 ? options.most_slow
                                   : std::max(kSlowOfAll / options.tiers.size(), kLeastSlow),
            options.slow_ms),
      tiers_(options.tiers,
             {self_.node, root_.path(), options.lease_ms, options.open_wait_ms,
              [this](const std::vector<std::string>& names, const std::string& why) { Lose(names, why); },
              [this](size_t index, const Tier& tier) { Opened(index, tier); }}) {}

Driver::~Driver() {
  while (!Settled(1000)) {
  }
}

Result<std::unique_ptr<Driver>> Driver::Open(const DriverOptions& given) {
  DriverOptions options = given;
  DVDI_RETURN_IF_ERROR(CheckName(options.node, "node id"));
  if (options.tiers.empty()) {
    TierConfig tier;
    tier.name = "default";
    tier.pool = options.pool;
    tier.filesystem = options.default_filesystem;
    tier.default_size = options.default_size;
    options.tiers = {tier};
  }
  for (const auto& tier : options.tiers)
    if (tier.default_size < SmallestSize(tier.filesystem))
      return Status(Code::kInvalid,
                    std::string("the default size ") + FormatSize(tier.default_size) + " is too small for " +
                        FilesystemName(tier.filesystem),
                    "give at least " + FormatSize(SmallestSize(tier.filesystem)));
  IoLimiter limiter;
  if (!options.io_cgroup.empty()) {
    DVDI_ASSIGN_OR_RETURN(limiter, IoLimiter::Open(options.io_cgroup));
  }
  DVDI_ASSIGN_OR_RETURN(Holder self, Holder::Self(options.node));
  DVDI_RETURN_IF_ERROR(CheckApartAsWritten(options.mount_root, options.tiers));
  DVDI_ASSIGN_OR_RETURN(MountRoot root, MountRoot::Open(options.mount_root));
  self.lock = root.LockId();
  std::unique_ptr<Driver> driver(new Driver(options, std::move(root), std::move(self), std::move(limiter)));
  if (Status none = driver->tiers_.Start(); !none.ok()) {
    auto mounted = driver->root_.Mounted();
    // What an earlier driver has mounted can be let go of all the same.
    if (none.code() == Code::kInvalid || !mounted.ok() || mounted->empty()) return none;
  }
  driver->started_ = true;
  driver->Recover();
  return driver;
}

std::string Driver::Pools() const {
  std::string out;
  for (size_t i = 0; i < tiers_.size(); ++i)
    if (const Tier* tier = tiers_.Get(i); tier != nullptr)
      out += (out.empty() ? "" : ", ") + tier->pool.path();
  return out;
}

Result<TierGate::Pass> Driver::Enter(const std::string& name) const {
  size_t index = tiers_.size();
  {
    std::lock_guard<std::mutex> hold(mu_);
    if (auto it = found_in_.find(name); it != found_in_.end()) index = it->second;
  }
  return gate_.Enter(index, index < tiers_.size() ? "tier " + tiers_.Config(index).name : "all tiers");
}

Result<Driver::Volume> Driver::OpenVolume(const std::string& name, Pool::For why) const {
  DVDI_RETURN_IF_ERROR(CheckName(name, "volume name"));
  auto open = [&](Tier* tier) -> Result<Volume> {
    Volume volume;
    volume.tier = tier;
    DVDI_ASSIGN_OR_RETURN(volume.fd, volume.pool().OpenVolume(name, why));
    volume.lease.emplace(volume.fd.get(), name, volume.pool().VolumePath(name), self_.node);
    return volume;
  };
  // Where it was seen last, so that a tier that hangs holds up its own volumes only.
  size_t hint = tiers_.size();
  {
    std::lock_guard<std::mutex> hold(mu_);
    if (auto it = found_in_.find(name); it != found_in_.end()) hint = it->second;
  }
  if (hint < tiers_.size())
    if (auto volume = open(tiers_.Get(hint)); volume.ok()) return volume;
  Status missing;
  std::optional<Volume> found;
  size_t found_at = 0;
  auto look = [&](size_t i, Tier* tier) -> Status {
    auto volume = open(tier);
    if (volume.ok()) {
      if (found.has_value())
        return Status(Code::kRefused,
                      "there are two volumes " + name + ", in " + found->pool().path() + " and in " +
                          volume->pool().path(),
                      "move one of the folders out of its pool");
      found.emplace(std::move(*volume));
      found_at = i;
    } else if (volume.status().code() == Code::kRefused) {
      return volume.status();  // it is there: nobody's of the same name is taken for it
    } else if (missing.ok() || volume.status().code() != Code::kNotFound) {
      missing = volume.status();
    }
    return OkStatus();
  };
  std::vector<size_t> closed;
  for (size_t i = 0; i < tiers_.size(); ++i) {
    if (Tier* tier = tiers_.Get(i); tier != nullptr)
      DVDI_RETURN_IF_ERROR(look(i, tier));
    else
      closed.push_back(i);
  }
  // Only what is in no tier that is open waits for one that is not, and is not said to be missing where it
  // may be there: it would be made anew.
  if (!closed.empty() && !found.has_value()) tiers_.TryAll();
  for (size_t i : closed) {
    if (found.has_value()) break;
    auto tier = tiers_.Reach(i);
    if (!tier.ok()) return Status(tier.status()).WithContext("volume " + name + " may be in a closed tier");
    DVDI_RETURN_IF_ERROR(look(i, *tier));
  }
  if (found.has_value()) {
    std::lock_guard<std::mutex> hold(mu_);
    found_in_[name] = found_at;
    return std::move(*found);
  }
  if (missing.code() == Code::kNotFound && tiers_.size() > 1)
    return Status(Code::kNotFound, "there is no volume " + name + " in any tier");
  return missing;
}

Result<TierRoom> Driver::Room(const Tier& tier) const {
  TierRoom room;
  DVDI_ASSIGN_OR_RETURN(room.promised, tier.pool.Promised());
  DVDI_ASSIGN_OR_RETURN(room.free, tier.pool.Free());
  return room;
}

Result<std::vector<TierInfo>> Driver::Tiers() const {
  std::vector<TierInfo> out;
  tiers_.TryAll();
  for (size_t i = 0; i < tiers_.size(); ++i) {
    auto tier = tiers_.Reach(i);
    TierInfo info{tiers_.Config(i), {}};
    auto room = tier.ok() ? Room(**tier) : Result<TierRoom>(tier.status());
    if (room.ok())
      info.room = *room;
    else
      info.room.problem = room.status().message();
    out.push_back(std::move(info));
  }
  return out;
}

Result<Driver::Options> Driver::ReadOptions(const std::string& name,
                                            const std::map<std::string, std::string>& opts) const {
  auto options = ParseCreateOptions(opts, AttributeNames(options_.tiers));
  if (!options.ok()) return Status(options.status()).WithContext("volume " + name);
  return options;
}

Status Driver::CheckLimits(const Options& options) const {
  if ((!options.iops.has_value() && !options.bps.has_value()) || limiter_.can_limit() ||
      options_.accept_unenforced)
    return OkStatus();
  return Status(
      Code::kRefused,
      "iops and bps cannot be enforced on node " + self_.node + ": the driver was given no cgroup",
      "leave them out; or start the driver with --io-cgroup DIR, or with --accept-unenforced-io to take "
      "them as a remark");
}

Status Driver::Create(const std::string& name, const std::map<std::string, std::string>& opts) {
  DVDI_RETURN_IF_ERROR(CheckName(name, "volume name"));
  DVDI_ASSIGN_OR_RETURN(Options options, ReadOptions(name, opts));
  DVDI_ASSIGN_OR_RETURN(auto pass, Enter(name));
  VolumeLocks::Hold lock(&locks_, name);
  auto there = OpenVolume(name);
  if (!there.ok() && there.status().code() != Code::kNotFound) return there.status();
  if (!there.ok()) {
    Status made = CreateNew(name, options);
    if (made.code() != Code::kRefused) return made;
    // Another node was faster.
    auto now = OpenVolume(name);
    return now.ok() ? Change(name, *now, options) : made;
  }
  // It exists. A repeated Create (a lost answer, an old client) is no error where it asks for the same.
  return Change(name, *there, options);
}

Status Driver::CreateNew(const std::string& name, const Options& options) {
  DVDI_RETURN_IF_ERROR(CheckLimits(options).WithContext("volume " + name));
  std::lock_guard<std::mutex> one(create_mu_);
  std::vector<TierConfig> configs;
  std::vector<TierRoom> rooms;
  DVDI_ASSIGN_OR_RETURN(auto infos, Tiers());
  for (auto& info : infos) {
    configs.push_back(std::move(info.config));
    rooms.push_back(std::move(info.room));
  }
  DVDI_ASSIGN_OR_RETURN(size_t chosen, ChooseTier(configs, rooms, options, name));
  DVDI_ASSIGN_OR_RETURN(Tier * chosen_tier, tiers_.Reach(chosen));
  Tier& tier = *chosen_tier;
  VolumeMeta meta;
  meta.name = name;
  meta.created_at = Rfc3339Now();
  meta.size_bytes = options.size_bytes.value_or(tier.config.default_size);
  meta.filesystem = options.filesystem.value_or(tier.config.filesystem);
  meta.limits = {options.iops, options.bps};
  if (meta.size_bytes < SmallestSize(meta.filesystem))
    return Status(Code::kInvalid,
                  "volume " + name + ": size " + FormatSize(meta.size_bytes) + " is too small for " +
                      FilesystemName(meta.filesystem),
                  "give at least " + FormatSize(SmallestSize(meta.filesystem)));
  DVDI_RETURN_IF_ERROR(tier.pool.Create(meta));
  {
    std::lock_guard<std::mutex> hold(mu_);
    found_in_[name] = chosen;
  }
  Log(LogLevel::kInfo, "created volume " + name + " (" + FormatSize(meta.size_bytes) + ", " +
                           FilesystemName(meta.filesystem) + ", tier " + tier.config.name + ")");
  // Two nodes may have made the same name in two tiers at the same moment: this one is empty and new.
  for (size_t i = 0; i < tiers_.size(); ++i) {
    const Tier* other = tiers_.Get(i);
    if (other == nullptr || other == &tier || !other->pool.OpenVolume(name, Pool::For::kEnd).ok()) continue;
    {
      std::lock_guard<std::mutex> hold(mu_);
      found_in_.erase(name);
    }
    Status removed = tier.pool.Remove(name);
    return Status(Code::kSystem,
                  "volume " + name + " was made by another node in tier " + other->config.name +
                      " meanwhile" + (removed.ok() ? "" : "; " + removed.message()),
                  "try again");
  }
  return OkStatus();
}

Status Driver::Remove(const std::string& name) {
  DVDI_ASSIGN_OR_RETURN(auto pass, Enter(name));
  VolumeLocks::Hold lock(&locks_, name);
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (device.has_value())
    return Status(Code::kRefused, "volume " + name + " is mounted on this node (" + self_.node + ")",
                  "end its use, then remove it again");
  DVDI_ASSIGN_OR_RETURN(Generation before, volume.lease->ReadGeneration());
  DVDI_ASSIGN_OR_RETURN(Lease lease, TakeLease(name, volume));
  auto image = volume.pool().OpenImage(volume.fd.get(), name);
  if (image.ok()) {
    auto detached = WaitDetached(image->get(), options_.detach_wait_ms);
    Status why = detached.status();
    if (detached.ok() && !*detached)
      why = Status(Code::kRefused, "volume " + name + " is still attached as a loop device on this machine",
                   "end the processes that use it (losetup -l shows the device), then remove it again");
    if (!why.ok()) {
      // A lease that was here before guards that very use.
      if (!lease.taken_over) (void)ReleaseLease(name, volume, lease, before.CleanUntil(lease));
      return why;
    }
  }
  // FUSE and NFS keep a file that is open under another name, and with it the folder.
  if (image.ok()) image->reset();
  // What comes late, because the pool hung, is another node's.
  Status removed = volume.pool().Remove(name, [&] { return StillHeld(name, volume); });
  if (!removed.ok()) {
    Status released = ReleaseLease(name, volume, lease, before.CleanUntil(lease));
    if (!released.ok()) Log(LogLevel::kError, released.message());
    return removed;
  }
  volume.tier->keeper->Unguard(name);
  {
    std::lock_guard<std::mutex> hold(mu_);
    found_in_.erase(name);
    draining_.erase(name);
  }
  DVDI_RETURN_IF_ERROR(states_.Remove(name));
  Log(LogLevel::kInfo, "removed volume " + name);
  return OkStatus();
}

}  // namespace dvdi
