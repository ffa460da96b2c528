// Mounting a volume: its lease, its image, its filesystem; and unmounting it (give_back.cc).
#include <errno.h>
#include <unistd.h>

#include "base/text.h"
#include "driver/check.h"
#include "driver/driver.h"
#include "driver/files.h"
#include "driver/grow.h"
#include "driver/image.h"
#include "driver/log.h"
#include "driver/loop.h"
#include "driver/shutdown.h"

namespace dvdi {
namespace {

constexpr size_t kMaxId = 512;

Status CheckId(const std::string& id) {
  if (id.size() > kMaxId)
    return Status(Code::kInvalid, "the ID is " + std::to_string(id.size()) + " bytes long",
                  "give one of at most " + std::to_string(kMaxId) + " bytes");
  return OkStatus();
}

std::string Users(size_t n) { return std::to_string(n) + (n == 1 ? " user" : " users"); }

}  // namespace

Result<Lease> Driver::TakeLease(const std::string& name, const Volume& volume) {
  Holder self = self_;
  DVDI_ASSIGN_OR_RETURN(self.session, volume.tier->keeper->Session());
  self.lease_ms = volume.tier->keeper->lease_ms();
  DVDI_ASSIGN_OR_RETURN(Lease lease, volume.lease->Acquire(self));
  volume.tier->keeper->Guard(name, self.session, lease.generation);
  if (!lease.taken_over) return lease;
  // What goes on here under the one that was taken over goes on under this one.
  auto state = states_.Read(name);
  Status written = state.status();
  if (state.ok() && state->generation == lease.generation - 1) {
    state->generation = lease.generation;
    written = states_.Write(name, *state);
  }
  // It is not given back as clean then.
  if (!written.ok()) Log(LogLevel::kWarning, written.message());
  return lease;
}

Status Driver::ReleaseLease(const std::string& name, const Volume& volume, const Lease& lease, bool clean) {
  if (lease.fencing) {
    // A fence that did not get to its end: whoever mounts the volume next has to end it.
    DVDI_ASSIGN_OR_RETURN(VolumeMeta meta, volume.pool().ReadMeta(volume.fd.get(), name));
    if (!meta.renew && !clean) {
      meta.renew = true;
      DVDI_RETURN_IF_ERROR(volume.pool().WriteMeta(volume.fd.get(), meta));
    }
  }
  DVDI_RETURN_IF_ERROR(volume.lease->Release(lease, clean));
  volume.tier->keeper->Unguard(name);
  return OkStatus();
}

std::function<bool()> Driver::GiveUp(const std::string& name, const Volume& volume) const {
  LeaseKeeper* keeper = volume.tier->keeper.get();
  return [keeper, name] { return !keeper->Holds(name); };
}

// Asked behind the opening of an image: what was opened under the lease is never another node's, as a fence
// puts a new file in place. What was opened late, because the pool hung, is.
Status Driver::StillHeld(const std::string& name, const Volume& volume) const {
  if (volume.tier->keeper->Holds(name)) return OkStatus();
  return Status(Code::kUnavailable, "the lease of volume " + name + " ended meanwhile", "try again");
}

Result<std::string> Driver::Mount(const std::string& name, const std::string& id,
                                  const std::map<std::string, std::string>& opts) {
  DVDI_RETURN_IF_ERROR(CheckId(id));
  DVDI_ASSIGN_OR_RETURN(auto pass, Enter(name));
  VolumeLocks::Hold lock(&locks_, name);
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  if (!opts.empty()) {
    DVDI_ASSIGN_OR_RETURN(Options options, ReadOptions(name, opts));
    DVDI_RETURN_IF_ERROR(Change(name, volume, options));
  }
  return MountLocked(name, id, volume);
}

Result<std::string> Driver::MountLocked(const std::string& name, const std::string& id,
                                        const Volume& volume) {
  DVDI_ASSIGN_OR_RETURN(VolumeMeta meta, volume.pool().ReadMeta(volume.fd.get(), name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (device.has_value()) return JoinMount(name, id, volume, *device);
  if (volume.tier->keeper->lease_ms() > 0 && !CanShutDown(meta.filesystem))
    return Status(Code::kRefused,
                  std::string("volume ") + name + " has " + FilesystemName(meta.filesystem) +
                      ", which cannot be shut down when its lease ends, and leases are renewed in tier " +
                      volume.tier->config.name,
                  "use ext4 or xfs there, or a pool that one node alone uses (--lease-seconds 0)");
  DVDI_ASSIGN_OR_RETURN(Generation before, volume.lease->ReadGeneration());
  DVDI_ASSIGN_OR_RETURN(Lease lease, TakeLease(name, volume));
  // Until then another node may have had the volume.
  const bool clean = before.CleanUntil(lease);
  auto now = volume.pool().ReadMeta(volume.fd.get(), name);
  bool attached = false, mounted = false;
  Status done = now.ok() ? FreshMount(*now, id, volume, lease, clean, &attached, &mounted) : now.status();
  if (!done.ok()) {
    UndoFreshMount(name, volume, lease, attached, clean && !mounted);
    return done;
  }
  {
    std::lock_guard<std::mutex> hold(mu_);
    draining_.erase(name);
  }
  Log(LogLevel::kInfo, "mounted volume " + name + " at " + root_.Mountpoint(name) + " (lease " +
                           std::to_string(lease.generation) + ")");
  return root_.Mountpoint(name);
}

// Another user of what is mounted already. The lease must be ours still.
Result<std::string> Driver::JoinMount(const std::string& name, const std::string& id, const Volume& volume,
                                      const std::string& device) {
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  if (!state.lost.empty())
    return Status(Code::kRefused, "volume " + name + " was shut down on this node: " + state.lost,
                  "end its users here, so that it is unmounted; then mount it again")
        .WithPath(root_.Mountpoint(name));
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, volume.pool().OpenImage(volume.fd.get(), name));
  if (!IsLoopOver(device, image.get()))
    return Status(Code::kRefused,
                  "something else than volume " + name + " is mounted at " + root_.Mountpoint(name),
                  "unmount it (umount " + root_.Mountpoint(name) + "), then mount again")
        .WithPath(root_.Mountpoint(name));
  DVDI_ASSIGN_OR_RETURN(auto held, volume.lease->Read());
  uint64_t generation = 0;
  // One that an earlier driver took, and that could not be taken over when this one started, is not guarded:
  // nobody would notice that another node fences it.
  if (held.has_value() && LeaseFile::OursToTake(*held, self_) && volume.tier->keeper->Holds(name)) {
    generation = held->generation;
  } else {
    if (!held.has_value())
      Log(LogLevel::kWarning, "volume " + name + " is mounted here without a lease: taking one");
    // Refuses, naming the node, where another one has it.
    DVDI_ASSIGN_OR_RETURN(Lease lease, TakeLease(name, volume));
    generation = lease.generation;
  }
  bool known = !state.ids.insert(id).second;
  if (known && state.generation == generation) return root_.Mountpoint(name);
  state.generation = generation;
  DVDI_RETURN_IF_ERROR(states_.Write(name, state));
  Step("user-added");
  Log(LogLevel::kInfo, "volume " + name + " has " + Users(state.ids.size()));
  return root_.Mountpoint(name);
}

Status Driver::FreshMount(VolumeMeta meta, const std::string& id, const Volume& volume, const Lease& lease,
                          bool clean, bool* attached, bool* mounted) {
  const std::string& name = meta.name;
  DVDI_RETURN_IF_ERROR(volume.pool().RemoveTemporaries(volume.fd.get()));
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, volume.pool().OpenImage(volume.fd.get(), name));
  DVDI_ASSIGN_OR_RETURN(auto device, FindLoop(image.get()));
  // Under a lease that was ours before, this is our own device, kept by a copy of the mount in another
  // namespace; the kernel shares one filesystem over it. Otherwise it is a stranger.
  if (device.has_value() && (!lease.taken_over || !meta.formatted || lease.fencing))
    return Status(Code::kRefused,
                  "the image of volume " + name + " is attached as " + device->path + " without a lease",
                  "end that use (losetup -l, then umount or losetup -d), then mount again");
  bool formatted_now = false;
  if (!device.has_value()) {
    meta.renew = meta.renew || lease.fencing;
    DVDI_RETURN_IF_ERROR(PrepareImage(&meta, volume, clean, &formatted_now));
    // Formatting, and a fence, put a new file in place.
    DVDI_ASSIGN_OR_RETURN(image, volume.pool().OpenImage(volume.fd.get(), name));
    DVDI_RETURN_IF_ERROR(StillHeld(name, volume));
    DVDI_ASSIGN_OR_RETURN(LoopDevice made, AttachLoop(image.get(), name));
    device = std::move(made);
  }
  *attached = true;
  Step("attached");
  LocalState state;
  state.generation = lease.generation;
  state.ids = {id};
  DVDI_ASSIGN_OR_RETURN(state.device, DeviceNumber(*device));
  DVDI_RETURN_IF_ERROR(Limit(meta, &state));
  DVDI_RETURN_IF_ERROR(states_.Write(name, state));
  Step("state-written");
  *mounted = true;
  DVDI_RETURN_IF_ERROR(root_.Mount(name, device->path, meta.filesystem));
  Step("mounted");
  if (Status held = StillHeld(name, volume); !held.ok()) {
    // Nobody uses it yet, so that it can go as it came.
    (void)root_.Unmount(name);
    return held;
  }
  if (formatted_now) root_.RemoveLostAndFound(name);
  if (meta.grow) {
    // With what it has the volume is as good as before; Status says that it is to grow.
    Status grown = FinishGrowing(meta, volume, state.device);
    if (!grown.ok()) Log(LogLevel::kError, grown.message());
  }
  return OkStatus();
}

// Makes sure that the image is this node's alone, as large as it should be, and holds the filesystem that the
// metadata names, in good order.
Status Driver::PrepareImage(VolumeMeta* meta, const Volume& volume, bool clean, bool* formatted_now) {
  const std::string& name = meta->name;
  if (meta->renew) DVDI_RETURN_IF_ERROR(Replace(meta, volume));
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, volume.pool().OpenImage(volume.fd.get(), name));
  DVDI_RETURN_IF_ERROR(StillHeld(name, volume));
  if (meta->grow) DVDI_RETURN_IF_ERROR(GrowImage(image.get(), *meta));
  if (!meta->formatted) return MakeFilesystem(meta, volume, formatted_now);
  DVDI_ASSIGN_OR_RETURN(std::string signature, ProbeSignature(image.get(), name));
  if (signature != FilesystemName(meta->filesystem))
    return Status(Code::kSystem,
                  "the image of volume " + name + " should hold " + FilesystemName(meta->filesystem) +
                      " but holds " + (signature.empty() ? "no known filesystem" : signature) +
                      "; it was not formatted",
                  "restore it from a copy, or remove the volume")
        .WithPath(volume.pool().VolumePath(name) + "/image");
  if (!clean) DVDI_RETURN_IF_ERROR(CheckImage(*meta, volume));
  return meta->grow && !MayGrowMounted(meta->filesystem) ? GrowUnmounted(meta, volume) : OkStatus();
}

