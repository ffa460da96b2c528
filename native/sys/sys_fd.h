// An owned descriptor of a Sys, which may be a simulated one.
#ifndef DVDI_SYS_SYS_FD_H_
#define DVDI_SYS_SYS_FD_H_

#include <utility>

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

}  // namespace dvdi

#endif  // DVDI_SYS_SYS_FD_H_
