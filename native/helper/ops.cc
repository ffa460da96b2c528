#include "helper/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <cstring>

#include "base/guards.h"
#include "base/text.h"
#include "mount/paths.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

// What calls say of a filesystem whose server has ended, or whose device is gone.
bool IsDead(int err) {
  for (int dead : {ENOTCONN, ESTALE, EIO, ENODEV, ENXIO, ESHUTDOWN, EHOSTDOWN})
    if (err == dead) return true;
  return false;
}

Status Dead(const std::string& path, int err) {
  return Status(Code::kUnavailable,
                "the filesystem at " + OneLine(path) + " is dead: " + ::strerrordesc_np(err),
                "see whether the driver and its backend are alive; end what uses the volume, then "
                "start it again");
}

}  // namespace

Result<UniqueFd> OpenMountpoint(const std::string& path, std::string* real) {
  UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno == ENOENT)
      return Status(Code::kNotFound,
                    "the folder " + OneLine(path) + " that the driver named does not exist here",
                    "see whether the driver runs in the node's mount namespace, and its log");
    if (errno == ENOTDIR)
      return Status(Code::kRefused, OneLine(path) + ", which the driver named, is not a folder",
                    "see the driver's log");
    return Status::FromErrno(errno, "cannot open the driver's folder " + OneLine(path));
  }
  char text[PATH_MAX];
  ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), text, sizeof text);
  if (n < 0 || static_cast<size_t>(n) >= sizeof text)
    return Status::FromErrno(n < 0 ? errno : ENAMETOOLONG, "cannot tell where " + OneLine(path) + " is");
  std::string place(text, static_cast<size_t>(n));
  if (!IsNormalPath(place)) return NoPlaceForVolume(path, "which leads to a path that is not UTF-8");
  DVDI_RETURN_IF_ERROR(CheckVolumePlace(path, place));
  if (real != nullptr) *real = std::move(place);
  return fd;
}

Result<UniqueFd> OpenBeneath(int folder, const std::string& subpath) {
  Sys* sys = Sys::Real();
  std::string shown = OneLine(subpath);
  struct open_how how = {};
  how.flags = O_PATH | O_DIRECTORY;
  how.resolve = DVDI_GUARD(subpath_beneath) ? RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV : 0;
  int fd;
  int tries = 0;
  do {
    fd = sys->OpenAt2(folder, subpath.c_str(), how);  // EAGAIN: something was renamed meanwhile
  } while (fd == -EAGAIN && ++tries < 100);
  if (fd == -ENOSYS) {
    // Without openat2(2) no symlink at all is followed.
    UniqueFd at(::openat(folder, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    fd = at.valid() ? 0 : -errno;
    for (size_t from = 0; fd >= 0 && from <= subpath.size();) {
      size_t slash = std::min(subpath.find('/', from), subpath.size());
      std::string name = subpath.substr(from, slash - from);
      from = slash + 1;
      struct stat before, after;
      if (::fstat(at.get(), &before) < 0 ||
          ::fstatat(at.get(), name.c_str(), &after, AT_SYMLINK_NOFOLLOW) < 0)
        fd = -errno;
      else if (S_ISLNK(after.st_mode) || before.st_dev != after.st_dev)
        fd = -EXDEV;
      else
        at.reset(::openat(at.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (fd >= 0 && !at.valid()) fd = -errno;
    }
    if (fd >= 0) return at;
  }
  if (fd >= 0) return UniqueFd(fd);
  switch (-fd) {
    case EXDEV:
    case ELOOP:
      return Status(
          Code::kRefused,
          "the subpath " + shown + " leaves the volume, through a symbolic link or into another mount",
          "name a folder that is inside the volume");
    case ENOENT:
      return Status(Code::kNotFound, "the volume has no folder " + shown,
                    "make it first, with a workload that uses the whole volume");
    case ENOTDIR:
      return Status(Code::kRefused, "the subpath " + shown + " is not a folder in the volume",
                    "name a folder that is inside the volume");
    default: return Status::FromErrno(-fd, "cannot open the subpath " + shown + " of the volume");
  }
}

int MountIdOf(int fd) {
  UniqueFd info(::open(("/proc/self/fdinfo/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC));
  if (!info.valid()) return -1;
  char text[1024];
  ssize_t n = ::read(info.get(), text, sizeof text - 1);
  if (n <= 0) return -1;
  text[n] = '\0';
  std::string_view view(text);
  size_t at = view.find("mnt_id:");
  return at == std::string_view::npos ? -1 : ::atoi(text + at + 7);
}

Status CheckAlive(int folder, const std::string& path) {
  // Of a descriptor that is only a path nobody was asked. What is refused was answered.
  UniqueFd opened(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC));
  return !opened.valid() && IsDead(errno) ? Dead(path, errno) : Status();
}

Result<Usage> UsageOf(const std::string& path) {
  struct statvfs st;
  if (::statvfs(path.c_str(), &st) < 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      return Status(Code::kNotFound, "there is no folder " + OneLine(path), "is the volume mounted?");
    if (IsDead(errno)) return Dead(path, errno);
    return Status::FromErrno(errno, "cannot ask the filesystem at " + OneLine(path) + " how full it is");
  }
  auto unit = static_cast<int64_t>(st.f_frsize);  // statvfs(3) takes the block size where there is none
  Usage usage;
  usage.total_bytes = static_cast<int64_t>(st.f_blocks) * unit;
  usage.used_bytes = static_cast<int64_t>(st.f_blocks - st.f_bfree) * unit;
  usage.free_bytes = static_cast<int64_t>(st.f_bavail) * unit;
  usage.inodes = static_cast<int64_t>(st.f_files);
  usage.inodes_free = static_cast<int64_t>(st.f_ffree);
  return usage;
}

}  // namespace dvdi
