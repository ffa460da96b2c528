// A volume that an earlier driver has mounted, and whose pool cannot be had: the node lets go of it, and its
// lease follows when the pool is there again.
#include <sys/mount.h>

#include "driver/closed_tier_test.h"
#include "driver/elsewhere_test.h"
#include "driver/hanging_test.h"

namespace dvdi {
namespace {

using namespace dvdi::testing;  // NOLINT(google-build-using-namespace): as the other tests of lives

class LetGoTest : public ClosedTierTest {
 protected:
  // Two users of volume w, whose driver is gone then.
  void MountAndEnd() {
    auto a = Start();
    ASSERT_OK(a);
    for (const char* id : {"1", "2"}) {
      auto at = (*a)->Mount("w", id);
      ASSERT_OK(at);
      at_ = *at;
    }
    generation_ = (*a)->Get("w")->generation;
  }
  bool Mounted() const { return FindMount(MountsNow(), at_) != nullptr; }
  std::string InPool(const std::string& file) const {
    return there_ + "/pool/w/" + file + "." + std::to_string(generation_);
  }
  // Until the tier is open, and what was left in it is seen to.
  void WaitForRelease(Driver* a) {
    auto newest = [&] {
      auto w = a->Get("w");
      return w.ok() && !w->lease.has_value();
    };
    for (int i = 0; i < 2000 && !newest(); ++i) {
      a->ReleaseDrained();
      ::usleep(10'000);
    }
    EXPECT_TRUE(newest()) << "its lease was not given back";
  }
  void LetGo(Driver* a) {
    EXPECT_TRUE(Mounted());
    ASSERT_OK(a->Unmount("w", "stranger"));
    ASSERT_OK(a->Unmount("w", "1"));
    EXPECT_TRUE(Mounted()) << "it has another user";
    ASSERT_OK(a->Unmount("w", "2"));
    EXPECT_FALSE(Mounted());
    EXPECT_FALSE(Exists(at_));
    ASSERT_OK(a->Unmount("w", "2"));
    EXPECT_EQ(a->Mount("w", "3").status().code(), Code::kUnavailable);
  }

  std::string at_;
  uint64_t generation_ = 0;
};

TEST_F(LetGoTest, ItsLeaseIsGivenBackWhenThePoolIsThere) {
  MountAndEnd();
  Away();
  auto a = Start();
  ASSERT_OK(a);
  LetGo(a->get());
  Back();
  EXPECT_TRUE(Exists(InPool("lease")));
  EXPECT_FALSE(Exists(InPool("released"))) << "the node may be asked for it still";
  WaitForRelease(a->get());
  EXPECT_FALSE((*a)->Get("w")->clean) << "nobody has seen whether its image was written whole";
  ExpectOpen(a->get());
}

TEST_F(LetGoTest, WhereThePoolHangs) {
  MountAndEnd();
  HangingMount hangs(there_);
  if (!hangs.ok()) GTEST_SKIP() << "needs FUSE";
  auto a = Start(300);
  ASSERT_OK(a);
  LetGo(a->get());
  hangs.End();
  WaitForRelease(a->get());
  ExpectOpen(a->get());
}

// The driver starts for that alone.
TEST_F(LetGoTest, WhereNoTierCanBeUsed) {
  MountAndEnd();
  Away();
  ASSERT_EQ(::chmod((dir_ / "fast").c_str(), 0777), 0);
  {
    auto a = Start();
    ASSERT_OK(a);
    LetGo(a->get());
    Back();
    ASSERT_EQ(::chmod((dir_ / "fast").c_str(), 0700), 0);
    WaitForRelease(a->get());
    ExpectOpen(a->get());
  }
  Away();
  ASSERT_EQ(::chmod((dir_ / "fast").c_str(), 0777), 0);
  EXPECT_FALSE(Start().ok()) << "nothing is mounted";
}

TEST_F(LetGoTest, TheNextDriverGivesItsLeaseBack) {
  MountAndEnd();
  Away();
  auto a = Start();
  ASSERT_OK(a);
  LetGo(a->get());
  Back();
  a->reset();
  a = Start();
  ASSERT_OK(a);
  EXPECT_TRUE(Exists(InPool("released")));
  EXPECT_FALSE((*a)->Get("w")->clean);
  ExpectOpen(a->get());
}

TEST_F(LetGoTest, WhatIsBusyStays) {
  MountAndEnd();
  Away();
  auto a = Start();
  ASSERT_OK(a);
  ASSERT_OK((*a)->Unmount("w", "1"));
  {
    UniqueFd user(::open((at_ + "/file").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(user.valid());
    Status busy = (*a)->Unmount("w", "2");
    EXPECT_EQ(busy.code(), Code::kRefused);
    EXPECT_NE(busy.message().find("is busy"), std::string::npos) << busy.message();
    EXPECT_TRUE(Mounted());
  }
  ASSERT_OK((*a)->Unmount("w", "2"));
  EXPECT_FALSE(Mounted());
}

TEST_F(LetGoTest, WhatIsInUseElsewhereIsNotSaidToBeFree) {
  MountAndEnd();
  Elsewhere user(MS_PRIVATE, at_ + "/file");
  ASSERT_TRUE(user.ok());
  Away();
  auto a = Start();
  ASSERT_OK(a);
  ASSERT_OK((*a)->Unmount("w", "1"));
  for (int i = 0; i < 2; ++i) {
    Status used = (*a)->Unmount("w", "2");
    EXPECT_EQ(used.code(), Code::kRefused);
    EXPECT_NE(used.message().find("a process in another mount namespace still has it"), std::string::npos)
        << used.message();
    EXPECT_FALSE(Mounted());
  }
  user.End();
  for (int i = 0; i < 1000 && !(*a)->Unmount("w", "2").ok(); ++i) ::usleep(10'000);
  ASSERT_OK((*a)->Unmount("w", "2"));
  Back();
  WaitForRelease(a->get());
}

// Whose it is, is known by what the earlier driver recorded alone.
TEST_F(LetGoTest, WhatIsNotKnownToBeTheVolumeStays) {
  MountAndEnd();
  ASSERT_EQ(::mount("none", at_.c_str(), "tmpfs", 0, nullptr), 0);
  Away();
  auto a = Start();
  ASSERT_OK(a);
  ExpectClosed((*a)->Unmount("w", "1"), "No such file or directory");
  ASSERT_EQ(::umount(at_.c_str()), 0);
  ASSERT_EQ(::unlink((dir_ / "mnt/.state/w.json").c_str()), 0);
  ExpectClosed((*a)->Unmount("w", "1"), "No such file or directory");
  EXPECT_TRUE(Mounted());
}

}  // namespace
}  // namespace dvdi
