// What happens to a volume after it was made: it grows, is checked, loses its lease, is taken from a node.
#include <gtest/gtest.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <thread>

#include "base/json.h"
#include "driver/driver.h"
#include "driver/files.h"
#include "driver/grow.h"
#include "driver/image.h"
#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::Names;
using testing::NeedVolumes;
using testing::ReadFile;
using testing::TempDir;
using testing::Text;
using testing::WriteFile;

constexpr int64_t kMiB = 1 << 20;

// Runs a program to its end: its exit status.
int RunTo(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid == 0) {
    int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 1);
    ::dup2(null, 2);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  int state = 0;
  ::waitpid(pid, &state, 0);
  return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

class LifeTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Driver> Node(const std::string& id, int64_t lease_ms = 0, const std::string& cgroup = "") {
    DriverOptions o;
    o.pool = dir_ / "pool";
    o.mount_root = dir_ / ("mnt-" + id);
    o.node = id;
    o.default_size = 16 * kMiB;
    o.lease_ms = lease_ms;
    o.io_cgroup = cgroup;
    o.detach_wait_ms = 5000;
    auto driver = Driver::Open(o);
    EXPECT_TRUE(driver.ok()) << driver.status().message();
    return driver.ok() ? std::move(*driver) : nullptr;
  }
  static int64_t SizeOf(const std::string& mountpoint) {
    struct statvfs st = {};
    EXPECT_EQ(::statvfs(mountpoint.c_str(), &st), 0);
    return static_cast<int64_t>(st.f_blocks) * static_cast<int64_t>(st.f_frsize);
  }
  static std::string Size(int64_t bytes) { return std::to_string(bytes / kMiB) + "m"; }
  std::string Image() { return dir_ / "pool/v/image"; }
  // As a node that crashed, or was fenced off, leaves it.
  void MakeUnclean() {
    for (const auto& name : Names(dir_ / "pool/v"))
      if (name.rfind("released.", 0) == 0) WriteFile(dir_ / ("pool/v/" + name), "{\"clean\":false}");
  }
  // A lease of another machine that renews nothing any more.
  void LeaseOfTheDead(int64_t lease_ms) {
    std::string number = std::to_string(Node("X")->Get("v")->generation + 1);
    WriteFile(dir_ / ("pool/v/lease." + number), "{\"format\":1,\"node\":\"dead\",\"generation\":" + number +
                                                     ",\"since\":\"2026-01-01T00:00:00Z\",\"boot_id\":\"b\","
                                                     "\"machine\":\"m\",\"pid\":1,\"start_time\":1,"
                                                     "\"session\":\"dead.0123456789abcdef\",\"lease_ms\":" +
                                                     std::to_string(lease_ms) + "}");
  }

  TempDir dir_{TempDir::kMemory};
};

class EachFilesystem : public LifeTest {
 protected:
  void SetUp() override { DVDI_SKIP_UNLESS(NeedVolumes(GetParam())); }
  int64_t least_ = SmallestSize(*ParseFilesystem(GetParam()));
};
INSTANTIATE_TEST_SUITE_P(Filesystems, EachFilesystem, ::testing::Values("ext4", "xfs", "btrfs"));

