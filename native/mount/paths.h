// Folders opened without symlinks, and which folders belong to the system.
#ifndef DVDI_MOUNT_PATHS_H_
#define DVDI_MOUNT_PATHS_H_

#include <string>
#include <string_view>

#include "base/path.h"
#include "base/status.h"
#include "sys/sys_fd.h"

namespace dvdi {

// The system folder that this normal path is or lies in, over which nothing may be mounted (as_target),
// or which is nobody's volume (otherwise); "" for none.
std::string_view SystemFolderOf(std::string_view path, bool as_target);
// That a driver named the folder `named`, and why no volume can be there ("but …", "which …").
Status NoPlaceForVolume(const std::string& named, const std::string& why);
// kRefused where a driver named the folder `named`, which is really `place` (both normal), and that is in one
// of the system's.
Status CheckVolumePlace(const std::string& named, const std::string& place);

// Opens the normal path with no symlink anywhere on it: a descriptor, or -ELOOP where there is one.
// Without openat2(2) it walks component by component.
int OpenNoSymlinks(Sys* sys, const std::string& path, int flags);

}  // namespace dvdi

#endif  // DVDI_MOUNT_PATHS_H_
