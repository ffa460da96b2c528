// A process of a simulated node that runs an engine: the seam over the node's kernel and disk.
#ifndef DVDI_SIM_PROCESS_H_
#define DVDI_SIM_PROCESS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sim/disk.h"
#include "sim/kernel.h"
#include "sim/tasks.h"
#include "sim/vfs.h"
#include "sys/sys.h"

namespace dvdi::sim {

// One process that runs an engine: system calls, the ledger's files, time. Killed, nothing of it acts any
// more.
class SimProcess : public Sys {
 public:
  SimProcess(SimKernel* kernel, Tasks* tasks, SimClock* clock, int number);
  ~SimProcess() override;

  SimKernel& kernel() { return *kernel_; }
  Tasks& tasks() { return *tasks_; }
  const std::string& name() const { return name_; }
  bool dead() const { return dead_; }
  // Before everything that changes the world: 0, or the errno to fail with. The point where a process is
  // killed.
  int Change(const char* call);
  // The nth change from now on does not happen, and nothing after it; 0 for never.
  void KillAt(int64_t changes) { kill_at_ = changes; }
  // Whether it was killed so.
  bool killed_at_change() const { return killed_at_change_; }
  void Kill();
  // After its tasks have ended.
  void Bury();
  // Asked before each change: 0 or an errno.
  std::function<int(const char* call, const std::string& path)> fault;
  // Asked before each look that may fail: 0 or an errno.
  std::function<int(const char* call, const std::string& path)> look;
  // Asked before each start of a thread: whether there is none left.
  std::function<bool()> no_thread;
  // What was decided on.
  std::function<void(const char* call, const std::string& path, int err)> told;
  // An unmount succeeded.
  std::function<void(const std::string& path)> unmounted;
  // One in so many calls that touch mounts gives others their turn.
  uint64_t yield_one_in = 4;
  size_t open_files() const { return files_.size() + static_cast<size_t>(store_.open_files()); }
  // Without a transport.
  Env env();

  int OpenAt(int dirfd, const char* path, int flags, mode_t mode) override;
  int OpenAt2(int dirfd, const char* path, const struct open_how& how) override;
  int Close(int fd) override;
  ssize_t Read(int fd, void* buffer, size_t n) override;
  ssize_t Write(int fd, const void* data, size_t n) override;
  int Fsync(int fd) override;
  int Allocate(int fd, int64_t bytes) override;
  int MkdirAt(int dirfd, const char* path, mode_t mode) override;
  int UnlinkAt(int dirfd, const char* path, int flags) override;
  int RenameAt(int olddir, const char* from, int newdir, const char* to) override;
  int LinkAt(int olddir, const char* from, int newdir, const char* to, int flags) override;
  int Fchmod(int fd, mode_t mode) override;
  int Fstat(int fd, struct stat* st) override;
  int FstatAt(int dirfd, const char* path, struct stat* st, int flags) override;
  int FsType(int fd, int64_t* type) override;
  int FsFree(const char* path, uint64_t* bytes) override;
  int TryLock(int fd, int64_t offset, int64_t length) override;
  int RealPath(const char* path, std::string* real) override;
  int ListDir(int dirfd, const char* path, std::vector<std::string>* names) override;
  int OpenTree(int dirfd, const char* path, unsigned flags) override;
  int MoveMount(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) override;
  int MountSetattr(int fd, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                   uint64_t propagation, int userns_fd) override;
  int Mount(const char* source, const char* target, const char* type, unsigned long flags,
            const char* data) override;
  int Umount(const char* target, int flags) override;
  int IsMountRoot(const char* path, bool* root) override;
  Result<std::string> Mountinfo(pid_t pid) override;
  // Whether that task has looked at the mounts of its node since this one was made.
  bool HasSeen(int64_t task, const MountEntry& mount) const {
    auto seen = seen_mounts_.find(task);
    return seen != seen_mounts_.end() && mount.id < seen->second;
  }
  Result<Boot> BootId() override { return Boot(kernel_->BootId()); }
  int ProcessStart(pid_t pid, uint64_t* start_time) override;
  int MountNamespace(pid_t pid, uint64_t* inode) override;
  Result<std::vector<pid_t>> ProcessesIn(uint64_t mount_namespace, uint64_t since = 0) override;
  int PidNamespace(uint64_t* number) override;
  int MountNamespaceEnded(uint64_t number, bool* ended) override;

 private:
  struct File {
    SimDisk::Node node;
    std::string path;
    uint64_t at = 0;
    bool append = false;
    // Of open_tree: what it would mount.
    bool tree = false;
    std::string device, options;
  };
  // The process' own time: it is ahead of the world's once it is dead, so that its waits end.
  class OwnClock : public Clock {
   public:
    OwnClock(SimClock* clock, const int64_t* ahead_ms) : clock_(clock), ahead_ms_(ahead_ms) {}
    int64_t MonotonicMs() override { return clock_->MonotonicMs() + *ahead_ms_; }
    int64_t MonotonicNs() override { return clock_->MonotonicNs() + *ahead_ms_ * 1'000'000; }
    int64_t WallMs() override { return clock_->WallMs() + *ahead_ms_; }

   private:
    SimClock* clock_;
    const int64_t* ahead_ms_;
  };

  int Change(const char* call, const std::string& path);
  int Look(const char* call, const std::string& path) { return dead_ || !look ? 0 : look(call, path); }
  int Path(int dirfd, const char* path, std::string* out) const;
  File* Get(int fd);
  int Add(File file);
  static void Fill(const SimDisk::Inode& node, struct stat* st);

  SimKernel* kernel_;
  Tasks* tasks_;
  const std::string name_;
  bool dead_ = false, killed_at_change_ = false;
  std::map<int64_t, int> seen_mounts_;  // by task: IDs below it were in a mountinfo that it has read
  int64_t kill_at_ = 0, ahead_ms_ = 0;
  std::map<int, File> files_;
  int next_fd_ = 1 << 20;
  OwnClock clock_;
  SimRandom random_;
  ProcessScheduler scheduler_;
  SimStore store_;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_PROCESS_H_
