// A volume is taken from a node that is dead, or cut off.
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include <atomic>
#include <thread>

#include "base/json.h"
#include "driver/image.h"
#include "driver/life_test.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::kMiB;
using testing::LifeTest;
using testing::Names;
using testing::NeedVolumes;
using testing::ReadFile;
using testing::Text;
using testing::WriteFile;

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
    EXPECT_GE(fenced->waited_ms, 2000 + LeaseKeeper::Margin(2000));
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

// A node in a process of its own, for which the pool hangs, renewals too, while it mounts the volume.
class HangingNode {
 public:
  // Hangs at the step of that name; `mount` gives the Mount's outcome.
  HangingNode(const char* step, const std::function<Status()>& mount) {
    void* shared = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared_ = new (shared) Shared;
    step_ = step;
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    SetStepHook([](const char* now) {
      if (!shared_->hung && std::string(now) == step_) shared_->hung = true;
      if (std::string(now) == "attached") shared_->attached = true;
      while (shared_->hung && !shared_->over) ::usleep(1000);
    });
    Status s = mount();
    shared_->hung = true;  // also where it never came to that step
    ::_exit(static_cast<int>(s.code()));
  }
  ~HangingNode() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    (void)GoOn();
    ::munmap(shared_, sizeof(Shared));
  }
  void WaitUntilItHangs() const {
    while (!shared_->hung) ::usleep(1000);
  }
  // The pool is there again: the Mount's outcome.
  Code GoOn() {
    shared_->over = true;
    int state = 0;
    if (pid_ > 0) ::waitpid(pid_, &state, 0);
    pid_ = 0;
    return static_cast<Code>(WEXITSTATUS(state));
  }
  bool attached() const { return shared_->attached; }

 private:
  struct Shared {
    std::atomic<bool> hung{false}, over{false}, attached{false};
  };
  static inline Shared* shared_;
  static inline std::string step_;
  pid_t pid_ = 0;
};

TEST_F(LifeTest, AMountThatHungUntilItWasFencedDoesNothingToTheImage) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  // As the image is opened the first time, and the last time.
  for (const char* step : {"lease-taken", "checked"}) {
    {
      auto a = Node("A");
      ASSERT_OK(a->Create("v", {}));
      ASSERT_OK(a->Mount("v", "1"));
      WriteFile(dir_ / "mnt-A/v/file", "data");
      ASSERT_OK(a->Unmount("v", "1"));
      MakeUnclean();
      if (std::string(step) == "lease-taken") {
        // As a crash behind the metadata leaves it: there is something to be grown too.
        ASSERT_OK(a->Create("v", {{"size", "32m"}}));
        ASSERT_EQ(::truncate(Image().c_str(), 16 * kMiB), 0);
      }
    }
    HangingNode b(step, [&]() -> Status {
      auto driver = Node("B", 2000);
      return driver == nullptr ? Status(Code::kInternal, "no driver") : driver->Mount("v", "1").status();
    });
    b.WaitUntilItHangs();
    auto a = Node("A", 2000);
    auto fenced = a->Fence("v", false);
    ASSERT_OK(fenced);
    EXPECT_EQ(fenced->from, "B");
    UniqueFd image(::open(Image().c_str(), O_RDONLY | O_CLOEXEC));
    struct stat before, after;
    ASSERT_EQ(::fstat(image.get(), &before), 0);
    EXPECT_EQ(b.GoOn(), Code::kUnavailable) << step;
    EXPECT_FALSE(b.attached()) << step;
    ASSERT_EQ(::fstat(image.get(), &after), 0);
    EXPECT_EQ(after.st_size, before.st_size) << step;
    EXPECT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec) << step;
    auto at = a->Mount("v", "1");
    ASSERT_OK(at);
    EXPECT_EQ(ReadFile(*at + "/file"), "data");
    ASSERT_OK(a->Unmount("v", "1"));
    ASSERT_OK(a->Remove("v"));
  }
}

