// One node's disk, in memory. What a process wrote is there for every other process; what was not fsynced may
// be lost with the power: names in order (as journals of ext4, XFS and btrfs keep them), data write by write.
#ifndef DVDI_SIM_DISK_H_
#define DVDI_SIM_DISK_H_

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/random.h"

namespace dvdi::sim {

// One thread at a time.
class SimDisk {
 public:
  struct Inode;
  using Node = std::shared_ptr<Inode>;
  struct Undo {                 // what a write that is not fsynced has replaced
    uint64_t at = 0, size = 0;  // size: of the file before
    std::string old;
  };
  struct Lock {
    int64_t from = 0, length = 0;  // length 0: all that follows
    const void* holder = nullptr;
  };
  // The locks and the shared memory that SQLite has beside a file (vfs.cc).
  struct Shared {
    int readers = 0;
    const void *reserved = nullptr, *pending = nullptr, *exclusive = nullptr;
    std::vector<std::unique_ptr<char[]>> regions;
    size_t region_bytes = 0;
    int users = 0;
    const void* slot_owner[8] = {};
    int slot_readers[8] = {};
  };
  struct Inode {
    uint64_t number = 0, changed = 0;
    mode_t mode = 0;
    int links = 0;
    std::string data;
    std::map<std::string, Node, std::less<>> children;
    std::vector<Undo> unsynced;
    std::vector<Lock> locks;
    Shared shared;
    bool fixed = false;      // was there before, and nobody writes it: power losses are not about it
    uint64_t allocated = 0;  // what lies beyond the data is zeros
    uint64_t size() const { return std::max<uint64_t>(data.size(), allocated); }
    bool folder() const { return S_ISDIR(mode); }
  };

  SimDisk();

  // Paths are absolute. 0 or -errno.
  int Find(const std::string& path, Node* node) const;
  // The folder that holds the path's last name.
  int FindParent(const std::string& path, Node* folder, std::string* name) const;
  int Make(const std::string& path, mode_t mode, Node* made);  // a file or, with S_IFDIR, a folder
  int Link(const std::string& from, const std::string& to);
  int Rename(const std::string& from, const std::string& to);
  int Unlink(const std::string& path, bool folder);
  int Write(Inode& node, uint64_t at, std::string_view bytes);
  // A write that fails on the way: half of it is there.
  void Tear(Inode& node, uint64_t at, std::string_view bytes) {
    (void)Write(node, at, bytes.substr(0, bytes.size() / 2));
  }
  // It has at least so many bytes then: zeros, which are on no page of ours.
  int Allocate(Inode& node, uint64_t bytes);
  void Truncate(Inode& node, uint64_t size);
  // Its data, and all names that were made before.
  void Sync(Inode& node);
  // Another one after each change of a name or of a file's bytes.
  uint64_t version() const { return next_; }
  // Whether path and data would be there after a power loss.
  bool Durable(const std::string& path) const;

  // No more bytes than there are now (what is freed can be used again), or without limit.
  void Fill(bool full) { capacity_ = full ? used_ : UINT64_MAX; }
  bool full() const { return capacity_ != UINT64_MAX; }
  uint64_t Free() const { return capacity_ - std::min(used_, capacity_); }
  void PowerLoss(SimRandom& random);
  // All locks and shared memory are gone: the processes that had them are.
  void Reboot();
  // Names and contents, for a digest; every file's bytes, for a search.
  void Walk(const std::function<void(const std::string& path, const Inode& node)>& visit) const;

 private:
  struct Change {  // of a name
    Node folder;
    std::string name;
    Node before, after;
  };
  void Set(const Node& folder, const std::string& name, Node to);

  Node root_;
  std::vector<Change> journal_;
  uint64_t next_ = 1, used_ = 0, capacity_ = UINT64_MAX;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_DISK_H_