// A new volume: formatted, once, and recorded.
Status Driver::MakeFilesystem(VolumeMeta* meta, const Volume& volume, bool* formatted_now) {
  const std::string wanted = FilesystemName(meta->filesystem);
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, volume.pool().OpenImage(volume.fd.get(), meta->name));
  DVDI_ASSIGN_OR_RETURN(std::string signature, ProbeSignature(image.get(), meta->name));
  if (signature == wanted) {
    // Formatted by a driver that was killed before it could say so, or put there by the operator.
    Log(LogLevel::kInfo, "volume " + meta->name + " holds " + wanted + " already: not formatted");
  } else {
    Doing doing(this, meta->name, "formatting");
    DVDI_RETURN_IF_ERROR(
        FormatImage(volume.pool(), volume.fd.get(), *meta, self_.node, GiveUp(meta->name, volume)));
    *formatted_now = true;
    Log(LogLevel::kInfo,
        "formatted volume " + meta->name + " (" + FormatSize(meta->size_bytes) + ", " + wanted + ")");
  }
  meta->formatted = true;
  // mkfs has filled the image as it is; what was put there may be smaller.
  if (*formatted_now) meta->grow = false;
  DVDI_RETURN_IF_ERROR(WriteHeld(volume, *meta));
  Step("formatted-recorded");
  return OkStatus();
}

