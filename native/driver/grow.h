// Makes a mounted filesystem as large as its device.
#ifndef DVDI_DRIVER_GROW_H_
#define DVDI_DRIVER_GROW_H_

#include <functional>
#include <string>

#include "base/status.h"
#include "driver/options.h"

namespace dvdi {

// `device` is the open block device, which has its new size already. OK where nothing is left to grow. The
// kernel does it online, crash-safe by the filesystem's own journal.
Status GrowFilesystem(Filesystem fs, const std::string& mountpoint, int device_fd, const std::string& volume);

// Whether this process may grow a mounted filesystem of that kind: ext4 asks for CAP_SYS_RESOURCE, which
// containers often lack.
bool MayGrowMounted(Filesystem fs);

// Makes an ext4 as large as its file (an open file that nobody else uses). A crash in between leaves it
// damaged: for a copy. `give_up` as for RunTool.
Status GrowExt4File(int file, const std::string& volume, const std::function<bool()>& give_up);

}  // namespace dvdi

#endif  // DVDI_DRIVER_GROW_H_
