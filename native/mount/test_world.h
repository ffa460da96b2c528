// For tests with real mounts: a mount namespace of the test program's own, folders that go away, programs
// run without a shell, and a Sys that fails where it is told to. Not part of the engine.
#ifndef DVDI_MOUNT_TEST_WORLD_H_
#define DVDI_MOUNT_TEST_WORLD_H_

#include <gtest/gtest.h>
#include <sys/types.h>

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "mount/mountinfo.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {

// "" where this program could make its own mount namespace at its start, else why not.
const std::string& WhyNoMounts();

// Real parts; no transport.
Env TestEnv(Sys* sys = Sys::Real());

std::vector<MountEntry> Mounts();

// Starts a program (found in PATH), its output thrown away; the pid, or -1.
pid_t Start(const std::vector<std::string>& command);
// Its exit code, -1 where it cannot be started.
int RunProgram(const std::vector<std::string>& command);
bool HasProgram(const std::string& name);
void KillAndWait(pid_t pid);
// Polls until it is true; false after 10 s.
bool Eventually(const std::function<bool()>& condition);

// Runs `body` in a forked child in a mount namespace made by unshare(2) with "/" as `propagation`
// (MS_SLAVE, MS_PRIVATE, 0: as it is); it goes on when the parent says so and answers with a byte.
class OtherNamespace {
 public:
  // `prepare` runs there at once.
  explicit OtherNamespace(
      unsigned long propagation, const std::function<void()>& prepare = [] {});
  ~OtherNamespace();
  pid_t pid() const { return pid_; }
  // Its mountinfo now.
  std::vector<MountEntry> Mounts() const;

 private:
  pid_t pid_ = -1;
  int hold_ = -1;
};

// A Sys that fails one call: the `nth` (from 1) of those that have that name, with that errno. Called by any
// thread; what is read and set directly is for one thread alone.
class FaultySys : public Sys {
 public:
  // Forgets what was called; from now on this call fails.
  void Arm(const std::string& name, int nth, int err);
  std::string fail_name;
  int fail_nth = 0;
  int fail_errno = 0;
  bool fired = false;
  std::vector<std::string> called;

  int OpenAt(int dirfd, const char* path, int flags, mode_t mode) override;
  int OpenAt2(int dirfd, const char* path, const struct open_how& how) override;
  int MkdirAt(int dirfd, const char* path, mode_t mode) override;
  int UnlinkAt(int dirfd, const char* path, int flags) override;
  int Fstat(int fd, struct stat* st) override;
  int OpenTree(int dirfd, const char* path, unsigned flags) override;
  int MoveMount(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) override;
  int MountSetattr(int fd, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                   uint64_t propagation, int userns_fd) override;
  int Mount(const char* source, const char* target, const char* type, unsigned long flags,
            const char* data) override;
  int Umount(const char* target, int flags) override;
  Result<std::string> Mountinfo(pid_t pid) override;

 private:
  bool Fails(const char* name);
  std::mutex mu_;
  int seen_ = 0;
};

// A folder under /tmp with a private tmpfs on it, gone at the end; skips the test where there are no mounts.
class MountTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  std::string MakeDir(const std::string& name, mode_t mode = 0755);
  std::string MakeFile(const std::string& name, const std::string& text = "x");
  // A tmpfs mounted there.
  std::string MakeTmpfs(const std::string& name, const std::string& options = "");
  // A small ext4 in an image on a loop device, mounted there.
  std::string MakeExt4(const std::string& name);
  // A bindfs of a folder with that name + ".src", mounted there; its pid in *pid.
  std::string MakeBindfs(const std::string& name, pid_t* pid);
  // Milliseconds from now on the clock of deadlines.
  static int64_t In(int64_t ms) { return Clock::Real()->MonotonicMs() + ms; }

  std::string dir_;
  std::vector<pid_t> servers_;
};

}  // namespace dvdi

#endif  // DVDI_MOUNT_TEST_WORLD_H_
