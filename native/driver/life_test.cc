// What happens to a volume after it was made: it grows, is checked, loses its lease.
#include "driver/life_test.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <utility>

#include "driver/elsewhere_test.h"
#include "driver/grow.h"
#include "driver/image.h"
#include "driver/shutdown.h"

namespace dvdi {
namespace {

using testing::Elsewhere;
using testing::Exists;
using testing::kMiB;
using testing::LifeTest;
using testing::MountsNow;
using testing::NeedVolumes;
using testing::ReadFile;
using testing::WriteFile;

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

TEST_P(EachFilesystem, AGrowNeverMakesALargerImageSmaller) {
  auto a = Node("A"), donor = Node("D");
  ASSERT_OK(a->Create("v", {{"newfstype", GetParam()}, {"size", Size(least_)}}));
  ASSERT_OK(donor->Create("d", {{"newfstype", GetParam()}, {"size", Size(least_ + 192 * kMiB)}}));
  ASSERT_OK(donor->Mount("d", "1"));
  WriteFile(dir_ / "mnt-D/d/file", "data");
  ASSERT_OK(donor->Unmount("d", "1"));
  // Put there by the operator, and larger than what is recorded.
  std::filesystem::rename(dir_ / "pool/d/image", Image());
  const int64_t large = least_ + 192 * kMiB;
  for (bool mounted : {false, true}) {
    if (mounted) ASSERT_OK(a->Mount("v", "1"));
    Status smaller = a->Create("v", {{"size", Size(least_ + 64 * kMiB)}});
    EXPECT_EQ(smaller.code(), Code::kRefused);
    EXPECT_NE(smaller.message().find("an image of " + FormatSize(large)), std::string::npos)
        << smaller.message();
    EXPECT_EQ(std::filesystem::file_size(Image()), static_cast<uint64_t>(large));
    ASSERT_OK(a->Create("v", {{"size", Size(least_)}}));
  }
  ASSERT_OK(a->Create("v", {{"size", Size(large)}}));
  EXPECT_EQ(a->Get("v")->size_bytes, large);
  EXPECT_EQ(ReadFile(dir_ / "mnt-A/v/file"), "data");
  ASSERT_OK(a->Unmount("v", "1"));
}

// Between what a node has read of a volume and its lease, another one may make the volume larger.
TEST_F(LifeTest, AGrowIsHeldAgainstWhatTheVolumeIsUnderTheLease) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  static std::unique_ptr<Driver> other;
  static bool grown;
  other = Node("B");
  grown = false;
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  SetStepHook([](const char* step) {
    if (std::string(step) != "temp-written" || std::exchange(grown, true)) return;
    EXPECT_TRUE(other->Create("v", {{"size", "64m"}}).ok());
  });
  Status late = a->Create("v", {{"size", "32m"}});
  SetStepHook(nullptr);
  EXPECT_TRUE(grown);
  EXPECT_EQ(late.code(), Code::kRefused) << late.message();
  EXPECT_EQ(std::filesystem::file_size(Image()), static_cast<uint64_t>(64 * kMiB));
  EXPECT_EQ(a->Get("v")->size_bytes, 64 * kMiB);
  EXPECT_FALSE(a->Get("v")->lease.has_value());
  ASSERT_OK(other->Mount("v", "1"));
  ASSERT_OK(other->Unmount("v", "1"));
  other.reset();
}

TEST_F(LifeTest, AMountTakesTheVolumeAsItIsUnderTheLease) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  static std::unique_ptr<Driver> other;
  static std::function<void()> meanwhile;
  static std::atomic<int> checks;
  other = Node("B");
  checks = 0;
  meanwhile = [&] {
    EXPECT_TRUE(other->Create("v", {{"size", "64m"}}).ok());
    EXPECT_TRUE(other->Mount("v", "1").ok());
    WriteFile(dir_ / "mnt-B/v/file", "data");
    EXPECT_TRUE(other->Unmount("v", "1").ok());
    MakeUnclean();
  };
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  SetStepHook([](const char* step) {
    checks += std::string(step) == "checked" ? 1 : 0;
    if (std::string(step) == "temp-written" && meanwhile) std::exchange(meanwhile, nullptr)();
  });
  Status mounted = a->Mount("v", "1").status();
  SetStepHook(nullptr);
  ASSERT_OK(mounted);
  EXPECT_EQ(checks, 1) << "the other node did not unmount it whole";
  EXPECT_EQ(a->Get("v")->size_bytes, 64 * kMiB);
  EXPECT_EQ(ReadFile(dir_ / "mnt-A/v/file"), "data");
  ASSERT_OK(a->Unmount("v", "1"));
  other.reset();
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

// As it does where it cannot write: on a full pool, for one.
TEST_F(LifeTest, AFilesystemThatTheKernelGaveUpIsCheckedBeforeItIsMounted) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  for (bool restart : {false, true}) {
    auto a = Node("A", 0, "", 20), b = Node("B");
    ASSERT_OK(a->Create("v", {}));
    auto at = a->Mount("v", "1");
    ASSERT_OK(at);
    WriteFile(*at + "/file", "data");
    auto mounts = MountsNow();
    const MountEntry* entry = FindMount(mounts, *at);
    ASSERT_NE(entry, nullptr);
    std::optional<Elsewhere> other;
    if (restart) other.emplace(MS_PRIVATE, *at);
    ::sync();
    ASSERT_OK(ShutDownFilesystem(*at, entry->device));
    if (restart) {
      // Its last use ends while no driver runs.
      EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
      a.reset();
      other->End();
      a = Node("A");
    } else {
      Status unmounted;
      for (int i = 0; i < 100 && !(unmounted = a->Unmount("v", "1")).ok(); ++i) ::usleep(50'000);
      ASSERT_OK(unmounted);
    }
    EXPECT_FALSE(a->Get("v")->lease.has_value());
    EXPECT_FALSE(a->Get("v")->clean);
    at = b->Mount("v", "2");
    ASSERT_OK(at);
    EXPECT_EQ(ReadFile(*at + "/file"), "data");
    ASSERT_OK(b->Unmount("v", "2"));
    EXPECT_TRUE(b->Get("v")->clean);
    ASSERT_OK(b->Remove("v"));
  }
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
    EndRenewals();
    EXPECT_EQ(ErrorOfWritesBelow(*at), EIO);
    auto info = a->Get(fs);
    ASSERT_OK(info);
    EXPECT_NE(info->lost.find("could not be renewed"), std::string::npos) << info->lost;
    auto another = a->Mount(fs, "2");
    ASSERT_FALSE(another.ok());
    EXPECT_NE(another.status().message().find("was shut down on this node"), std::string::npos);
    BeginRenewals();
    // It stays dead, also for a driver that starts anew, until it was unmounted.
    a.reset();
    a = Node("A", 2000);
    EXPECT_FALSE(a->Mount(fs, "2").ok());
    // A filesystem that was shut down may be busy with that for a moment.
    Status unmounted;
    for (int i = 0; i < 100 && !(unmounted = a->Unmount(fs, "1")).ok(); ++i) ::usleep(50'000);
    ASSERT_OK(unmounted);
    EXPECT_FALSE(a->Get(fs)->clean);
    EXPECT_EQ(a->Get(fs)->lost, "");
    at = a->Mount(fs, "2");
    ASSERT_OK(at);
    EXPECT_EQ(ReadFile(*at + "/kept"), "kept");
    ASSERT_OK(a->Unmount(fs, "2"));
  }
}

TEST_F(LifeTest, AUseInAnotherNamespaceGetsEioBeforeTheLeaseEnds) {
  for (std::string fs : {"ext4", "xfs"}) {
    DVDI_SKIP_UNLESS(NeedVolumes(fs));
    auto a = Node("A", 2000, "", 20);
    ASSERT_OK(a->Create(fs, {{"newfstype", fs}, {"size", fs == "xfs" ? "300m" : "16m"}}));
    auto at = a->Mount(fs, "1");
    ASSERT_OK(at);
    Elsewhere other(MS_PRIVATE, *at);
    ASSERT_TRUE(other.ok());
    EXPECT_EQ(a->Unmount(fs, "1").code(), Code::kRefused);
    WriteFile(other.Held() + "/kept", "kept");
    ::sync();
    EndRenewals();
    EXPECT_EQ(ErrorOfWritesBelow(other.Held()), EIO) << fs;
    EXPECT_NE(a->Get(fs)->lost.find("could not be renewed"), std::string::npos);
    BeginRenewals();
    other.End();
    for (int i = 0; i < 1000 && a->Get(fs)->lease.has_value(); ++i) {
      a->ReleaseDrained();
      ::usleep(5000);
    }
    EXPECT_FALSE(a->Get(fs)->lease.has_value());
    EXPECT_FALSE(a->Get(fs)->clean);
    auto b = Node("B", 2000);
    at = b->Mount(fs, "2");
    ASSERT_OK(at);
    EXPECT_EQ(ReadFile(*at + "/kept"), "kept");
    ASSERT_OK(b->Unmount(fs, "2"));
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

}  // namespace
}  // namespace dvdi
