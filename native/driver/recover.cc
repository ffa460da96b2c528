// What a driver does with the traces of an earlier one, and with volumes that are let go of late.
#include <fcntl.h>
#include <unistd.h>

#include <set>

#include "driver/driver.h"
#include "driver/files.h"
#include "driver/log.h"
#include "driver/loop.h"
#include "sys/sys.h"

namespace dvdi {

// No failure here stops the driver: one damaged volume must not take the others away.
void Driver::Recover() {
  auto note = [](const Status& s) {
    if (!s.ok()) Log(LogLevel::kWarning, s.message() + (s.hint().empty() ? "" : " (" + s.hint() + ")"));
  };
  note(pool_.RemoveLeftovers());
  std::set<std::string> names;
  auto in_pool = pool_.List();
  note(in_pool.status());
  if (in_pool.ok()) names.insert(in_pool->begin(), in_pool->end());
  auto in_state = states_.List();
  note(in_state.status());
  if (in_state.ok()) names.insert(in_state->begin(), in_state->end());
  auto mounted = root_.Mounted();
  note(mounted.status());
  if (mounted.ok())
    for (const auto& entry : *mounted) names.insert(entry.first);
  for (const auto& name : names)
    if (CheckName(name, "volume name").ok()) note(RecoverVolume(name));
  // Mountpoints that a crash left empty.
  std::vector<std::string> folders;
  if (mounted.ok() && Sys::Real()->ListDir(AT_FDCWD, root_.path().c_str(), &folders) >= 0)
    for (const auto& folder : folders)
      if (CheckName(folder, "volume name").ok() && mounted->count(folder) == 0)
        ::rmdir(root_.Mountpoint(folder).c_str());
}

Status Driver::RecoverVolume(const std::string& name) {
  VolumeLocks::Hold lock(&locks_, name);
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  auto opened = OpenVolume(name);
  if (!opened.ok()) {
    if (opened.status().code() != Code::kNotFound) return opened.status();
    if (!device.has_value()) return states_.Remove(name);
    return Status(Code::kRefused, "volume " + name + " is mounted at " + root_.Mountpoint(name) +
                                      " but is not in the pool " + pool_.path());
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
  DVDI_RETURN_IF_ERROR(pool_.RemoveTemporaries(volume.fd.get()));
  if (ours) return RecoverLeased(name, volume, *held, device.has_value());
  if (!device.has_value()) return states_.Remove(name);
  if (held.has_value())
    return Status(Code::kRefused,
                  "volume " + name + " is mounted here although node " + held->holder.node + " has its lease",
                  "unmount it here at once, and check its filesystem");
  // Mounted without a lease: somebody removed it. With it, other nodes stay away again.
  DVDI_ASSIGN_OR_RETURN(Lease lease, volume.lease->Acquire(self_));
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  state.generation = lease.generation;
  Log(LogLevel::kWarning, "volume " + name + " was mounted here without a lease: took one");
  return states_.Write(name, state);
}

Status Driver::RecoverLeased(const std::string& name, const Volume& volume, const Lease& lease,
                             bool mounted) {
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  if (mounted) {
    DVDI_RETURN_IF_ERROR(volume.lease->Refresh(lease, self_));
    Log(LogLevel::kInfo, "took over volume " + name + ", mounted at " + root_.Mountpoint(name) + " with " +
                             std::to_string(state.ids.size()) + " known users");
    return OkStatus();
  }
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, pool_.OpenImage(volume.fd.get(), name));
  DVDI_ASSIGN_OR_RETURN(bool detached, WaitDetached(image.get(), options_.detach_wait_ms));
  if (!detached) {
    DVDI_RETURN_IF_ERROR(volume.lease->Refresh(lease, self_));
    std::lock_guard<std::mutex> hold(mu_);
    draining_.insert(name);
    return Status(
        Code::kRefused,
        "volume " + name + " is not mounted here but still attached: its lease is kept until that ends");
  }
  // Only a driver that unmounted it whole leaves a state without users.
  bool clean =
      lease.holder.boot_id == self_.boot_id && state.generation == lease.generation && state.ids.empty();
  DVDI_RETURN_IF_ERROR(volume.lease->Release(lease, clean));
  DVDI_RETURN_IF_ERROR(states_.Remove(name));
  Log(LogLevel::kInfo, "gave back lease " + std::to_string(lease.generation) + " of volume " + name +
                           ", which an earlier driver of this node left");
  return OkStatus();
}

void Driver::ReleaseDrained() {
  std::set<std::string> names;
  {
    std::lock_guard<std::mutex> hold(mu_);
    names = draining_;
  }
  for (const auto& name : names) {
    VolumeLocks::Hold lock(&locks_, name);
    auto forget = [&] {
      std::lock_guard<std::mutex> hold(mu_);
      draining_.erase(name);
    };
    auto volume = OpenVolume(name);
    auto device = root_.MountedDevice(name);
    if (!device.ok()) continue;
    if (!volume.ok() || device->has_value()) {
      forget();
      continue;
    }
    auto image = pool_.OpenImage(volume->fd.get(), name);
    if (!image.ok()) continue;
    auto detached = WaitDetached(image->get(), 0);
    if (!detached.ok() || !*detached) continue;
    auto state = states_.Read(name);
    Status s = state.ok() ? GiveBack(name, *volume, state->generation, false) : state.status();
    if (s.ok())
      forget();
    else
      Log(LogLevel::kWarning, "volume " + name + ": " + s.message());
  }
}

}  // namespace dvdi
