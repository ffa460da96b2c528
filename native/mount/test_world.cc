#include "mount/test_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "helper/helper.h"

namespace dvdi {
namespace {
std::string g_why_no_mounts = "the test program did not set itself up";
}

const std::string& WhyNoMounts() { return g_why_no_mounts; }

Env TestEnv(Sys* sys) {
  Env env = SystemEnv();
  env.sys = sys;
  return env;
}

std::vector<MountEntry> Mounts() { return ParseMountinfo(*Sys::Real()->Mountinfo()); }

pid_t Start(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (int fd = 0; fd < 3; ++fd) ::posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = -1;
  int err = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  return err == 0 ? pid : -1;
}

int RunProgram(const std::vector<std::string>& command) {
  pid_t pid = Start(command);
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) < 0 || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

bool HasProgram(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/"})
    if (::access((folder + name).c_str(), X_OK) == 0) return true;
  return false;
}

void KillAndWait(pid_t pid) {
  if (pid <= 0) return;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    ::usleep(5000);
  }
  return false;
}

OtherNamespace::OtherNamespace(unsigned long propagation, const std::function<void()>& prepare) {
  int ready[2], hold[2];
  if (::pipe2(ready, O_CLOEXEC) < 0 || ::pipe2(hold, O_CLOEXEC) < 0) return;
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(ready[0]);
    ::close(hold[1]);
    bool ok = ::unshare(CLONE_NEWNS) == 0 &&
              (propagation == 0 || ::mount(nullptr, "/", nullptr, MS_REC | propagation, nullptr) == 0);
    if (ok) prepare();
    char byte = ok ? '1' : '0';
    if (::write(ready[1], &byte, 1) == 1) (void)!::read(hold[0], &byte, 1);
    ::_exit(0);
  }
  ::close(ready[1]);
  ::close(hold[0]);
  hold_ = hold[1];
  char byte = 0;
  EXPECT_EQ(1, ::read(ready[0], &byte, 1));
  EXPECT_EQ('1', byte);
  ::close(ready[0]);
}

