// A pool that hangs, for tests.
#ifndef DVDI_DRIVER_HANGING_TEST_H_
#define DVDI_DRIVER_HANGING_TEST_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <string>

#include "base/fd.h"

namespace dvdi::testing {

// A filesystem whose server never answers, from its making to its end.
class HangingMount {
 public:
  explicit HangingMount(std::string path) : path_(std::move(path)) {
    fd_.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    const std::string options = "fd=" + std::to_string(fd_.get()) + ",rootmode=40000,user_id=0,group_id=0";
    ok_ = fd_.valid() && ::mount("hangs", path_.c_str(), "fuse", 0, options.c_str()) == 0;
  }
  ~HangingMount() { End(); }
  bool ok() const { return ok_; }
  // Until somebody has asked for something in it, and hangs. Once.
  bool WaitForUser() {
    // The kernel's own question comes first, and who uses it waits until that is answered.
    char question[FUSE_MIN_READ_BUFFER];
    if (::read(fd_.get(), question, sizeof question) < static_cast<ssize_t>(sizeof(fuse_in_header)))
      return false;
    struct {
      fuse_out_header header;
      fuse_init_out init;
    } answer = {};
    answer.header.len = sizeof answer;
    answer.header.unique = reinterpret_cast<const fuse_in_header*>(question)->unique;
    answer.init.major = FUSE_KERNEL_VERSION;
    answer.init.minor = FUSE_KERNEL_MINOR_VERSION;
    answer.init.max_write = 4096;
    if (::write(fd_.get(), &answer, sizeof answer) != sizeof answer) return false;
    struct pollfd p = {fd_.get(), POLLIN, 0};
    return ::poll(&p, 1, 60'000) == 1;
  }
  void End() {
    if (ok_) {
      EXPECT_EQ(::umount2(path_.c_str(), MNT_DETACH), 0);
    }
    ok_ = false;
    fd_.reset();  // what hangs in it fails now
  }

 private:
  std::string path_;
  UniqueFd fd_;
  bool ok_ = false;
};

}  // namespace dvdi::testing

#endif  // DVDI_DRIVER_HANGING_TEST_H_
