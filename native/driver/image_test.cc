#include "driver/image.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <functional>

#include "driver/files.h"
#include "driver/loop.h"
#include "driver/test_world.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

using testing::NeedVolumes;
using testing::ReadFile;
using testing::TempDir;

class ImageTest : public ::testing::Test {
 protected:
  void Make(Filesystem fs, int64_t size) {
    auto pool = Pool::Open(dir_ / "pool", "A");
    ASSERT_TRUE(pool.ok());
    pool_.emplace(std::move(*pool));
    meta_.name = "v";
    meta_.created_at = Rfc3339Now();
    meta_.size_bytes = size;
    meta_.filesystem = fs;
    ASSERT_TRUE(pool_->Create(meta_).ok());
    auto fd = pool_->OpenVolume("v");
    ASSERT_TRUE(fd.ok());
    fd_ = std::move(*fd);
  }
  std::string Signature() {
    auto image = pool_->OpenImage(fd_.get(), "v");
    auto s = ProbeSignature(image->get(), "v");
    return s.ok() ? *s : "failed: " + s.status().message();
  }
  void Put(int64_t offset, const std::string& bytes) {
    auto image = pool_->OpenImage(fd_.get(), "v");
    ASSERT_EQ(::pwrite(image->get(), bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
  }

  TempDir dir_;
  std::optional<Pool> pool_;
  VolumeMeta meta_;
  UniqueFd fd_;
};

TEST_F(ImageTest, FormatsExt4AndXfsInSparseImages) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  DVDI_SKIP_UNLESS(NeedVolumes("xfs"));
  for (Filesystem fs : {Filesystem::kExt4, Filesystem::kXfs}) {
    if (pool_.has_value()) {
      ASSERT_TRUE(pool_->Remove("v").ok());
    }
    Make(fs, SmallestSize(fs));
    EXPECT_EQ(Signature(), "");
    Status s = FormatImage(*pool_, fd_.get(), meta_, "A");
    ASSERT_TRUE(s.ok()) << s.message();
    EXPECT_EQ(Signature(), FilesystemName(fs));
    struct stat st;
    ASSERT_EQ(::stat((dir_ / "pool/v/image").c_str(), &st), 0);
    EXPECT_EQ(st.st_size, meta_.size_bytes);
    EXPECT_LT(st.st_blocks * 512, meta_.size_bytes);
    EXPECT_EQ(testing::Names(dir_ / "pool/v").size(), 2u);
    // The second time there is something in it.
    EXPECT_EQ(FormatImage(*pool_, fd_.get(), meta_, "A").code(), Code::kRefused);
  }
}

TEST_F(ImageTest, WhatHasASignatureIsNeverFormatted) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  std::string gpt(512, '\0'), mbr(512, '\0');
  mbr[510] = '\x55';
  mbr[511] = '\xAA';
  mbr[446] = '\0';
  mbr[450] = '\x83';
  mbr[454] = '\x08';
  mbr[458] = '\x40';
  struct {
    const char* what;
    int64_t offset;
    std::string bytes;
  } cases[] = {
      {"crypto_LUKS", 0,
       std::string("LUKS\xba\xbe\0\x01", 8) + std::string(160, '\0') +
           std::string("12345678-1234-1234-1234-123456789abc")},
      {"swap", 4086, "SWAPSPACE2"},
      {"dos", 0, mbr},
  };
  for (auto& c : cases) {
    if (pool_.has_value()) {
      ASSERT_TRUE(pool_->Remove("v").ok());
    }
    Make(Filesystem::kExt4, 16 << 20);
    if (std::string(c.what) == "swap") Put(1024, std::string("\1\0\0\0\xff\x0f\0\0", 8));
    Put(c.offset, c.bytes);
    EXPECT_EQ(Signature(), c.what);
    std::string before = ReadFile(dir_ / "pool/v/image");
    Status s = FormatImage(*pool_, fd_.get(), meta_, "A");
    EXPECT_EQ(s.code(), Code::kRefused) << c.what;
    EXPECT_NE(s.message().find(c.what), std::string::npos) << s.message();
    EXPECT_TRUE(before == ReadFile(dir_ / "pool/v/image")) << c.what;
  }
}

