#include "driver/pool.h"

#include <gtest/gtest.h>

#include "driver/files.h"
#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::Names;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

VolumeMeta Meta(const std::string& name) {
  VolumeMeta m;
  m.name = name;
  m.created_at = Rfc3339Now();
  m.size_bytes = 16 << 20;
  return m;
}

class PoolTest : public ::testing::Test {
 protected:
  Pool Open(const std::string& node = "A") {
    auto pool = Pool::Open(dir_ / "pool", node);
    EXPECT_TRUE(pool.ok()) << pool.status().message();
    return std::move(*pool);
  }
  TempDir dir_;
};

TEST_F(PoolTest, CreateListReadRemove) {
  Pool pool = Open();
  ASSERT_TRUE(pool.Create(Meta("b")).ok());
  ASSERT_TRUE(pool.Create(Meta("a")).ok());
  EXPECT_EQ(*pool.List(), (std::vector<std::string>{"a", "b"}));
  auto fd = pool.OpenVolume("a");
  ASSERT_TRUE(fd.ok());
  auto meta = pool.ReadMeta(fd->get(), "a");
  ASSERT_TRUE(meta.ok());
  EXPECT_EQ(meta->size_bytes, 16 << 20);
  EXPECT_FALSE(meta->formatted);
  struct stat st;
  ASSERT_EQ(::stat((dir_ / "pool/a/image").c_str(), &st), 0);
  EXPECT_EQ(st.st_size, 16 << 20);
  EXPECT_EQ(st.st_blocks, 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  ASSERT_TRUE(pool.Remove("a").ok());
  EXPECT_EQ(Names(dir_ / "pool"), std::vector<std::string>{"b"});
  auto gone = pool.OpenVolume("a");
  EXPECT_EQ(gone.status().code(), Code::kNotFound);
  EXPECT_NE(gone.status().message().find("volume a"), std::string::npos);
}

// A server that is down while the node boots: the folder beneath is empty, and is not the pool.
TEST_F(PoolTest, WhatIsToBeMountedAndIsNotIsNoPool) {
  DVDI_SKIP_UNLESS(testing::EnterOwnNamespace());
  if (!Exists("/etc/fstab")) GTEST_SKIP() << "needs /etc/fstab, to mount another one over it";
  const std::string at = dir_ / "nfs", link = dir_ / "link";
  ASSERT_EQ(::mkdir(at.c_str(), 0700), 0);
  ASSERT_EQ(::symlink(at.c_str(), link.c_str()), 0);
  WriteFile(dir_ / "fstab", "# pools\nserver:/ / nfs defaults 0 0\nnone none swap sw 0 0\nserver:/export " +
                                at + "/ nfs _netdev,nofail 0 0\n");
  ASSERT_EQ(::mount((dir_ / "fstab").c_str(), "/etc/fstab", nullptr, MS_BIND, nullptr), 0);
  for (const std::string& path : {at, at + "/pool", link + "/pool", link}) {
    auto pool = Pool::Open(path, "A");
    EXPECT_EQ(pool.status().code(), Code::kRefused) << path << ": " << pool.status().message();
    EXPECT_NE(pool.status().hint().find("mount " + at), std::string::npos) << pool.status().hint();
  }
  EXPECT_EQ(Names(at), std::vector<std::string>{}) << "nothing is made there";
  ASSERT_EQ(::mount("none", at.c_str(), "tmpfs", 0, "mode=0700"), 0);
  for (const std::string& path : {at, at + "/pool", link + "/pool", dir_ / "nfs2"}) {
    auto pool = Pool::Open(path, "A");
    EXPECT_TRUE(pool.ok()) << path << ": " << pool.status().message();
  }
  ASSERT_EQ(::umount2("/etc/fstab", MNT_DETACH), 0);
}

TEST_F(PoolTest, ANameIsTakenOnce) {
  Pool a = Open("A"), b = Open("B");
  ASSERT_TRUE(a.Create(Meta("v")).ok());
  std::string before = ReadFile(dir_ / "pool/v/volume.json");
  EXPECT_EQ(b.Create(Meta("v")).code(), Code::kRefused);
  EXPECT_EQ(ReadFile(dir_ / "pool/v/volume.json"), before);
  EXPECT_EQ(Names(dir_ / "pool"), std::vector<std::string>{"v"});
}

TEST_F(PoolTest, FilesOfOthersStopARemoval) {
  Pool pool = Open();
  ASSERT_TRUE(pool.Create(Meta("v")).ok());
  WriteFile(dir_ / "pool/v/notes.txt", "mine");
  Status s = pool.Remove("v");
  EXPECT_EQ(s.code(), Code::kRefused);
  EXPECT_NE(s.message().find("notes.txt"), std::string::npos);
  EXPECT_TRUE(Exists(dir_ / "pool/v/image"));
}

// As FUSE and NFS leave it while another process has a file of it open.
TEST_F(PoolTest, WhatStaysInAFolderThatIsGoneIsNoFailureAndIsRemovedLater) {
  Pool pool = Open();
  static std::string path, left;
  path = dir_ / "pool";
  left.clear();
  for (std::string name : {"v", "w"}) ASSERT_TRUE(pool.Create(Meta(name)).ok());
  SetStepHook([](const char* step) {
    if (std::string(step) != "removal-renamed") return;
    for (const auto& name : Names(path))
      if (name.rfind(".gone.", 0) == 0) left = path + "/" + name + "/.fuse_hidden0001";
    WriteFile(left, "x");
  });
  Status removed = pool.Remove("v");
  SetStepHook(nullptr);
  EXPECT_TRUE(removed.ok()) << removed.message();
  EXPECT_EQ(*pool.List(), std::vector<std::string>{"w"});
  EXPECT_EQ(pool.OpenVolume("v").status().code(), Code::kNotFound);
  ASSERT_TRUE(Exists(left));
  ASSERT_EQ(::mkdir((dir_ / "pool/.new.A.0123456789abcdef").c_str(), 0700), 0);
  EXPECT_FALSE(pool.RemoveLeftovers().ok()) << "it is open still";
  EXPECT_FALSE(Exists(dir_ / "pool/.new.A.0123456789abcdef")) << "others are not held up";
  ASSERT_EQ(::unlink(left.c_str()), 0);
  EXPECT_TRUE(pool.RemoveLeftovers().ok());
  EXPECT_EQ(Names(dir_ / "pool"), std::vector<std::string>{"w"});
}

TEST_F(PoolTest, LeftoversOfThisNodeGoThoseOfOthersStay) {
  Pool pool = Open("A");
  const char* hex = "0123456789abcdef";
  for (std::string name : {".new.A.", ".gone.A.", ".new.B."}) {
    ASSERT_EQ(::mkdir((dir_ / ("pool/" + name + hex)).c_str(), 0700), 0);
    WriteFile(dir_ / ("pool/" + name + hex + "/image"), "x");
  }
  ASSERT_TRUE(pool.RemoveLeftovers().ok());
  EXPECT_EQ(Names(dir_ / "pool"), std::vector<std::string>{std::string(".new.B.") + hex});
  EXPECT_TRUE(pool.List()->empty());
}

TEST_F(PoolTest, DamagedMetadataIsListedAndSaysWhatToDo) {
  Pool pool = Open();
  ASSERT_TRUE(pool.Create(Meta("v")).ok());
  std::string good = ReadFile(dir_ / "pool/v/volume.json");
  auto fd = pool.OpenVolume("v");
  ASSERT_TRUE(fd.ok());
  for (std::string text : {std::string(""), good.substr(0, good.size() / 2), std::string("{}"),
                           std::string("[1]"), std::string(good).replace(good.find("\"v\""), 3, "\"w\"")}) {
    WriteFile(dir_ / "pool/v/volume.json", text);
    auto r = pool.ReadMeta(fd->get(), "v");
    ASSERT_FALSE(r.ok()) << text;
    EXPECT_EQ(r.status().code(), Code::kInvalid);
    EXPECT_NE(r.status().message().find("volume v"), std::string::npos);
    EXPECT_FALSE(r.status().hint().empty());
  }
  ASSERT_EQ(::unlink((dir_ / "pool/v/volume.json").c_str()), 0);
  EXPECT_FALSE(pool.ReadMeta(fd->get(), "v").ok());
  EXPECT_EQ(*pool.List(), std::vector<std::string>{"v"});
}

TEST_F(PoolTest, AnImageThatIsASymlinkIsNotOpened) {
  Pool pool = Open();
  ASSERT_TRUE(pool.Create(Meta("v")).ok());
  auto fd = pool.OpenVolume("v");
  ASSERT_EQ(::unlink((dir_ / "pool/v/image").c_str()), 0);
  ASSERT_EQ(::symlink("/etc/passwd", (dir_ / "pool/v/image").c_str()), 0);
  EXPECT_FALSE(pool.OpenImage(fd->get(), "v").ok());
}

TEST_F(PoolTest, APoolThatOthersMayWriteToIsRefused) {
  const std::string pool = dir_ / "pool";
  ASSERT_EQ(::mkdir(pool.c_str(), 0700), 0);
  auto refused = [&] {
    auto r = Pool::Open(pool, "A");
    return !r.ok() && r.status().code() == Code::kRefused;
  };
  for (mode_t mode : {0777, 0770, 0702, 01777}) {
    ASSERT_EQ(::chmod(pool.c_str(), mode), 0);
    EXPECT_TRUE(refused()) << std::oct << mode;
  }
  ASSERT_EQ(::chmod(pool.c_str(), 0755), 0);
  EXPECT_TRUE(Pool::Open(pool, "A").ok());
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(pool.c_str(), 1234, 0), 0);
    EXPECT_TRUE(refused()) << "of another owner";
  }
  EXPECT_FALSE(Pool::Open("pool", "A").ok());
  EXPECT_FALSE(Pool::Open(dir_ / "none/pool", "A").ok());
}

