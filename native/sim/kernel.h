// A simulated node: its disk, and what its kernel knows of mounts, processes and boots.
#ifndef DVDI_SIM_KERNEL_H_
#define DVDI_SIM_KERNEL_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "mount/mountinfo.h"
#include "sim/disk.h"

namespace dvdi::sim {

// Used by one thread at a time: the one whose turn it is (tasks.h).
class SimKernel {
 public:
  explicit SimKernel(std::string name);

  const std::string& name() const { return name_; }
  SimDisk disk;

  void AddMount(const std::string& mountpoint, const std::string& device, const std::string& options);
  bool RemoveMount(const std::string& mountpoint);  // the top one
  const MountEntry* FindMount(const std::string& mountpoint) const;
  const MountEntry* MountOf(const std::string& path) const;  // that contains it
  std::vector<std::string> MountsBelow(const std::string& folder) const;
  void Propagate(const std::string& mountpoint, bool shared);
  // As that process sees it; 0: as the engines do.
  std::string Mountinfo(pid_t pid) const;
  int next_mount() const { return next_mount_; }  // the ID of the next mount that is made
  // A workload has bound something at a path of its own mount namespace.
  void Bind(pid_t pid, const std::string& target) { binds_[pid].insert(target); }
  bool Bound(pid_t pid, const std::string& target) const {
    auto it = binds_.find(pid);
    return it != binds_.end() && it->second.count(target) != 0;
  }
  // A folder was removed: whatever any namespace has mounted on it goes, as since Linux 4.2.
  void FolderRemoved(const std::string& path) {
    for (auto& [pid, targets] : binds_) targets.erase(path);
  }

  // `again`: with the number of the process that ended last, if one has in this boot and nobody has it.
  pid_t StartProcess(bool again = false);
  void EndProcess(pid_t pid) {
    if (processes_.erase(pid) != 0) ended_ = pid;
    binds_.erase(pid);
  }
  pid_t next_process() const { return next_pid_; }  // where no number comes again
  bool Runs(pid_t pid) const { return processes_.count(pid) != 0; }
  uint64_t StartOf(pid_t pid) const { return processes_.at(pid); }
  uint64_t NamespaceOf(pid_t pid) const { return 4'026'000'000U + processes_.at(pid) / 7; }
  const std::map<pid_t, uint64_t>& processes() const { return processes_; }

  std::string BootId() const { return "boot-" + name_ + "-" + std::to_string(boot_); }
  int boot() const { return boot_; }
  // Mounts and processes are gone. The caller has killed the engines.
  void Reboot();

 private:
  const std::string name_;
  std::vector<MountEntry> mounts_;
  mutable std::string table_;  // mounts_ as mountinfo has them; empty: not written since they changed
  std::map<pid_t, uint64_t> processes_;  // start time
  std::map<pid_t, std::set<std::string>> binds_;
  int next_mount_ = 100, boot_ = 1;
  pid_t next_pid_ = 1000, ended_ = 0;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_KERNEL_H_