TEST_P(EachFilesystem, GrowsWhileMountedAndWhileNot) {
  auto a = Node("A"), b = Node("B");
  ASSERT_OK(a->Create("v", {{"newfstype", GetParam()}, {"size", Size(least_)}}));
  // Not even formatted yet.
  ASSERT_OK(a->Create("v", {{"size", Size(least_ + 8 * kMiB)}}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  WriteFile(*at + "/file", "data");
  int64_t before = SizeOf(*at);
  // Mounted, by Create.
  ASSERT_OK(a->Create("v", {{"size", Size(least_ + 64 * kMiB)}}));
  if (!MayGrowMounted(*ParseFilesystem(GetParam()))) {
    EXPECT_TRUE(a->Get("v")->grow) << "the next mount does it";
    ASSERT_OK(a->Unmount("v", "1"));
    ASSERT_OK(a->Mount("v", "1"));
  }
  int64_t grown = SizeOf(*at);
  EXPECT_GT(grown, before + 40 * kMiB);
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  EXPECT_FALSE(a->Get("v")->grow);
  EXPECT_EQ(a->Get("v")->size_bytes, least_ + 64 * kMiB);
  // Another node has no say in it.
  Status elsewhere = b->Create("v", {{"size", Size(least_ + 128 * kMiB)}});
  EXPECT_NE(elsewhere.message().find("in use on node A"), std::string::npos) << elsewhere.message();
  ASSERT_OK(a->Unmount("v", "1"));
  // Not mounted: the filesystem follows at the next mount.
  ASSERT_OK(b->Create("v", {{"size", Size(least_ + 128 * kMiB)}}));
  EXPECT_TRUE(b->Get("v")->grow);
  EXPECT_TRUE(b->Get("v")->clean);
  at = b->Mount("v", "1");
  ASSERT_OK(at);
  EXPECT_GT(SizeOf(*at), grown + 40 * kMiB);
  EXPECT_FALSE(b->Get("v")->grow);
  // With a Mount that carries options, mounted already.
  grown = SizeOf(*at);
  ASSERT_OK(b->Mount("v", "2", {{"size", Size(least_ + 192 * kMiB)}}));
  if (!MayGrowMounted(*ParseFilesystem(GetParam()))) {
    EXPECT_TRUE(b->Get("v")->grow);
    ASSERT_OK(b->Unmount("v", "1"));
    ASSERT_OK(b->Unmount("v", "2"));
    ASSERT_OK(b->Mount("v", "1"));
    ASSERT_OK(b->Mount("v", "2"));
  }
  EXPECT_GT(SizeOf(*at), grown + 40 * kMiB);
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  // Never smaller, with both sizes.
  Status smaller = b->Create("v", {{"size", Size(least_)}});
  EXPECT_EQ(smaller.code(), Code::kRefused);
  EXPECT_NE(smaller.message().find(FormatSize(least_ + 192 * kMiB)), std::string::npos) << smaller.message();
  EXPECT_NE(smaller.message().find("(" + FormatSize(least_) + ")"), std::string::npos) << smaller.message();
  ASSERT_OK(b->Unmount("v", "1"));
  ASSERT_OK(b->Unmount("v", "2"));
}

TEST_P(EachFilesystem, IsCheckedAfterACrash) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {{"newfstype", GetParam()}, {"size", Size(least_)}}));
  ASSERT_OK(a->Mount("v", "1"));
  WriteFile(dir_ / "mnt-A/v/file", "data");
  ASSERT_OK(a->Unmount("v", "1"));
  static std::atomic<int> checks;
  checks = 0;
  SetStepHook([](const char* step) { checks += std::string(step) == "checked" ? 1 : 0; });
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_EQ(checks, 0) << "it was unmounted whole";
  MakeUnclean();
  EXPECT_FALSE(a->Get("v")->clean);
  ASSERT_OK(a->Mount("v", "1"));
  EXPECT_EQ(checks, 1);
  SetStepHook(nullptr);
  EXPECT_EQ(ReadFile(dir_ / "mnt-A/v/file"), "data");
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_TRUE(a->Get("v")->clean);
}

