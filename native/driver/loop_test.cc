// Loop devices that do not answer.
#include "driver/loop.h"

#include <linux/loop.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <atomic>
#include <thread>

#include "driver/driver_test.h"
#include "driver/elsewhere_test.h"
#include "driver/files.h"

namespace dvdi {
namespace {

using testing::DriverTest;
using testing::Elsewhere;
using testing::Exists;
using testing::MountsNow;
using testing::WriteFile;

// The device whose look hangs, as one does whose file's server is away; 0 is none.
std::atomic<dev_t> g_hangs{0};
// The errno of each look, as of one whose file's server is away, or does not know the file; 0 is none.
std::atomic<int> g_fails{0};

}  // namespace
}  // namespace dvdi

// Found before libc's.
extern "C" int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  struct stat st;
  if (request == LOOP_GET_STATUS64 && ::fstat(fd, &st) == 0)
    while (dvdi::g_hangs != 0 && st.st_rdev == dvdi::g_hangs) ::usleep(1000);
  if (request == LOOP_GET_STATUS64 && dvdi::g_fails != 0) {
    errno = dvdi::g_fails;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_ioctl, fd, request, argument));
}

namespace dvdi {
namespace {

// A volume that a process in another namespace keeps in use, on a device that does not answer.
class HangingLoopTest : public DriverTest {
 protected:
  ~HangingLoopTest() override {
    SetStepHook(nullptr);
    g_hangs = 0;
    g_fails = 0;
  }
  void MountAndHold(Driver* a) {
    ASSERT_OK(a->Create("v", {}));
    auto at = a->Mount("v", "1");
    ASSERT_OK(at);
    auto mounts = MountsNow();
    const MountEntry* entry = FindMount(mounts, *at);
    ASSERT_NE(entry, nullptr);
    unsigned major = 0, minor = 0;
    ASSERT_EQ(::sscanf(entry->device.c_str(), "%u:%u", &major, &minor), 2);
    device_ = makedev(major, minor);
    other_.emplace(MS_PRIVATE, *at);
    ASSERT_TRUE(other_->ok());
  }
  // Once the process has ended, and the device answers.
  void ExpectGivenBack(Driver* a) {
    g_hangs = 0;
    other_->End();
    for (int i = 0; i < 1000 && Leased("v"); ++i) {
      a->ReleaseDrained();
      ::usleep(5000);
    }
    EXPECT_FALSE(Leased("v"));
    EXPECT_TRUE(a->Get("v")->clean);
  }

