#include "driver/grow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"
#include "base/text.h"
#include "driver/tool.h"

namespace dvdi {
namespace {

// Of the kernel's fs/ext4/ext4.h and fs/xfs/libxfs/xfs_fs.h, which no package of headers for programs has in
// full.
constexpr unsigned long kExt4Resize = _IOW('f', 16, __u64);
struct XfsGrow {
  __u64 blocks;
  __u32 inode_percent;
};
constexpr unsigned long kXfsGrow = _IOW('X', 110, XfsGrow);
struct XfsGeometryV1 {
  __u32 block_size, rt_extent_size, ag_blocks, ag_count, log_blocks, sector_size, inode_size, inode_percent;
  __u64 data_blocks, rt_blocks, rt_extents, log_start;
  unsigned char uuid[16];
  __u32 s_unit, s_width;
  __s32 version;
  __u32 flags, log_sector_size, rt_sector_size, dir_block_size;
};
constexpr unsigned long kXfsGeometry = _IOR('X', 100, XfsGeometryV1);

}  // namespace

Status GrowFilesystem(Filesystem fs, const std::string& mountpoint, int device_fd,
                      const std::string& volume) {
  auto fail = [&](const std::string& what) {
    return Status::FromErrno(errno, "cannot grow volume " + volume + " (" + what + ")", mountpoint)
        .WithHint("it stays as large as it is; the kernel's log (dmesg) says why");
  };
  __u64 bytes = 0;
  if (::ioctl(device_fd, BLKGETSIZE64, &bytes) < 0) return fail("size of the device");
  UniqueFd root(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return fail("open");
  switch (fs) {
    case Filesystem::kExt4: {
      struct statvfs st;
      if (::fstatvfs(root.get(), &st) < 0) return fail("statvfs");
      __u64 blocks = bytes / st.f_bsize;
      if (::ioctl(root.get(), kExt4Resize, &blocks) < 0) return fail("EXT4_IOC_RESIZE_FS");
      return OkStatus();
    }
    case Filesystem::kXfs: {
      XfsGeometryV1 geometry = {};
      if (::ioctl(root.get(), kXfsGeometry, &geometry) < 0) return fail("XFS_IOC_FSGEOMETRY_V1");
      XfsGrow grow = {bytes / geometry.block_size, geometry.inode_percent};
      if (grow.blocks <= geometry.data_blocks) return OkStatus();
      if (::ioctl(root.get(), kXfsGrow, &grow) < 0) return fail("XFS_IOC_FSGROWFSDATA");
      return OkStatus();
    }
    case Filesystem::kBtrfs: {
      struct btrfs_ioctl_vol_args arguments = {};
      ::strcpy(arguments.name, "max");
      if (::ioctl(root.get(), BTRFS_IOC_RESIZE, &arguments) < 0) return fail("BTRFS_IOC_RESIZE");
      return OkStatus();
    }
  }
  return OkStatus();
}

bool MayGrowMounted(Filesystem fs) {
  if (fs != Filesystem::kExt4) return true;
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) < 0) return false;
  return (data[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE)) != 0;
}

Status GrowExt4File(int file, const std::string& volume, const std::function<bool()>& give_up) {
  // resize2fs wants to see a filesystem that was checked just now.
  for (const Tool& tool : {Tool{{"e2fsck", "-f", "-p", kToolFile}, "e2fsprogs", {}, give_up},
                           Tool{{"resize2fs", kToolFile}, "e2fsprogs", {}, give_up}}) {
    DVDI_ASSIGN_OR_RETURN(ToolResult result, RunTool(tool, file, volume));
    bool corrected = std::string_view(tool.arguments[0]) == "e2fsck" && result.status == 1;
    if (result.status != 0 && !corrected)
      return Status(Code::kSystem, std::string(tool.arguments[0]) + " failed for volume " + volume +
                                       " (exit status " + std::to_string(result.status) +
                                       "): " + OneLine(result.text, 300));
  }
  return OkStatus();
}

}  // namespace dvdi
