// What is in an image, and making a filesystem in a new one.
#ifndef DVDI_DRIVER_IMAGE_H_
#define DVDI_DRIVER_IMAGE_H_

#include <string>

#include "base/status.h"
#include "driver/options.h"
#include "driver/pool.h"

namespace dvdi {

// The name of the signature that libblkid finds in the file ("ext4", "xfs", "crypto_LUKS", "gpt", …;
// "several" where more than one), "" where it finds none. Filesystems, RAID members, partition
// tables; also with wrong checksums.
Result<std::string> ProbeSignature(int fd, const std::string& volume);

// The absolute path of mkfs for `fs`, from a fixed list of folders. kUnsupported names the package.
Result<std::string> FindMkfs(Filesystem fs);

// Makes the filesystem in a new file beside the image and puts it in the image's place by one rename:
// a crash, or an mkfs that outlives the driver, leaves the old image as it was. Refuses (kRefused, with the
// signature's name) where the image holds a known signature. The caller has the lease, the image is
// attached nowhere.
Status FormatImage(const Pool& pool, int volume_fd, const VolumeMeta& meta, const std::string& node);

}  // namespace dvdi

#endif  // DVDI_DRIVER_IMAGE_H_
