// Limits for the input and output of a volume, in the cgroups of this machine.
#include <time.h>

#include "driver/life_test.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::kMiB;
using testing::LifeTest;
using testing::NeedVolumes;
using testing::ReadFile;
using testing::WriteFile;

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
