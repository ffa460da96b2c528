// Giving a volume back: what its image has to say, and its lease.
#include <errno.h>
#include <unistd.h>

#include "driver/check.h"
#include "driver/driver.h"
#include "driver/files.h"
#include "driver/image.h"
#include "driver/log.h"
#include "driver/loop.h"

namespace dvdi {

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
    return Status(Code::kRefused,
                  "volume " + name +
                      " is unmounted here, but a process in another mount namespace still has it, so node " +
                      self_.node + " keeps its lease",
                  "end that process; the lease is given back then");
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

}  // namespace dvdi
