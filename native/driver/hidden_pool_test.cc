// A pool that something else is mounted over while its drivers run: umount --lazy, and a mount that comes
// late.
#include "driver/keeper.h"
#include "driver/life_test.h"

namespace dvdi {
namespace {

using testing::LifeTest;
using testing::NeedVolumes;
using testing::ReadFile;
using testing::Text;
using testing::WriteFile;

// Images and leases are reached by the folder that was opened; were the renewals not, they would go
// elsewhere, and a node that is alive be fenced.
TEST_F(LifeTest, LeasesAreRenewedInThePoolThatWasOpened) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  auto a = Node("A", 2000);
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  // As another machine has it, where nothing is in its way.
  const std::string pool = dir_ / "pool", there = dir_ / "there";
  ASSERT_EQ(::mkdir(there.c_str(), 0700), 0);
  ASSERT_EQ(::mount(pool.c_str(), there.c_str(), nullptr, MS_BIND, nullptr), 0);
  DriverOptions options;
  options.pool = there;
  options.mount_root = dir_ / "mnt-B";
  options.node = "B";
  options.lease_ms = 2000;
  auto b = Driver::Open(options);
  ASSERT_OK(b);
  ASSERT_EQ(::mount("none", pool.c_str(), "tmpfs", 0, "mode=0700"), 0);
  auto fenced = (*b)->Fence("v", false);
  EXPECT_NE(Text(fenced).find("is alive"), std::string::npos) << "it was fenced; " << Text(fenced);
  EXPECT_EQ(a->Get("v")->lost, "");
  WriteFile(*at + "/file", "data");
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  EXPECT_FALSE(testing::Exists(pool + "/.sessions")) << "nothing is made in a folder that is not the pool";
  ASSERT_OK(a->Unmount("v", "1"));
  ASSERT_EQ(::umount2(pool.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace dvdi
