// Who is alive, and who may work on a volume: OFD locks, which end with their process whatever
// ends it (fcntl(2), "Open file description locks").
#ifndef DVDI_ENGINE_LOCKS_H_
#define DVDI_ENGINE_LOCKS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// A running engine: holds the lock on instances/UUID from Take until it is destroyed.
class InstanceLock {
 public:
  static Result<std::unique_ptr<InstanceLock>> Take(const Env& env, const std::string& folder);
  ~InstanceLock();
  const std::string& id() const { return id_; }
  // Removes the file: nothing of this engine goes on. The lock itself ends with the object, which a thread
  // that is about to end may still hold.
  void End();

 private:
  InstanceLock(const Env& env, std::string folder, std::string id, int fd)
      : env_(env), folder_(std::move(folder)), id_(std::move(id)), fd_(fd) {}
  const Env env_;
  const std::string folder_, id_;
  const int fd_;
};

// Whether the engine of that id holds its lock. True where that cannot be found out: what it did is
// left alone then.
bool InstanceAlive(const Env& env, const std::string& folder, const std::string& id);
// Removes the files of engines that have ended, those among them that died before their file had its name.
void SweepInstances(const Env& env, const std::string& folder);

// The volumes of one operation: each is a byte of one file, taken in ascending order, so that two
// operations cannot wait for each other.
class VolumeLocks {
 public:
  using Names = std::vector<std::pair<std::string, std::string>>;  // driver, name
  // Waits until the deadline (Clock::MonotonicMs; 0: tries once): kTimeout, naming the volume.
  static Result<std::unique_ptr<VolumeLocks>> Take(const Env& env, const std::string& file,
                                                   const Names& volumes, int64_t deadline_ms);
  ~VolumeLocks();
  size_t size() const { return size_; }  // volumes

 private:
  VolumeLocks(const Env& env, int fd, size_t size) : env_(env), fd_(fd), size_(size) {}
  const Env env_;
  const int fd_;
  const size_t size_;
};

// The name under which folders for targets are made and removed.
inline const std::pair<std::string, std::string> kFoldersLock = {"", "target folders"};

}  // namespace dvdi

#endif  // DVDI_ENGINE_LOCKS_H_