TEST_P(EachFilesystem, IsNotMountedWithAFaultThatIsLeft) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {{"newfstype", GetParam()}, {"size", Size(least_)}}));
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));
  MakeUnclean();
  std::string fs = GetParam();
  if (fs == "ext4") {
    ASSERT_EQ(RunTo({"/usr/sbin/debugfs", "-w", "-R", "clri <2>", Image()}), 0);
  } else {
    // xfs: the second allocation group's headers; btrfs: all metadata that is not the superblock.
    UniqueFd image(::open(Image().c_str(), O_RDWR | O_CLOEXEC));
    int64_t from = fs == "xfs" ? least_ / 4 : 1 * kMiB, length = fs == "xfs" ? 4096 : 60 * kMiB;
    std::string junk(static_cast<size_t>(length), '\xEE');
    ASSERT_EQ(::pwrite(image.get(), junk.data(), junk.size(), from), length);
  }
  auto refused = a->Mount("v", "1");
  ASSERT_FALSE(refused.ok());
  EXPECT_FALSE(Exists(dir_ / "mnt-A/v"));
  EXPECT_FALSE(a->Get("v")->lease.has_value()) << "a refused mount keeps no lease";
  EXPECT_FALSE(a->Get("v")->clean);
  if (fs == "ext4") {
    EXPECT_NE(refused.status().hint().find("e2fsck -f " + Image()), std::string::npos)
        << refused.status().hint();
    // What the hint says helps.
    EXPECT_LE(RunTo({"/usr/sbin/e2fsck", "-f", "-y", Image()}), 1);
    ASSERT_OK(a->Mount("v", "1"));
    ASSERT_OK(a->Unmount("v", "1"));
  }
}