Status Driver::CheckImage(const VolumeMeta& meta, const Volume& volume) {
  Doing doing(this, meta.name, "checking");
  Log(LogLevel::kInfo, "volume " + meta.name + " was not unmounted whole: checking its filesystem");
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, volume.pool().OpenImage(volume.fd.get(), meta.name));
  CheckWatch watch{[&](const std::string& text) { doing.Progress(text); }, GiveUp(meta.name, volume)};
  DVDI_RETURN_IF_ERROR(CheckFilesystem(meta.filesystem, image.get(), meta.name,
                                       volume.pool().VolumePath(meta.name) + "/image", watch));
  if (::fsync(image.get()) < 0)
    return Status::FromErrno(errno, "cannot fsync the image of volume " + meta.name);
  Log(LogLevel::kInfo, "volume " + meta.name + " is in good order");
  Step("checked");
  return OkStatus();
}

// After a fence that could not copy the image itself.
Status Driver::Replace(VolumeMeta* meta, const Volume& volume) {
  Doing doing(this, meta->name, "copying after a fence");
  meta->renew = true;
  DVDI_RETURN_IF_ERROR(WriteHeld(volume, *meta));
  auto progress = [&](int64_t done) {
    doing.Progress(std::to_string(100 * done / std::max<int64_t>(meta->size_bytes, 1)) + "%");
  };
  DVDI_RETURN_IF_ERROR(RenewImage(volume.pool(), volume.fd.get(), meta->name, self_.node, progress,
                                  GiveUp(meta->name, volume)));
  meta->renew = false;
  return WriteHeld(volume, *meta);
}

