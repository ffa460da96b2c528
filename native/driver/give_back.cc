// Giving a volume back: what its image has to say, and its lease.
#include <errno.h>
#include <unistd.h>

#include "driver/check.h"
#include "driver/driver.h"
#include "driver/files.h"
#include "driver/image.h"
#include "driver/log.h"
#include "driver/loop.h"
#include "sys/env.h"

namespace dvdi {
namespace {

constexpr int kPauseMs = 10;

Status StillAttached(const std::string& name, const std::string& node) {
  return Status(Code::kRefused,
                "volume " + name +
                    " is unmounted here, but a process in another mount namespace still has it, so node " +
                    node + " keeps its lease",
                "end that process; the lease is given back then");
}

// Whether a loop device has, by what the kernel remembers, an image of a volume of that name. No pool is
// asked.
Result<bool> HasImageOf(const std::string& device, const std::string& name) {
  auto file = BackingFile("/sys/dev/block/" + device);
  if (!file.ok() && file.status().code() == Code::kNotFound) return false;
  if (!file.ok()) return Status(file.status()).WithContext("volume " + name + " keeps its lease");
  const std::string end = "/" + name + "/image";
  return file->size() >= end.size() && file->compare(file->size() - end.size(), end.size(), end) == 0;
}

}  // namespace

bool Driver::LooksWhole(const std::string& name, const Volume& volume, int image) const {
  auto meta = volume.pool().ReadMeta(volume.fd.get(), name);
  auto whole = meta.ok() ? UnmountedWhole(image, *meta) : Result<bool>(meta.status());
  if (!whole.ok() || !*whole)
    Log(LogLevel::kWarning, "volume " + name +
                                (whole.ok() ? ": its filesystem had failed before it was unmounted"
                                            : ": " + whole.status().message()) +
                                "; it is checked before the next mount");
  return whole.ok() && *whole;
}

Status Driver::FlushImage(const std::string& name, int image, const LocalState& state) {
  if (::fsync(image) == 0) return OkStatus();
  Status failed = Status::FromErrno(errno, "cannot fsync the image of volume " + name)
                      .WithHint(
                          "what was written last may be lost: see what ails the pool's storage, then "
                          "unmount it again; it is checked before its next mount");
  // The kernel tells of a write that failed once (fsync(2)): who asks again is told that all is well. Under
  // no lease that there is, this state is one of an unmount that was whole.
  LocalState unclean = state;
  unclean.generation = 0;
  if (Status written = states_.Write(name, unclean); !written.ok())
    Log(LogLevel::kError, "volume " + name + ": " + written.message());
  return failed;
}

// After the unmount here: the lease goes when no copy of the mount keeps the image attached.
Status Driver::GiveBack(const std::string& name, const Volume& volume, const LocalState& state,
                        bool was_mounted) {
  DVDI_ASSIGN_OR_RETURN(auto held, volume.lease->Read());
  // Whatever its number is: nobody else gives it back.
  if (!held.has_value() || !LeaseFile::OursToTake(*held, self_)) {
    if (was_mounted)
      Log(LogLevel::kError,
          "volume " + name + " was mounted here while its lease was " +
              (held.has_value() ? "node " + held->holder.node + "'s" : std::string("gone")) +
              (state.lost.empty() ? "" : " (" + state.lost + ")") +
              ": what was written here after that is not in it");
    volume.tier->keeper->Unguard(name);
    DVDI_RETURN_IF_ERROR(Unlimit(name, state));
    return states_.Remove(name);
  }
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, volume.pool().OpenImage(volume.fd.get(), name, Pool::For::kEnd));
  auto detached = WaitDetached(image.get(), options_.detach_wait_ms);
  if (!detached.ok() || !*detached) {
    LocalState drained = state;  // its users have let go of it
    drained.ids.clear();
    DVDI_RETURN_IF_ERROR(states_.Write(name, drained));
    std::lock_guard<std::mutex> hold(mu_);
    draining_.insert(name);
    if (!detached.ok()) return Status(detached.status()).WithContext("volume " + name + " keeps its lease");
    return StillAttached(name, self_.node);
  }
  DVDI_RETURN_IF_ERROR(FlushImage(name, image.get(), state));
  Step("detached");
  DVDI_RETURN_IF_ERROR(Unlimit(name, state));
  // Same boot, so whoever unmounted last did it whole; of an earlier boot, or another lease, nobody knows.
  bool clean = held->holder.boot_id == self_.boot_id && held->generation == state.generation &&
               state.lost.empty() && LooksWhole(name, volume, image.get());
  DVDI_RETURN_IF_ERROR(ReleaseLease(name, volume, *held, clean));
  Step("released");
  DVDI_RETURN_IF_ERROR(states_.Remove(name));
  {
    std::lock_guard<std::mutex> hold(mu_);
    draining_.erase(name);
  }
  Log(LogLevel::kInfo,
      "unmounted volume " + name + ", lease " + std::to_string(held->generation) + " given back");
  return OkStatus();
}

Status Driver::LetGo(const std::string& name, const std::string& id, const Status& closed) {
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  // Nothing but the record of this boot tells whose mount that is, the image not being there to be asked.
  if (state.device.empty() || (device.has_value() && *device != state.device)) return closed;
  if (device.has_value()) {
    DVDI_ASSIGN_OR_RETURN(const bool last, EndUse(name, id, &state));
    if (!last) return OkStatus();
    DVDI_RETURN_IF_ERROR(root_.Unmount(name));
    Step("unmounted");
  }
  // Its lease, which keeps other nodes away, stays until the pool can be asked (RecoverLeased). Whether all
  // of the image got there is not known: under no lease that there is, this state is one of an unmount that
  // was whole.
  state.ids.clear();
  state.generation = 0;
  DVDI_RETURN_IF_ERROR(states_.Write(name, state));
  const int64_t deadline = Clock::Real()->MonotonicMs() + options_.detach_wait_ms;
  for (;;) {
    DVDI_ASSIGN_OR_RETURN(bool attached, HasImageOf(state.device, name));
    if (!attached) break;
    if (Clock::Real()->MonotonicMs() >= deadline) return StillAttached(name, self_.node);
    Scheduler::Real()->SleepUntil(Clock::Real()->MonotonicMs() + kPauseMs);
  }
  if (state.limited) {
    // The number may soon be another volume's.
    DVDI_RETURN_IF_ERROR(Unlimit(name, state));
    state.limited = false;
    DVDI_RETURN_IF_ERROR(states_.Write(name, state));
  }
  if (device.has_value())
    Log(LogLevel::kWarning,
        "unmounted volume " + name + "; its lease is given back when its tier is open: " + closed.message());
  return OkStatus();
}

}  // namespace dvdi
