// What a driver does with the traces of an earlier one, and with volumes that are let go of late.
#include <fcntl.h>
#include <unistd.h>

#include <set>

#include "driver/driver.h"
#include "driver/files.h"
#include "driver/log.h"
#include "driver/loop.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {

void Driver::Opened(size_t index, const Tier& tier) {
  auto mounted = root_.Mounted();
  std::lock_guard<std::mutex> hold(mu_);
  unswept_.insert(index);
  for (const auto& name : tier.found) {
    unrecovered_.emplace(name, "");
    auto [hint, first] = found_in_.emplace(name, index);
    if (first || hint->second == index) continue;
    Log(LogLevel::kError, "there are two volumes " + name + ", one of them in tier " + tier.config.name +
                              ": move one of the folders out of its pool");
    // It is refused from now on, but where it is in use here: that is to end as it began.
    if (!started_ || !mounted.ok() || mounted->count(name) == 0) found_in_.erase(hint);
  }
}

// No failure here stops the driver: one damaged volume must not take the others away.
void Driver::Recover() {
  auto note = [](const Status& s) {
    if (!s.ok()) Log(LogLevel::kWarning, s.message() + (s.hint().empty() ? "" : " (" + s.hint() + ")"));
  };
  auto in_state = states_.List();
  note(in_state.status());
  auto mounted = root_.Mounted();
  note(mounted.status());
  {
    std::lock_guard<std::mutex> hold(mu_);
    auto add = [this](const std::string& name) {
      if (CheckName(name, "volume name").ok()) unrecovered_.emplace(name, "");
    };
    if (in_state.ok())
      for (const auto& name : *in_state) add(name);
    if (mounted.ok())
      for (const auto& entry : *mounted) add(entry.first);
  }
  // Mountpoints that a crash left empty.
  std::vector<std::string> folders;
  if (mounted.ok() && Sys::Real()->ListDir(AT_FDCWD, root_.path().c_str(), &folders) >= 0)
    for (const auto& folder : folders)
      if (CheckName(folder, "volume name").ok() && mounted->count(folder) == 0)
        ::rmdir(root_.Mountpoint(folder).c_str());
  ReleaseDrained();
}

// A pool or a device that fails now may answer soon, and a volume that is mounted here must not stay without
// a lease that is renewed: such a one is looked at again (ReleaseDrained).
void Driver::RecoverLater(const std::string& name) {
  Status s = RecoverVolume(name);
  const std::string said = s.message() + (s.hint().empty() ? "" : " (" + s.hint() + ")");
  std::lock_guard<std::mutex> hold(mu_);
  // Not each time that it is looked at.
  if (!s.ok() && unrecovered_[name] != said) Log(LogLevel::kWarning, said);
  if (s.ok() || s.code() == Code::kRefused)
    unrecovered_.erase(name);
  else
    unrecovered_[name] = said;
}

// No lease names a session of an earlier driver any more, but those of another machine with this node's id.
void Driver::SweepTier(size_t index) {
  const Tier* tier = tiers_.Get(index);
  if (auto session = tier->keeper->Session(); session.ok())
    SweepSessions(tier->pool.folder(), self_.node, {*session});
}

Status Driver::RecoverVolume(const std::string& name) {
  VolumeLocks::Hold lock(&locks_, name);
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  auto opened = OpenVolume(name, Pool::For::kEnd);
  if (!opened.ok()) {
    if (opened.status().code() != Code::kNotFound) return opened.status();
    if (!device.has_value()) {
      DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
      DVDI_RETURN_IF_ERROR(Unlimit(name, state));
      return states_.Remove(name);
    }
    return Status(Code::kRefused, "volume " + name + " is mounted at " + root_.Mountpoint(name) +
                                      " but is in no pool of this driver");
  }
  const Volume& volume = *opened;
  DVDI_ASSIGN_OR_RETURN(auto held, volume.lease->Read());
  bool ours = held.has_value() && LeaseFile::OursToTake(*held, self_);
  if (held.has_value() && held->holder.node == self_.node && !ours)
    return Status(
        Code::kRefused,
        "volume " + name + " is leased to another machine or driver with this node's id, " + self_.node,
        "give each node an id of its own");
  // The node's own temporary files: no other process of it is at work here.
  DVDI_RETURN_IF_ERROR(volume.pool().RemoveTemporaries(volume.fd.get()));
  if (ours) return RecoverLeased(name, volume, *held, device.has_value());
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  if (!device.has_value()) {
    DVDI_RETURN_IF_ERROR(Unlimit(name, state));
    return states_.Remove(name);
  }
  DVDI_ASSIGN_OR_RETURN(Generation last, volume.lease->ReadGeneration());
  if (held.has_value() || (state.generation != 0 && last.number > state.generation)) {
    Lose({name}, "another node has taken its lease while no driver ran here");
    return OkStatus();
  }
  // Mounted without a lease: somebody removed it. With it, other nodes stay away again.
  DVDI_ASSIGN_OR_RETURN(Lease lease, TakeLease(name, volume));
  state.generation = lease.generation;
  Log(LogLevel::kWarning, "volume " + name + " was mounted here without a lease: took one");
  return states_.Write(name, state);
}