Status Driver::Limit(const VolumeMeta& meta, LocalState* state) const {
  if (!meta.limits.any() || !limiter_.can_limit()) return OkStatus();
  state->limited = true;
  // First on record, so that a crash leaves no limit on a number that another volume gets.
  DVDI_RETURN_IF_ERROR(states_.Write(meta.name, *state));
  return limiter_.Set(state->device, meta.limits).WithContext("volume " + meta.name);
}

Status Driver::Unlimit(const std::string& name, const LocalState& state) const {
  if (!state.limited || !limiter_.can_limit()) return OkStatus();
  return limiter_.Clear(state.device).WithContext("volume " + name);
}

void Driver::UndoFreshMount(const std::string& name, const Volume& volume, const Lease& lease, bool attached,
                            bool clean) {
  Status undone;
  auto image = volume.pool().OpenImage(volume.fd.get(), name, Pool::For::kEnd);
  if (image.ok() && (attached || lease.taken_over)) {
    auto detached = WaitDetached(image->get(), options_.detach_wait_ms);
    if (!detached.ok()) Log(LogLevel::kWarning, "volume " + name + ": " + detached.status().message());
    if (!detached.ok() || !*detached) {
      std::lock_guard<std::mutex> hold(mu_);
      draining_.insert(name);
      return;  // the lease guards a use that goes on, or may
    }
  }
  if (auto state = states_.Read(name); undone.ok() && state.ok()) undone = Unlimit(name, *state);
  if (undone.ok()) undone = states_.Remove(name);
  if (undone.ok()) undone = ReleaseLease(name, volume, lease, clean);
  if (!undone.ok())
    Log(LogLevel::kError, "volume " + name + ": cannot give the lease back: " + undone.message());
}

Result<bool> Driver::EndUse(const std::string& name, const std::string& id, LocalState* state) {
  // Users that are not known (their state was lost) are guarded by the kernel alone.
  if (!state->ids.empty() && state->ids.count(id) == 0) {
    Log(LogLevel::kInfo,
        "volume " + name + ": unmount by an ID that does not have it; " + Users(state->ids.size()) + " left");
    return false;
  }
  if (state->ids.size() <= 1) return true;
  state->ids.erase(id);
  DVDI_RETURN_IF_ERROR(states_.Write(name, *state));
  Step("user-removed");
  Log(LogLevel::kInfo, "volume " + name + " has " + Users(state->ids.size()));
  return false;
}

Status Driver::Unmount(const std::string& name, const std::string& id) {
  DVDI_RETURN_IF_ERROR(CheckName(name, "volume name"));
  DVDI_RETURN_IF_ERROR(CheckId(id));
  DVDI_ASSIGN_OR_RETURN(auto pass, Enter(name));
  VolumeLocks::Hold lock(&locks_, name);
  auto volume = OpenVolume(name, Pool::For::kEnd);
  if (!volume.ok() && volume.status().code() == Code::kNotFound) return UnmountOrphan(name, id);
  if (volume.status().code() == Code::kUnavailable) return LetGo(name, id, volume.status());
  if (!volume.ok()) return volume.status();
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (!device.has_value()) return GiveBack(name, *volume, state, false);
  DVDI_ASSIGN_OR_RETURN(const bool last, EndUse(name, id, &state));
  if (!last) return OkStatus();
  // After a fence the image at this name is another one than what is mounted here.
  auto image = volume->pool().OpenImage(volume->fd.get(), name, Pool::For::kEnd);
  if (state.lost.empty() && image.ok() && !IsLoopOver(*device, image->get()))
    return Status(Code::kRefused,
                  "something else than volume " + name + " is mounted at " + root_.Mountpoint(name),
                  "unmount it by hand (umount " + root_.Mountpoint(name) + ")")
        .WithPath(root_.Mountpoint(name));
  DVDI_RETURN_IF_ERROR(root_.Unmount(name));
  Step("unmounted");
  return GiveBack(name, *volume, state, true);
}

// The volume's folder is gone from the pool, by another hand; what is mounted of it can still go.
Status Driver::UnmountOrphan(const std::string& name, const std::string& id) {
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  if (device.has_value()) {
    DVDI_ASSIGN_OR_RETURN(const bool last, EndUse(name, id, &state));
    if (!last) return OkStatus();
    DVDI_RETURN_IF_ERROR(root_.Unmount(name));
    Log(LogLevel::kWarning, "unmounted volume " + name + ", which is no longer in the pool");
  }
  DVDI_RETURN_IF_ERROR(Unlimit(name, state));
  return states_.Remove(name);
}

}  // namespace dvdi
