#include "driver/files.h"

#include <gtest/gtest.h>

#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::Names;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

UniqueFd Open(const TempDir& dir) {
  auto fd = OpenFolder(AT_FDCWD, dir.path());
  return fd.ok() ? std::move(*fd) : UniqueFd();
}

TEST(DriverFiles, ReplaceLeavesTheNewTextAndNothingElse) {
  TempDir dir;
  UniqueFd fd = Open(dir);
  ASSERT_TRUE(ReplaceFile(fd.get(), "f", "one", TempName("A")).ok());
  ASSERT_TRUE(ReplaceFile(fd.get(), "f", "two", TempName("A")).ok());
  EXPECT_EQ(ReadFile(dir / "f"), "two");
  EXPECT_EQ(Names(dir.path()), std::vector<std::string>{"f"});
}

TEST(DriverFiles, ExclusiveCreateRefusesWhatExistsAndKeepsIt) {
  TempDir dir;
  UniqueFd fd = Open(dir);
  ASSERT_TRUE(CreateFileExclusive(fd.get(), "f", "mine", TempName("A")).ok());
  EXPECT_EQ(CreateFileExclusive(fd.get(), "f", "yours", TempName("B")).code(), Code::kRefused);
  EXPECT_EQ(ReadFile(dir / "f"), "mine");
  EXPECT_EQ(Names(dir.path()), std::vector<std::string>{"f"});
}

TEST(DriverFiles, ReadsOnlyShortRegularFiles) {
  TempDir dir;
  UniqueFd fd = Open(dir);
  WriteFile(dir / "long", std::string(100, 'x'));
  EXPECT_EQ(ReadSmallFile(fd.get(), "long", 99).status().code(), Code::kInvalid);
  EXPECT_EQ(*ReadSmallFile(fd.get(), "long", 100), std::string(100, 'x'));
  EXPECT_EQ(ReadSmallFile(fd.get(), "none").status().code(), Code::kNotFound);
  ASSERT_EQ(::symlink("long", (dir / "link").c_str()), 0);
  EXPECT_FALSE(ReadSmallFile(fd.get(), "link").ok());
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(ReadSmallFile(fd.get(), "fifo").status().code(), Code::kInvalid);
}

TEST(DriverFiles, TemporaryNamesTellWhoseTheyAre) {
  std::string name = TempName("a.b");
  EXPECT_TRUE(IsTempName(name, "a.b"));
  EXPECT_TRUE(IsTempName(name, ""));
  EXPECT_FALSE(IsTempName(name, "a"));
  EXPECT_FALSE(IsTempName(name, "b"));
  EXPECT_NE(name, TempName("a.b"));
  EXPECT_FALSE(IsTempName("tmp.a.0123456789abcdeF", "a"));
  EXPECT_FALSE(IsTempName("image", ""));
  EXPECT_FALSE(IsTempName("", ""));
}

}  // namespace
}  // namespace dvdi
