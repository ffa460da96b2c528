#include "cli/bind.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "cli/testing/harness.h"
#include "sys/test_faults.h"

namespace dvdi::cli {
namespace {

// Both ways to bind: with descriptors, and as on a kernel that lacks them.
class Bind : public MountTest, public ::testing::WithParamInterface<bool> {
 protected:
  Status BindAt(const std::string& stage, const std::string& target) {
    auto tree = CloneStage(stage, GetParam());
    if (!tree.ok()) return tree.status();
    EXPECT_EQ(tree->valid(), !GetParam());
    return BindStage(*tree, stage, target);
  }
};
INSTANTIATE_TEST_SUITE_P(Ways, Bind, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Classic" : "Descriptors"; });

TEST_P(Bind, TheTargetShowsTheStage) {
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  Status s = BindAt(stage, target);
  ASSERT_TRUE(s.ok()) << s.message();
  EXPECT_EQ(ReadFile(target + "/is-a"), "a");
}

TEST_P(Bind, ChangesComeFromTheStageAndNotBack) {
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  MakeFolder("stage-a/inner");
  ASSERT_TRUE(BindAt(stage, target).ok());
  ASSERT_EQ(::mount("dvdi-test", (stage + "/inner").c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_TRUE(IsMount(target + "/inner"));
  ASSERT_EQ(::umount((stage + "/inner").c_str()), 0);
  EXPECT_FALSE(IsMount(target + "/inner"));
  ASSERT_EQ(::mount("dvdi-test", (target + "/inner").c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_FALSE(IsMount(stage + "/inner"));
}

TEST_P(Bind, AReadOnlyStageStaysReadOnly) {
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  ASSERT_EQ(::mount(nullptr, stage.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr), 0);
  ASSERT_TRUE(BindAt(stage, target).ok());
  EXPECT_NE(::access(target.c_str(), W_OK), 0);
}

TEST_P(Bind, ASymlinkOnTheWayIsRefused) {
  std::string stage = MakeStage("a"), real = MakeFolder("real/target");
  ASSERT_EQ(::symlink(Path("real").c_str(), Path("link").c_str()), 0);
  Status s = BindAt(stage, Path("link/target"));
  EXPECT_FALSE(s.ok());
  EXPECT_EQ(s.path(), Path("link/target"));
  EXPECT_FALSE(IsMount(real));
}

TEST_P(Bind, AMissingTargetIsAnError) {
  Status s = BindAt(MakeStage("a"), Path("absent"));
  EXPECT_FALSE(s.ok());
  EXPECT_FALSE(s.hint().empty());
}

TEST_P(Bind, AFolderThatIsNoMountIsNoStage) {
  Status s = BindAt(MakeFolder("empty"), MakeFolder("target"));
  EXPECT_EQ(s.code(), Code::kSystem);
  EXPECT_FALSE(IsMount(Path("target")));
}

TEST_P(Bind, WithoutMountSetattrTheBindIsASlaveAllTheSame) {
  if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  MakeFolder("stage-a/inner");
  Status s;
  EXPECT_EQ(WithCallFaults({{{SYS_mount_setattr}, ENOSYS, 0}}, [&] { s = BindAt(stage, target); }),
            !GetParam());
  ASSERT_TRUE(s.ok()) << s.message();
  const auto mounts = OwnMounts();
  EXPECT_EQ(FindMount(*mounts, target)->propagation.rfind("master:", 0), 0u);
  EXPECT_EQ(FindMount(*mounts, stage)->propagation.rfind("shared:", 0), 0u);
}

TEST_P(Bind, UnbindTakesAwayOnlyOurs) {
  std::string stage = MakeStage("a"), other = MakeStage("b"), target = MakeFolder("target");
  ASSERT_TRUE(BindAt(stage, target).ok());
  EXPECT_FALSE(*UnbindStage(other, target));
  EXPECT_TRUE(IsMount(target));
  EXPECT_TRUE(*UnbindStage(stage, target));
  EXPECT_FALSE(IsMount(target));
  EXPECT_FALSE(*UnbindStage(stage, target));
  EXPECT_TRUE(IsMount(stage));
}

TEST_P(Bind, UnbindRefusesWhatIsInUse) {
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  ASSERT_TRUE(BindAt(stage, target).ok());
  UniqueFd user(::open((target + "/is-a").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(user.valid());
  EXPECT_EQ(UnbindStage(stage, target).status().code(), Code::kRefused);
  EXPECT_TRUE(IsMount(target));
}

// The user who owns `home` exchanges a folder with a mount in it for another one while a command is at it.
class Moved : public MountTest {
 protected:
  static void Exchange(const std::string& folder, const std::string& other) {
    ASSERT_EQ(::renameat2(AT_FDCWD, folder.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE), 0);
  }
  // Does it behind the look at the mounts, or right before the unmount.
  class Mover : public Sys {
   public:
    Mover(std::string folder, std::string other, bool late)
        : folder_(std::move(folder)), other_(std::move(other)), late_(late) {}
    Result<std::string> Mountinfo(pid_t pid) override {
      auto text = Sys::Mountinfo(pid);
      if (!late_) Exchange(folder_, other_);
      return text;
    }
    int Umount(const char* target, int flags) override {
      if (late_) Exchange(folder_, other_);
      return Sys::Umount(target, flags);
    }

   private:
    std::string folder_, other_;
    bool late_;
  };

  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    stage_ = MakeStage("a");
    target_ = MakeFolder("home/d/data");
    auto tree = CloneStage(stage_, true);
    ASSERT_TRUE(tree.ok() && BindStage(*tree, stage_, target_).ok());
    foreign_ = MakeFolder("home/e/data");
    ASSERT_EQ(::mount("dvdi-test", foreign_.c_str(), "tmpfs", 0, nullptr), 0);
    ASSERT_EQ(::symlink(Path("home/e").c_str(), Path("home/link").c_str()), 0);
  }
  int Mounted() {
    int n = 0;
    const auto mounts = OwnMounts();
    for (const auto& mount : *mounts) n += mount.mountpoint.starts_with(Path("home/"));
    return n;
  }
  std::string stage_, target_, foreign_;
};

TEST_F(Moved, WhatIsUnmountedIsWhatWasLookedAt) {
  for (const char* other : {"home/e", "home/link"}) {
    Mover mover(Path("home/d"), Path(other), false);
    EXPECT_EQ(UnbindStage(stage_, target_, &mover).status().code(), Code::kRefused) << other;
    EXPECT_EQ(Mounted(), 2) << other;
    // Back again. In use or not, what is there instead is not marked either.
    Exchange(Path("home/d"), Path(other));
    EXPECT_EQ(MountInUse(target_, &mover).status().code(), Code::kRefused) << other;
    Exchange(Path("home/d"), Path(other));
  }
  EXPECT_TRUE(*UnbindStage(stage_, target_));
  EXPECT_TRUE(IsMount(foreign_));
}

TEST_F(Moved, TooLateToMatter) {
  for (const char* other : {"home/e", "home/link"}) {
    Mover mover(Path("home/d"), Path(other), true);
    EXPECT_FALSE(*MountInUse(target_, &mover)) << other;
    EXPECT_EQ(Mounted(), 2) << other;
    Exchange(Path("home/d"), Path(other));
  }
  Mover mover(Path("home/d"), Path("home/link"), true);
  EXPECT_TRUE(*UnbindStage(stage_, target_, &mover));
  EXPECT_TRUE(IsMount(foreign_));
  EXPECT_EQ(Mounted(), 1);
}

class InContainer : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    root_ = MakeFolder("rootfs");
    for (const char* own : {"proc/sys", "sys/fs", "dev"}) MakeFolder(std::string("rootfs/") + own);
  }
  // Binds a volume there in the container, whose image has a symlink at /data.
  Status BindAt(const std::string& target, const std::string& link) {
    const std::string path = root_ + "/data";
    (void)::unlink(path.c_str());
    EXPECT_EQ(::symlink(link.c_str(), path.c_str()), 0);
    auto tree = CloneStage(stage_.empty() ? stage_ = MakeStage("a") : stage_, false);
    return tree.ok() ? BindInRoot(*tree, root_, target) : tree.status();
  }
  std::string root_, stage_;
};

TEST_F(InContainer, ALinkOfTheImageLeadsNoVolumeToWhatItsRuntimeMounts) {
  for (auto [target, link] : {std::pair("/data", "/proc"),
                              {"/data", "proc/../proc/sys"},
                              {"/data/sys", "/proc"},
                              {"/data", "../../sys"},
                              {"/data/new", "/sys/fs"},
                              {"/data/new/er", "/dev"},
                              {"/data", "/"}}) {
    Status s = BindAt(target, link);
    EXPECT_EQ(s.code(), Code::kRefused) << target << " by " << link << ": " << s.message();
    EXPECT_EQ(s.path(), target);
    EXPECT_NE(s.message().find("a symlink in the image leads to /"), std::string::npos) << s.message();
  }
  EXPECT_NE(::access((root_ + "/sys/fs/new").c_str(), F_OK), 0) << "nothing is made there either";
  EXPECT_NE(::access((root_ + "/dev/new").c_str(), F_OK), 0);
  const auto mounts = OwnMounts();
  for (const auto& mount : *mounts) EXPECT_FALSE(mount.mountpoint.starts_with(root_)) << mount.mountpoint;
}

TEST_F(InContainer, ALinkLeadsWhereItLeadsInTheContainer) {
  const std::string outside = MakeFolder("outside");
  MakeFolder("rootfs" + outside);
  Status s = BindAt("/data/new", outside);
  ASSERT_TRUE(s.ok()) << s.message();
  EXPECT_EQ(ReadFile(root_ + outside + "/new/is-a"), "a");
  EXPECT_NE(::access((outside + "/new").c_str(), F_OK), 0);
}

using Use = MountTest;

TEST_F(Use, ALookWhetherAMountIsUsedChangesNothing) {
  const std::string stage = MakeStage("a"), inner = MakeFolder("stage-a/inner");
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(*MountInUse(stage));
  EXPECT_TRUE(IsMount(stage));
  UniqueFd user(::open(stage.c_str(), O_PATH | O_CLOEXEC));
  EXPECT_TRUE(*MountInUse(stage));
  EXPECT_EQ(UnmountStage(stage).code(), Code::kRefused);
  user.reset();
  EXPECT_FALSE(*MountInUse(stage));
  ASSERT_EQ(::mount("dvdi-test", inner.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_TRUE(*MountInUse(stage)) << "by what is mounted in it";
  EXPECT_TRUE(IsMount(stage));
  ASSERT_EQ(::umount(inner.c_str()), 0);
  EXPECT_FALSE(*MountInUse(Path("absent")));
  EXPECT_FALSE(*MountInUse(MakeFolder("none")));
  EXPECT_TRUE(UnmountStage(stage).ok());
  EXPECT_FALSE(IsMount(stage));
  EXPECT_TRUE(UnmountStage(stage).ok());
}

}  // namespace
}  // namespace dvdi::cli
