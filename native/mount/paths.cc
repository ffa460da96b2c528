#include "mount/paths.h"

#include <errno.h>
#include <fcntl.h>

#include <span>

#include "base/text.h"

namespace dvdi {
namespace {

// The folder itself and all below it.
constexpr std::string_view kWithAllBelow[] = {
    "/proc",       "/sys",         "/dev",       "/boot",      "/bin",        "/sbin",
    "/lib",        "/lib32",       "/lib64",     "/libx32",    "/etc",        "/usr/bin",
    "/usr/sbin",   "/usr/lib",     "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/libexec",
    "/lost+found", "/run/systemd", "/run/dbus",  "/run/udev",  "/run/lock",   "/run/user"};
// The same, of what is no place for a target, though a plugin may keep its mountpoints there.
constexpr std::string_view kNoTarget[] = {"/run/dvdi", "/run/docker"};
// The same, of what no plugin may name, though a workload may have a volume mounted there: who can write to
// it can become root, or what everybody else is. Few: plugins put their volumes below many folders, as
// /var/lib.
constexpr std::string_view kNoVolume[] = {"/root",         "/usr",         "/var/spool",      "/var/lib/apt",
                                          "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/systemd"};
// Only the folder itself: mounting there would hide what others keep in it, deeper hides nothing.
constexpr std::string_view kItself[] = {
    "/",         "/usr",     "/usr/local",      "/usr/share",   "/usr/local/bin", "/var",
    "/var/lib",  "/var/log", "/var/cache",      "/var/spool",   "/var/run",       "/run",
    "/var/lock", "/var/tmp", "/var/lib/docker", "/var/lib/dpkg"};
// The same, of what no plugin may name: other users' data, other plugins' sockets and volumes.
constexpr std::string_view kNoVolumeItself[] = {"/home", "/run/docker", "/run/docker/plugins",
                                                "/var/lib/docker/volumes"};

std::string_view Within(std::span<const std::string_view> folders, std::string_view path) {
  for (std::string_view folder : folders)
    if (path == folder || IsStrictlyBelow(folder, path)) return folder;
  return "";
}

std::string_view Among(std::span<const std::string_view> folders, std::string_view path) {
  for (std::string_view folder : folders)
    if (path == folder) return folder;
  return "";
}

}  // namespace

std::string_view SystemFolderOf(std::string_view path, bool as_target) {
  std::string_view folder = Within(kWithAllBelow, path);
  if (folder.empty()) folder = Among(kItself, path);
  if (folder.empty()) folder = as_target ? Within(kNoTarget, path) : Within(kNoVolume, path);
  if (folder.empty() && !as_target) folder = Among(kNoVolumeItself, path);
  return folder;
}

Status NoPlaceForVolume(const std::string& named, const std::string& why) {
  return Status(Code::kRefused, "the driver named " + OneLine(named) + ", " + why,
                "a volume cannot be there: look at the driver's settings");
}

Status CheckVolumePlace(const std::string& named, const std::string& place) {
  std::string_view folder = SystemFolderOf(place, false);
  if (folder.empty()) return Status();
  return NoPlaceForVolume(named, "which is in the system folder " + std::string(folder)).WithPath(named);
}

int OpenNoSymlinks(Sys* sys, const std::string& path, int flags) {
  struct open_how how = {};
  how.flags = static_cast<uint64_t>(static_cast<unsigned>(flags));
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  int fd = sys->OpenAt2(AT_FDCWD, path.c_str(), how);
  if (fd != -ENOSYS) return fd;
  if (path == "/") return sys->OpenAt(AT_FDCWD, "/", flags);
  SysFd at(sys, sys->OpenAt(AT_FDCWD, "/", O_PATH | O_DIRECTORY));
  std::string_view rest = path;
  while (at.valid() && !rest.empty()) {
    rest.remove_prefix(1);
    size_t end = rest.find('/');
    std::string name(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end);
    // O_PATH|O_NOFOLLOW opens a symlink itself, and with O_DIRECTORY says ENOTDIR: look first.
    struct stat st;
    int r = sys->FstatAt(at.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW);
    if (r < 0) return r;
    if (S_ISLNK(st.st_mode)) return -ELOOP;
    at = SysFd(
        sys, sys->OpenAt(at.get(), name.c_str(), (rest.empty() ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW));
  }
  return at.valid() ? at.Release() : -at.error();
}

}  // namespace dvdi
