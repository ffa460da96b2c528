#include "driver/image.h"

#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "base/text.h"
#include "driver/files.h"
#include "driver/tool.h"

namespace dvdi {
namespace {

// Of ext4's superblock: where it is, and little-endian numbers in it (the kernel's fs/ext4/ext4.h).
constexpr off_t kExt4Super = 1024;
constexpr size_t kExt4State = 58, kExt4Incompat = 96;
constexpr unsigned kExt4Valid = 1, kExt4Error = 2, kExt4NeedsRecovery = 4;

struct FreeProbe {
  void operator()(blkid_probe p) const { blkid_free_probe(p); }
};

Tool Mkfs(Filesystem fs) {
  // -F and not -f: mke2fs wants to be told that a file is meant; the others keep their own refusal to
  // overwrite. Nothing is zeroed or discarded that a new sparse file has as holes already.
  switch (fs) {
    case Filesystem::kExt4:
      return {{"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", kToolFile},
              "e2fsprogs"};
    case Filesystem::kXfs: return {{"mkfs.xfs", "-q", "-K", kToolFile}, "xfsprogs"};
    // One copy of metadata would do on one device; two survive a bad block. The image has no others to span.
    case Filesystem::kBtrfs: return {{"mkfs.btrfs", "-q", "-K", kToolFile}, "btrfs-progs"};
  }
  return {};
}

Status RunMkfs(Filesystem fs, int image_fd, const std::string& volume, const std::function<bool()>& give_up) {
  Tool tool = Mkfs(fs);
  tool.give_up = give_up;
  DVDI_ASSIGN_OR_RETURN(ToolResult result, RunTool(tool, image_fd, volume));
  if (result.status == 0) return OkStatus();
  return Status(Code::kSystem, std::string(tool.arguments[0]) + " failed for volume " + volume +
                                   " (exit status " + std::to_string(result.status) +
                                   "): " + OneLine(result.text, 300));
}

}  // namespace

Result<std::string> ProbeSignature(int fd, const std::string& volume) {
  std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe> probe(blkid_new_probe());
  Status failed(Code::kSystem, "libblkid cannot look at the image of volume " + volume);
  if (probe == nullptr) return failed;
  // 0 as the size is "up to the end of the file".
  if (blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) return failed;
  if (blkid_probe_enable_superblocks(probe.get(), 1) != 0 ||
      blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM) != 0 ||
      blkid_probe_enable_partitions(probe.get(), 1) != 0)
    return failed;
  int found = blkid_do_safeprobe(probe.get());
  if (found == -2) return std::string("several");
  if (found < 0) return failed;
  if (found == 1) return std::string();
  const char* value = nullptr;
  if (blkid_probe_lookup_value(probe.get(), "TYPE", &value, nullptr) == 0 ||
      blkid_probe_lookup_value(probe.get(), "PTTYPE", &value, nullptr) == 0)
    return std::string(value);
  return std::string("unknown");
}

Result<int64_t> ImageSize(int fd, const std::string& volume) {
  struct stat st;
  if (::fstat(fd, &st) < 0) return Status::FromErrno(errno, "cannot stat the image of volume " + volume);
  return static_cast<int64_t>(st.st_size);
}

Status GrowImage(int fd, const VolumeMeta& meta) {
  DVDI_ASSIGN_OR_RETURN(int64_t size, ImageSize(fd, meta.name));
  // ftruncate(2) would cut off the end of a larger one.
  if (size >= meta.size_bytes) return OkStatus();
  if (::ftruncate(fd, meta.size_bytes) < 0)
    return Status::FromErrno(
        errno, "cannot grow the image of volume " + meta.name + " to " + FormatSize(meta.size_bytes));
  if (::fsync(fd) < 0) return Status::FromErrno(errno, "cannot fsync the image of volume " + meta.name);
  return OkStatus();
}

Result<bool> UnmountedWhole(int fd, const VolumeMeta& meta) {
  if (meta.filesystem != Filesystem::kExt4) return true;
  unsigned char super[128];
  ssize_t n = ::pread(fd, super, sizeof super, kExt4Super);
  if (n < 0) return Status::FromErrno(errno, "cannot read the image of volume " + meta.name);
  if (n < static_cast<ssize_t>(sizeof super)) return false;
  const unsigned state = super[kExt4State];  // the flags that count are all in the lowest bytes
  return (state & kExt4Valid) != 0 && (state & kExt4Error) == 0 &&
         (super[kExt4Incompat] & kExt4NeedsRecovery) == 0;
}

Status FormatImage(const Pool& pool, int volume_fd, const VolumeMeta& meta, const std::string& node,
                   const std::function<bool()>& give_up) {
  DVDI_ASSIGN_OR_RETURN(UniqueFd old, pool.OpenImage(volume_fd, meta.name));
  DVDI_ASSIGN_OR_RETURN(std::string signature, ProbeSignature(old.get(), meta.name));
  if (!signature.empty())
    return Status(Code::kRefused,
                  "the image of volume " + meta.name + " holds " + signature + "; it is never formatted",
                  "if its content is not needed, remove the volume and create it again")
        .WithPath(pool.VolumePath(meta.name) + "/image");
  std::string temp = TempName(node);
  UniqueFd fresh(::openat(volume_fd, temp.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fresh.valid()) return Status::FromErrno(errno, "cannot make a new image for volume " + meta.name);
  Status done;
  if (::ftruncate(fresh.get(), meta.size_bytes) < 0)
    done = Status::FromErrno(
        errno, "cannot make an image of " + FormatSize(meta.size_bytes) + " for volume " + meta.name);
  if (done.ok()) done = RunMkfs(meta.filesystem, fresh.get(), meta.name, give_up);
  if (done.ok()) {
    Step("mkfs-done");
    auto made = ProbeSignature(fresh.get(), meta.name);
    done = made.status();
    if (done.ok() && *made != FilesystemName(meta.filesystem))
      done = Status(Code::kSystem, "mkfs made '" + *made + "' instead of " + FilesystemName(meta.filesystem) +
                                       " for volume " + meta.name);
  }
  if (done.ok() && ::fsync(fresh.get()) < 0)
    done = Status::FromErrno(errno, "cannot fsync the new image of volume " + meta.name);
  if (done.ok() && give_up && give_up())
    done = Status(Code::kUnavailable,
                  "the new image of volume " + meta.name + " was not put in place: the lease ended",
                  "try again");
  if (done.ok() && ::renameat(volume_fd, temp.c_str(), volume_fd, "image") < 0)
    done = Status::FromErrno(errno, "cannot put the new image of volume " + meta.name + " in place");
  if (!done.ok()) {
    ::unlinkat(volume_fd, temp.c_str(), 0);
    return done;
  }
  Step("image-formatted");
  return FsyncFolder(volume_fd, "volume " + meta.name);
}

}  // namespace dvdi
