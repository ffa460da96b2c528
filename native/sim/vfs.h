// SQLite's files on a simulated disk: a VFS with shared memory, so that the real SQLite runs in WAL mode.
#ifndef DVDI_SIM_VFS_H_
#define DVDI_SIM_VFS_H_

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "sim/disk.h"
#include "sys/env.h"

struct sqlite3_vfs;

namespace dvdi::sim {

// The store of one process. Must outlive its engine.
class SimStore : public Store {
 public:
  // `change` is asked before each call that changes a file: 0, or the errno to fail with. After `dead` was
  // set nothing acts any more.
  SimStore(SimDisk* disk, Clock* clock, std::string name, std::function<int(const char*)> change,
           const bool* dead);
  ~SimStore() override;
  const char* VfsName() override { return name_.c_str(); }
  // So that a history of a few hundred operations has some dozen such moments, also to be killed in.
  int LogPages() override { return 200; }

  // The process was killed: its locks are free. What its code does to the shared memory until it has ended is
  // taken back by Buried.
  void Killed();
  void Buried();
  int open_files() const { return static_cast<int>(files_.size()); }

  struct File;
  struct Methods;

 private:
  friend struct Methods;
  void LetGo(File* file);
  SimDisk* disk_;
  Clock* clock_;
  const std::string name_;
  const std::function<int(const char*)> change_;
  const bool* dead_;
  std::unique_ptr<sqlite3_vfs> vfs_;
  std::set<File*> files_;
  struct Kept {
    SimDisk::Node node;
    std::vector<std::string> regions;
  };
  std::vector<Kept> kept_;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_VFS_H_