TEST_F(PoolTest, AVolumeThatOthersMayWriteToIsNotUsed) {
  Pool pool = Open();
  ASSERT_TRUE(pool.Create(Meta("v")).ok());
  // The errors of opening folder, metadata and image for use, "" where there is none.
  auto open = [&](Pool::For why) {
    std::string said;
    auto note = [&](const Status& s) {
      if (s.ok()) return;
      EXPECT_EQ(s.code(), Code::kRefused) << s.message();
      EXPECT_FALSE(s.hint().empty());
      said += s.message();
    };
    auto fd = pool.OpenVolume("v", why);
    note(fd.status());
    if (!fd.ok()) return said;
    if (why == Pool::For::kUse) note(pool.ReadMeta(fd->get(), "v").status());
    note(pool.OpenImage(fd->get(), "v", why).status());
    return said;
  };
  EXPECT_EQ(open(Pool::For::kUse), "");
  struct Case {
    std::string path, what;
  };
  const Case cases[] = {{dir_ / "pool/v", "the folder of volume v "},
                        {dir_ / "pool/v/volume.json", "the metadata of volume v "},
                        {dir_ / "pool/v/image", "the image of volume v "}};
  for (const Case& c : cases) {
    struct stat st;
    ASSERT_EQ(::stat(c.path.c_str(), &st), 0);
    for (mode_t more : {0022, 0020, 0002}) {
      ASSERT_EQ(::chmod(c.path.c_str(), st.st_mode | more), 0);
      EXPECT_EQ(open(Pool::For::kUse).find(c.what + c.path + " can be written by others"), 0u) << c.path;
      EXPECT_EQ(open(Pool::For::kEnd), "") << "what is mounted can end";
      EXPECT_EQ(*pool.Promised(), 16 << 20) << "it takes its room";
    }
    // An operator may let others read.
    ASSERT_EQ(::chmod(c.path.c_str(), st.st_mode | 0044), 0);
    EXPECT_EQ(open(Pool::For::kUse), "");
    if (::geteuid() != 0) continue;
    ASSERT_EQ(::chown(c.path.c_str(), 1234, 0), 0);
    EXPECT_EQ(open(Pool::For::kUse).find(c.what + c.path + " belongs to user 1234"), 0u) << c.path;
    EXPECT_EQ(open(Pool::For::kEnd), "");
    ASSERT_EQ(::chown(c.path.c_str(), 0, 0), 0);
  }
  EXPECT_EQ(open(Pool::For::kUse), "");
}

}  // namespace
}  // namespace dvdi
