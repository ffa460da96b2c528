#include "driver/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

namespace dvdi {
namespace {

constexpr int kAttempts = 64;
constexpr char kNoLoop[] =
    "load the kernel module loop, and give the driver access to /dev/loop-control and /dev/loop*";

void SleepMs(int ms) {
  struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
  while (::nanosleep(&t, &t) < 0 && errno == EINTR) {
  }
}

}  // namespace

Result<LoopDevice> AttachLoop(int image_fd, const std::string& volume) {
  UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control.valid()) {
    Status s = Status::FromErrno(errno, "cannot attach volume " + volume + ": /dev/loop-control",
                                 "/dev/loop-control");
    return Status(Code::kUnsupported, s.message(), kNoLoop);
  }
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0)
      return Status::FromErrno(errno, "no free loop device for volume " + volume).WithHint(kNoLoop);
    std::string path = "/dev/loop" + std::to_string(number);
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd.valid()) {
      // The node of a new device may come a moment after the device.
      if ((errno == ENOENT || errno == ENXIO || errno == EBUSY) && attempt + 1 < kAttempts) {
        SleepMs(1 + attempt);
        continue;
      }
      return Status::FromErrno(errno, "cannot open " + path + " for volume " + volume, path)
          .WithHint(kNoLoop);
    }
    struct loop_config config = {};
    config.fd = static_cast<__u32>(image_fd);
    // Fixed, so that a filesystem made on one node fits the device of every other node.
    config.block_size = 512;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    int err = ::ioctl(fd.get(), LOOP_CONFIGURE, &config) < 0 ? errno : 0;
    if (err == EINVAL) {
      config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
      err = ::ioctl(fd.get(), LOOP_CONFIGURE, &config) < 0 ? errno : 0;
    }
    if (err == 0) return LoopDevice{path, std::move(fd)};
    if (err == EINVAL || err == ENOTTY)
      return Status(Code::kUnsupported, "this kernel cannot set up loop devices in one step (LOOP_CONFIGURE)",
                    "Linux 5.8 or later is needed");
    // Somebody was faster between GET_FREE and CONFIGURE, or an old use is just ending.
    if (err != EBUSY && err != EAGAIN && err != ENXIO)
      return Status::FromErrno(err, "cannot attach the image of volume " + volume + " to " + path, path);
    SleepMs(1 + attempt % 8);
  }
  return Status(
      Code::kSystem,
      "no loop device could be had for volume " + volume + " in " + std::to_string(kAttempts) + " attempts",
      "try again");
}

Result<std::string> DeviceNumber(const LoopDevice& device) {
  struct stat st;
  if (::fstat(device.fd.get(), &st) < 0)
    return Status::FromErrno(errno, "cannot stat " + device.path, device.path);
  return std::to_string(major(st.st_rdev)) + ":" + std::to_string(minor(st.st_rdev));
}

Result<LoopDevice> OpenLoop(const std::string& number) {
  char target[256];
  ssize_t n = ::readlink(("/sys/dev/block/" + number).c_str(), target, sizeof target - 1);
  if (n <= 0) return Status(Code::kNotFound, "there is no block device " + number);
  std::string name(target, static_cast<size_t>(n));
  name.erase(0, name.rfind('/') + 1);
  LoopDevice device{"/dev/" + name, UniqueFd(::open(("/dev/" + name).c_str(), O_RDWR | O_CLOEXEC))};
  if (!device.fd.valid()) device.fd.reset(::open(device.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!device.fd.valid()) return Status::FromErrno(errno, "cannot open " + device.path, device.path);
  return device;
}

Status GrowLoop(const LoopDevice& device, const std::string& volume) {
  if (::ioctl(device.fd.get(), LOOP_SET_CAPACITY, 0) < 0)
    return Status::FromErrno(errno, "cannot grow " + device.path + " of volume " + volume, device.path);
  return OkStatus();
}

}  // namespace dvdi