TEST_F(ImageTest, AnMkfsThatFailsLeavesTheImageAndSaysWhy) {
  DVDI_SKIP_UNLESS(NeedVolumes("xfs"));
  Make(Filesystem::kXfs, 1 << 20);  // below what Create lets pass
  Status s = FormatImage(*pool_, fd_.get(), meta_, "A");
  EXPECT_EQ(s.code(), Code::kSystem);
  EXPECT_NE(s.message().find("mkfs.xfs failed for volume v (exit status"), std::string::npos) << s.message();
  EXPECT_EQ(Signature(), "");
  EXPECT_EQ(testing::Names(dir_ / "pool/v").size(), 2u);
}

TEST_F(ImageTest, AnExt4TellsWhetherItWasUnmountedWhole) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  Make(Filesystem::kExt4, 16 << 20);
  ASSERT_TRUE(FormatImage(*pool_, fd_.get(), meta_, "A").ok());
  auto whole = [&] {
    auto r = UnmountedWhole(pool_->OpenImage(fd_.get(), "v")->get(), meta_);
    return r.ok() && *r;
  };
  EXPECT_TRUE(whole());
  const std::string image = ReadFile(dir_ / "pool/v/image");
  const char state = image[1024 + 58], incompatible = image[1024 + 96];
  Put(1024 + 58, std::string(1, static_cast<char>(state | 2)));
  EXPECT_FALSE(whole()) << "it has errors";
  Put(1024 + 58, std::string(1, '\0'));
  EXPECT_FALSE(whole()) << "it is mounted";
  Put(1024 + 58, std::string(1, state));
  EXPECT_TRUE(whole());
  Put(1024 + 96, std::string(1, static_cast<char>(incompatible | 4)));
  EXPECT_FALSE(whole()) << "its journal is to be replayed";
  meta_.filesystem = Filesystem::kXfs;
  EXPECT_TRUE(whole()) << "the others have no such place";
}

// The image may be another node's by then.
// One that is larger than its metadata say was put there, or grown by another node: its end is data.
TEST_F(ImageTest, GrowingMakesNothingSmaller) {
  Make(Filesystem::kExt4, 16 << 20);
  auto image = pool_->OpenImage(fd_.get(), "v");
  ASSERT_TRUE(image.ok());
  for (const int64_t wanted : {int64_t{24} << 20, int64_t{16} << 20}) {
    meta_.size_bytes = wanted;
    EXPECT_TRUE(GrowImage(image->get(), meta_).ok());
    EXPECT_EQ(ImageSize(image->get(), "v").value(), int64_t{24} << 20) << wanted;
  }
}

TEST_F(ImageTest, WithoutALeaseNothingIsBegunAndNothingIsPutInPlace) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  Make(Filesystem::kExt4, 16 << 20);
  static bool started, ended;
  auto look = [&] {
    struct stat st = {};
    EXPECT_EQ(::stat((dir_ / "pool/v/image").c_str(), &st), 0);
    return st;
  };
  const struct stat before = look();
  auto give_up = [] { return ended; };
  auto tried = [&](const char* at, const std::function<Status()>& work) {
    static std::string step;
    step = at;
    started = false;
    ended = step.empty();
    SetStepHook([](const char* now) {
      started = started || std::string(now) == "tool-started";
      ended = ended || step == now;
    });
    Status s = work();
    SetStepHook(nullptr);
    EXPECT_EQ(s.code(), Code::kUnavailable) << "ended at '" << at << "'";
    EXPECT_EQ(look().st_ino, before.st_ino) << "ended at '" << at << "'";
    EXPECT_EQ(testing::Names(dir_ / "pool/v").size(), 2u);
  };
  auto format = [&] { return FormatImage(*pool_, fd_.get(), meta_, "A", give_up); };
  auto renew = [&] { return RenewImage(*pool_, fd_.get(), "v", "A", {}, give_up); };
  tried("", format);
  EXPECT_FALSE(started);
  tried("mkfs-done", format);
  tried("", renew);
  EXPECT_EQ(look().st_mtim.tv_sec, before.st_mtim.tv_sec) << "nor is it marked for a copy";
  tried("image-copied", renew);  // of holes alone: nothing asks in between
}

