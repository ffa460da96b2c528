// The system calls of the effects: one replaceable object, so that a simulation can put a made-up
// kernel in its place and a test can make the nth call fail.
//
// Conventions of every function: the result is >= 0 on success and -errno on failure, as the raw
// system call would give it. Descriptors are always made close-on-exec. Paths are C strings; `dirfd`
// is as in the *at() family (AT_FDCWD allowed). All functions may be called from any thread.
#ifndef DVDI_SYS_SYS_H_
#define DVDI_SYS_SYS_H_

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "sys/boot.h"

namespace dvdi {

// A process that cannot be mistaken for another one: pid, start time (clock ticks since boot, field
// 22 of /proc/PID/stat). The boot id completes it where it is stored.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_time = 0;
};

// In place of the pid of a socket's peer that no PID namespace of ours has.
inline constexpr pid_t kUnseenPeer = -1;

// The number of the PID namespace from which every process of the node is seen (PROC_PID_INIT_INO of the
// kernel).
inline constexpr uint64_t kFirstPidNamespace = 0xEFFFFFFC;

class Sys {
 public:
  virtual ~Sys() = default;
  // The real kernel. Never destroyed.
  static Sys* Real();

  // --- files and folders
  virtual int OpenAt(int dirfd, const char* path, int flags, mode_t mode = 0);
  virtual int OpenAt2(int dirfd, const char* path, const struct open_how& how);  // openat2(2)
  virtual int Close(int fd);
  virtual ssize_t Read(int fd, void* buffer, size_t n);
  virtual ssize_t Write(int fd, const void* data, size_t n);
  virtual int Fsync(int fd);
  // Room on the disk for the file's first `bytes`, which has at least so many from then on, zeros where it
  // had none (fallocate(2)). -EOPNOTSUPP where the filesystem has no such call.
  virtual int Allocate(int fd, int64_t bytes);
  virtual int MkdirAt(int dirfd, const char* path, mode_t mode);
  virtual int UnlinkAt(int dirfd, const char* path, int flags);  // AT_REMOVEDIR for a folder
  virtual int RenameAt(int olddir, const char* from, int newdir, const char* to);
  virtual int LinkAt(int olddir, const char* from, int newdir, const char* to, int flags);
  virtual int Fchmod(int fd, mode_t mode);
  virtual int Fstat(int fd, struct stat* st);
  virtual int FstatAt(int dirfd, const char* path, struct stat* st, int flags);
  // f_type of statfs(2) for the descriptor, into *type.
  virtual int FsType(int fd, int64_t* type);
  // What root can still write on the filesystem that the path is on, into *bytes (statfs(2)). Not for what a
  // plugin has mounted: a filesystem whose server is gone may keep the caller for ever.
  virtual int FsFree(const char* path, uint64_t* bytes);
  // OFD write lock (F_OFD_SETLK) on `length` bytes at `offset`, 0 for all that follows: 0, or -EAGAIN
  // where another open file holds it. Ends with the descriptor.
  virtual int TryLock(int fd, int64_t offset = 0, int64_t length = 0);
  // The absolute path to what is there now, all symlinks followed (realpath(3)). Asks the filesystems on the
  // way: not for what a plugin has mounted.
  virtual int RealPath(const char* path, std::string* real);
  // Names in a folder, without "." and "..".
  virtual int ListDir(int dirfd, const char* path, std::vector<std::string>* names);

  // --- mounts
  virtual int OpenTree(int dirfd, const char* path, unsigned flags);  // open_tree(2)
  virtual int MoveMount(int from_fd, const char* from, int to_fd, const char* to, unsigned flags);
  virtual int MountSetattr(int fd, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                           uint64_t propagation, int userns_fd);  // mount_setattr(2)
  virtual int Mount(const char* source, const char* target, const char* type, unsigned long flags,
                    const char* data);                // mount(2)
  virtual int Umount(const char* target, int flags);  // umount2(2)
  // Whether the path is the root of a mount, without asking its filesystem (statx(2), STATX_ATTR_MOUNT_ROOT).
  // No symlink is followed at its end. -EOPNOTSUPP where the kernel cannot tell (before 5.8).
  virtual int IsMountRoot(const char* path, bool* root);
  // The ID that /proc/self/mountinfo has of the mount that the path is in, of the top one where several are
  // mounted there (statx(2), STATX_MNT_ID); the rest as IsMountRoot.
  virtual int MountId(int dirfd, const char* path, uint64_t* id);
  // The whole text of /proc/self/mountinfo (or of /proc/PID/mountinfo where pid > 0).
  virtual Result<std::string> Mountinfo(pid_t pid = 0);

  // --- processes
  // The kernel's own, also where a container has one of its own mounted over it; kSystem where that cannot be
  // read.
  virtual Result<Boot> BootId();
  // Start time of a running process, the same in whichever time namespace it is asked for; -ESRCH where it is
  // gone, -EDOM where our own time namespace does not let it be told (time_namespace.h).
  virtual int ProcessStart(pid_t pid, uint64_t* start_time);
  // The number of a process's mount namespace; of our own where pid is 0. No other namespace of this boot
  // ever has it (ioctl_nsfs(2), NS_GET_MNTNS_ID); before Linux 6.11 it is the inode number of
  // /proc/PID/ns/mnt, which the kernel gives to another namespace once this one has ended.
  virtual int MountNamespace(pid_t pid, uint64_t* number);
  // The same, of a mount namespace that is open.
  virtual int MountNamespaceOf(int fd, uint64_t* number);
  // Processes that live in the mount namespace of that number (empty: none is left). EPERM or EACCES where
  // none is found, and there are some that we may not look at, which began at `since` or later.
  virtual Result<std::vector<pid_t>> ProcessesIn(uint64_t mount_namespace, uint64_t since = 0);
  // Whether no process lives there any more. Where we may not look at all of them the kernel is asked
  // (MountNamespaceEnded; what somebody holds open is not deserted then), or, if it cannot tell, those count
  // that began at `since` or later, 0: all. `since`: when the first one there began, as by ProcessStart.
  Result<bool> IsDeserted(uint64_t mount_namespace, uint64_t since);
  // The number of our own PID namespace, that is, of those whose processes /proc shows us (inode number of
  // /proc/self/ns/pid; one that has ended may leave its number to another). -EXDEV where the /proc that is
  // mounted here is of another PID namespace than ours: no number in it means what we mean by it. -EACCES
  // where it leaves out the processes that we may not look at (hidepid), -EDOM where nobody here can tell
  // when a process began (ProcessStart).
  virtual int PidNamespace(uint64_t* number);
  // Whether the mount namespace of that number (as by MountNamespace) is there no more, for whomever: also
  // one whose processes we do not see (listmount(2)). -EOPNOTSUPP before Linux 6.11; -EPERM for who does not
  // administer the node.
  virtual int MountNamespaceEnded(uint64_t number, bool* ended);
};

// Whether a look failed for want of rights: `error` is an errno, positive.
inline bool IsForbidden(int error) { return error == EACCES || error == EPERM; }

// As PidNamespace, for whoever tells processes by their numbers: by those of another namespace a stranger
// would be one.
Result<uint64_t> OwnPidNamespace(Sys* sys);

}  // namespace dvdi

#endif  // DVDI_SYS_SYS_H_
