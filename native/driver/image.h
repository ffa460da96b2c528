// What is in an image, and making a filesystem in a new one.
#ifndef DVDI_DRIVER_IMAGE_H_
#define DVDI_DRIVER_IMAGE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "driver/options.h"
#include "driver/pool.h"

namespace dvdi {

// The name of the signature that libblkid finds in the file ("ext4", "xfs", "crypto_LUKS", "gpt", …;
// "several" where more than one), "" where it finds none. Filesystems, RAID members, partition
// tables; also with wrong checksums.
Result<std::string> ProbeSignature(int fd, const std::string& volume);

// The bytes of an open image.
Result<int64_t> ImageSize(int fd, const std::string& volume);
// Makes it as large as the metadata say, durably; one that is as large already, or larger, is left alone.
Status GrowImage(int fd, const VolumeMeta& meta);

// Whether the filesystem of an image that is attached nowhere any more tells that it was unmounted whole.
// ext4 does (the kernel may have aborted it before); of the others nothing is known here, and it is true.
Result<bool> UnmountedWhole(int fd, const VolumeMeta& meta);

// Makes the filesystem in a new file beside the image and puts it in the image's place by one rename:
// a crash, or an mkfs that outlives the driver, leaves the old image as it was. Refuses (kRefused, with the
// signature's name) where the image holds a known signature. The caller has the lease, the image is
// attached nowhere. `give_up` (may be empty) is asked meanwhile: true ends it.
Status FormatImage(const Pool& pool, int volume_fd, const VolumeMeta& meta, const std::string& node,
                   const std::function<bool()>& give_up = {});

// Gives the volume an image file of its own again: copies it (shared extents where the pool can, without its
// holes), and puts the copy in its place by one rename. What a node that was fenced off still has under way
// goes to the old file, which nobody has any more. `progress` is told the bytes done, `give_up` asked
// meanwhile; both may be empty. `finish` is given the open copy before it takes its place. The caller has the
// lease, the image is attached nowhere by this node.
Status RenewImage(const Pool& pool, int volume_fd, const std::string& volume, const std::string& node,
                  const std::function<void(int64_t)>& progress = {},
                  const std::function<bool()>& give_up = {}, const std::function<Status(int)>& finish = {});

}  // namespace dvdi

#endif  // DVDI_DRIVER_IMAGE_H_
