// Ends all writing to a mounted filesystem at once, without writing anything itself.
#ifndef DVDI_DRIVER_SHUTDOWN_H_
#define DVDI_DRIVER_SHUTDOWN_H_

#include <string>

#include "base/status.h"
#include "driver/options.h"

namespace dvdi {

// Whether this kind of filesystem has the shutdown ioctl, so that a lease that ends can be obeyed.
bool CanShutDown(Filesystem fs);

// From its begin on no new write gets to the device: whoever writes gets EIO, what was not written is
// dropped. It may then wait for writes that are under way, for as long as the pool hangs: call it on a thread
// that nobody waits for. kUnsupported where the filesystem cannot. `device` is the loop device "MAJ:MIN" that
// has to be mounted there: anything else is left alone (kRefused).
Status ShutDownFilesystem(const std::string& mountpoint, const std::string& device);

// The same for a filesystem that is not mounted in this mount namespace, but in another one: by its loop
// device, whose image must be at one of `images` (a line each). OK where the device is not attached to any of
// them.
Status ShutDownDevice(const std::string& device, const std::string& images);

}  // namespace dvdi

#endif  // DVDI_DRIVER_SHUTDOWN_H_
