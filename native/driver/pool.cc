#include "driver/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "driver/files.h"
#include "driver/fstab.h"
#include "driver/lease.h"
#include "driver/log.h"
#include "sys/files.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr char kImage[] = "image";
constexpr char kMeta[] = "volume.json";
constexpr char kNew[] = ".new.";
constexpr char kGone[] = ".gone.";
constexpr int kFormat = 1;
constexpr int64_t kSmallestImage = 4096;

bool IsOurFile(const std::string& name) {
  return name == kImage || name == kMeta || IsLeaseName(name) || IsTempName(name, "");
}

std::string MetaText(const VolumeMeta& meta) {
  Json json = {{"format", kFormat},
               {"name", meta.name},
               {"created_at", meta.created_at},
               {"size_bytes", meta.size_bytes},
               {"filesystem", FilesystemName(meta.filesystem)},
               {"formatted", meta.formatted}};
  if (meta.grow) json["grow"] = true;
  if (meta.renew) json["renew"] = true;
  if (meta.limits.iops.has_value()) json["iops"] = *meta.limits.iops;
  if (meta.limits.bps.has_value()) json["bps"] = *meta.limits.bps;
  return Dump(json) + "\n";
}

// Filesystems that other machines may have mounted too (linux/magic.h has not all of them).
constexpr int64_t kShared[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42, 0x65735546, 0x00C36400,
                               0x01021997, 0x01161970, 0x7461636F, 0x0BD00BD0, 0x5346414F, 0x6B414653};
constexpr int64_t kSharedLeaseMs = 60'000;

// Whether `name` is PREFIX NODE "." HEX.
bool IsWorkFolder(const std::string& name, const std::string& prefix, const std::string& node) {
  return name.rfind(prefix, 0) == 0 && IsTempName("tmp." + name.substr(prefix.size()), node);
}

