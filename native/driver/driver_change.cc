// What is done to a volume that exists: it grows, its limits change, it is taken from another node; and what
// is done when its lease ends.
#include "base/text.h"
#include "driver/driver.h"
#include "driver/files.h"
#include "driver/grow.h"
#include "driver/image.h"
#include "driver/log.h"
#include "driver/loop.h"
#include "driver/shutdown.h"
#include "sys/env.h"

namespace dvdi {

// Holds what was asked for against what is there.
Result<Driver::Plan> Driver::MakePlan(const std::string& name, const Volume& volume,
                                      const Options& options) const {
  Plan plan;
  VolumeMeta& meta = plan.meta;
  DVDI_ASSIGN_OR_RETURN(meta, volume.pool().ReadMeta(volume.fd.get(), name));
  plan.old_size = meta.size_bytes;
  const int64_t asked = options.size_bytes.value_or(meta.size_bytes);
  std::string has;
  if (options.filesystem.has_value() && *options.filesystem != meta.filesystem)
    has = std::string("filesystem ") + FilesystemName(meta.filesystem) + ", not " +
          FilesystemName(*options.filesystem);
  else if (asked < meta.size_bytes)
    has = "size " + FormatSize(meta.size_bytes) + ", and cannot be made smaller (" + FormatSize(asked) + ")";
  else {
    Options there = options;
    there.filesystem = meta.filesystem;
    has = TierMismatch(volume.tier->config, there);
  }
  if (has.empty() && asked > meta.size_bytes) {
    // One that was put there may be larger than what is recorded.
    DVDI_ASSIGN_OR_RETURN(UniqueFd image, volume.pool().OpenImage(volume.fd.get(), name));
    DVDI_ASSIGN_OR_RETURN(int64_t size, ImageSize(image.get(), name));
    if (asked < size)
      has = "an image of " + FormatSize(size) + ", and cannot be made smaller (" + FormatSize(asked) + ")";
  }
  if (!has.empty())
    return Status(Code::kRefused, "volume " + name + " exists with " + has,
                  "leave the option out to use it as it is, or take another name");
  meta.size_bytes = asked;
  plan.limits = (options.iops.has_value() && options.iops != meta.limits.iops) ||
                (options.bps.has_value() && options.bps != meta.limits.bps);
  if (plan.limits) {
    DVDI_RETURN_IF_ERROR(CheckLimits(options).WithContext("volume " + name));
    if (options.iops.has_value()) meta.limits.iops = options.iops;
    if (options.bps.has_value()) meta.limits.bps = options.bps;
  }
  if (meta.size_bytes > plan.old_size) {
    DVDI_ASSIGN_OR_RETURN(TierRoom room, Room(*volume.tier));
    std::string none = NoRoom(volume.tier->config, room, meta.size_bytes - plan.old_size);
    if (!none.empty())
      return Status(Code::kRefused,
                    "volume " + name + " cannot grow from " + FormatSize(plan.old_size) + " to " +
                        FormatSize(meta.size_bytes) + ": tier " + volume.tier->config.name + " " + none,
                    "ask for less, or make room");
    meta.grow = true;
  }
  return plan;
}

// Makes it so where that is possible.
Status Driver::Change(const std::string& name, const Volume& volume, const Options& options) {
  DVDI_ASSIGN_OR_RETURN(Plan plan, MakePlan(name, volume, options));
  if (plan.nothing()) return OkStatus();
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (device.has_value()) {
    DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
    DVDI_ASSIGN_OR_RETURN(auto held, volume.lease->Read());
    if (!state.lost.empty() || !held.has_value() || held->generation != state.generation)
      return Status(Code::kRefused, "volume " + name + " cannot be changed: this node has lost its lease",
                    "end its users here, then mount it again");
    DVDI_RETURN_IF_ERROR(Alter(plan, volume));
    if (plan.limits) {
      DVDI_RETURN_IF_ERROR(Limit(plan.meta, &state));
    }
    if (!plan.meta.grow) return OkStatus();
    if (!MayGrowMounted(plan.meta.filesystem)) {
      Log(LogLevel::kWarning,
          "volume " + name + " grows when it is mounted the next time: this process may not grow a mounted " +
              FilesystemName(plan.meta.filesystem) + " (CAP_SYS_RESOURCE)");
      return OkStatus();
    }
    return FinishGrowing(plan.meta, volume, *device);
  }
  // Not mounted: the filesystem follows at the next mount. The lease keeps other nodes from mounting it
  // meanwhile.
  DVDI_ASSIGN_OR_RETURN(Generation before, volume.lease->ReadGeneration());
  DVDI_ASSIGN_OR_RETURN(Lease lease, TakeLease(name, volume));
  // Until then another node may have made it larger than what was planned here.
  auto now = MakePlan(name, volume, options);
  Status altered = now.status();
  if (altered.ok() && !now->nothing()) altered = Alter(*now, volume);
  // A lease that was here before guards a use that goes on.
  if (lease.taken_over) return altered;
  Status released = ReleaseLease(name, volume, lease, before.CleanUntil(lease));
  return altered.ok() ? released : altered;
}

Status Driver::WriteHeld(const Volume& volume, const VolumeMeta& meta) const {
  DVDI_RETURN_IF_ERROR(StillHeld(meta.name, volume));
  return volume.pool().WriteMeta(volume.fd.get(), meta);
}

// Writes the new metadata, then makes the image as large as they say. After a crash in between, the next
// mount does it.
Status Driver::Alter(const Plan& plan, const Volume& volume) {
  const VolumeMeta& meta = plan.meta;
  UniqueFd image;
  // First: where it cannot be used, nothing is promised.
  if (meta.size_bytes != plan.old_size) {
    DVDI_ASSIGN_OR_RETURN(image, volume.pool().OpenImage(volume.fd.get(), meta.name));
  }
  DVDI_RETURN_IF_ERROR(WriteHeld(volume, meta));
  Step("change-recorded");
  if (!image.valid()) return OkStatus();
  // The next mount does what is left.
  DVDI_RETURN_IF_ERROR(StillHeld(meta.name, volume));
  DVDI_RETURN_IF_ERROR(GrowImage(image.get(), meta));
  Step("image-grown");
  Log(LogLevel::kInfo, "volume " + meta.name + " grows from " + FormatSize(plan.old_size) + " to " +
                           FormatSize(meta.size_bytes));
  return OkStatus();
}

// The device and the filesystem of a mounted volume, whose image has its size.
Status Driver::FinishGrowing(VolumeMeta meta, const Volume& volume, const std::string& device) {
  Doing doing(this, meta.name, "growing");
  DVDI_ASSIGN_OR_RETURN(LoopDevice loop, OpenLoop(device));
  DVDI_RETURN_IF_ERROR(GrowLoop(loop, meta.name));
  Step("loop-grown");
  DVDI_RETURN_IF_ERROR(
      GrowFilesystem(meta.filesystem, root_.Mountpoint(meta.name), loop.fd.get(), meta.name));
  Step("filesystem-grown");
  meta.grow = false;
  return WriteHeld(volume, meta);
}

// The filesystem of a volume that is not attached, in a copy of the image, so that a crash leaves the one or
// the other.
Status Driver::GrowUnmounted(VolumeMeta* meta, const Volume& volume) {
  Doing doing(this, meta->name, "growing");
  std::function<bool()> give_up = GiveUp(meta->name, volume);
  auto grow = [&](int file) { return GrowExt4File(file, meta->name, give_up); };
  DVDI_RETURN_IF_ERROR(RenewImage(volume.pool(), volume.fd.get(), meta->name, self_.node, {}, give_up, grow));
  Step("filesystem-grown");
  meta->grow = false;
  return WriteHeld(volume, *meta);
}

Result<FenceResult> Driver::Fence(const std::string& name, bool node_is_dead) {
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  int64_t waited = 0;
  std::optional<Lease> lease;
  {
    // Without the volume's lock: a Mount of it is to be refused meanwhile, not to wait.
    Doing doing(this, name, "fencing");
    DVDI_ASSIGN_OR_RETURN(lease, WaitForLeaseEnd(volume.pool(), name, self_, node_is_dead, &waited));
  }
  FenceResult result;
  if (lease.has_value()) {
    VolumeLocks::Hold lock(&locks_, name);
    Doing doing(this, name, "copying after a fence");
    auto progress = [&](int64_t done) { doing.Progress(RoundSize(done)); };
    DVDI_ASSIGN_OR_RETURN(
        result, TakeFenced(volume.pool(), *volume.tier->keeper, name, self_, *lease, node_is_dead, progress));
  } else {
    DVDI_ASSIGN_OR_RETURN(Generation now, volume.lease->ReadGeneration());
    result.generation = now.number;
  }
  result.waited_ms = waited;
  return result;
}

void Driver::Lose(const std::vector<std::string>& names, const std::string& why) {
  auto mounted = root_.Mounted();
  for (const auto& name : names) {
    Log(LogLevel::kError, "volume " + name + ": " + why + ": its filesystem is shut down now");
    if (Status marked = states_.MarkLost(name, why); !marked.ok()) Log(LogLevel::kError, marked.message());
    std::string device;
    if (mounted.ok() && mounted->count(name) != 0) device = mounted->at(name);
    // What this node has unmounted may be in use in another mount namespace still.
    auto state = states_.Read(name);
    if (device.empty() && state.ok()) device = state->device;
    if (device.empty()) continue;  // not attached yet: its mount is given up
    bool here = mounted.ok() && mounted->count(name) != 0;
    std::string image;
    for (size_t i = 0; i < tiers_.size(); ++i)
      if (const Tier* tier = tiers_.Get(i); tier != nullptr)
        image += (image.empty() ? "" : "\n") + tier->pool.VolumePath(name) + "/image";
    auto end = [name, device, here, image, at = root_.Mountpoint(name)] {
      Status done = here ? ShutDownFilesystem(at, device) : ShutDownDevice(device, image);
      Log(done.ok() ? LogLevel::kInfo : LogLevel::kError,
          "volume " + name + ": " +
              (done.ok() ? std::string("its filesystem is shut down") : done.message()));
    };
    // Each on a thread of its own: the call waits for what is under way to the pool.
    if (Status spawned = Scheduler::Real()->Spawn(end, "shutdown"); !spawned.ok()) end();
  }
}

}  // namespace dvdi