TEST_F(LifeTest, WithoutRenewalTheWorkloadGetsEioBeforeTheLeaseEnds) {
  for (std::string fs : {"ext4", "xfs"}) {
    DVDI_SKIP_UNLESS(NeedVolumes(fs));
    auto a = Node("A", 2000);
    ASSERT_OK(a->Create(fs, {{"newfstype", fs}, {"size", fs == "xfs" ? "300m" : "16m"}}));
    auto at = a->Mount(fs, "1");
    ASSERT_OK(at);
    WriteFile(*at + "/kept", "kept");
    ::sync();
    // Nothing can be renewed any more.
    std::filesystem::rename(dir_ / "pool/.sessions", dir_ / "pool/.gone-sessions");
    WriteFile(dir_ / "pool/.sessions", "");
    int error = 0;
    for (int i = 0; i < 4000 && error == 0; ++i) {
      UniqueFd file(::open((*at + "/file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      if (!file.valid() || ::write(file.get(), "x", 1) < 0 || ::fsync(file.get()) < 0) error = errno;
      ::usleep(2000);
    }
    EXPECT_EQ(error, EIO);
    auto info = a->Get(fs);
    ASSERT_OK(info);
    EXPECT_NE(info->lost.find("could not be renewed"), std::string::npos) << info->lost;
    auto another = a->Mount(fs, "2");
    ASSERT_FALSE(another.ok());
    EXPECT_NE(another.status().message().find("was shut down on this node"), std::string::npos);
    std::filesystem::remove(dir_ / "pool/.sessions");
    std::filesystem::rename(dir_ / "pool/.gone-sessions", dir_ / "pool/.sessions");
    // It stays dead, also for a driver that starts anew, until it was unmounted.
    a.reset();
    a = Node("A", 2000);
    EXPECT_FALSE(a->Mount(fs, "2").ok());
    ASSERT_OK(a->Unmount(fs, "1"));
    EXPECT_FALSE(a->Get(fs)->clean);
    EXPECT_EQ(a->Get(fs)->lost, "");
    at = a->Mount(fs, "2");
    ASSERT_OK(at);
    EXPECT_EQ(ReadFile(*at + "/kept"), "kept");
    ASSERT_OK(a->Unmount(fs, "2"));
  }
}

TEST_F(LifeTest, BtrfsIsRefusedWhereLeasesAreRenewed) {
  DVDI_SKIP_UNLESS(NeedVolumes("btrfs"));
  {
    auto a = Node("A");
    ASSERT_OK(a->Create("v", {{"newfstype", "btrfs"}, {"size", "256m"}}));
  }
  auto a = Node("A", 60'000);
  Status made = a->Create("w", {{"newfstype", "btrfs"}, {"size", "256m"}});
  EXPECT_NE(made.message().find("cannot be shut down"), std::string::npos) << made.message();
  auto mounted = a->Mount("v", "1");
  ASSERT_FALSE(mounted.ok());
  EXPECT_NE(mounted.status().message().find("cannot be shut down"), std::string::npos);
}

TEST_F(LifeTest, ADeadNodeIsFencedAndItsLateWritesGoNowhere) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto b = Node("B", 2000);
  ASSERT_OK(b->Create("v", {}));
  ASSERT_OK(b->Mount("v", "1"));
  WriteFile(dir_ / "mnt-B/v/file", "data");
  ASSERT_OK(b->Unmount("v", "1"));
  LeaseOfTheDead(2000);
  EXPECT_FALSE(b->Mount("v", "1").ok());
  UniqueFd late(::open(Image().c_str(), O_RDWR | O_CLOEXEC));
  WriteFile(dir_ / "pool/v/tmp.dead.0123456789abcdef", "to be renamed late");
  ASSERT_OK(b->Create("other", {}));
  std::atomic<bool> over{false};
  std::thread fencing([&] {
    auto fenced = b->Fence("v", false);
    over = true;
    ASSERT_OK(fenced);
    EXPECT_EQ(fenced->from, "dead");
    EXPECT_GE(fenced->waited_ms, 2000);
    EXPECT_EQ(fenced->generation, 3u);
  });
  // Others are served meanwhile, and questions about the volume are answered.
  ASSERT_OK(b->Mount("other", "1"));
  ASSERT_OK(b->Unmount("other", "1"));
  EXPECT_EQ(b->Get("v")->lease->holder.node, "dead");
  EXPECT_FALSE(over);
  fencing.join();
  EXPECT_FALSE(Exists(dir_ / "pool/v/tmp.dead.0123456789abcdef"));
  std::string junk(static_cast<size_t>(16 * kMiB), '\xEE');
  ASSERT_EQ(::pwrite(late.get(), junk.data(), junk.size(), 0), 16 * kMiB);
  EXPECT_FALSE(b->Get("v")->clean) << "it is checked before it is mounted";
  auto at = b->Mount("v", "1");
  ASSERT_OK(at);
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  ASSERT_OK(b->Unmount("v", "1"));
  // Nobody has it: nothing to do.
  auto free = b->Fence("v", false);
  ASSERT_OK(free);
  EXPECT_EQ(free->from, "");
}

TEST_F(LifeTest, AFenceIsRefusedWithoutGroundOrOnAWordTaken) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto a = Node("A"), b = Node("B");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  EXPECT_NE(Text(a->Fence("v", true)).find("on this very node"), std::string::npos);
  auto forever = b->Fence("v", false);
  ASSERT_FALSE(forever.ok());
  EXPECT_NE(forever.status().message().find("never ends by itself"), std::string::npos);
  EXPECT_NE(forever.status().hint().find("--node-is-dead"), std::string::npos);
  ASSERT_OK(a->Unmount("v", "1"));
  LeaseOfTheDead(0);
  struct stat before, after;
  ASSERT_EQ(::stat(Image().c_str(), &before), 0);
  auto word = b->Fence("v", true);
  ASSERT_OK(word);
  EXPECT_EQ(word->waited_ms, 0);
  ASSERT_EQ(::stat(Image().c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino) << "on the operator's word nothing is copied";
  ASSERT_OK(b->Mount("v", "1"));
  ASSERT_OK(b->Unmount("v", "1"));
}

TEST_F(LifeTest, AFenceThatBrokeOffIsEndedByTheNextMount) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto b = Node("B", 2000);
  ASSERT_OK(b->Create("v", {}));
  ASSERT_OK(b->Mount("v", "1"));
  WriteFile(dir_ / "mnt-B/v/file", "data");
  ASSERT_OK(b->Unmount("v", "1"));
  LeaseOfTheDead(2000);
  struct stat before, after;
  ASSERT_EQ(::stat(Image().c_str(), &before), 0);
  b.reset();
  pid_t child = ::fork();
  if (child == 0) {
    SetStepHook([](const char* step) {
      if (std::string(step) == "fenced") ::_exit(77);
    });
    auto driver = Node("B", 2000);
    ::_exit(driver != nullptr && driver->Fence("v", false).ok() ? 0 : 1);
  }
  int state = 0;
  ASSERT_EQ(::waitpid(child, &state, 0), child);
  ASSERT_EQ(WEXITSTATUS(state), 77);
  b = Node("B", 2000);
  EXPECT_TRUE(b->Get("v")->renew);
  EXPECT_FALSE(b->Get("v")->lease.has_value());
  auto c = Node("C", 2000);
  auto at = c->Mount("v", "1");
  ASSERT_OK(at);
  ASSERT_EQ(::stat(Image().c_str(), &after), 0);
  EXPECT_NE(before.st_ino, after.st_ino);
  EXPECT_FALSE(c->Get("v")->renew);
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  ASSERT_OK(c->Unmount("v", "1"));
}

TEST_F(LifeTest, ACopyIsMadeAgainWhereSomebodyWritesMeanwhile) {
  auto pool = Pool::Open(dir_ / "pool", "B");
  ASSERT_OK(pool);
  VolumeMeta meta;
  meta.name = "v";
  meta.created_at = Rfc3339Now();
  meta.size_bytes = 4 * kMiB;
  ASSERT_OK(pool->Create(meta));
  auto folder = pool->OpenVolume("v");
  ASSERT_OK(folder);
  static int writer, copies;
  writer = ::open(Image().c_str(), O_RDWR | O_CLOEXEC);
  copies = 0;
  ASSERT_EQ(::pwrite(writer, "one", 3, 2 * kMiB), 3);
  SetStepHook([](const char* step) {
    if (std::string(step) == "image-copied" && ++copies == 1) [[maybe_unused]]
      ssize_t n = ::pwrite(writer, "two", 3, 2 * kMiB);
  });
  Status renewed = RenewImage(*pool, folder->get(), "v", "B");
  SetStepHook([](const char* step) {
    if (std::string(step) == "image-copied") [[maybe_unused]]
      ssize_t n = ::pwrite(writer, "xxx", 3, 2 * kMiB);
  });
  ASSERT_OK(renewed);
  EXPECT_EQ(copies, 2);
  UniqueFd image(::open(Image().c_str(), O_RDONLY | O_CLOEXEC));
  char text[4] = {};
  ASSERT_EQ(::pread(image.get(), text, 3, 2 * kMiB), 3);
  EXPECT_STREQ(text, "two");
  struct stat st;
  ASSERT_EQ(::fstat(image.get(), &st), 0);
  EXPECT_EQ(st.st_size, 4 * kMiB);
  EXPECT_LT(st.st_blocks * 512, 1 * kMiB) << "holes stay holes";
  ::close(writer);
  // One that never stops is not waited for.
  writer = ::open(Image().c_str(), O_RDWR | O_CLOEXEC);
  Status never = RenewImage(*pool, folder->get(), "v", "B");
  SetStepHook(nullptr);
  ::close(writer);
  EXPECT_EQ(never.code(), Code::kRefused) << never.message();
  for (const auto& name : Names(dir_ / "pool/v")) EXPECT_EQ(name.find("tmp."), std::string::npos) << name;
}

// A cgroup that can limit I/O, of either hierarchy, for as long as the test runs.
class Cgroup {
 public:
  Cgroup() {
    for (std::string root : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/blkio"}) {
      std::string path = root + "/dvdi-test-" + std::to_string(::getpid());
      if (::mkdir(path.c_str(), 0755) < 0) continue;
      path_ = path;
      if (Exists(path + "/io.max") || Exists(path + "/blkio.throttle.write_bps_device")) return;
      ::rmdir(path.c_str());
      path_.clear();
    }
  }
  ~Cgroup() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  const std::string& path() const { return path_; }
  std::string Limits() const {
    std::string all;
    for (const char* file : {"io.max", "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device",
                             "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"})
      all += ReadFile(path_ + "/" + file);
    return all;
  }

 private:
  std::string path_;
};

TEST_F(LifeTest, LimitsAreEnforcedInTheWorkloadsCgroup) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  Cgroup cgroup;
  if (cgroup.path().empty()) GTEST_SKIP() << "no cgroup hierarchy of this machine limits I/O";
  auto a = Node("A", 0, cgroup.path());
  ASSERT_OK(a->Create("v", {{"bps", "1m"}, {"iops", "1000"}}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  EXPECT_NE(cgroup.Limits().find("1048576"), std::string::npos) << cgroup.Limits();
  EXPECT_NE(cgroup.Limits().find("1000"), std::string::npos) << cgroup.Limits();
  // 2 MiB cannot be through in less than a second.
  struct timespec begin, end;
  ::clock_gettime(CLOCK_MONOTONIC, &begin);
  pid_t child = ::fork();
  if (child == 0) {
    WriteFile(cgroup.path() + "/cgroup.procs", std::to_string(::getpid()));
    int file = ::open((*at + "/file").c_str(), O_WRONLY | O_CREAT | O_DIRECT, 0600);
    void* block = nullptr;
    if (file < 0 || ::posix_memalign(&block, 4096, 65536) != 0) ::_exit(1);
    for (int i = 0; i < 32; ++i)
      if (::write(file, block, 65536) != 65536) ::_exit(2);
    ::_exit(0);
  }
  int state = 0;
  ASSERT_EQ(::waitpid(child, &state, 0), child);
  ASSERT_EQ(WEXITSTATUS(state), 0);
  ::clock_gettime(CLOCK_MONOTONIC, &end);
  EXPECT_GE((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1'000'000, 1000);
  // Other limits replace them, on a mounted volume too.
  ASSERT_OK(a->Create("v", {{"bps", "3m"}}));
  EXPECT_NE(cgroup.Limits().find("3145728"), std::string::npos) << cgroup.Limits();
  // The number of the device is the next volume's: nothing stays on it.
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_EQ(cgroup.Limits().find("3145728"), std::string::npos) << cgroup.Limits();
  // A driver that is killed leaves them to the next one, which takes them away.
  ASSERT_OK(a->Mount("v", "1"));
  a.reset();
  ASSERT_EQ(::umount((dir_ / "mnt-A/v").c_str()), 0);
  EXPECT_NE(cgroup.Limits().find("3145728"), std::string::npos);
  a = Node("A", 0, cgroup.path());
  EXPECT_EQ(cgroup.Limits().find("3145728"), std::string::npos) << cgroup.Limits();
}

TEST_F(LifeTest, LimitsThatCannotBeEnforcedAreRefusedOrSaid) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto a = Node("A");
  Status refused = a->Create("v", {{"iops", "100"}});
  EXPECT_EQ(refused.code(), Code::kRefused);
  EXPECT_NE(refused.hint().find("--io-cgroup"), std::string::npos);
  EXPECT_FALSE(a->Get("v").ok()) << "nothing was made";
  a.reset();
  DriverOptions o;
  o.pool = dir_ / "pool";
  o.mount_root = dir_ / "mnt-A";
  o.node = "A";
  o.default_size = 16 * kMiB;
  o.accept_unenforced = true;
  auto accepting = Driver::Open(o);
  ASSERT_OK(accepting);
  ASSERT_OK((*accepting)->Create("v", {{"iops", "100"}}));
  EXPECT_EQ(*(*accepting)->Get("v")->limits.iops, 100);
  EXPECT_FALSE((*accepting)->limiter().can_limit());
  o.io_cgroup = dir_.path();
  o.mount_root = dir_ / "other";
  EXPECT_EQ(Driver::Open(o).status().code(), Code::kUnsupported) << "a folder is no cgroup";
}

}  // namespace
}  // namespace dvdi
