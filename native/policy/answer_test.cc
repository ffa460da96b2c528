#include "policy/answer.h"

#include <gtest/gtest.h>

namespace dvdi {
namespace {

TEST(PolicyAnswer, Ok) {
  auto r = ParsePolicyAnswer("parse", R"({"ok":{"volumes":[]}})");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(*r, Json({{"volumes", Json::array()}}));
}

TEST(PolicyAnswer, ErrorKeepsItsFields) {
  Json said;
  auto r = ParsePolicyAnswer("prepare",
                             R"({"error":{"code":"refused","message":"in use\nby B","hint":"wait",)"
                             R"("volume":"data","driver":"rexray","again_ms":250}})",
                             &said);
  EXPECT_EQ(said["again_ms"], 250);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kRefused);
  EXPECT_EQ(r.status().message(), "in use by B");  // one line
  EXPECT_EQ(r.status().hint(), "wait");
  EXPECT_EQ(r.status().volume(), "data");
  EXPECT_EQ(r.status().driver(), "rexray");
}

TEST(PolicyAnswer, AnythingElseIsThePolicysFault) {
  for (const char* bad :
       {"", "x", "[]", "1", "{}", R"({"OK":{}})", R"({"ok":1,"error":{}})", R"({"error":{}})",
        R"({"error":"no"})", R"({"error":{"code":"refused"}})", R"({"error":{"message":"x"}})",
        R"({"error":{"code":"strange","message":"x"}})", R"({"error":{"code":"ok","message":"x"}})",
        R"({"error":{"code":1,"message":"x"}})", R"({"ok":{}} {"ok":{}})",
        R"({"error":{"code":"policy","message":"x"},"more":1})"}) {
    Json said = "of before";
    auto r = ParsePolicyAnswer("parse", bad, &said);
    EXPECT_TRUE(said.is_null()) << bad;
    ASSERT_FALSE(r.ok()) << bad;
    EXPECT_EQ(r.status().code(), Code::kPolicy) << bad;
  }
}

}  // namespace
}  // namespace dvdi
