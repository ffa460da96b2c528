#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mount/paths.h"
#include "mount/stage.h"
#include "mount/test_world.h"

namespace dvdi {
namespace {

class TargetTest : public MountTest {
 protected:
  Status Check(const std::string& target, std::vector<std::string> roots = {"/"}) {
    TargetRules rules;
    rules.roots = std::move(roots);
    return CheckTarget(env_, rules, {Path("state")}, target);
  }
  Env env_ = TestEnv();
};

TEST_F(TargetTest, AllowsWhatPeopleUse) {
  MakeDir("data");
  for (const std::string& good : {Path("data"), Path("new"), Path("a/b/c"), std::string("/data"),
                                  std::string("/srv/x"), std::string("/var/lib/no-such-database/data")})
    EXPECT_TRUE(Check(good).ok()) << good << ": " << Check(good).message();
  EXPECT_TRUE(Check(Path("data/x"), {"/nowhere", Path("data") + "/"}).ok());
}

TEST_F(TargetTest, RefusesWithAReason) {
  MakeFile("file");
  MakeDir("dir");
  ASSERT_EQ(0, ::symlink("dir", Path("link").c_str()));
  ASSERT_EQ(0, ::symlink("none", Path("dangling").c_str()));
  struct {
    std::string target;
    Code code;
    const char* says;
  } cases[] = {
      {"", Code::kInvalid, "cannot be"},
      {"relative", Code::kInvalid, "cannot be"},
      {"/data/", Code::kInvalid, "cannot be"},
      {"/data/../etc", Code::kInvalid, "cannot be"},
      {"/etc", Code::kRefused, "system folder"},
      {"/etc/ssh", Code::kRefused, "system folder /etc"},
      {"/", Code::kRefused, "system folder"},
      {"/usr/lib/x", Code::kRefused, "system folder"},
      {Path("link/x"), Code::kRefused, "/link is a symbolic link"},
      {Path("link"), Code::kRefused, "symbolic link"},
      {Path("dangling/x"), Code::kRefused, "symbolic link"},
      {Path("file"), Code::kRefused, "not a folder"},
      {Path("file/x"), Code::kRefused, "not a folder"},
      {Path("state"), Code::kRefused, "its own"},
      {Path("state/stage/x"), Code::kRefused, "its own"},
      {dir_, Code::kRefused, "hide"},
  };
  for (const auto& c : cases) {
    Status status = Check(c.target);
    EXPECT_EQ(c.code, status.code()) << c.target << ": " << status.message();
    EXPECT_NE(std::string::npos, status.message().find(c.says)) << c.target << ": " << status.message();
    EXPECT_FALSE(status.hint().empty()) << c.target;
  }
  EXPECT_EQ(Code::kRefused, Check(Path("other"), {Path("data"), "/srv"}).code());
  EXPECT_EQ(Code::kRefused, Check(Path("data"), {Path("data")}).code());
  EXPECT_EQ(Code::kRefused, Check(Path("database"), {Path("data")}).code());
  EXPECT_EQ(Code::kRefused, Check(Path("data"), {}).code());
}

TEST_F(TargetTest, MissingFoldersOutermostFirst) {
  MakeDir("a");
  auto missing = MissingFolders(env_, Path("a/b/c"));
  ASSERT_TRUE(missing.ok());
  EXPECT_EQ((std::vector<std::string>{Path("a/b"), Path("a/b/c")}), *missing);
  missing = MissingFolders(env_, Path("a"));
  ASSERT_TRUE(missing.ok());
  EXPECT_TRUE(missing->empty());
}

TEST_F(TargetTest, AllOfItWithoutOpenat2) {
  class NoOpenat2 : public Sys {
   public:
    int OpenAt2(int, const char*, const struct open_how&) override { return -ENOSYS; }
  } old;
  env_ = TestEnv(&old);
  MakeDir("a");
  MakeFile("file");
  ASSERT_EQ(0, ::symlink("a", Path("link").c_str()));
  EXPECT_TRUE(Check(Path("a/b")).ok());
  EXPECT_EQ(Code::kRefused, Check(Path("link/b")).code());
  EXPECT_EQ(Code::kRefused, Check(Path("link")).code());
  EXPECT_EQ(Code::kRefused, Check(Path("file/x")).code());
  EXPECT_TRUE(MakeFolder(env_, Path("a/b")).ok());
  EXPECT_EQ(1u, MissingFolders(env_, Path("a/b/c"))->size());
  ASSERT_TRUE(EnsureStageRoot(env_, Path("stage")).ok());
  StageRequest request;
  request.mountpoint = MakeTmpfs("vol");
  request.stage = MakeDir("stage/s");
  ASSERT_TRUE(MakeStage(env_, request).ok());
  ASSERT_TRUE(RemoveStage(env_, Path("stage"), request.stage).ok());
}

TEST_F(TargetTest, MakesAFolderWhateverTheUmask) {
  mode_t old = ::umask(077);
  Status made = MakeFolder(env_, Path("new"));
  ::umask(old);
  ASSERT_TRUE(made.ok());
  struct stat st;
  ASSERT_EQ(0, ::stat(Path("new").c_str(), &st));
  EXPECT_EQ(0755u, st.st_mode & 07777);
  EXPECT_EQ(Code::kRefused, MakeFolder(env_, Path("new")).code());
  EXPECT_FALSE(MakeFolder(env_, Path("none/x")).ok());
  ASSERT_EQ(0, ::symlink("/tmp", Path("link").c_str()));
  EXPECT_EQ(Code::kRefused, MakeFolder(env_, Path("link/x")).code());
  EXPECT_EQ(Code::kRefused, MakeFolder(env_, Path("link")).code());
}

TEST_F(TargetTest, RemovesOnlyAnEmptyFolderThatNobodyUses) {
  MakeDir("empty");
  MakeDir("full");
  MakeFile("full/x");
  MakeFile("file");
  MakeTmpfs("mounted");
  ASSERT_EQ(0, ::symlink("full", Path("link").c_str()));
  for (const char* name : {"empty", "full", "file", "mounted", "link", "none", "none/x"})
    EXPECT_TRUE(RemoveFolder(env_, Path(name)).ok()) << name;
  EXPECT_NE(0, ::access(Path("empty").c_str(), F_OK));
  for (const char* name : {"full/x", "file", "link"})
    EXPECT_EQ(0, ::access(Path(name).c_str(), F_OK)) << name;
  EXPECT_NE(nullptr, FindMount(Mounts(), Path("mounted")));
}

// The way to it led through folders when it was made: whoever owns one of them may have put something else
// there since, and what is behind that is not what was made.
TEST_F(TargetTest, LeavesWhatIsBehindASymlinkOrAFileOnTheWay) {
  MakeDir("a");
  MakeDir("a/b");
  ASSERT_TRUE(MakeFolder(env_, Path("a/b/made")).ok());
  ASSERT_EQ(0, ::rename(Path("a").c_str(), Path("moved").c_str()));
  ASSERT_EQ(0, ::symlink(Path("moved").c_str(), Path("a").c_str()));
  EXPECT_TRUE(RemoveFolder(env_, Path("a/b/made")).ok());
  EXPECT_EQ(0, ::access(Path("moved/b/made").c_str(), F_OK)) << "it followed the symlink";
  ASSERT_EQ(0, ::unlink(Path("a").c_str()));
  MakeFile("a");
  EXPECT_TRUE(RemoveFolder(env_, Path("a/b/made")).ok());
}

// The kernel would take the other namespace's mount away together with the folder.
TEST_F(TargetTest, KeepsAFolderOnWhichAnotherNamespaceHasAMount) {
  std::string target = MakeDir("target");
  {
    OtherNamespace other(MS_PRIVATE, [&] { ::mount("vol", target.c_str(), "tmpfs", 0, nullptr); });
    ASSERT_NE(nullptr, FindMount(other.Mounts(), target));
    ASSERT_TRUE(RemoveFolder(env_, target).ok());
    EXPECT_EQ(0, ::access(target.c_str(), F_OK));
    EXPECT_NE(nullptr, FindMount(other.Mounts(), target));
  }
  ASSERT_TRUE(RemoveFolder(env_, target).ok());
  EXPECT_NE(0, ::access(target.c_str(), F_OK));
}

TEST_F(TargetTest, AlsoWhereItHasAnotherNameThere) {
  MakeDir("host");
  std::string target = MakeDir("host/target");
  std::string alias = MakeDir("alias");
  OtherNamespace other(MS_PRIVATE, [&] {
    ::mount(Path("host").c_str(), alias.c_str(), nullptr, MS_BIND, nullptr);
    ::mount("vol", (alias + "/target").c_str(), "tmpfs", 0, nullptr);
  });
  ASSERT_NE(nullptr, FindMount(other.Mounts(), alias + "/target"));
  ASSERT_TRUE(RemoveFolder(env_, target).ok());
  EXPECT_EQ(0, ::access(target.c_str(), F_OK));
}

TEST_F(TargetTest, AlsoWhereItIsMountedItselfUnderAnotherName) {
  std::string target = MakeDir("target"), alias = MakeDir("alias");
  OtherNamespace other(MS_PRIVATE, [&] {
    ::mount(target.c_str(), alias.c_str(), nullptr, MS_BIND, nullptr);
    ::mount("vol", alias.c_str(), "tmpfs", 0, nullptr);
  });
  ASSERT_EQ("tmpfs", FindMount(other.Mounts(), alias)->type);
  ASSERT_TRUE(RemoveFolder(env_, target).ok());
  EXPECT_EQ(0, ::access(target.c_str(), F_OK));
}

// What has no threads any more but those that others began lives in its namespace still.
TEST_F(TargetTest, AlsoWhereTheFirstThreadThereHasEnded) {
  static std::string target;
  target = MakeDir("target");
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  static int out;
  out = ready[1];
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    pthread_t thread;
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("vol", target.c_str(), "tmpfs", 0, nullptr) != 0 ||
        ::pthread_create(
            &thread, nullptr,
            [](void*) -> void* {
              uint64_t number = 0;
              while (Sys::Real()->MountNamespace(::getpid(), &number) == 0) ::usleep(1000);
              (void)!::write(out, "y", 1);
              for (;;) ::pause();
            },
            nullptr) != 0)
      ::_exit(1);
    ::syscall(SYS_exit, 0);  // this thread alone
  }
  ::close(ready[1]);
  char ok = 'n';
  EXPECT_EQ(::read(ready[0], &ok, 1), 1);
  ::close(ready[0]);
  const Status removed = RemoveFolder(env_, target);
  EXPECT_TRUE(removed.ok()) << removed.message();
  EXPECT_EQ(0, ::access(target.c_str(), F_OK));
  KillAndWait(pid);
  EXPECT_TRUE(RemoveFolder(env_, target).ok());
  EXPECT_NE(0, ::access(target.c_str(), F_OK));
}