TEST_F(LifeTest, ARemovalThatHungUntilItWasFencedRemovesNothing) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto a = Node("A", 2000);
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  WriteFile(dir_ / "mnt-A/v/file", "data");
  ASSERT_OK(a->Unmount("v", "1"));
  HangingNode b("lease-taken", [&]() -> Status {
    auto driver = Node("B", 2000);
    // Another machine does not see this one's loop devices.
    if (::unshare(CLONE_NEWNS) < 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0 ||
        ::mount("none", "/sys/block", "tmpfs", 0, nullptr) < 0)
      return Status(Code::kInternal, "no namespace");
    return driver == nullptr ? Status(Code::kInternal, "no driver") : driver->Remove("v");
  });
  b.WaitUntilItHangs();
  ASSERT_OK(a->Fence("v", false));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  WriteFile(*at + "/file", "written since");
  const Code code = b.GoOn();
  EXPECT_NE(code, Code::kOk) << "B says that it has removed a volume that A has mounted";
  EXPECT_TRUE(Exists(Image())) << "the image of a volume that A has mounted under its lease is gone";
  EXPECT_TRUE(Exists(dir_ / "pool/v/volume.json"));
  Status unmounted = a->Unmount("v", "1");
  EXPECT_TRUE(unmounted.ok()) << unmounted.message();
  auto again = a->Mount("v", "1");
  EXPECT_TRUE(again.ok()) << again.status().message();
  if (!again.ok()) return;
  EXPECT_EQ(ReadFile(*again + "/file"), "written since");
  EXPECT_TRUE(a->Unmount("v", "1").ok());
}

TEST_F(LifeTest, AChangeThatHungUntilItWasFencedChangesNothing) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto a = Node("A", 2000);
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));
  HangingNode b("lease-taken", [&]() -> Status {
    auto driver = Node("B", 2000);
    return driver == nullptr ? Status(Code::kInternal, "no driver") : driver->Create("v", {{"size", "64m"}});
  });
  b.WaitUntilItHangs();
  ASSERT_OK(a->Fence("v", false));
  ASSERT_OK(a->Mount("v", "1"));
  const std::string before = ReadFile(dir_ / "pool/v/volume.json");
  EXPECT_EQ(b.GoOn(), Code::kUnavailable);
  EXPECT_EQ(ReadFile(dir_ / "pool/v/volume.json"), before) << "by a node without the lease";
  ASSERT_OK(a->Unmount("v", "1"));
}

