// Paths as text, folders opened without symlinks, and which folders belong to the system.
#ifndef DVDI_MOUNT_PATHS_H_
#define DVDI_MOUNT_PATHS_H_

#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "sys/sys.h"

namespace dvdi {

// A descriptor of `sys` (which may be a simulated one), closed through it.
class SysFd {
 public:
  SysFd() = default;
  SysFd(Sys* sys, int fd) : sys_(sys), fd_(fd) {}
  SysFd(SysFd&& other) noexcept : sys_(other.sys_), fd_(std::exchange(other.fd_, -1)) {}
  SysFd& operator=(SysFd&& other) noexcept {
    if (this != &other) {
      Reset();
      sys_ = other.sys_;
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~SysFd() { Reset(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // The -errno that was put in instead of a descriptor, as a positive errno; 0 where it is valid.
  int error() const { return fd_ < 0 ? -fd_ : 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ >= 0) sys_->Close(fd_);
    fd_ = -1;
  }

 private:
  Sys* sys_ = nullptr;
  int fd_ = -1;
};

// Absolute, no empty, "." or ".." component, no trailing slash (but "/"), no NUL, valid UTF-8, shorter
// than PATH_MAX.
bool IsNormalPath(std::string_view path);
// The same path in that form ("//a/./b/" is "/a/b"); "" where it has none (relative, "..", NUL, …).
std::string NormalPath(std::string_view path);
// The same for a path inside a volume: relative, "" allowed. False where it has none.
bool NormalSubpath(std::string_view path, std::string* normal);
bool IsStrictlyBelow(std::string_view root, std::string_view path);
// "/a/b" -> "/a", "b". `path` is normal and not "/".
std::string ParentOf(const std::string& path);
std::string NameOf(const std::string& path);

// The system folder that this normal path is or lies in, over which nothing may be mounted (as_target),
// or which is nobody's volume (otherwise); "" for none.
std::string_view SystemFolderOf(std::string_view path, bool as_target);

// Opens the normal path with no symlink anywhere on it: a descriptor, or -ELOOP where there is one.
// Without openat2(2) it walks component by component.
int OpenNoSymlinks(Sys* sys, const std::string& path, int flags);

}  // namespace dvdi

#endif  // DVDI_MOUNT_PATHS_H_
