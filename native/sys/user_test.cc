#include "sys/user.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include "sys/test_faults.h"

namespace dvdi {
namespace {

TEST(Users, NamesAndNumbersAreLookedUp) {
  auto root = ResolveUser("root");
  ASSERT_TRUE(root.ok());
  EXPECT_EQ(root->uid, 0u);
  EXPECT_EQ(root->gid, 0u);
  EXPECT_FALSE(root->home.empty());
  EXPECT_FALSE(root->groups.empty());
  EXPECT_EQ(ResolveUser("0")->name, "root");
}

TEST(Users, AGroupStandsAlone) {
  auto user = ResolveUser("root:12345");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->gid, 12345u);
  EXPECT_EQ(user->groups, std::vector<gid_t>{12345});
}

TEST(Users, AnUnknownNumberNeedsAGroup) {
  EXPECT_EQ(ResolveUser("54321").status().code(), Code::kInvalid);
  auto user = ResolveUser("54321:54322");
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->uid, 54321u);
  EXPECT_EQ(user->gid, 54322u);
  EXPECT_TRUE(user->home.empty());
}

TEST(Users, NonsenseIsRefused) {
  EXPECT_EQ(ResolveUser("no-such-user-here").status().code(), Code::kNotFound);
  EXPECT_EQ(ResolveUser("root:no-such-group").status().code(), Code::kNotFound);
  for (const char* text : {"", ":", "root:", ":root"})
    EXPECT_EQ(ResolveUser(text).status().code(), Code::kInvalid);
  EXPECT_FALSE(ResolveUser("4294967295:1").ok());  // (uid_t)-1: setresuid would leave us root
  EXPECT_FALSE(ResolveUser("-1:1").ok());
  EXPECT_FALSE(ResolveUser("4294967296:1").ok());
}

// Nobody is found where nothing can be read; a number needs no looking up.
TEST(Users, WhatCannotBeReadIsAnError) {
  if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  ASSERT_TRUE(WithCallFaults({{{SYS_openat, SYS_connect}, EMFILE, 0}}, [] {
    auto user = ResolveUser("daemon");
    EXPECT_NE(std::string::npos, user.status().message().find("daemon")) << user.status().message();
    user = ResolveUser("1:1");
    EXPECT_TRUE(user.ok()) << user.status().message();
    EXPECT_EQ("1", user->name);
    user = ResolveUser("1:daemon");
    EXPECT_NE(std::string::npos, user.status().message().find("daemon")) << user.status().message();
  }));
}

}  // namespace
}  // namespace dvdi
