// The original module's list of mounts: bytes that another program wrote, perhaps while it was killed.
#include "engine/original.h"

#include <gtest/gtest.h>

namespace dvdi {
namespace {

std::string Field(int number, const std::string& text) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(text.size()) + text;
}

std::string Mount(const std::string& container, const std::string& driver, const std::string& name) {
  return Field(1, Field(1, container) + Field(2, driver) + Field(3, name) + Field(4, "/mnt/x"));
}

TEST(OriginalTest, ReadsWhatItKnowsAndPassesOverTheRest) {
  using namespace std::string_literals;
  const std::string unknown =
      "\x18\x96\x01"s + "\x11"s + std::string(8, 'x') + "\x1d"s + std::string(4, 'y') + Field(2, "text");
  auto mounts = ReadOriginalMounts(unknown + Mount("c", "d", "v") + unknown + Mount("c2", "d2", "v2"));
  ASSERT_TRUE(mounts.ok()) << mounts.status().message();
  ASSERT_EQ(2u, mounts->size());
  EXPECT_EQ("c", (*mounts)[0].container);
  EXPECT_EQ("d", (*mounts)[0].driver);
  EXPECT_EQ("v2", (*mounts)[1].name);
  EXPECT_EQ("/mnt/x", (*mounts)[1].mountpoint);
  EXPECT_EQ("", (*mounts)[1].container_path);
  // Within a mount, too, and a number that none of its fields has.
  const std::string mount =
      Field(1, Field(1, "c") + Field(7, "new") + "\x00\x05"s + Field(2, "d") + Field(3, "v"));
  mounts = ReadOriginalMounts(mount);
  ASSERT_TRUE(mounts.ok()) << mounts.status().message();
  EXPECT_EQ("v", mounts->at(0).name);
  EXPECT_TRUE(ReadOriginalMounts("")->empty());
}

TEST(OriginalTest, WhatIsCutOffOrNoneIsRefused) {
  const std::string whole = Mount("container", "driver", "volume");
  for (size_t n = 1; n < whole.size(); ++n)
    EXPECT_EQ(Code::kInvalid, ReadOriginalMounts(whole.substr(0, n)).status().code()) << n;
  const std::string kWrong[] = {
      std::string(12, '\xff'),  // a number without an end
      "\x0b",                   // a kind of field that is none
      "\x09short",              // eight bytes that are not there
      "\x0dxyz",                // four
      "\x0a",                   // a length that is not there
      "\x08",                   // a number that is not there
      "\x0a\x7f"
      "x",  // longer than what is there
      Mount("", "d", "v"),
      Mount("c", "", "v"),
      Mount("c", "d", ""),  // of no container, driver, volume
      Field(1, "\x0a"),
      Field(1, "\x0b"),
  };
  for (const std::string& bytes : kWrong)
    EXPECT_EQ(Code::kInvalid, ReadOriginalMounts(bytes).status().code()) << bytes;
}

}  // namespace
}  // namespace dvdi
