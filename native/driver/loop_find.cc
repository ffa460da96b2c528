// Which loop device an image is attached to.
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "driver/files.h"
#include "driver/loop.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

// 1, 0, or -errno where it cannot be told: the kernel asks the filesystem of the device's file.
int BacksImage(int loop_fd, const struct stat& image) {
  struct loop_info64 info = {};
  if (::ioctl(loop_fd, LOOP_GET_STATUS64, &info) < 0) return errno == ENXIO ? 0 : -errno;  // ENXIO: detached
  return info.lo_device == image.st_dev && info.lo_inode == image.st_ino ? 1 : 0;
}

// An attached device of which it cannot be told what it is over.
struct Untold {
  std::string name;
  Status why;
};

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
  std::vector<Untold> untold;
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

// What the kernel has behind the name of a file that is gone, or was replaced.
std::string WithoutDeleted(std::string path) {
  if (size_t gone = path.rfind(" (deleted)"); gone != std::string::npos) path.resize(gone);
  return path;
}

// The path of an open image, "POOL/NAME/image"; "" where it cannot be told.
std::string ImagePath(int image_fd) {
  auto path = OpenPath(image_fd);
  return path.ok() ? WithoutDeleted(*std::move(path)) : "";
}

// Whether a device that does not tell may be over the image at `path`: where its file has that name, or lies
// in the same pool, in which folders can be moved. A pool that hangs holds up its own volumes, no others.
// `elsewhere`: or is an image of a volume of that name, as of one that was attached where the pool may have
// another path.
bool MayBeOver(const std::string& name, const std::string& path, bool elsewhere) {
  auto file = BackingFile("/sys/block/" + name);
  if (!file.ok()) return file.status().code() != Code::kNotFound;
  if (path.empty() || path[0] != '/') return true;
  std::string pool = path;
  for (int part = 0; part < 2; ++part) pool.resize(std::max<size_t>(pool.rfind('/'), 1));
  if (elsewhere && file->ends_with(path.substr(pool.size() > 1 ? pool.size() : 0))) return true;
  return *file == path || (pool.size() > 1 && file->rfind(pool + "/", 0) == 0);
}