// What is not known to be on the disk is never put in place: behind a loss of power it would be a volume
// without a filesystem, that counts as formatted.
TEST_F(ImageTest, AnImageThatCannotBeMadeDurableIsNotPutInPlace) {
  if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  Make(Filesystem::kExt4, 16 << 20);
  auto inode = [&] {
    struct stat st = {};
    EXPECT_EQ(::stat((dir_ / "pool/v/image").c_str(), &st), 0);
    return st.st_ino;
  };
  const ino_t before = inode();
  struct {
    const char* says;
    std::function<Status()> work;
  } const kCases[] = {
      {"cannot fsync the new image", [&] { return FormatImage(*pool_, fd_.get(), meta_, "A"); }},
      {"cannot fsync the copy of the image", [&] { return RenewImage(*pool_, fd_.get(), "v", "A"); }}};
  for (const auto& c : kCases) {
    Status s;
    EXPECT_TRUE(WithCallFaults({{{SYS_fsync}, EIO, 1}}, [&] { s = c.work(); }));
    EXPECT_NE(s.message().find(c.says), std::string::npos) << s.message();
    EXPECT_EQ(inode(), before);
    EXPECT_EQ(Signature(), "");
    EXPECT_EQ(testing::Names(dir_ / "pool/v").size(), 2u) << "nor is it left beside";
  }
  // One that has grown is larger all the same; who asks again is told so by its size.
  meta_.size_bytes += 1 << 20;
  auto image = pool_->OpenImage(fd_.get(), "v");
  ASSERT_TRUE(image.ok());
  Status s;
  EXPECT_TRUE(WithCallFaults({{{SYS_fsync}, EIO, 1}}, [&] { s = GrowImage(image->get(), meta_); }));
  EXPECT_NE(s.message().find("cannot fsync the image"), std::string::npos) << s.message();
  // The folder, in which it has its name.
  EXPECT_TRUE(
      WithCallFaults({{{SYS_fsync}, EIO, 2}}, [&] { s = FormatImage(*pool_, fd_.get(), meta_, "A"); }));
  EXPECT_NE(s.message().find("cannot fsync the folder"), std::string::npos) << s.message();
}

TEST_F(ImageTest, LoopDevicesAreFoundByTheImageAndLetGoOfIt) {
  DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
  Make(Filesystem::kExt4, 16 << 20);
  auto image = pool_->OpenImage(fd_.get(), "v");
  ASSERT_TRUE(image.ok());
  EXPECT_TRUE(*WaitDetached(image->get(), 0));
  {
    auto device = AttachLoop(image->get(), "v");
    ASSERT_TRUE(device.ok()) << device.status().message();
    auto found = FindLoop(image->get());
    ASSERT_TRUE(found.ok() && found->has_value());
    EXPECT_EQ((*found)->path, device->path);
    EXPECT_FALSE(*WaitDetached(image->get(), 0));
    struct stat st;
    ASSERT_EQ(::fstat(device->fd.get(), &st), 0);
    EXPECT_TRUE(IsLoopOver("7:" + std::to_string(minor(st.st_rdev)), image->get()));
    auto own = ::open((dir_ / "other").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_FALSE(IsLoopOver("7:" + std::to_string(minor(st.st_rdev)), own));
    ::close(own);
  }
  EXPECT_TRUE(*WaitDetached(image->get(), 5000));
}

}  // namespace
}  // namespace dvdi
