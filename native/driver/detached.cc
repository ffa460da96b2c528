// In a file of its own: Debian 12's headers of mount(2) and of these calls do not go together.
#include <errno.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

#include "base/fd.h"
#include "base/status.h"

namespace dvdi {

Result<UniqueFd> MountDetached(const std::string& device, const char* type) {
  auto fail = [&](const char* what) {
    return Status::FromErrno(errno, "cannot mount " + device + " as " + type + " (" + what + ")", device)
        .WithHint("the kernel's log (dmesg) says why");
  };
  UniqueFd context(static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)));
  if (!context.valid()) return fail("fsopen");
  if (::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, "source", device.c_str(), 0) < 0)
    return fail("fsconfig");
  // As MountRoot::Mount.
  if (std::string_view(type) == "xfs" &&
      ::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_FLAG, "nouuid", nullptr, 0) < 0)
    return fail("fsconfig");
  if (::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return fail("mount");
  UniqueFd mount(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!mount.valid()) return fail("fsmount");
  return mount;
}

}  // namespace dvdi
