#include "helper/helper.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "helper/ops.h"
#include "helper/process.h"
#include "helper/protocol.h"
#include "mount/mountinfo.h"
#include "mount/stage.h"
#include "mount/test_world.h"
#include "mount/volume_folder.h"

namespace dvdi {
namespace {

class HelperTest : public MountTest {
 protected:
  HelperRequest Folder(const std::string& path, int64_t ms = 10'000) {
    HelperRequest request;
    request.mountpoint = path;
    request.deadline_ms = In(ms);
    return request;
  }
  Env env_ = TestEnv();
};

TEST_F(HelperTest, PassesTheFolderBack) {
  std::string volume = MakeTmpfs("vol");
  auto reply = HelperRunner::Real()->Run(env_, Folder(volume));
  ASSERT_TRUE(reply.ok()) << reply.status().message();
  UniqueFd fd(reply->folder);
  struct stat a, b;
  ASSERT_EQ(0, ::fstat(fd.get(), &a));
  ASSERT_EQ(0, ::stat(volume.c_str(), &b));
  EXPECT_EQ(b.st_dev, a.st_dev);
  EXPECT_EQ(FindMount(Mounts(), volume)->id, reply->mount_id);
  EXPECT_NE(0, ::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC);
  EXPECT_NE(0, ::fcntl(fd.get(), F_GETFL) & O_PATH);
}

TEST_F(HelperTest, StatUsageIsThatOfTheFilesystem) {
  std::string volume = MakeTmpfs("vol", "size=1m,nr_inodes=100");
  MakeFile("vol/data", std::string(100'000, 'x'));
  auto usage = StatUsage(env_, volume, In(10'000));
  ASSERT_TRUE(usage.ok()) << usage.status().message();
  EXPECT_EQ(1 << 20, usage->total_bytes);
  EXPECT_GE(usage->used_bytes, 100'000);
  EXPECT_EQ(usage->total_bytes, usage->used_bytes + usage->free_bytes);
  EXPECT_EQ(100, usage->inodes);
  EXPECT_EQ(98, usage->inodes_free);
  EXPECT_EQ(Code::kNotFound, StatUsage(env_, Path("none"), In(10'000)).status().code());
  EXPECT_EQ(Code::kInvalid, StatUsage(env_, "none", In(10'000)).status().code());
}

// A helper made for one mount namespace must not answer for another.
TEST_F(HelperTest, WaitingHelpersOfAnotherNamespaceAreNotUsed) {
  std::string volume = MakeTmpfs("vol");
  auto reply = HelperRunner::Real()->Run(env_, Folder(volume));
  ASSERT_TRUE(reply.ok());
  ::close(reply->folder);
  std::string late = MakeDir("late");
  OtherNamespace other(MS_PRIVATE, [&] {
    ::mount("late", late.c_str(), "tmpfs", 0, "mode=0700");
    auto seen = HelperRunner::Real()->Run(env_, Folder(late));
    struct stat a, b;
    bool ok =
        seen.ok() && ::fstat(seen->folder, &a) == 0 && ::stat(late.c_str(), &b) == 0 && a.st_dev == b.st_dev;
    std::ofstream(Path("verdict")) << (ok ? "same" : "different");
  });
  std::string verdict;
  std::ifstream(Path("verdict")) >> verdict;
  EXPECT_EQ("same", verdict);
}

TEST_F(HelperTest, AForkedChildDoesNotTakeTheParentsHelpers) {
  std::string volume = MakeTmpfs("vol", "size=1m"), other = MakeTmpfs("other", "size=2m");
  ASSERT_TRUE(StatUsage(env_, volume, In(10'000)).ok());
  pid_t child = ::fork();
  if (child == 0) {
    auto usage = StatUsage(env_, other, In(30'000));
    ::_exit(usage.ok() && usage->total_bytes == 2 << 20 ? 0 : 1);
  }
  for (int i = 0; i < 20; ++i) {
    auto usage = StatUsage(env_, volume, In(30'000));
    ASSERT_TRUE(usage.ok());
    EXPECT_EQ(1 << 20, usage->total_bytes);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(0, status);
}

TEST_F(HelperTest, ADeadlineThatHasPassedIsATimeout) {
  std::string volume = MakeTmpfs("vol");
  EXPECT_EQ(Code::kTimeout, StatUsage(env_, volume, In(-1)).status().code());
}

TEST_F(HelperTest, AHelperThatWasKilledIsReplaced) {
  std::string volume = MakeTmpfs("vol");
  auto executable = OpenHelperExecutable(DVDI_TEST_HELPER);
  ASSERT_TRUE(executable.ok());
  for (int i = 0; i < 3; ++i) {
    auto reply = HelperRunner::Real()->Run(env_, Folder(volume));
    ASSERT_TRUE(reply.ok()) << reply.status().message();
    ::close(reply->folder);
    // Whoever of our children is a helper.
    std::vector<std::string> names;
    Sys::Real()->ListDir(AT_FDCWD, "/proc", &names);
    int killed = 0;
    for (const auto& name : names) {
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::ifstream stat("/proc/" + name + "/stat");
      std::string pid, comm, state, parent;
      stat >> pid >> comm >> state >> parent;
      if (comm != "(dvdi-helper)" || parent != std::to_string(::getpid()) || state == "Z") continue;
      ::kill(static_cast<pid_t>(std::stol(pid)), SIGKILL);
      ++killed;
    }
    EXPECT_GE(killed, 1);
  }
}

TEST_F(HelperTest, AnExecutableThatOthersCouldChangeIsNotRun) {
  std::string path = Path("dvdi-helper");
  {
    std::ifstream in(DVDI_TEST_HELPER, std::ios::binary);
    std::ofstream(path, std::ios::binary) << in.rdbuf();
  }
  ASSERT_EQ(0, ::chmod(path.c_str(), 0755));
  EXPECT_TRUE(OpenHelperExecutable(path).ok());
  ASSERT_EQ(0, ::chmod(path.c_str(), 0775));
  EXPECT_EQ(Code::kRefused, OpenHelperExecutable(path).status().code());
  ASSERT_EQ(0, ::chmod(path.c_str(), 0644));
  EXPECT_EQ(Code::kRefused, OpenHelperExecutable(path).status().code());
  ASSERT_EQ(0, ::chmod(path.c_str(), 0755));
  ASSERT_EQ(0, ::chown(path.c_str(), 1234, 0));
  EXPECT_EQ(Code::kRefused, OpenHelperExecutable(path).status().code());
  EXPECT_FALSE(OpenHelperExecutable(Path("none")).ok());
  EXPECT_FALSE(OpenHelperExecutable(dir_).ok());
}

TEST_F(HelperTest, ManyThreadsAtOnce) {
  for (int i = 0; i < 4; ++i) MakeTmpfs("v" + std::to_string(i));
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        auto reply = HelperRunner::Real()->Run(env_, Folder(Path("v" + std::to_string((t + i) % 4)), 60'000));
        if (!reply.ok()) continue;
        ::close(reply->folder);
        ++good;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(200, good.load());
}

// A FUSE server that has taken a request and does not answer: whoever asked cannot even be killed. (A server
// that is only stopped leaves requests untaken, and those can be.) It hangs on a second, stopped one below.
// Nothing here waits longer than its deadline.
class DeadFuseTest : public HelperTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    if (!HasProgram("bindfs")) GTEST_SKIP() << "bindfs is not installed";
    std::string below = MakeBindfs("below", &server_);
    MakeDir("below.src/sub");
    volume_ = MakeDir("vol");
    servers_.push_back(Start({"bindfs", "-f", below, volume_}));
    ASSERT_TRUE(Eventually([&] { return FindMount(Mounts(), volume_) != nullptr; }));
    ASSERT_EQ(0, ::kill(server_, SIGSTOP));
  }
  void TearDown() override {
    // The one below first: the other one cannot be killed before.
    MountTest::TearDown();
    EXPECT_TRUE(Eventually([] { return StuckHelpers().empty(); }));
  }
  std::string volume_;
  pid_t server_ = 0;
};

TEST_F(DeadFuseTest, AStageOfItsRootDoesNotAskIt) {
  ASSERT_TRUE(EnsureStageRoot(env_, Path("stage")).ok());
  StageRequest request;
  request.mountpoint = volume_;
  request.stage = MakeDir("stage/s");
  request.deadline_ms = In(60'000);
  EXPECT_TRUE(CheckMountpoint(env_, volume_, 0, In(60'000)).ok());
  EXPECT_TRUE(CheckTarget(env_, TargetRules(), {}, volume_).ok());
  EXPECT_TRUE(RemoveFolder(env_, volume_).ok());
  ASSERT_TRUE(MakeStage(env_, request).ok());
  ASSERT_TRUE(RemoveStage(env_, Path("stage"), request.stage).ok());
}

TEST_F(DeadFuseTest, TheCallerIsBackByTheDeadlineAndTheNextOneAtOnce) {
  ASSERT_TRUE(EnsureStageRoot(env_, Path("stage")).ok());
  StageRequest request;
  request.mountpoint = volume_;
  request.subpath = "sub";
  request.stage = MakeDir("stage/s");
  // On a busy machine a deadline may pass before the helper has got as far as the dead server; then it dies.
  auto stuck = StuckHelpers();
  for (int64_t ms = 300; ms < 20'000 && stuck.empty(); ms *= 2) {
    request.deadline_ms = In(ms);
    auto late = MakeStage(env_, request);
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(Code::kTimeout, late.status().code()) << late.status().message();
    EXPECT_EQ(nullptr, FindMount(Mounts(), request.stage));
    ::usleep(100'000);
    stuck = StuckHelpers();
  }
  ASSERT_EQ(1u, stuck.size());
  EXPECT_EQ(volume_, stuck[0].mountpoint);

  // With a deadline far off: only an answer that does not wait for it comes back while the server is stopped.
  auto usage = StatUsage(env_, volume_, In(100'000));
  ASSERT_FALSE(usage.ok());
  EXPECT_EQ(Code::kTimeout, usage.status().code());
  EXPECT_NE(std::string::npos, usage.status().message().find("earlier helper")) << usage.status().message();
  EXPECT_EQ(1u, StuckHelpers().size());

  // Others are not held up, and it works again when the server does.
  std::string other = MakeTmpfs("other");
  EXPECT_TRUE(StatUsage(env_, other, In(10'000)).ok());
  ASSERT_EQ(0, ::kill(server_, SIGCONT));
  EXPECT_TRUE(Eventually([] { return StuckHelpers().empty(); }));
  request.deadline_ms = In(30'000);
  auto made = MakeStage(env_, request);
  EXPECT_TRUE(made.ok()) << made.status().message();
}

TEST_F(DeadFuseTest, OneThatWaitsBehindAStuckOneFailsWithIt) {
  std::atomic<int> timeouts{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      auto usage = StatUsage(env_, volume_, In(400));
      timeouts += !usage.ok() && usage.status().code() == Code::kTimeout;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(4, timeouts.load());
  EXPECT_LE(StuckHelpers().size(), 1u) << "at most one for each mountpoint";
  ASSERT_EQ(0, ::kill(server_, SIGKILL));
  EXPECT_TRUE(Eventually([] { return StuckHelpers().empty(); }));
}

TEST(OpensWithoutWaitingTest, OnlyWhereNobodyIsAsked) {
  auto mounts = ParseMountinfo(
      "1 0 8:1 / / rw - ext4 /dev/a rw\n"
      "2 1 0:5 / /fuse rw - fuse.x x rw\n"
      "3 2 0:6 / /fuse/inner rw - ext4 x rw\n"
      "4 1 0:7 / /nfs rw - nfs4 x rw\n"
      "5 1 8:2 / /disk rw - xfs x rw\n"
      "6 5 0:8 / /disk/f rw - fuse x rw\n"
      "7 1 0:9 / /tmp rw - tmpfs x rw\n");
  EXPECT_TRUE(OpensWithoutWaiting(mounts, "/fuse"));
  EXPECT_TRUE(OpensWithoutWaiting(mounts, "/disk"));
  EXPECT_TRUE(OpensWithoutWaiting(mounts, "/disk/f"));
  EXPECT_TRUE(OpensWithoutWaiting(mounts, "/var/lib/vols/x"));
  EXPECT_TRUE(OpensWithoutWaiting(mounts, "/tmp/x"));
  EXPECT_FALSE(OpensWithoutWaiting(mounts, "/fuse/x"));
  EXPECT_FALSE(OpensWithoutWaiting(mounts, "/fuse/inner"));
  EXPECT_FALSE(OpensWithoutWaiting(mounts, "/nfs"));
  EXPECT_FALSE(OpensWithoutWaiting(mounts, "/disk/x"));
  EXPECT_FALSE(OpensWithoutWaiting(mounts, "/disk/f/x"));
  EXPECT_FALSE(OpensWithoutWaiting({}, "/x"));
}

TEST(SwapMapTest, IsABijectionOfAllIds) {
  EXPECT_EQ("0 0 4294967295\n", SwapMap(5, 5));
  EXPECT_EQ("0 1000 1\n1 1 999\n1000 0 1\n1001 1001 4294966294\n", SwapMap(0, 1000));
  EXPECT_EQ(SwapMap(7, 1000), SwapMap(1000, 7));
  EXPECT_EQ("0 1 1\n1 0 1\n2 2 4294967293\n", SwapMap(1, 0));
  EXPECT_EQ("0 4294967294 1\n1 1 4294967293\n4294967294 0 1\n", SwapMap(0, 4294967294U));
  EXPECT_EQ(Code::kInvalid, SwapUserNamespace(4294967295U, 1, 0, 0).status().code());
}

using ChownTest = MountTest;

TEST_F(ChownTest, StopsAtItsDeadlineAndGoesOnTheNextTime) {
  std::string volume = MakeTmpfs("vol");
  for (int i = 0; i < 500; ++i) MakeFile("vol/f" + std::to_string(i));
  UniqueFd fd(::open(volume.c_str(), O_PATH | O_CLOEXEC));
  WalkLimits limits;
  limits.deadline_ms = In(-1);
  auto changed = ChownTree(fd.get(), 1234, 2345, limits);
  ASSERT_FALSE(changed.ok());
  EXPECT_EQ(Code::kTimeout, changed.status().code());
  EXPECT_NE(std::string::npos, changed.status().message().find("64 entries")) << changed.status().message();
  struct stat st;
  ASSERT_EQ(0, ::stat(volume.c_str(), &st));
  EXPECT_EQ(0u, st.st_uid) << "the folder itself comes last";
  limits.deadline_ms = In(60'000);
  changed = ChownTree(fd.get(), 1234, 2345, limits);
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(501 - 63, *changed);
  changed = ChownTree(fd.get(), 1234, 2345, limits);
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(0, *changed);
}

// A file of an overlay's lower layer has that one's device, where the layers are on several.
TEST_F(ChownTest, AllFilesOfAnOverlay) {
  const std::string below = MakeTmpfs("below"), above = MakeTmpfs("above"), volume = MakeDir("vol");
  for (const char* name : {"below/lower", "below/lower/d", "above/upper", "above/work"}) MakeDir(name);
  for (const char* name : {"below/lower/f", "below/lower/d/g", "above/upper/h"}) MakeFile(name);
  const std::string layers =
      "lowerdir=" + below + "/lower,upperdir=" + above + "/upper,workdir=" + above + "/work";
  if (::mount("overlay", volume.c_str(), "overlay", 0, layers.c_str()) != 0)
    GTEST_SKIP() << "no overlay can be mounted here";
  UniqueFd fd(::open(volume.c_str(), O_PATH | O_CLOEXEC));
  WalkLimits limits;
  limits.deadline_ms = In(60'000);
  const auto changed = ChownTree(fd.get(), 1234, 2345, limits);
  ASSERT_TRUE(changed.ok()) << changed.status().message();
  EXPECT_EQ(5, *changed);
  for (const char* name : {"", "/d", "/f", "/d/g", "/h"}) {
    struct stat st;
    ASSERT_EQ(0, ::stat((volume + name).c_str(), &st)) << name;
    EXPECT_EQ(1234u, st.st_uid) << name;
  }
}

TEST_F(ChownTest, StopsWhenNobodyWaits) {
  std::string volume = MakeTmpfs("vol");
  for (int i = 0; i < 50; ++i) MakeFile("vol/f" + std::to_string(i));
  UniqueFd fd(::open(volume.c_str(), O_PATH | O_CLOEXEC));
  WalkLimits limits;
  limits.deadline_ms = In(60'000);
  limits.progress_every = 10;
  limits.progress = [](int64_t) { return false; };
  EXPECT_FALSE(ChownTree(fd.get(), 1234, 2345, limits).ok());
}

TEST_F(ChownTest, DeepTrees) {
  std::string volume = MakeTmpfs("vol");
  UniqueFd at(::open(volume.c_str(), O_PATH | O_CLOEXEC));
  for (int i = 0; i < 1500; ++i) {
    ASSERT_EQ(0, ::mkdirat(at.get(), "d", 0755));
    at.reset(::openat(at.get(), "d", O_PATH | O_CLOEXEC));
  }
  UniqueFd fd(::open(volume.c_str(), O_PATH | O_CLOEXEC));
  WalkLimits limits;
  limits.deadline_ms = In(60'000);
  auto changed = ChownTree(fd.get(), 1234, 2345, limits);
  ASSERT_TRUE(changed.ok()) << changed.status().message();
  EXPECT_EQ(1501, *changed);
  for (int i = 1500; i < 2100; ++i) {
    ASSERT_EQ(0, ::mkdirat(at.get(), "d", 0755));
    at.reset(::openat(at.get(), "d", O_PATH | O_CLOEXEC));
  }
  changed = ChownTree(fd.get(), 1, 1, limits);
  ASSERT_FALSE(changed.ok());
  EXPECT_EQ(Code::kUnsupported, changed.status().code());
}

TEST_F(ChownTest, AReadOnlyVolumeSaysSo) {
  std::string volume = MakeTmpfs("vol", "ro");
  UniqueFd fd(::open(volume.c_str(), O_PATH | O_CLOEXEC));
  auto changed = ChownRoot(fd.get(), 1234, 2345);
  ASSERT_FALSE(changed.ok());
  EXPECT_NE(std::string::npos, changed.status().hint().find("read-only"));
}

TEST(ProtocolTest, PacketsAndTheirLimits) {
  int pair[2];
  ASSERT_EQ(0, ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
  UniqueFd a(pair[0]), b(pair[1]);
  std::string text;
  std::vector<UniqueFd> fds;
  EXPECT_EQ(-EAGAIN, ReceivePacket(b.get(), false, &text, &fds));
  EXPECT_EQ(0, SendPacket(a.get(), "{}", {a.get(), b.get()}));
  EXPECT_EQ(1, ReceivePacket(b.get(), true, &text, &fds));
  EXPECT_EQ("{}", text);
  EXPECT_EQ(2u, fds.size());
  EXPECT_EQ(-EMSGSIZE, SendPacket(a.get(), std::string(kMaxHelperPacket + 1, 'x'), {}));
  std::string big(kMaxHelperPacket + 1, 'x');
  ASSERT_GT(::send(a.get(), big.data(), big.size(), 0), 0);
  EXPECT_EQ(-EMSGSIZE, ReceivePacket(b.get(), true, &text, &fds));
  fds.clear();
  a.reset();
  EXPECT_EQ(0, ReceivePacket(b.get(), true, &text, &fds));
  EXPECT_EQ(-EPIPE, SendPacket(b.get(), "{}", {}));
}

}  // namespace
}  // namespace dvdi
