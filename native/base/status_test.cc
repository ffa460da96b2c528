#include "base/status.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace dvdi {
namespace {

TEST(Status, IsOkAndEmptyWithoutAFailure) {
  const Status ok;
  EXPECT_TRUE(ok.ok());
  EXPECT_EQ(ok.code(), Code::kOk);
  EXPECT_EQ(ok.message() + ok.hint() + ok.volume() + ok.driver() + ok.path(), "");
  EXPECT_EQ(ok.error_number(), 0);
}

TEST(Status, SaysWhatFailed) {
  Status s = Status::FromErrno(ENOSPC, "cannot write", "/a").WithContext("saving");
  s.WithVolume("dvdi", "v");
  EXPECT_EQ(s.message(), "saving: cannot write: No space left on device");
  EXPECT_EQ(s.hint(), "make room on the filesystem");
  EXPECT_EQ(s.error_number(), ENOSPC);
  EXPECT_EQ(s.driver() + " " + s.volume() + " " + s.path(), "dvdi v /a");
  EXPECT_EQ(s.code(), Code::kSystem);
}

TEST(Status, ACopyIsOfItsOwn) {
  Status one(Code::kRefused, "no", "wait");
  Status other = one;
  other = std::move(other).WithContext("b").WithHint("go");  // onto itself
  EXPECT_EQ(one.message() + "/" + one.hint(), "no/wait");
  EXPECT_EQ(other.message() + "/" + other.hint(), "b: no/go");
  other = one;
  EXPECT_EQ(other.message(), "no");
  const Status& same = other;
  other = same;
  EXPECT_EQ(other.message(), "no");
  other = Status();
  EXPECT_TRUE(other.ok());
}

TEST(Status, WhatIsSaidOfAnOkLeavesItOk) {
  EXPECT_TRUE(Status().WithPath("/a").ok());
  EXPECT_TRUE(Status().WithContext("a").ok());
}

}  // namespace
}  // namespace dvdi
