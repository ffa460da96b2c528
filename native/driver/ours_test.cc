// What others could have written to: the mount root, its state, a volume's folder and files.
#include <sys/mount.h>
#include <sys/stat.h>

#include "driver/driver_test.h"
#include "driver/mounts.h"

namespace dvdi {
namespace {

using testing::EnterOwnNamespace;
using testing::Exists;
using testing::MountsNow;
using testing::Names;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

class MountRootTest : public ::testing::Test {
 protected:
  void SetUp() override { DVDI_SKIP_UNLESS(EnterOwnNamespace()); }
  // The error of opening it, "" where there is none.
  std::string Open() {
    auto root = MountRoot::Open(path_);
    if (root.ok()) return "";
    EXPECT_EQ(root.status().code(), Code::kRefused);
    EXPECT_FALSE(root.status().hint().empty());
    return root.status().message();
  }

  TempDir dir_;
  std::string path_ = dir_ / "mnt";
};

TEST_F(MountRootTest, OneThatIsMissingIsMadeForOthersToPassWhateverTheUmask) {
  path_ = dir_ / "above/mnt";
  const mode_t before = ::umask(077);
  EXPECT_EQ(Open(), "");
  ::umask(before);
  struct stat st = {};
  for (const char* made : {"above", "above/mnt"}) {
    ASSERT_EQ(::stat((dir_ / made).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0755u) << made;
  }
  ASSERT_EQ(::stat((dir_ / "above/mnt/.state").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
  // What is there stays as its owner has it.
  path_ = dir_ / "closed";
  ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
  EXPECT_EQ(Open(), "");
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
}

TEST_F(MountRootTest, OneThatOthersMayWriteToIsRefused) {
  ASSERT_EQ(::mkdir(path_.c_str(), 0755), 0);
  for (mode_t mode : {0777, 0775, 01777}) {
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
    EXPECT_NE(Open().find("the mount root " + path_ + " can be written by others"), std::string::npos);
  }
  ASSERT_EQ(::chmod(path_.c_str(), 0755), 0);
  ASSERT_EQ(::chown(path_.c_str(), 1234, 0), 0);
  EXPECT_NE(Open().find("the mount root " + path_ + " belongs to user 1234"), std::string::npos);
  EXPECT_FALSE(Exists(path_ + "/.state")) << "nothing is made in it";
  for (const auto& mount : MountsNow()) EXPECT_NE(mount.mountpoint, path_) << "nor is it made a mount";
  ASSERT_EQ(::chown(path_.c_str(), 0, 0), 0);
  EXPECT_EQ(Open(), "");
}

TEST_F(MountRootTest, AStateFolderThatOthersMayWriteToIsRefused) {
  const std::string state = path_ + "/.state", elsewhere = path_ + "/.elsewhere";
  EXPECT_EQ(Open(), "");
  for (mode_t mode : {0777, 0720, 01777}) {
    ASSERT_EQ(::chmod(state.c_str(), mode), 0);
    EXPECT_NE(Open().find("the driver's state folder " + state + " can be written by others"),
              std::string::npos);
  }
  ASSERT_EQ(::chmod(state.c_str(), 0700), 0);
  ASSERT_EQ(::chown(state.c_str(), 1234, 0), 0);
  EXPECT_NE(Open().find(state + " belongs to user 1234"), std::string::npos);
  ASSERT_EQ(::chown(state.c_str(), 0, 0), 0);
  EXPECT_EQ(Open(), "");
  ASSERT_EQ(::rename(state.c_str(), elsewhere.c_str()), 0);
  ASSERT_EQ(::symlink(elsewhere.c_str(), state.c_str()), 0);
  EXPECT_FALSE(MountRoot::Open(path_).ok());
}

// A volume over its own folder in the pool would hide its metadata and its lease.
TEST_F(MountRootTest, OneThatAPoolLiesInOrThatLiesInOneIsRefused) {
  const std::string pool = dir_ / "pool", link = dir_ / "link";
  ASSERT_EQ(::mkdir(pool.c_str(), 0700), 0);
  ASSERT_EQ(::symlink(pool.c_str(), link.c_str()), 0);
  auto open = [&](const std::string& root) {
    DriverOptions o;
    o.node = "A", o.pool = pool, o.mount_root = root;
    return Driver::Open(o).status();
  };
  for (const std::string& root : {pool, pool + "/", pool + "/.mnt/", link, link + "/a/b", dir_ / ""}) {
    const Status refused = open(root);
    EXPECT_EQ(refused.code(), Code::kInvalid) << root;
    EXPECT_NE(refused.message().find("the mount root " + root + " and the pool " + pool), std::string::npos)
        << refused.message();
    EXPECT_FALSE(refused.hint().empty());
  }
  EXPECT_TRUE(Names(pool).empty()) << "nothing is made in it";
  for (const auto& mount : MountsNow()) EXPECT_NE(mount.mountpoint, pool) << "nor is it made a mount";
  ASSERT_OK(open(pool + "-mnt"));
}

// What was written of it does not show that: its links are followed when it is opened.
TEST_F(MountRootTest, OneThatAPoolLiesInByALinkIsRefused) {
  const std::string link = dir_ / "link", inner = path_ + "/inner";
  ASSERT_EQ(::mkdir(path_.c_str(), 0755), 0);
  ASSERT_EQ(::mkdir(inner.c_str(), 0700), 0);
  ASSERT_EQ(::symlink(inner.c_str(), link.c_str()), 0);
  DriverOptions o;
  o.node = "A", o.pool = link, o.mount_root = path_;
  const Status refused = Driver::Open(o).status();
  EXPECT_EQ(refused.code(), Code::kInvalid);
  EXPECT_NE(refused.message().find("the mount root " + path_ + " and the pool " + link), std::string::npos)
      << refused.message();
  EXPECT_TRUE(Names(inner).empty()) << "nothing is made in it";
  o.mount_root = dir_ / "other";
  auto a = Driver::Open(o);
  ASSERT_OK(a);
  EXPECT_EQ((*a)->Pools(), inner);
}

class OursTest : public testing::DriverTest {};

TEST_F(OursTest, ALinkInPlaceOfAMountpointLeadsNowhere) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  const std::string victim = dir_ / "victim", at = dir_ / "mnt-A/v";
  ASSERT_EQ(::mkdir(victim.c_str(), 0755), 0);
  WriteFile(victim + "/f", "important");
  ASSERT_EQ(::symlink(victim.c_str(), at.c_str()), 0);
  auto mounted = a->Mount("v", "1");
  ASSERT_FALSE(mounted.ok());
  EXPECT_NE(mounted.status().message().find("the mountpoint of volume v"), std::string::npos)
      << mounted.status().message();
  EXPECT_EQ(ReadFile(victim + "/f"), "important");
  EXPECT_FALSE(Leased("v"));
  ASSERT_EQ(::unlink(at.c_str()), 0);
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));
}

TEST_F(OursTest, NothingIsMountedInAMountRootThatWasOpenedToOthersMeanwhile) {
  auto a = Node("A");
  for (const char* name : {"v", "w"}) ASSERT_OK(a->Create(name, {}));
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_EQ(::chmod((dir_ / "mnt-A").c_str(), 0777), 0);
  auto mounted = a->Mount("w", "1");
  EXPECT_EQ(mounted.status().code(), Code::kRefused);
  EXPECT_NE(mounted.status().message().find("volume w: the mount root"), std::string::npos);
  EXPECT_FALSE(Exists(dir_ / "mnt-A/w"));
  ASSERT_OK(a->Unmount("v", "1"));
}

TEST_F(OursTest, AVolumeThatOthersMayWriteToIsNotUsedAndStillUnmounts) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  for (const char* file : {"", "/image", "/volume.json"}) {
    const std::string path = dir_ / ("pool/v" + std::string(file));
    struct stat st;
    ASSERT_EQ(::stat(path.c_str(), &st), 0);
    for (bool mounted : {false, true}) {
      if (mounted) ASSERT_OK(a->Mount("v", "1"));
      ASSERT_EQ(::chmod(path.c_str(), st.st_mode | 0022), 0);
      auto refused = a->Mount("v", "2");
      EXPECT_EQ(refused.status().code(), Code::kRefused) << path;
      EXPECT_NE(refused.status().message().find("of volume v " + path + " can be written by others"),
                std::string::npos)
          << refused.status().message();
      // A driver that comes anew takes over what is mounted, and its lease.
      if (mounted) {
        a.reset();
        a = Node("A");
        EXPECT_TRUE(Leased("v"));
      }
      EXPECT_EQ(a->Create("v", {{"size", "32m"}}).code(), Code::kRefused) << "nor is it made anew";
      ASSERT_OK(a->Unmount("v", "1"));
      EXPECT_FALSE(Exists(dir_ / "mnt-A/v"));
      EXPECT_FALSE(Leased("v")) << path;
      ASSERT_EQ(::chmod(path.c_str(), st.st_mode & 07777), 0);
    }
  }
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));
}

}  // namespace
}  // namespace dvdi