OtherNamespace::~OtherNamespace() {
  if (hold_ >= 0) ::close(hold_);
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

std::vector<MountEntry> OtherNamespace::Mounts() const {
  return ParseMountinfo(*Sys::Real()->Mountinfo(pid_));
}

void FaultySys::Arm(const std::string& name, int nth, int err) {
  std::lock_guard lock(mu_);
  fail_name = name, fail_nth = nth, fail_errno = err;
  seen_ = 0, fired = false;
  called.clear();
}
bool FaultySys::Fails(const char* name) {
  std::lock_guard lock(mu_);
  called.emplace_back(name);
  if (fail_name != name || ++seen_ != fail_nth) return false;
  return fired = true;
}
int FaultySys::OpenAt(int dirfd, const char* path, int flags, mode_t mode) {
  return Fails("OpenAt") ? -fail_errno : Sys::OpenAt(dirfd, path, flags, mode);
}
int FaultySys::OpenAt2(int dirfd, const char* path, const struct open_how& how) {
  return Fails("OpenAt2") ? -fail_errno : Sys::OpenAt2(dirfd, path, how);
}
int FaultySys::MkdirAt(int dirfd, const char* path, mode_t mode) {
  return Fails("MkdirAt") ? -fail_errno : Sys::MkdirAt(dirfd, path, mode);
}
int FaultySys::UnlinkAt(int dirfd, const char* path, int flags) {
  return Fails("UnlinkAt") ? -fail_errno : Sys::UnlinkAt(dirfd, path, flags);
}
int FaultySys::Fstat(int fd, struct stat* st) { return Fails("Fstat") ? -fail_errno : Sys::Fstat(fd, st); }
int FaultySys::OpenTree(int dirfd, const char* path, unsigned flags) {
  return Fails("OpenTree") ? -fail_errno : Sys::OpenTree(dirfd, path, flags);
}
int FaultySys::MoveMount(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) {
  return Fails("MoveMount") ? -fail_errno : Sys::MoveMount(from_fd, from, to_fd, to, flags);
}
int FaultySys::MountSetattr(int fd, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                            uint64_t propagation, int userns_fd) {
  if (Fails("MountSetattr")) return -fail_errno;
  return Sys::MountSetattr(fd, path, flags, set, clear, propagation, userns_fd);
}
int FaultySys::Mount(const char* source, const char* target, const char* type, unsigned long flags,
                     const char* data) {
  return Fails("Mount") ? -fail_errno : Sys::Mount(source, target, type, flags, data);
}
int FaultySys::Umount(const char* target, int flags) {
  return Fails("Umount") ? -fail_errno : Sys::Umount(target, flags);
}
Result<std::string> FaultySys::Mountinfo(pid_t pid) {
  if (Fails("Mountinfo")) return Status::FromErrno(fail_errno, "cannot read mountinfo");
  return Sys::Mountinfo(pid);
}

void MountTest::SetUp() {
  if (!WhyNoMounts().empty()) GTEST_SKIP() << WhyNoMounts();
  char path[] = "/tmp/dvdi-mount-XXXXXX";
  ASSERT_NE(nullptr, ::mkdtemp(path));
  dir_ = path;
  ASSERT_EQ(0, ::mount("test", path, "tmpfs", 0, "mode=0755")) << ::strerror(errno);
}

void MountTest::TearDown() {
  if (dir_.empty()) return;
  for (pid_t pid : servers_) KillAndWait(pid);
  // The innermost first; what was stacked goes with the next round.
  for (int round = 0; round < 20; ++round) {
    auto mounts = Mounts();
    bool any = false;
    for (auto entry = mounts.rbegin(); entry != mounts.rend(); ++entry) {
      if (!entry->mountpoint.starts_with(dir_)) continue;
      any = true;
      ::umount2(entry->mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
    if (!any) break;
  }
  EXPECT_EQ(0, ::rmdir(dir_.c_str())) << dir_ << ": " << ::strerror(errno);
}

std::string MountTest::MakeDir(const std::string& name, mode_t mode) {
  std::string path = Path(name);
  EXPECT_EQ(0, ::mkdir(path.c_str(), mode)) << path << ": " << ::strerror(errno);
  ::chmod(path.c_str(), mode);
  return path;
}

std::string MountTest::MakeFile(const std::string& name, const std::string& text) {
  std::ofstream(Path(name)) << text;
  return Path(name);
}

std::string MountTest::MakeTmpfs(const std::string& name, const std::string& options) {
  std::string path = MakeDir(name);
  EXPECT_EQ(0, ::mount("vol", path.c_str(), "tmpfs", 0, options.c_str())) << ::strerror(errno);
  return path;
}

std::string MountTest::MakeExt4(const std::string& name) {
  std::string image = MakeFile(name + ".img", ""), path = MakeDir(name);
  EXPECT_EQ(0, ::truncate(image.c_str(), 16 << 20));
  EXPECT_EQ(0, RunProgram({"mkfs.ext4", "-q", "-E", "lazy_itable_init=0", image}));
  EXPECT_EQ(0, RunProgram({"mount", "-t", "ext4", "-o", "loop", image, path}));
  return path;
}

std::string MountTest::MakeBindfs(const std::string& name, pid_t* pid) {
  std::string source = MakeDir(name + ".src"), path = MakeDir(name);
  *pid = Start({"bindfs", "-f", source, path});
  servers_.push_back(*pid);
  EXPECT_TRUE(Eventually([&] { return FindMount(Mounts(), path) != nullptr; }));
  return path;
}

}  // namespace dvdi

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (::unshare(CLONE_NEWNS) < 0)
    dvdi::g_why_no_mounts =
        std::string("no mount namespace can be made here (needs root): ") + ::strerror(errno);
  else if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
    dvdi::g_why_no_mounts = std::string("mounts cannot be made private: ") + ::strerror(errno);
  else
    dvdi::g_why_no_mounts.clear();
  dvdi::SetHelperPath(DVDI_TEST_HELPER);
  return RUN_ALL_TESTS();
}