// One device: whether it is over the image. kUnavailable where that cannot be told.
Result<std::optional<LoopDevice>> LookAt(const std::string& name, const struct stat& image) {
  LoopDevice device{"/dev/" + name, UniqueFd(::open(("/dev/" + name).c_str(), O_RDWR | O_CLOEXEC))};
  // A read-only device refuses O_RDWR, and would still be a use of the image.
  if (!device.fd.valid()) device.fd.reset(::open(device.path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!device.fd.valid()) {
    if (errno == ENXIO || errno == ENODEV) return std::optional<LoopDevice>();
    // A container has a /dev of its own, which may lack the device of what was attached outside.
    if (errno == ENOENT)
      return Status(Code::kUnavailable, device.path + " is missing here",
                    "give the driver the node's /dev, then try again")
          .WithPath(device.path);
    return Status::FromErrno(errno, "cannot open " + device.path + " to see what it is attached to",
                             device.path);
  }
  const int backs = BacksImage(device.fd.get(), image);
  if (backs < 0) {
    Status why = Status::FromErrno(-backs, device.path + " cannot be asked for its file", device.path);
    return Status(Code::kUnavailable, why.message(), "see whether its pool can be reached, then try again")
        .WithPath(device.path);
  }
  if (backs == 0) return std::optional<LoopDevice>();
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
    std::lock_guard<std::mutex> hold(scan->mu);
    {
      // Under both: who waits may be giving it up this moment, and it would count as hanging for ever.
      std::lock_guard<std::mutex> hanging(TheHanging().mu);
      TheHanging().names.erase(scan->names[i]);
    }
    scan->at = i + 1;
    scan->changed.notify_all();
    if (scan->done) break;
    if (device.status().code() == Code::kUnavailable) {
      scan->untold.push_back({scan->names[i], device.status()});
      continue;
    }
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

Result<std::string> BackingFile(const std::string& sysfs) {
  const Status nothing(Code::kNotFound, "no file is attached to " + sysfs);
  auto text = ReadSmallFile(AT_FDCWD, sysfs + "/loop/backing_file");
  if (!text.ok() && (text.status().code() == Code::kNotFound || text.status().error_number() == ENODEV))
    return nothing;
  if (!text.ok()) return text.status();
  std::string path = text->substr(0, text->find('\n'));
  if (path.empty()) return nothing;
  return WithoutDeleted(std::move(path));
}

Result<std::optional<LoopDevice>> FindLoop(int image_fd) {
  struct stat image;
  if (::fstat(image_fd, &image) < 0) return Status::FromErrno(errno, "cannot stat an image");
  std::vector<std::string> all, names, silent;
  std::vector<Untold> untold;
  int r = Sys::Real()->ListDir(AT_FDCWD, "/sys/block", &all);
  if (r < 0) return Status::FromErrno(-r, "cannot list /sys/block", "/sys/block");
  {
    std::lock_guard<std::mutex> hold(TheHanging().mu);
    for (auto& name : all)
      // Only attached devices have this folder: the others need not be opened.
      if (name.rfind("loop", 0) == 0 && ::access(("/sys/block/" + name + "/loop").c_str(), F_OK) == 0)
        (TheHanging().names.count(name) == 0 ? names : silent).push_back(std::move(name));
  }
  while (!names.empty()) {
    auto scan = std::make_shared<Scan>();
    scan->names = names;
    scan->image = image;
    if (!Scheduler::Real()->Spawn([scan] { RunScan(scan); }, "loop-scan").ok()) RunScan(scan);
    std::optional<size_t> hangs = WaitForScan(*scan);
    {
      std::lock_guard<std::mutex> hold(scan->mu);
      untold.insert(untold.end(), scan->untold.begin(), scan->untold.end());
    }
    if (!hangs.has_value()) {
      if (!scan->failed.ok()) return scan->failed;
      if (scan->found.has_value()) return std::move(scan->found);
      break;
    }
    silent.push_back(names[*hangs]);
    names.erase(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(*hangs) + 1);
  }
  // That the image itself has answered just now says nothing about them: a pool may hang for a second only.
  const std::string path = ImagePath(image_fd);
  for (const auto& name : silent)
    if (MayBeOver(name, path, false))
      return Status(Code::kUnavailable,
                    "/dev/" + name + " does not answer, and may be attached to the image " + path,
                    "see whether its pool can be reached, then try again")
          .WithPath("/dev/" + name);
  for (const auto& [name, why] : untold)
    if (MayBeOver(name, path, ::access(why.path().c_str(), F_OK) != 0))
      return Status(why).WithContext("it cannot be told whether the image " + path + " is attached");
  return std::optional<LoopDevice>();
}

bool IsLoopOver(const std::string& number, int image_fd) {
  struct stat image;
  if (::fstat(image_fd, &image) < 0) return false;
  auto device = OpenLoop(number);
  return device.ok() && BacksImage(device->fd.get(), image) > 0;
}

Result<bool> WaitDetached(int image_fd, int timeout_ms) {
  int64_t deadline = Clock::Real()->MonotonicMs() + timeout_ms;
  for (int pause = 1;; pause = std::min(2 * pause, 50)) {
    auto device = FindLoop(image_fd);
    if (device.ok() && !device->has_value()) return true;
    // A device that does not answer may do so in time.
    const bool over = Clock::Real()->MonotonicMs() >= deadline;
    if (!device.ok() && (over || device.status().code() != Code::kUnavailable)) return device.status();
    if (over) return false;
    // Our own look at the device must not be what keeps it attached.
    device = std::optional<LoopDevice>();
    Scheduler::Real()->SleepUntil(Clock::Real()->MonotonicMs() + pause);
  }
}

}  // namespace dvdi
