#include "driver/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "sys/env.h"
#include "sys/sys.h"

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

bool BacksImage(int loop_fd, const struct stat& image) {
  struct loop_info64 info = {};
  if (::ioctl(loop_fd, LOOP_GET_STATUS64, &info) < 0) return false;
  return info.lo_device == image.st_dev && info.lo_inode == image.st_ino;
}

// A look at attached loop devices, on a thread that may hang: the kernel asks the filesystem of each device's
// file, which may be dead, of another pool, or of another node that is simulated here.
struct Scan {
  std::vector<std::string> names;
  struct stat image;
  std::mutex mu;  // guards the rest
  std::condition_variable changed;
  size_t at = 0;
  bool done = false;
  Status failed;
  std::optional<LoopDevice> found;
};

// The devices whose look hangs: they are not asked again until it ends.
struct Hanging {
  std::mutex mu;
  std::set<std::string> names;
};
Hanging& TheHanging() {
  static auto* hanging = new Hanging;
  return *hanging;
}

constexpr int64_t kStallMs = 1000;

// One device: whether it is over the image.
Result<std::optional<LoopDevice>> LookAt(const std::string& name, const struct stat& image) {
  LoopDevice device{"/dev/" + name, UniqueFd(::open(("/dev/" + name).c_str(), O_RDWR | O_CLOEXEC))};
  // A read-only device refuses O_RDWR, and would still be a use of the image.
  if (!device.fd.valid()) device.fd.reset(::open(device.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!device.fd.valid()) {
    if (errno == ENXIO || errno == ENOENT || errno == ENODEV) return std::optional<LoopDevice>();
    return Status::FromErrno(errno, "cannot open " + device.path + " to see what it is attached to",
                             device.path);
  }
  if (!BacksImage(device.fd.get(), image)) return std::optional<LoopDevice>();
  return std::optional<LoopDevice>(std::move(device));
}

void RunScan(const std::shared_ptr<Scan>& scan) {
  for (size_t i = 0; i < scan->names.size(); ++i) {
    {
      std::lock_guard<std::mutex> hold(scan->mu);
      if (scan->done) break;  // nobody waits any more
      scan->at = i;
    }
    auto device = LookAt(scan->names[i], scan->image);
    {
      std::lock_guard<std::mutex> hold(TheHanging().mu);
      TheHanging().names.erase(scan->names[i]);
    }
    std::lock_guard<std::mutex> hold(scan->mu);
    scan->at = i + 1;
    scan->changed.notify_all();
    if (scan->done) break;
    if (!device.ok()) scan->failed = device.status();
    if (device.ok() && device->has_value()) scan->found = std::move(*device);
    if (!device.ok() || scan->found.has_value()) break;
  }
  std::lock_guard<std::mutex> hold(scan->mu);
  scan->done = true;
  scan->changed.notify_all();
}

// Waits for its end: nothing, or which device hangs; the scan is left to itself then.
std::optional<size_t> WaitForScan(Scan& scan) {
  std::unique_lock<std::mutex> lock(scan.mu);
  while (!scan.done) {
    size_t at = scan.at;
    bool moved = scan.changed.wait_for(lock, std::chrono::milliseconds(kStallMs),
                                       [&] { return scan.done || scan.at != at; });
    if (moved || at >= scan.names.size()) continue;
    scan.done = true;
    std::lock_guard<std::mutex> hold(TheHanging().mu);
    TheHanging().names.insert(scan.names[at]);
    return at;
  }
  return std::nullopt;
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

Result<std::optional<LoopDevice>> FindLoop(int image_fd) {
  struct stat image;
  if (::fstat(image_fd, &image) < 0) return Status::FromErrno(errno, "cannot stat an image");
  std::vector<std::string> all, names;
  int r = Sys::Real()->ListDir(AT_FDCWD, "/sys/block", &all);
  if (r < 0) return Status::FromErrno(-r, "cannot list /sys/block", "/sys/block");
  {
    std::lock_guard<std::mutex> hold(TheHanging().mu);
    for (auto& name : all)
      // Only attached devices have this folder: the others need not be opened.
      if (name.rfind("loop", 0) == 0 && ::access(("/sys/block/" + name + "/loop").c_str(), F_OK) == 0 &&
          TheHanging().names.count(name) == 0)
        names.push_back(std::move(name));
  }
  while (!names.empty()) {
    auto scan = std::make_shared<Scan>();
    scan->names = names;
    scan->image = image;
    if (!Scheduler::Real()->Spawn([scan] { RunScan(scan); }, "loop-scan").ok()) RunScan(scan);
    std::optional<size_t> hangs = WaitForScan(*scan);
    if (!hangs.has_value()) {
      if (!scan->failed.ok()) return scan->failed;
      return std::move(scan->found);
    }
    // The image itself has answered just now: what hangs is on another filesystem, and not the image.
    names.erase(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(*hangs) + 1);
  }
  return std::optional<LoopDevice>();
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

bool IsLoopOver(const std::string& number, int image_fd) {
  struct stat image;
  if (::fstat(image_fd, &image) < 0) return false;
  auto device = OpenLoop(number);
  return device.ok() && BacksImage(device->fd.get(), image);
}

Status GrowLoop(const LoopDevice& device, const std::string& volume) {
  if (::ioctl(device.fd.get(), LOOP_SET_CAPACITY, 0) < 0)
    return Status::FromErrno(errno, "cannot grow " + device.path + " of volume " + volume, device.path);
  return OkStatus();
}

Result<bool> WaitDetached(int image_fd, int timeout_ms) {
  int64_t deadline = Clock::Real()->MonotonicMs() + timeout_ms;
  for (int pause = 1;; pause = std::min(2 * pause, 50)) {
    DVDI_ASSIGN_OR_RETURN(auto device, FindLoop(image_fd));
    if (!device.has_value()) return true;
    // Our own look at the device must not be what keeps it attached.
    device.reset();
    if (Clock::Real()->MonotonicMs() >= deadline) return false;
    SleepMs(pause);
  }
}

}  // namespace dvdi