  dev_t device_ = 0;
  std::optional<Elsewhere> other_;
};

TEST_F(HangingLoopTest, AnUnmountKeepsTheLeaseUntilItIsKnown) {
  auto a = Node("A", 20);
  MountAndHold(a.get());
  static dev_t device;
  device = device_;
  SetStepHook([](const char* step) {
    if (std::string(step) == "unmounted") g_hangs = device;
  });
  Status unmounted = a->Unmount("v", "1");
  EXPECT_EQ(unmounted.code(), Code::kUnavailable) << unmounted.message();
  EXPECT_NE(unmounted.message().find("does not answer"), std::string::npos) << unmounted.message();
  a->ReleaseDrained();
  EXPECT_TRUE(Leased("v"));
  ExpectGivenBack(a.get());
}

TEST_F(HangingLoopTest, AStallIsWaitedFor) {
  auto a = Node("A", 60'000);
  MountAndHold(a.get());
  static dev_t device;
  device = device_;
  SetStepHook([](const char* step) {
    if (std::string(step) == "unmounted") g_hangs = device;
  });
  std::atomic<bool> over{false};
  std::thread later([&] {
    while (g_hangs == 0 && !over) ::usleep(1000);
    ::usleep(1'500'000);
    g_hangs = 0;
    other_->End();
  });
  Status unmounted = a->Unmount("v", "1");
  over = true;
  later.join();
  ASSERT_OK(unmounted);
  EXPECT_FALSE(Leased("v"));
}

TEST_F(HangingLoopTest, TheVolumeIsNeitherRemovedNorCheckedNorMounted) {
  auto a = Node("A", 20);
  MountAndHold(a.get());
  EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
  g_hangs = device_;
  static std::atomic<int> tools;
  tools = 0;
  SetStepHook([](const char* step) { tools += std::string(step) == "tool-started" ? 1 : 0; });
  // The first look finds out that it hangs; later ones know.
  for (int i = 0; i < 2; ++i) {
    Status removed = a->Remove("v");
    EXPECT_EQ(removed.code(), Code::kUnavailable) << removed.message();
    ASSERT_TRUE(Exists(dir_ / "pool/v/image"));
    auto mounted = a->Mount("v", "2");
    EXPECT_EQ(mounted.status().code(), Code::kUnavailable) << mounted.status().message();
    EXPECT_FALSE(Exists(dir_ / "mnt-A/v"));
    EXPECT_TRUE(Leased("v"));
  }
  EXPECT_EQ(tools, 0) << "nothing is checked that may be mounted";
  ExpectGivenBack(a.get());
}

TEST_F(HangingLoopTest, ADriverThatStartsMeanwhileGivesTheLeaseBackLater) {
  auto a = Node("A", 20);
  MountAndHold(a.get());
  EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
  a.reset();
  g_hangs = device_;
  a = Node("A", 20);
  ASSERT_NE(a, nullptr);
  EXPECT_TRUE(Leased("v"));
  g_hangs = 0;
  other_->End();
  for (int i = 0; i < 400 && Leased("v"); ++i) {
    a->ReleaseDrained();
    ::usleep(5000);
  }
  EXPECT_FALSE(Leased("v")) << "the device answers, nobody uses it, and the lease stays";
}

TEST_F(HangingLoopTest, ALeaseThatIsGivenBackLateSurvivesAnErrorOfThePool) {
  auto a = Node("A", 20);
  MountAndHold(a.get());
  EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
  // Stands for EIO, ESTALE, ETIMEDOUT: anything but "there is no such volume".
  ASSERT_EQ(::rename((dir_ / "pool/v").c_str(), (dir_ / "pool/.away").c_str()), 0);
  WriteFile(dir_ / "pool/v", "");
  a->ReleaseDrained();
  ASSERT_EQ(::unlink((dir_ / "pool/v").c_str()), 0);
  ASSERT_EQ(::rename((dir_ / "pool/.away").c_str(), (dir_ / "pool/v").c_str()), 0);
  ExpectGivenBack(a.get());
}

TEST_F(HangingLoopTest, IsNothingToAnotherPool) {
  auto a = Node("A", 20);
  MountAndHold(a.get());
  EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
  g_hangs = device_;
  ASSERT_EQ(::mkdir((dir_ / "other").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir((dir_ / "other/v").c_str(), 0700), 0);
  WriteFile(dir_ / "other/v/image", "x");
  UniqueFd image(::open((dir_ / "other/v/image").c_str(), O_RDWR | O_CLOEXEC));
  for (int i = 0; i < 2; ++i) {
    auto found = FindLoop(image.get());
    ASSERT_OK(found);
    EXPECT_FALSE(found->has_value());
  }
  ExpectGivenBack(a.get());
}

TEST_F(HangingLoopTest, ADeviceThatCannotBeAskedMayBeOverTheImage) {
  auto a = Node("A", 20);
  MountAndHold(a.get());
  EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
  for (int err : {ESTALE, EIO, ETIMEDOUT, ENOTCONN}) {
    g_fails = err;
    a->ReleaseDrained();
    EXPECT_TRUE(Leased("v")) << "given back while somebody writes: " << err;
    auto mounted = a->Mount("v", "2");
    EXPECT_EQ(mounted.status().code(), Code::kUnavailable) << mounted.status().message();
    EXPECT_NE(mounted.status().message().find("cannot be asked for its file"), std::string::npos)
        << mounted.status().message();
    g_fails = 0;
  }
  ExpectGivenBack(a.get());
}

// As in a container, which has a /dev of its own.
TEST_F(HangingLoopTest, ADeviceThatIsMissingInDevMayBeOverTheImage) {
  auto a = Node("A", 20);
  MountAndHold(a.get());
  EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
  ASSERT_EQ(::mount("bare", "/dev", "tmpfs", 0, ""), 0);
  a->ReleaseDrained();
  const bool leased = Leased("v");
  auto mounted = a->Mount("v", "2");
  ASSERT_EQ(::umount2("/dev", MNT_DETACH), 0);
  EXPECT_TRUE(leased) << "given back while somebody writes";
  EXPECT_EQ(mounted.status().code(), Code::kUnavailable) << mounted.status().message();
  EXPECT_NE(mounted.status().message().find("is missing here"), std::string::npos)
      << mounted.status().message();
  EXPECT_NE(mounted.status().hint().find("/dev"), std::string::npos);
  ExpectGivenBack(a.get());
}

}  // namespace
}  // namespace dvdi