using PeerTest = MountTest;

TEST_F(PeerTest, OurOwnNamespaceIsFine) {
  Env env = TestEnv();
  std::string volume = MakeTmpfs("vol");
  EXPECT_TRUE(CheckMountpoint(env, volume, ::getpid(), In(60'000)).ok());
  EXPECT_TRUE(CheckMountpoint(env, volume, 0, In(60'000)).ok());
  EXPECT_TRUE(CheckMountpoint(env, volume, 0x7ffffff0, In(60'000)).ok()) << "a driver that is gone";
  EXPECT_EQ(Code::kNotFound, CheckMountpoint(env, Path("none"), 0, In(60'000)).code());
  EXPECT_EQ(Code::kDriver, CheckMountpoint(env, "none", 0, In(60'000)).code());
  EXPECT_EQ(Code::kRefused, CheckMountpoint(env, "/etc/x", 0, In(60'000)).code());
}

TEST_F(PeerTest, AMountThatOnlyThePluginSeesIsRefused) {
  Env env = TestEnv();
  std::string volume = MakeDir("vol");
  OtherNamespace driver(MS_PRIVATE, [&] { ::mount("vol", volume.c_str(), "tmpfs", 0, nullptr); });
  Status status = CheckMountpoint(env, volume, driver.pid(), In(60'000));
  EXPECT_EQ(Code::kRefused, status.code());
  EXPECT_NE(std::string::npos, status.message().find("another mount namespace")) << status.message();
  EXPECT_NE(std::string::npos, status.hint().find("rshared")) << status.hint();
  // A folder in that mount, as well.
  EXPECT_EQ(Code::kRefused, CheckMountpoint(env, volume + "/x", driver.pid(), In(60'000)).code());
}

TEST_F(PeerTest, AFolderSharedWithThePluginsContainerPasses) {
  Env env = TestEnv();
  std::string shared = MakeDir("shared");
  std::string volume = MakeDir("shared/vol"), plain = MakeDir("shared/plain");
  ASSERT_EQ(0, ::mount(shared.c_str(), shared.c_str(), nullptr, MS_BIND, nullptr));
  ASSERT_EQ(0, ::mount(nullptr, shared.c_str(), nullptr, MS_PRIVATE, nullptr));
  ASSERT_EQ(0, ::mount(nullptr, shared.c_str(), nullptr, MS_SHARED, nullptr));
  OtherNamespace driver(0, [&] { ::mount("vol", volume.c_str(), "tmpfs", 0, nullptr); });
  ASSERT_NE(nullptr, FindMount(Mounts(), volume));
  Status status = CheckMountpoint(env, volume, driver.pid(), In(60'000));
  EXPECT_TRUE(status.ok()) << status.message();
  status = CheckMountpoint(env, plain, driver.pid(), In(60'000));
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(PeerTest, OfADriverThatCannotBeSeenOnlyAMountIsAVolume) {
  Env env = TestEnv();
  const std::string volume = MakeTmpfs("vol"), plain = MakeDir("plain"), link = Path("link");
  ASSERT_EQ(0, ::symlink(volume.c_str(), link.c_str()));
  EXPECT_TRUE(CheckMountpoint(env, volume, kUnseenPeer, In(60'000)).ok());
  EXPECT_TRUE(CheckMountpoint(env, link, kUnseenPeer, In(60'000)).ok());
  const Status status = CheckMountpoint(env, plain, kUnseenPeer, In(60'000));
  EXPECT_EQ(Code::kRefused, status.code());
  EXPECT_NE(std::string::npos, status.message().find("nothing is mounted at " + plain)) << status.message();
  EXPECT_NE(std::string::npos, status.hint().find("--pid=host")) << status.hint();
  struct : Sys {  // before Linux 5.8
    int IsMountRoot(const char*, bool*) override { return -EOPNOTSUPP; }
  } old;
  env.sys = &old;
  EXPECT_TRUE(CheckMountpoint(env, volume, kUnseenPeer, In(60'000)).ok());
  EXPECT_EQ(Code::kRefused, CheckMountpoint(env, plain, kUnseenPeer, In(60'000)).code());
}

// Who has no CAP_SYS_PTRACE sees neither the mount namespace nor the mounts of one with rights of its own.
TEST_F(PeerTest, OfADriverThatMayNotBeLookedAtOnlyAMountIsAVolume) {
  struct : Sys {
    int space = 0, table = 0;  // errnos
    pid_t peer = 0;
    int MountNamespace(pid_t pid, uint64_t* number) override {
      return pid == peer && space != 0 ? -space : Sys::MountNamespace(pid, number);
    }
    Result<std::string> Mountinfo(pid_t pid) override {
      if (pid == peer && table != 0) return Status::FromErrno(table, "cannot read mountinfo");
      return Sys::Mountinfo(pid);
    }
  } sys;
  Env env = TestEnv();
  env.sys = &sys;
  const std::string volume = MakeTmpfs("vol"), plain = MakeDir("plain");
  OtherNamespace driver(MS_PRIVATE, [&] { ::mount("v", plain.c_str(), "tmpfs", 0, ""); });
  sys.peer = driver.pid();
  for (int err : {EACCES, EPERM})
    for (int* call : {&sys.space, &sys.table}) {
      *call = err;
      EXPECT_TRUE(CheckMountpoint(env, volume, sys.peer, In(60'000)).ok());
      const Status status = CheckMountpoint(env, plain, sys.peer, In(60'000));
      *call = 0;
      EXPECT_EQ(Code::kRefused, status.code());
      EXPECT_NE(std::string::npos, status.message().find("nothing is mounted at " + plain))
          << status.message();
      EXPECT_NE(std::string::npos, status.hint().find("CAP_SYS_PTRACE")) << status.hint();
    }
}

TEST_F(PeerTest, AnotherFolderOfTheSameFilesystemIsRefused) {
  Env env = TestEnv();
  std::string data = MakeDir("data"), host = MakeDir("host");
  OtherNamespace driver(MS_PRIVATE, [&] { ::mount(host.c_str(), data.c_str(), nullptr, MS_BIND, nullptr); });
  EXPECT_EQ(Code::kRefused, CheckMountpoint(env, data, driver.pid(), In(60'000)).code());
  EXPECT_TRUE(CheckMountpoint(env, host, driver.pid(), In(60'000)).ok());
}

}  // namespace
}  // namespace dvdi