Status Driver::RecoverLeased(const std::string& name, const Volume& volume, const Lease& lease,
                             bool mounted) {
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, volume.pool().OpenImage(volume.fd.get(), name, Pool::For::kEnd));
  bool attached = mounted;
  if (!mounted) {
    DVDI_ASSIGN_OR_RETURN(bool detached, WaitDetached(image.get(), options_.detach_wait_ms));
    attached = !detached;
  }
  if (attached) {
    // Under a new number and this process's session. Another node that is fencing this one finds its number
    // taken, or was faster, and then this fails.
    auto taken = TakeLease(name, volume);
    if (!taken.ok()) {
      // Any other failure says nothing of whose the volume is: a full disk must not end what is in use.
      if (mounted && taken.status().code() == Code::kRefused)
        Lose({name}, "its lease could not be had again: " + taken.status().message());
      return taken.status();
    }
    state.generation = taken->generation;
    DVDI_RETURN_IF_ERROR(states_.Write(name, state));
    if (mounted) {
      Log(LogLevel::kInfo, "took over volume " + name + ", mounted at " + root_.Mountpoint(name) + " with " +
                               std::to_string(state.ids.size()) + " known users");
      return OkStatus();
    }
    std::lock_guard<std::mutex> hold(mu_);
    draining_.insert(name);
    return Status(
        Code::kRefused,
        "volume " + name + " is not mounted here but still attached: its lease is kept until that ends");
  }
  DVDI_RETURN_IF_ERROR(FlushImage(name, image.get(), state));
  // Only a driver that unmounted it whole leaves a state without users.
  bool clean = lease.holder.boot_id == self_.boot_id && state.generation == lease.generation &&
               state.ids.empty() && state.lost.empty() && LooksWhole(name, volume, image.get());
  DVDI_RETURN_IF_ERROR(Unlimit(name, state));
  DVDI_RETURN_IF_ERROR(ReleaseLease(name, volume, lease, clean));
  DVDI_RETURN_IF_ERROR(states_.Remove(name));
  Log(LogLevel::kInfo, "gave back lease " + std::to_string(lease.generation) + " of volume " + name +
                           ", which an earlier driver of this node left");
  return OkStatus();
}

void Driver::ReleaseDrained(int wait_ms) {
  tiers_.TryAll();
  {
    std::lock_guard<std::mutex> hold(mu_);
    std::map<size_t, Late> all;
    auto where = [&](const std::string& name) -> Late& {
      auto hint = found_in_.find(name);
      return all[hint == found_in_.end() ? tiers_.size() : hint->second];
    };
    for (const auto& entry : unrecovered_) where(entry.first).unrecovered.push_back(entry.first);
    for (const auto& name : draining_) where(name).draining.push_back(name);
    for (size_t index : unswept_) all[index].sweep = true;
    for (auto& [index, late] : all) {
      auto& thread = late_[index];
      // Where one hangs, the next call finds what is left to be done.
      if (thread != nullptr && !thread->Wait(0)) continue;
      auto work = [this, index = index, late = std::move(late)]() -> Result<bool> {
        DoLate(index, late);
        return true;
      };
      thread = Attempt<bool>::Begin(std::move(work), "late");
    }
  }
  (void)Settled(wait_ms);
}

bool Driver::Settled(int wait_ms) const {
  const int64_t deadline = Clock::Real()->MonotonicMs() + wait_ms;
  std::vector<std::shared_ptr<Attempt<bool>>> threads;
  {
    std::lock_guard<std::mutex> hold(mu_);
    for (const auto& entry : late_) threads.push_back(entry.second);
  }
  bool settled = true;
  for (const auto& thread : threads) settled = thread->Wait(deadline) && settled;
  return settled;
}

void Driver::DoLate(size_t index, const Late& late) {
  for (const auto& name : late.unrecovered) RecoverLater(name);
  for (const auto& name : late.draining) ReleaseOne(name);
  if (!late.sweep) return;
  SweepTier(index);
  std::lock_guard<std::mutex> hold(mu_);
  unswept_.erase(index);
}

void Driver::ReleaseOne(const std::string& name) {
  VolumeLocks::Hold lock(&locks_, name);
  auto forget = [&] {
    std::lock_guard<std::mutex> hold(mu_);
    draining_.erase(name);
  };
  auto volume = OpenVolume(name, Pool::For::kEnd);
  auto device = root_.MountedDevice(name);
  // Only where the volume is gone there is nothing to give back.
  if (!device.ok() || (!volume.ok() && volume.status().code() != Code::kNotFound)) return;
  if (!volume.ok() || device->has_value()) return forget();
  auto image = volume->pool().OpenImage(volume->fd.get(), name, Pool::For::kEnd);
  if (!image.ok()) return;
  auto detached = WaitDetached(image->get(), 0);
  if (!detached.ok() || !*detached) return;
  auto state = states_.Read(name);
  Status s = state.ok() ? GiveBack(name, *volume, *state, false) : state.status();
  if (s.ok())
    forget();
  else
    Log(LogLevel::kWarning, "volume " + name + ": " + s.message());
}

}  // namespace dvdi
