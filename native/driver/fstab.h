// What this node's table of filesystems says of a pool's folder.
#ifndef DVDI_DRIVER_FSTAB_H_
#define DVDI_DRIVER_FSTAB_H_

#include <string>

#include "base/status.h"

namespace dvdi {

// kRefused where /etc/fstab (fstab(5)) names a mount at or above `path`, an absolute one, or where that
// leads, and nothing is mounted there: what lies beneath is another folder than the one that is meant. Else
// whether it names such a mount. Fails where the path leads into a filesystem that does.
Result<bool> CheckMounted(const std::string& path);

}  // namespace dvdi

#endif  // DVDI_DRIVER_FSTAB_H_
