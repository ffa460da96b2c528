// The pool: a folder, perhaps shared by several nodes, with a folder for each volume.
//
//   POOL/NAME/image        the filesystem's bytes, sparse
//   POOL/NAME/volume.json  what was asked for, whether it was formatted
//   POOL/NAME/lease.N, released.N   who has it, and who had it last (lease.h)
//   POOL/.sessions/        what leases are renewed by (keeper.h)
//   POOL/.new.NODE.HEX     a volume being made; POOL/.gone.NODE.HEX: one being removed
//
// A volume appears and disappears by one rename(2), whole.
#ifndef DVDI_DRIVER_POOL_H_
#define DVDI_DRIVER_POOL_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "driver/io_limit.h"
#include "driver/options.h"

namespace dvdi {

struct VolumeMeta {
  std::string name;
  std::string created_at;  // RFC 3339
  int64_t size_bytes = 0;
  Filesystem filesystem = Filesystem::kExt4;
  bool formatted = false;  // set only after mkfs, or a filesystem found in place, is durable
  bool grow = false;       // the image, or the filesystem in it, may still be smaller than size_bytes
  bool renew =
      false;  // a node was fenced off that may still write to the image: it is replaced before its next use
  IoLimits limits;
};

// Thread-safe; operations on one volume are kept apart by the caller.
class Pool {
 public:
  // The folder is made (0700) where only its last part is missing. kRefused where others may write
  // to it: who can swap an image can attack the kernel's filesystem code; and where it lies on what is to be
  // mounted and is not (fstab.h): its volumes would seem not to exist, and be made anew.
  // With `late`, of one that was not there when the driver started, nothing is made, and an empty one is
  // kRefused too: it may be the folder that the pool's filesystem is to be mounted on.
  static Result<Pool> Open(const std::string& path, const std::string& node, bool late = false);

  const std::string& path() const { return path_; }
  // Its folder, the one that was opened, whatever is mounted at its path since; lives as long as this.
  int folder() const { return fd_.get(); }
  std::string VolumePath(const std::string& name) const { return path_ + "/" + name; }

  // What a volume is opened for. What is mounted already must end whatever has become of its folder: for that
  // nothing is asked of it, and nothing in it is mounted, or given to a tool.
  enum class For { kUse, kEnd };

  // The volume's folder. kNotFound names the volume and the pool. kRefused, for kUse, where it is not ours
  // (CheckOurs of sys/files.h): who can replace the image has the kernel read a filesystem of their making.
  Result<UniqueFd> OpenVolume(const std::string& name, For why = For::kUse) const;
  // kInvalid, with what to do, where volume.json is missing or damaged; kRefused where it is not ours.
  Result<VolumeMeta> ReadMeta(int volume_fd, const std::string& name) const;
  Status WriteMeta(int volume_fd, const VolumeMeta& meta) const;
  // Opens the image read-write. kInvalid where it is no regular file; kRefused, for kUse, where it is not
  // ours.
  Result<UniqueFd> OpenImage(int volume_fd, const std::string& name, For why = For::kUse) const;

  // Makes image and metadata; kRefused where the name is taken.
  Status Create(const VolumeMeta& meta) const;
  // Removes the volume, whose lease the caller has. kRefused, and nothing is removed, where its
  // folder holds files that are not the driver's. OK also where the folder, under another name by then, is
  // not empty in the end: RemoveLeftovers does the rest. `still` is asked right before; where it fails
  // nothing is removed, and that is the result.
  Status Remove(const std::string& name, const std::function<Status()>& still = nullptr) const;
  // The bytes that all volumes together were promised, without `but`; damaged ones count by their image.
  Result<int64_t> Promised(const std::string& but = "") const;
  // The bytes that are free on the disk beneath, for root.
  Result<int64_t> Free() const;
  // How long leases last here unless the operator says otherwise: on filesystems that other machines share 60
  // s, on this machine's own for ever (0).
  int64_t DefaultLeaseMs() const;
  // Names, sorted; damaged volumes too, so that nobody makes them anew.
  Result<std::vector<std::string>> List() const;
  // Ends what a killed process of this node left half done in the pool's own folder. Goes on behind a
  // failure, and answers the first.
  Status RemoveLeftovers() const;
  // The same inside one volume: temporary files of this node. Only while no operation runs on it. With
  // `everybody` those of all nodes: for a volume that was fenced, so that no late rename of theirs finds what
  // to put in place.
  Status RemoveTemporaries(int volume_fd, bool everybody = false) const;

 private:
  Pool(std::string path, std::string node, UniqueFd fd)
      : path_(std::move(path)), node_(std::move(node)), fd_(std::move(fd)) {}
  Status FillNew(int folder_fd, const VolumeMeta& meta) const;
  Status DeleteFolder(const std::string& name) const;

  std::string path_, node_;
  UniqueFd fd_;
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_POOL_H_
