// Makes a mounted filesystem as large as its device.
#ifndef DVDI_DRIVER_GROW_H_
#define DVDI_DRIVER_GROW_H_

#include <string>

#include "base/status.h"
#include "driver/options.h"

namespace dvdi {

// `device` is the open block device, which has its new size already. OK where nothing is left to grow. The
// kernel does it online, crash-safe by the filesystem's own journal.
Status GrowFilesystem(Filesystem fs, const std::string& mountpoint, int device_fd, const std::string& volume);

}  // namespace dvdi

#endif  // DVDI_DRIVER_GROW_H_