// A regular file of a volume's folder. `what` is what messages call it.
Result<UniqueFd> OpenOfVolume(int volume_fd, const char* name, int flags, const std::string& folder,
                              const std::string& what, Pool::For why) {
  const std::string path = folder + "/" + name;
  // O_NONBLOCK: a FIFO put in its place must not hang the open.
  UniqueFd fd(::openat(volume_fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot open " + what, path);
  struct stat st;
  if (::fstat(fd.get(), &st) < 0) return Status::FromErrno(errno, "cannot stat " + what, path);
  if (!S_ISREG(st.st_mode)) return Status(Code::kInvalid, what + " is not a regular file").WithPath(path);
  if (why == Pool::For::kUse) DVDI_RETURN_IF_ERROR(CheckOurs(st, path, what));
  return fd;
}

}  // namespace

Result<Pool> Pool::Open(const std::string& path, const std::string& node, bool late) {
  if (path.empty() || path[0] != '/')
    return Status(Code::kInvalid, "the pool '" + OneLine(path, 200) + "' is not an absolute path",
                  "give --pool a path that begins with /");
  DVDI_ASSIGN_OR_RETURN(bool mounted, CheckMounted(path));  // before anything is made there
  if (!late && ::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST)
    return Status::FromErrno(errno, "cannot make the pool " + path, path);
  // Its links are followed once: what was opened is what all that follows is about.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot open the pool " + path, path);
  struct stat st;
  if (::fstat(fd.get(), &st) < 0) return Status::FromErrno(errno, "cannot stat the pool " + path, path);
  DVDI_RETURN_IF_ERROR(CheckOurs(st, path, "the pool"));
  auto real = FolderPath(fd.get());
  if (!real.ok()) return Status(real.status()).WithContext("the pool " + path);
  if (late && !mounted) {
    std::vector<std::string> names;
    int r = Sys::Real()->ListDir(fd.get(), ".", &names);
    if (r < 0) return Status::FromErrno(-r, "cannot list the pool " + path, path);
    if (names.empty())
      return Status(Code::kRefused,
                    "the pool " + path +
                        " is empty, and could not be had when the driver started: what is to be mounted "
                        "there may "
                        "not be mounted yet",
                    "mount it (where it is to be empty, start the driver again)")
          .WithPath(path);
  }
  return Pool(std::move(*real), node, std::move(fd));
}

Result<UniqueFd> Pool::OpenVolume(const std::string& name, For why) const {
  DVDI_RETURN_IF_ERROR(CheckName(name, "volume name"));
  auto fd = why == For::kEnd
                ? OpenFolder(fd_.get(), name)
                : OpenOurFolder(fd_.get(), name, VolumePath(name), "the folder of volume " + name);
  if (!fd.ok() && fd.status().code() == Code::kNotFound)
    return Status(Code::kNotFound, "there is no volume " + name + " in the pool " + path_);
  return fd;
}

Result<VolumeMeta> Pool::ReadMeta(int volume_fd, const std::string& name) const {
  auto file =
      OpenOfVolume(volume_fd, kMeta, O_RDONLY, VolumePath(name), "the metadata of volume " + name, For::kUse);
  if (!file.ok() && file.status().code() == Code::kRefused) return file.status();
  auto text = file.ok() ? ReadOpenFile(file->get(), kMeta) : Result<std::string>(file.status());
  std::string why = text.status().message();
  if (text.ok()) {
    auto json = ParseJson(*text, "it", 4);
    if (!json.ok()) {
      why = json.status().message();
    } else {
      VolumeMeta meta;
      meta.name = GetString(*json, "name");
      meta.created_at = GetString(*json, "created_at");
      meta.size_bytes = GetInt(*json, "size_bytes");
      meta.formatted = GetBool(*json, "formatted");
      meta.grow = GetBool(*json, "grow");
      meta.renew = GetBool(*json, "renew");
      if (int64_t iops = GetInt(*json, "iops"); iops > 0) meta.limits.iops = iops;
      if (int64_t bps = GetInt(*json, "bps"); bps > 0) meta.limits.bps = bps;
      auto fs = ParseFilesystem(GetString(*json, "filesystem"));
      if (GetInt(*json, "format") != kFormat)
        why = "its format is not 1";
      else if (meta.name != name)
        why = "it is of volume '" + OneLine(meta.name, 128) + "'";
      else if (!fs.ok() || meta.size_bytes < kSmallestImage || meta.created_at.empty() ||
               !GetMember(*json, "formatted").is_boolean())
        why = "a field is missing or wrong";
      else {
        meta.filesystem = *fs;
        return meta;
      }
    }
  }
  return Status(Code::kInvalid, "the metadata of volume " + name + " cannot be used (" + why + ")",
                "restore " + VolumePath(name) + "/" + kMeta + "; the image beside it was not touched");
}

Status Pool::WriteMeta(int volume_fd, const VolumeMeta& meta) const {
  return ReplaceFile(volume_fd, kMeta, MetaText(meta), TempName(node_)).WithContext("volume " + meta.name);
}

Result<UniqueFd> Pool::OpenImage(int volume_fd, const std::string& name, For why) const {
  return OpenOfVolume(volume_fd, kImage, O_RDWR, VolumePath(name), "the image of volume " + name, why);
}

Status Pool::FillNew(int folder_fd, const VolumeMeta& meta) const {
  UniqueFd image(::openat(folder_fd, kImage, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!image.valid()) return Status::FromErrno(errno, "cannot make the image of volume " + meta.name);
  if (::ftruncate(image.get(), meta.size_bytes) < 0)
    return Status::FromErrno(errno, "cannot make an image of " + FormatSize(meta.size_bytes) +
                                        " for volume " + meta.name + " in the pool " + path_);
  if (::fsync(image.get()) < 0)
    return Status::FromErrno(errno, "cannot fsync the image of volume " + meta.name);
  Step("image-made");
  return WriteMeta(folder_fd, meta);
}

Status Pool::Create(const VolumeMeta& meta) const {
  std::string work = kNew + node_ + "." + RandomHex();
  if (::mkdirat(fd_.get(), work.c_str(), 0700) < 0)
    return Status::FromErrno(errno, "cannot make a folder for volume " + meta.name, path_);
  Step("folder-made");
  auto folder = OpenFolder(fd_.get(), work);
  Status made = folder.ok() ? FillNew(folder->get(), meta) : folder.status();
  if (!made.ok()) {
    (void)DeleteFolder(work);
    return made;
  }
  Step("folder-filled");
  int err =
      ::renameat2(fd_.get(), work.c_str(), fd_.get(), meta.name.c_str(), RENAME_NOREPLACE) < 0 ? errno : 0;
  // Not every filesystem has the flag; a plain rename replaces at most an empty folder.
  if (err == EINVAL || err == ENOSYS)
    err = ::renameat(fd_.get(), work.c_str(), fd_.get(), meta.name.c_str()) < 0 ? errno : 0;
  if (err != 0) {
    (void)DeleteFolder(work);
    if (err == EEXIST || err == ENOTEMPTY || err == ENOTDIR)
      return Status(Code::kRefused, "volume " + meta.name + " exists in the pool " + path_);
    return Status::FromErrno(err, "cannot put volume " + meta.name + " in place", VolumePath(meta.name));
  }
  Step("folder-renamed");
  return FsyncFolder(fd_.get(), "pool " + path_);
}

Status Pool::Remove(const std::string& name, const std::function<Status()>& still) const {
  DVDI_RETURN_IF_ERROR(CheckName(name, "volume name"));
  std::vector<std::string> files;
  int r = Sys::Real()->ListDir(fd_.get(), name.c_str(), &files);
  if (r < 0) return Status::FromErrno(-r, "cannot list the folder of volume " + name, VolumePath(name));
  for (const auto& file : files)
    if (!IsOurFile(file))
      return Status(Code::kRefused,
                    "the folder of volume " + name +
                        " holds a file that is not the driver's: " + OneLine(file, 80),
                    "move it away, then remove the volume again")
          .WithPath(VolumePath(name) + "/" + file);
  std::string gone = kGone + node_ + "." + RandomHex();
  if (still != nullptr) DVDI_RETURN_IF_ERROR(still());
  if (::renameat(fd_.get(), name.c_str(), fd_.get(), gone.c_str()) < 0)
    return Status::FromErrno(errno, "cannot remove volume " + name, VolumePath(name));
  Step("removal-renamed");
  DVDI_RETURN_IF_ERROR(FsyncFolder(fd_.get(), "pool " + path_));
  Status deleted = DeleteFolder(gone);
  // The volume is gone. What is left is of another process that has a file open (.nfsX, .fuse_hiddenX).
  if (deleted.error_number() != ENOTEMPTY && deleted.error_number() != EEXIST) return deleted;
  Log(LogLevel::kWarning,
      "removed volume " + name + ", but " + deleted.message() + "; the driver tries again when it starts");
  return OkStatus();
}

// The lease goes last: as long as anything of the volume is there, it is held.
Status Pool::DeleteFolder(const std::string& name) const {
  auto folder = OpenFolder(fd_.get(), name);
  if (!folder.ok()) return folder.status();
  std::vector<std::string> files;
  int r = Sys::Real()->ListDir(fd_.get(), name.c_str(), &files);
  if (r < 0) return Status::FromErrno(-r, "cannot list " + name, path_ + "/" + name);
  std::stable_partition(files.begin(), files.end(), [](const std::string& f) { return !IsLeaseName(f); });
  for (const auto& file : files) {
    if (!IsOurFile(file)) continue;
    DVDI_RETURN_IF_ERROR(RemoveFile(folder->get(), file));
    Step("removal-file");
  }
  if (::unlinkat(fd_.get(), name.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT)
    return Status::FromErrno(errno, "cannot remove folder " + name, path_ + "/" + name);
  return FsyncFolder(fd_.get(), "pool " + path_);
}

Result<std::vector<std::string>> Pool::List() const {
  std::vector<std::string> names, out;
  int r = Sys::Real()->ListDir(fd_.get(), ".", &names);
  if (r < 0) return Status::FromErrno(-r, "cannot list the pool " + path_, path_);
  for (auto& name : names) {
    if (!CheckName(name, "volume name").ok()) continue;
    struct stat st;
    if (::fstatat(fd_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) continue;
    std::string image = name + "/" + kImage, meta = name + "/" + kMeta;
    if (::faccessat(fd_.get(), image.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        ::faccessat(fd_.get(), meta.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) < 0)
      continue;
    out.push_back(std::move(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<int64_t> Pool::Promised(const std::string& but) const {
  DVDI_ASSIGN_OR_RETURN(auto names, List());
  int64_t sum = 0;
  for (const auto& name : names) {
    if (name == but) continue;
    auto folder = OpenVolume(name, For::kEnd);  // whoever's it is, it takes its room
    if (!folder.ok()) continue;                 // removed meanwhile
    auto meta = ReadMeta(folder->get(), name);
    struct stat st;
    if (meta.ok())
      sum += meta->size_bytes;
    else if (::fstatat(folder->get(), kImage, &st, AT_SYMLINK_NOFOLLOW) == 0)
      sum += st.st_size;
  }
  return sum;
}

Result<int64_t> Pool::Free() const {
  struct statvfs st;
  if (::fstatvfs(fd_.get(), &st) < 0)
    return Status::FromErrno(errno, "cannot see the free space of the pool " + path_, path_);
  return static_cast<int64_t>(st.f_bavail) * static_cast<int64_t>(st.f_frsize);
}

int64_t Pool::DefaultLeaseMs() const {
  int64_t type = 0;
  // What cannot be told is taken for shared: a renewal too many does no harm.
  if (Sys::Real()->FsType(fd_.get(), &type) < 0) return kSharedLeaseMs;
  for (int64_t shared : kShared)
    if ((type & 0xFFFFFFFF) == shared) return kSharedLeaseMs;
  return 0;
}

Status Pool::RemoveLeftovers() const {
  std::vector<std::string> names;
  int r = Sys::Real()->ListDir(fd_.get(), ".", &names);
  if (r < 0) return Status::FromErrno(-r, "cannot list the pool " + path_, path_);
  Status first;
  for (const auto& name : names) {
    if (!IsWorkFolder(name, kNew, node_) && !IsWorkFolder(name, kGone, node_)) continue;
    if (Status deleted = DeleteFolder(name); first.ok()) first = std::move(deleted);
  }
  return first;
}

Status Pool::RemoveTemporaries(int volume_fd, bool everybody) const {
  std::vector<std::string> names;
  int r = Sys::Real()->ListDir(volume_fd, ".", &names);
  if (r < 0) return Status::FromErrno(-r, "cannot list a volume's folder");
  for (const auto& name : names)
    if (IsTempName(name, everybody ? "" : node_)) DVDI_RETURN_IF_ERROR(RemoveFile(volume_fd, name));
  return OkStatus();
}

}  // namespace dvdi
