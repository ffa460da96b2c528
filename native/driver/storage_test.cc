// A pool whose storage fails a write.
#include <sys/mount.h>
#include <sys/syscall.h>

#include "driver/life_test.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

using namespace dvdi::testing;  // NOLINT(google-build-using-namespace): as the other tests of lives

class StorageTest : public LifeTest {
 protected:
  void SetUp() override {
    DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
    if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  }
  // Unmounts while the first fsync of it fails: that of the image.
  static Status UnmountFailing(Driver* driver) {
    Status s;
    EXPECT_TRUE(WithCallFaults({{{SYS_fsync}, EIO, 1}}, [&] { s = driver->Unmount("v", "1"); }));
    return s;
  }
};

TEST_F(StorageTest, WhatDidNotReachThePoolIsNotCleanWhateverIsSaidLater) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  Status failed = UnmountFailing(a.get());
  EXPECT_NE(failed.message().find("cannot fsync the image of volume v"), std::string::npos)
      << failed.message();
  EXPECT_NE(failed.hint().find("checked before its next mount"), std::string::npos) << failed.hint();
  auto b = Node("B");
  ASSERT_NE(b, nullptr);
  EXPECT_FALSE(b->Mount("v", "1").ok()) << "its lease was given back though the image is not whole";
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_FALSE(b->Get("v")->clean);
  ASSERT_OK(b->Mount("v", "1"));
  ASSERT_OK(b->Unmount("v", "1"));
  EXPECT_TRUE(b->Get("v")->clean) << "it was checked";
}

TEST_F(StorageTest, ADriverThatStartsDoesNotTakeItForCleanEither) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  EXPECT_FALSE(UnmountFailing(a.get()).ok());
  a.reset();
  a = Node("A");
  ASSERT_NE(a, nullptr);
  auto seen = a->Get("v");
  ASSERT_OK(seen);
  EXPECT_FALSE(seen->clean);
}

// The driver was killed while it waited for the image to be let go of, and its users had gone.
TEST_F(StorageTest, ADriverThatStartsBringsTheImageToThePoolFirst) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  a.reset();
  ASSERT_EQ(::umount(at->c_str()), 0);
  const std::string file = dir_ / "mnt-A/.state/v.json";
  std::string state = ReadFile(file);
  const std::string users = "[\"1\"]";
  ASSERT_NE(state.find(users), std::string::npos) << state;
  WriteFile(file, state.replace(state.find(users), users.size(), "[]"));
  EXPECT_TRUE(WithCallFaults({{{SYS_fsync}, EIO, 1, true}}, [&] { a = Node("A"); }));
  ASSERT_NE(a, nullptr);
  auto b = Node("B");
  ASSERT_NE(b, nullptr);
  EXPECT_FALSE(b->Mount("v", "1").ok()) << "its lease was given back though the image is not whole";
  a->ReleaseDrained();
  EXPECT_FALSE(a->Get("v")->clean);
  ASSERT_OK(b->Mount("v", "1"));
  ASSERT_OK(b->Unmount("v", "1"));
}

// In the same driver: the workload begins anew before the volume was given back.
TEST_F(StorageTest, AMountInBetweenChecksIt) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  EXPECT_FALSE(UnmountFailing(a.get()).ok());
  ASSERT_OK(a->Mount("v", "2"));
  ASSERT_OK(a->Unmount("v", "2"));
  EXPECT_TRUE(a->Get("v")->clean);
}

}  // namespace
}  // namespace dvdi
