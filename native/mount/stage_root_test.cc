#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "mount/stage.h"
#include "mount/test_world.h"

namespace dvdi {
namespace {

using StageRootTest = MountTest;

TEST_F(StageRootTest, IsMadeOnceAndShared) {
  Env env = TestEnv();
  std::string root = Path("stage");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(EnsureStageRoot(env, root).ok());
  size_t n = 0;
  for (const auto& entry : Mounts()) {
    if (entry.mountpoint != root) continue;
    ++n;
    EXPECT_NE(std::string::npos, entry.propagation.find("shared:"));
  }
  EXPECT_EQ(1u, n);
  struct stat st;
  ASSERT_EQ(0, ::stat(root.c_str(), &st));
  EXPECT_EQ(0700u, st.st_mode & 07777);
}

TEST_F(StageRootTest, GoesOnWhereACrashLeftIt) {
  Env env = TestEnv();
  ASSERT_EQ(0, ::mount(nullptr, dir_.c_str(), nullptr, MS_SHARED, nullptr));
  std::string root = MakeDir("stage", 0777);
  ASSERT_EQ(0, ::mount(root.c_str(), root.c_str(), nullptr, MS_BIND, nullptr));
  // The bind is in its parent's peer group: what is mounted below it would be mounted twice.
  ASSERT_TRUE(EnsureStageRoot(env, root).ok());
  auto mounts = Mounts();
  EXPECT_NE(FindMount(mounts, root)->propagation, FindMount(mounts, dir_)->propagation);
  EXPECT_NE("", FindMount(mounts, root)->propagation);
  struct stat st;
  ASSERT_EQ(0, ::stat(root.c_str(), &st));
  EXPECT_EQ(0700u, st.st_mode & 07777);
}

TEST_F(StageRootTest, EveryFailureIsSaidAndRepairedByTheNextCall) {
  std::string root = Path("stage");
  FaultySys count;
  ASSERT_TRUE(EnsureStageRoot(TestEnv(&count), root).ok());
  ASSERT_EQ(0, ::umount2(root.c_str(), MNT_DETACH));
  std::multiset<std::string> calls(count.called.begin(), count.called.end());
  for (const std::string& name : std::set<std::string>(calls.begin(), calls.end())) {
    for (int nth = 1; nth <= static_cast<int>(calls.count(name)); ++nth) {
      FaultySys sys;
      sys.fail_name = name;
      sys.fail_nth = nth;
      sys.fail_errno = EIO;
      EXPECT_FALSE(EnsureStageRoot(TestEnv(&sys), root).ok()) << name << nth;
      ASSERT_TRUE(EnsureStageRoot(TestEnv(), root).ok()) << name << nth;
      EXPECT_NE("", FindMount(Mounts(), root)->propagation);
      ASSERT_EQ(0, ::umount2(root.c_str(), MNT_DETACH));
      EXPECT_EQ(nullptr, FindMount(Mounts(), root)) << "stacked";
    }
  }
}

TEST_F(StageRootTest, SeveralProcessesAtOnceMakeOne) {
  std::string root = Path("stage");
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    pid_t pid = ::fork();
    if (pid == 0) ::_exit(EnsureStageRoot(TestEnv(), root).ok() ? 0 : 1);
    children.push_back(pid);
  }
  for (pid_t pid : children) {
    int status = -1;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(0, status);
  }
  size_t n = 0;
  for (const auto& entry : Mounts()) n += entry.mountpoint == root;
  EXPECT_EQ(1u, n);
}

// In another peer group, what is unmounted there would stay mounted in the namespaces that were made since.
TEST_F(StageRootTest, OneThatWasMadeWhileItsLockWasWaitedForStaysAsItIs) {
  struct Late : Sys {
    std::string root, made;
    int TryLock(int fd, int64_t offset, int64_t length) override {
      if (made.empty()) {
        EXPECT_TRUE(EnsureStageRoot(TestEnv(), root).ok());
        const auto mounts = Mounts();
        made = FindMount(mounts, root)->propagation;
      }
      return Sys::TryLock(fd, offset, length);
    }
  } sys;
  sys.root = Path("stage");
  ASSERT_TRUE(EnsureStageRoot(TestEnv(&sys), sys.root).ok());
  const auto mounts = Mounts();
  ASSERT_NE("", sys.made);
  EXPECT_EQ(sys.made, FindMount(mounts, sys.root)->propagation);
}

TEST_F(StageRootTest, FollowsNoSymlink) {
  Env env = TestEnv();
  MakeDir("real");
  ASSERT_EQ(0, ::symlink("real", Path("link").c_str()));
  EXPECT_EQ(Code::kRefused, EnsureStageRoot(env, Path("link")).code());
  EXPECT_EQ(Code::kRefused, EnsureStageRoot(env, Path("link/stage")).code());
  EXPECT_EQ(Code::kInvalid, EnsureStageRoot(env, "relative").code());
  EXPECT_EQ(Code::kInvalid, EnsureStageRoot(env, "/").code());
  EXPECT_EQ(nullptr, FindMount(Mounts(), Path("real")));
}

using RemoveStageTest = MountTest;

TEST_F(RemoveStageTest, TouchesNothingThatIsNotBelowTheRoot) {
  Env env = TestEnv();
  std::string root = Path("stage");
  ASSERT_TRUE(EnsureStageRoot(env, root).ok());
  std::string other = MakeTmpfs("other");
  // Not "/" itself: a build without the guard would take this program's own root away.
  for (const std::string& path :
       {other, root, root + "/../other", root + "/", Path("stage2"), std::string("stage/x"), root + "//x"})
    EXPECT_EQ(Code::kRefused, RemoveStage(env, root, path).code()) << path;
  ASSERT_EQ(0, ::symlink(dir_.c_str(), Path("stage/link").c_str()));
  EXPECT_EQ(Code::kRefused, RemoveStage(env, root, root + "/link/other").code());
  EXPECT_NE(nullptr, FindMount(Mounts(), other));
  EXPECT_NE(nullptr, FindMount(Mounts(), root));
}

TEST_F(RemoveStageTest, UnmountsAStackAndWhatACrashLeft) {
  Env env = TestEnv();
  std::string root = Path("stage");
  ASSERT_TRUE(EnsureStageRoot(env, root).ok());
  std::string stage = MakeTmpfs("stage/s");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(0, ::mount("more", stage.c_str(), "tmpfs", 0, nullptr));
  MakeTmpfs("stage/s.new");
  ASSERT_TRUE(RemoveStage(env, root, stage).ok());
  for (const auto& entry : Mounts())
    EXPECT_FALSE(entry.mountpoint.starts_with(root + "/")) << entry.mountpoint;
  std::vector<std::string> left;
  Sys::Real()->ListDir(AT_FDCWD, root.c_str(), &left);
  EXPECT_TRUE(left.empty());
}

TEST_F(RemoveStageTest, KeepsAFolderThatHoldsFiles) {
  Env env = TestEnv();
  std::string root = Path("stage");
  ASSERT_TRUE(EnsureStageRoot(env, root).ok());
  MakeDir("stage/s");
  MakeFile("stage/s/file");
  EXPECT_FALSE(RemoveStage(env, root, root + "/s").ok());
  EXPECT_EQ(0, ::access(Path("stage/s/file").c_str(), F_OK));
}

}  // namespace
}  // namespace dvdi
