#include "driver/shutdown.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "driver/loop.h"
#include "driver/mounts.h"

namespace dvdi {
namespace {

// XFS_IOC_GOINGDOWN of xfs_fs.h and EXT4_IOC_SHUTDOWN, which is the same; neither is in the kernel's uapi
// headers of every distribution.
constexpr unsigned long kGoingDown = _IOR('X', 125, __u32);
// Neither data nor the log: nothing of this node may be written any more.
constexpr __u32 kNoLogFlush = 2;
constexpr unsigned kLoopMajor = 7;

}  // namespace

bool CanShutDown(Filesystem fs) { return fs == Filesystem::kExt4 || fs == Filesystem::kXfs; }

namespace {

Status GoDown(int fd, const std::string& what) {
  __u32 flags = kNoLogFlush;
  if (::ioctl(fd, kGoingDown, &flags) == 0) return OkStatus();
  if (errno == ENOTTY || errno == EOPNOTSUPP)
    return Status(Code::kUnsupported, "the filesystem of " + what + " cannot be shut down",
                  "use ext4 or xfs where leases are renewed");
  return Status::FromErrno(errno, "cannot shut down the filesystem of " + what);
}

}  // namespace

Status ShutDownFilesystem(const std::string& mountpoint, const std::string& device) {
  UniqueFd fd(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    // What is shut down already says so to whoever opens it.
    if (errno == EIO) return OkStatus();
    return Status::FromErrno(errno, "cannot open " + mountpoint + " to shut it down", mountpoint);
  }
  // Never the filesystem that the mountpoint lies on, where the volume was unmounted meanwhile.
  struct stat st;
  if (::fstat(fd.get(), &st) < 0) return Status::FromErrno(errno, "cannot stat " + mountpoint, mountpoint);
  std::string there = std::to_string(major(st.st_dev)) + ":" + std::to_string(minor(st.st_dev));
  if (there != device || major(st.st_dev) != kLoopMajor)
    return Status(Code::kRefused, "device " + device + " is not what is mounted at " + mountpoint);
  return GoDown(fd.get(), mountpoint);
}

Status ShutDownDevice(const std::string& device, const std::string& images) {
  // First opened: from then on it stays attached to what it is attached to.
  auto loop = OpenLoop(device);
  if (!loop.ok()) return loop.status().code() == Code::kNotFound ? OkStatus() : loop.status();
  auto backing = BackingFile("/sys/dev/block/" + device);
  if (!backing.ok()) return backing.status().code() == Code::kNotFound ? OkStatus() : backing.status();
  if (("\n" + images + "\n").find("\n" + *backing + "\n") == std::string::npos) return OkStatus();
  // The kernel gives out the filesystem that it has over this device already, whatever namespace it is in.
  Status last(Code::kUnsupported, "device " + device + " holds nothing that can be shut down");
  for (const char* type : {"ext4", "xfs"}) {
    auto mount = MountDetached(loop->path, type);
    if (mount.ok()) {
      // What fsmount(2) gives is a path alone, of which nothing can be asked.
      UniqueFd root(::openat(mount->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (root.valid()) return GoDown(root.get(), loop->path);
      if (errno == EIO) return OkStatus();  // as above
      return Status::FromErrno(errno, "cannot open the filesystem of " + loop->path + " to shut it down",
                               loop->path);
    }
    last = mount.status();
  }
  return last;
}

}  // namespace dvdi
