// The mount root, and mounting volumes below it.
#ifndef DVDI_DRIVER_MOUNTS_H_
#define DVDI_DRIVER_MOUNTS_H_

#include <map>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/status.h"
#include "driver/options.h"

namespace dvdi {

// Thread-safe.
class MountRoot {
 public:
  // Makes the folder (MakeFolders), makes it a shared mount of its own so that an unmount reaches
  // copies of its mounts in other namespaces, and takes the lock that keeps a second driver off it. kRefused
  // where another driver has it, and where it, or the state in it, is not ours (CheckOurs).
  static Result<MountRoot> Open(const std::string& path);

  const std::string& path() const { return path_; }
  std::string Mountpoint(const std::string& volume) const { return path_ + "/" + volume; }
  // The folder for node-local state, 0700. No volume has a name that begins with a dot.
  int state_fd() const { return state_.get(); }
  // Which lock it has: "MAJ:MIN INODE", the same for whoever has this mount root, "" where that cannot be
  // told.
  std::string LockId() const;

  // volume -> device "MAJ:MIN" of what is mounted at its mountpoint in this mount namespace.
  Result<std::map<std::string, std::string>> Mounted() const;
  Result<std::optional<std::string>> MountedDevice(const std::string& volume) const;

  // Mounts nosuid, nodev, following no link below the root. On failure nothing is mounted and the folder is
  // gone again. kRefused where the root is not ours any more.
  Status Mount(const std::string& volume, const std::string& device, Filesystem fs) const;
  // Unmounts; never lazily: what is busy stays, kRefused. The folder is removed. OK where nothing is mounted.
  Status Unmount(const std::string& volume) const;
  // lost+found is in the way of databases that want an empty folder; e2fsck makes it again.
  void RemoveLostAndFound(const std::string& volume) const;

 private:
  MountRoot(std::string path, UniqueFd state, UniqueFd lock)
      : path_(std::move(path)), state_(std::move(state)), lock_(std::move(lock)) {}
  std::string path_;
  UniqueFd state_, lock_;
};

// Mounts a device at no place in any namespace: the mount lives as long as the descriptor, and ends with a
// killed driver. `type` is a filesystem's name.
Result<UniqueFd> MountDetached(const std::string& device, const char* type);

}  // namespace dvdi

#endif  // DVDI_DRIVER_MOUNTS_H_
