// A simulated world behind the seam: a clock that moves when somebody waits, one thread, a mount table,
// processes, and volume plugins with the faults of real ones. The real engine, the real SQLite and the real
// blob run on it; one seed is one history.
#ifndef DVDI_SIM_WORLD_H_
#define DVDI_SIM_WORLD_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "helper/helper.h"
#include "mount/mountinfo.h"
#include "plugin/transport.h"
#include "sim/random.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi::sim {

// Tasks run one after the other, when somebody waits or when the driver of the simulation says so.
class SimScheduler : public Scheduler {
 public:
  explicit SimScheduler(SimClock* clock) : clock_(clock) {}
  Status Spawn(std::function<void()> task, const char* name, size_t stack_kb) override;
  void Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t deadline_ms) override;
  void SleepUntil(int64_t deadline_ms) override { clock_->AdvanceTo(deadline_ms); }
  void RunAll();
  // The task that would be next, which is as if its thread had not begun: whoever takes it spawns it again.
  std::function<void()> Take();

 private:
  SimClock* clock_;
  std::deque<std::function<void()>> tasks_;
};

// Files are real (below the world's folder); mounts, boots and processes are made up. After Crash every call
// that would change something fails, until Restart: that is what a killed process can no longer do.
class SimSys : public Sys {
 public:
  explicit SimSys(std::string root);

  int OpenAt(int dirfd, const char* path, int flags, mode_t mode) override;
  ssize_t Read(int fd, void* buffer, size_t n) override;
  int Fstat(int fd, struct stat* st) override;
  int FstatAt(int dirfd, const char* path, struct stat* st, int flags) override;
  int FsType(int fd, int64_t* type) override;
  int FsFree(const char* path, uint64_t* bytes) override;
  int TryLock(int fd, int64_t offset, int64_t length) override;
  int ListDir(int dirfd, const char* path, std::vector<std::string>* names) override;
  ssize_t Write(int fd, const void* data, size_t n) override;
  int Fsync(int fd) override;
  int Allocate(int fd, int64_t bytes) override;
  int Close(int fd) override;
  int MkdirAt(int dirfd, const char* path, mode_t mode) override;
  int UnlinkAt(int dirfd, const char* path, int flags) override;
  int RenameAt(int olddir, const char* from, int newdir, const char* to) override;
  int LinkAt(int olddir, const char* from, int newdir, const char* to, int flags) override;

  int OpenTree(int dirfd, const char* path, unsigned flags) override;
  int MoveMount(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) override;
  int MountSetattr(int fd, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                   uint64_t propagation, int userns_fd) override;
  int Mount(const char* source, const char* target, const char* type, unsigned long flags,
            const char* data) override;
  int Umount(const char* target, int flags) override;
  int IsMountRoot(const char* path, bool* root) override;
  Result<std::string> Mountinfo(pid_t pid) override;
  Result<Boot> BootId() override;
  int ProcessStart(pid_t pid, uint64_t* start_time) override;
  int MountNamespace(pid_t pid, uint64_t* number) override;
  Result<std::vector<pid_t>> ProcessesIn(uint64_t mount_namespace, uint64_t since = 0) override;
  int PidNamespace(uint64_t* number) override;
  int MountNamespaceEnded(uint64_t number, bool* ended) override;

  // --- for the world
  void AddMount(const std::string& mountpoint, const std::string& type, const std::string& device);
  bool RemoveMount(const std::string& mountpoint);
  bool IsMounted(const std::string& mountpoint) const;
  std::vector<std::string> MountsBelow(const std::string& folder) const;
  pid_t StartProcess();
  void EndProcess(pid_t pid);
  // The engine goes into another PID namespace: no process of that one's is seen here any more, whereas
  // whoever sees all of the node's sees its.
  void EnterPidNamespace(uint64_t number) { pid_namespace_ = number; }
  bool tells_ended_namespaces = true;  // as Linux 6.11 does
  void Reboot();                       // a new boot id; mounts and processes are gone
  // The nth call from now on that changes something is the last one that acts; 0 for never.
  void CrashAfter(int64_t changes) { crash_after_ = changes; }
  bool crashed() const { return crashed_; }
  void Restart() { crashed_ = false, crash_after_ = 0; }
  // Asked before each call that changes something: 0, or the errno to fail with.
  std::function<int(const char* call)> fault;
  // Asked likewise before each call that only looks.
  std::function<int(const char* call)> look_fault;
  int64_t changes() const { return changes_; }

 private:
  struct Tree {
    std::string source;
    std::string options;
  };
  int Change(const char* call);
  int Look(const char* call) const { return look_fault ? -look_fault(call) : 0; }
  const MountEntry* Find(const std::string& mountpoint) const;

  std::string root_;
  std::vector<MountEntry> mounts_;
  std::map<int, Tree> trees_;
  struct SimPid {
    uint64_t start_time, mount_namespace, pid_namespace;
  };
  bool Sees(const SimPid& process) const;
  std::map<pid_t, SimPid> processes_;
  uint64_t pid_namespace_ = kFirstPidNamespace;
  int next_mount_ = 100, boot_ = 1;
  pid_t next_pid_ = 1000;
  int64_t crash_after_ = 0, changes_ = 0;
  bool crashed_ = false;
};

// One plugin's volumes, and how it behaves.
struct SimPlugin {
  struct Volume {
    std::map<std::string, std::string> options;
    std::set<std::string> ids;  // Mounts not undone
    std::string mountpoint;
  };
  std::map<std::string, Volume> volumes;
  bool up = true;
  int device = 0;
};

class SimTransport : public PluginTransport {
 public:
  SimTransport(SimSys* sys, SimClock* clock, SimRandom* random, std::string root)
      : sys_(sys), clock_(clock), random_(random), root_(std::move(root)) {}
  std::vector<PluginReply> Exchange(const std::vector<PluginRequest>& requests) override;

  std::map<std::string, SimPlugin> plugins;  // by name: the socket is /sim/NAME.sock
  // One call in `fault_rate` goes wrong in one of the ways of real plugins; 0 for none.
  uint64_t fault_rate = 0;
  // Called with what an honest driver would call a violation of the protocol by its client.
  std::function<void(const std::string& what)> violation;
  // Asked at an Unmount that would take the mount away: whether somebody uses the volume.
  std::function<bool(const std::string& driver, const std::string& name)> in_use;
  std::vector<std::string> transcript;  // one line a call
  // Plugin restarts: what was mounted is gone, or only forgotten.
  void ForgetMounts(const std::string& driver, bool really);

 private:
  PluginReply One(const PluginRequest& request);
  std::string Act(const std::string& driver, SimPlugin& plugin, const std::string& method,
                  const std::string& body, int* status);
  void TakeAway(SimPlugin& plugin, SimPlugin::Volume& volume);

  SimSys* sys_;
  SimClock* clock_;
  SimRandom* random_;
  std::string root_;
};

class SimHelper : public HelperRunner {
 public:
  Result<HelperReply> Run(const Env& env, const HelperRequest& request) override;
};

// All of it over a folder for files and one for the volumes' mountpoints (which must exist and be empty; the
// same is allowed).
struct World {
  World(uint64_t seed, std::string folder, std::string volumes);
  SimRandom random;
  SimClock clock;
  SimScheduler scheduler{&clock};
  SimSys sys;
  SimTransport transport;
  SimHelper helper;
  std::string folder;
  Env env();
  // Makes a plugin that discovery finds.
  void AddPlugin(const std::string& name);
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_WORLD_H_