// The pool gives an error for a moment, while a driver starts.
TEST_F(LifeTest, AMountedVolumeThatCouldNotBeRecoveredIsGuardedLater) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto a = Node("A", 2000);
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  a.reset();
  // Stands for EIO or ESTALE in whatever RecoverVolume does.
  const std::string trouble = dir_ / "pool/v/tmp.A.0123456789abcdef";
  ASSERT_EQ(::mkdir(trouble.c_str(), 0700), 0);
  a = Node("A", 2000);
  ASSERT_NE(a, nullptr);
  ASSERT_EQ(::rmdir(trouble.c_str()), 0);
  // The pool is well, the driver runs, and its loop has come by.
  for (int i = 0; i < 100; ++i) {
    a->ReleaseDrained();
    ::usleep(20'000);
  }
  ASSERT_OK(a->Mount("v", "2"));
  auto b = Node("B", 2000);
  auto fenced = b->Fence("v", false);
  EXPECT_FALSE(fenced.ok()) << "A is alive, renews its leases, and has the volume mounted for two users";
  int error = 0;
  for (int i = 0; fenced.ok() && i < 250 && error == 0; ++i) {
    a->ReleaseDrained();
    UniqueFd file(::open((*at + "/file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (!file.valid() || ::write(file.get(), "x", 1) < 0 || ::fsync(file.get()) < 0) error = errno;
    ::usleep(20'000);
  }
  if (fenced.ok()) {
    EXPECT_NE(error, 0) << "its workload goes on for seconds, and what it writes is in no volume";
  }
  (void)a->Unmount("v", "1");
  (void)a->Unmount("v", "2");
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
  ASSERT_NO_FATAL_FAILURE(BreakFenceOff());
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

// That node is dead says nothing of the one which it had fenced, and whose writes may come late.
TEST_F(LifeTest, AFenceThatBrokeOffIsEndedByAFenceOnTheOperatorsWord) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  ASSERT_OK(Node("B", 2000)->Create("v", {}));
  LeaseOfTheDead(2000);
  struct stat before, after;
  ASSERT_EQ(::stat(Image().c_str(), &before), 0);
  ASSERT_NO_FATAL_FAILURE(BreakFenceOff());
  auto c = Node("C", 2000);
  ASSERT_OK(c->Fence("v", true));
  ASSERT_EQ(::stat(Image().c_str(), &after), 0);
  EXPECT_NE(before.st_ino, after.st_ino);
  EXPECT_FALSE(c->Get("v")->renew);
}

TEST_F(LifeTest, AFenceWhoseCopyFailsLeavesThatToTheNextMount) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto b = Node("B", 2000), c = Node("C", 2000);
  ASSERT_OK(b->Create("v", {}));
  ASSERT_OK(b->Mount("v", "1"));
  WriteFile(dir_ / "mnt-B/v/file", "data");
  ASSERT_OK(b->Unmount("v", "1"));
  LeaseOfTheDead(2000);
  static std::string image;
  image = Image();
  struct stat before, after;
  ASSERT_EQ(::stat(image.c_str(), &before), 0);
  SetStepHook([](const char* step) {
    if (std::string(step) == "fence-marked") std::filesystem::rename(image, image + ".aside");
  });
  auto failed = b->Fence("v", false);
  SetStepHook(nullptr);
  ASSERT_FALSE(failed.ok());
  std::filesystem::rename(image + ".aside", image);
  EXPECT_TRUE(b->Get("v")->renew);
  auto at = c->Mount("v", "1");
  ASSERT_OK(at);
  ASSERT_EQ(::stat(image.c_str(), &after), 0);
  EXPECT_NE(before.st_ino, after.st_ino) << "mounted from the file that the fenced node may write to";
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  ASSERT_OK(c->Unmount("v", "1"));
}

// The fenced node may still write to the image: until the copy is made, or is on record as owed, nobody else
// may have it.
TEST_F(LifeTest, AFenceThatFailsBeforeItIsOnRecordDoesNotFreeTheVolume) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto b = Node("B", 2000), c = Node("C", 2000);
  ASSERT_OK(b->Create("v", {}));
  ASSERT_OK(b->Mount("v", "1"));
  WriteFile(dir_ / "mnt-B/v/file", "data");
  ASSERT_OK(b->Unmount("v", "1"));
  LeaseOfTheDead(2000);
  static std::string meta;
  meta = dir_ / "pool/v/volume.json";
  struct stat before, after;
  ASSERT_EQ(::stat(Image().c_str(), &before), 0);
  // Before the volume is taken: it stays the dead node's.
  ASSERT_EQ(::chmod(meta.c_str(), 0620), 0);
  EXPECT_FALSE(b->Fence("v", false).ok());
  ASSERT_EQ(::chmod(meta.c_str(), 0600), 0);
  EXPECT_EQ(b->Get("v")->lease->holder.node, "dead");
  // Behind that: it stays this node's.
  SetStepHook([](const char* step) {
    if (std::string(step) == "fenced") ::chmod(meta.c_str(), 0620);
  });
  auto failed = b->Fence("v", false);
  SetStepHook(nullptr);
  ASSERT_EQ(::chmod(meta.c_str(), 0600), 0);
  ASSERT_FALSE(failed.ok());
  EXPECT_FALSE(c->Mount("v", "1").ok()) << "not copied, and nobody knows that it is owed";
  auto at = b->Mount("v", "1");
  ASSERT_OK(at);
  ASSERT_EQ(::stat(Image().c_str(), &after), 0);
  EXPECT_NE(before.st_ino, after.st_ino) << "mounted from the file that the fenced node may write to";
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  ASSERT_OK(b->Unmount("v", "1"));
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

}  // namespace
}  // namespace dvdi
