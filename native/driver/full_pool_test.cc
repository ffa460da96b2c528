// A pool whose disk is full: sparse images are promised more than there is, so it comes.
#include <sys/statfs.h>

#include "driver/keeper.h"
#include "driver/life_test.h"

namespace dvdi {
namespace {

using namespace dvdi::testing;  // NOLINT(google-build-using-namespace): as the other tests of lives

class FullPoolTest : public LifeTest {
 protected:
  void SetUp() override {
    DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
    const std::string pool = dir_ / "pool";
    ASSERT_EQ(::mkdir(pool.c_str(), 0700), 0);
    ASSERT_EQ(::mount("none", pool.c_str(), "tmpfs", 0, "mode=0700,size=64m"), 0);
  }
  // Until not one byte more fits.
  void Fill() {
    UniqueFd file(::open((dir_ / "pool/.filler").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    const std::string block(4096, 'x');
    while (::write(file.get(), block.data(), block.size()) > 0) {
    }
    ASSERT_EQ(errno, ENOSPC);
  }
  void MakeRoom() { ASSERT_EQ(::unlink((dir_ / "pool/.filler").c_str()), 0); }
};

TEST_F(FullPoolTest, LeasesAreRenewedAllTheSame) {
  auto a = Node("A", 2000);
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  ::sync();  // what the mount itself has to write would find no room, seconds later
  Fill();
  const int64_t until = BootMs() + 5000;
  while (BootMs() < until) ::usleep(50'000);
  EXPECT_EQ(a->Get("v")->lost, "") << "for want of room, all volumes of the pool are shut down";
  auto b = Node("B");
  ASSERT_NE(b, nullptr);
  auto fenced = b->Fence("v", false);
  EXPECT_NE(Text(fenced).find("is alive"), std::string::npos) << Text(fenced);
  MakeRoom();
  WriteFile(*at + "/file", "data");
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  ASSERT_OK(a->Unmount("v", "1"));
}

TEST_F(FullPoolTest, ADriverThatStartsShutsNothingDown) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  WriteFile(*at + "/file", "data");
  Fill();
  a.reset();
  a = Node("A");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->Get("v")->lost, "") << "a volume in use was shut down for want of room for a lease file";
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  const std::string before = std::to_string(a->Get("v")->generation);
  MakeRoom();
  a->ReleaseDrained();
  EXPECT_NE(std::to_string(a->Get("v")->generation), before) << "it is taken over when there is room";
  ASSERT_OK(a->Mount("v", "2"));
  ASSERT_OK(a->Unmount("v", "2"));
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_TRUE(a->Get("v")->clean);
}

TEST_F(FullPoolTest, AVolumeIsGivenBackAndRemovedAllTheSame) {
  auto a = Node("A"), b = Node("B");
  for (const char* name : {"v", "w"}) {
    ASSERT_OK(a->Create(name, {}));
    ASSERT_OK(a->Mount(name, "1"));
    WriteFile(dir_ / (std::string("mnt-A/") + name + "/file"), std::string(1 << 20, 'x'));
    ::sync();
  }
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_TRUE(a->Get("v")->clean);
  Fill();
  ASSERT_OK(a->Unmount("w", "1"));
  EXPECT_FALSE(a->Get("w")->lease.has_value()) << "another node may have it now";
  EXPECT_FALSE(a->Get("w")->clean) << "there was no room to say so";
  ASSERT_OK(b->Remove("v"));
  EXPECT_FALSE(Exists(dir_ / "pool/v")) << "who makes room must not need it";
  ASSERT_OK(b->Mount("w", "2"));
  EXPECT_EQ(ReadFile(dir_ / "mnt-B/w/file").size(), size_t{1} << 20);
  ASSERT_OK(b->Unmount("w", "2"));
  EXPECT_TRUE(b->Get("w")->clean);
}

}  // namespace
}  // namespace dvdi
