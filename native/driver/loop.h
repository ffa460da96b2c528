// Loop devices: an image file as a block device.
#ifndef DVDI_DRIVER_LOOP_H_
#define DVDI_DRIVER_LOOP_H_

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace dvdi {

struct LoopDevice {
  std::string path;  // "/dev/loop7"
  UniqueFd fd;       // while open, or mounted, the device stays attached
};

// Attaches the image (an open file) with LO_FLAGS_AUTOCLEAR, with direct I/O where the pool's filesystem can,
// with sectors of 512 bytes. kUnsupported where this machine has no loop devices.
Result<LoopDevice> AttachLoop(int image_fd, const std::string& volume);

// The loop device that the image is attached to anywhere on this machine (any mount namespace), opened, or
// nothing. kUnavailable where that cannot be told: a device whose file lies in the image's pool does not
// answer within a second, or answers with an error; or one that may be over it is missing in /dev.
Result<std::optional<LoopDevice>> FindLoop(int image_fd);

// The path of the file behind a loop device, by its folder in sysfs, as the kernel remembers it: no
// filesystem is asked. kNotFound where none is attached.
Result<std::string> BackingFile(const std::string& sysfs);

// Whether the block device "MAJ:MIN" (as mountinfo has it) is a loop device over that image.
bool IsLoopOver(const std::string& device, int image_fd);

// "MAJ:MIN" of an attached device.
Result<std::string> DeviceNumber(const LoopDevice& device);
// The device of that number, opened. kNotFound where there is none.
Result<LoopDevice> OpenLoop(const std::string& number);
// Makes the device as large as its image is now.
Status GrowLoop(const LoopDevice& device, const std::string& volume);

// Waits until the image is attached nowhere: true, or, after `timeout_ms`, false, or kUnavailable as
// FindLoop.
Result<bool> WaitDetached(int image_fd, int timeout_ms);

}  // namespace dvdi

#endif  // DVDI_DRIVER_LOOP_H_
