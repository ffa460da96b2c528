#include "cli/bind.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cli/testing/harness.h"

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
