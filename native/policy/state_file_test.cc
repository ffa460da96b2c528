// The file that says which policy is active: a reader of what root may have edited, and its bounds.
#include "policy/state_file.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace dvdi {
namespace {

std::string Hash(char c) { return std::string(64, c); }

Json Sound() {
  return {{"active", Hash('a')},
          {"version", "1.2.3"},
          {"watermark", "1.2.3"},
          {"installed_ms", 5},
          {"barred", Json::array({Hash('b')})},
          {"previous", Json::array({Hash('c'), Hash('d')})},
          {"shadow", {{"sha256", Hash('e')}, {"began_ms", 1}, {"until_ms", 2}, {"operations", 3}}}};
}

TEST(StateFileTest, WhatIsWrittenIsRead) {
  auto state = ParsePolicyState(Dump(Sound()));
  ASSERT_TRUE(state.ok()) << state.status().message();
  auto again = ParsePolicyState(ToText(*state));
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(ToText(*state), ToText(*again));
  EXPECT_EQ(3, again->shadow->operations);
}

TEST(StateFileTest, AWrongMemberIsNamed) {
  const std::pair<const char*, Json> kWrong[] = {
      {"active", "a"},
      {"active", Hash('g')},
      {"active", Hash('A')},
      {"active", Hash('/')},
      {"active", Hash(':')},
      {"active", Hash('`')},
      {"version", "1"},
      {"watermark", ""},
      {"installed_ms", -1},
      {"installed_ms", nullptr},
      {"barred", "none"},
      {"barred", Json::array({1})},
      {"barred", Json::array({"x"})},
      {"barred", Json(std::vector<std::string>(1001, Hash('b')))},
      {"previous", Json::object()},
      {"previous", Json::array({nullptr})},
      {"shadow", {{"sha256", "x"}, {"began_ms", 1}, {"until_ms", 2}, {"operations", 3}}},
      {"shadow", {{"sha256", Hash('e')}, {"began_ms", -1}, {"until_ms", 2}, {"operations", 3}}},
      {"shadow", {{"sha256", Hash('e')}, {"began_ms", 1}, {"until_ms", -2}, {"operations", 3}}},
      {"shadow", {{"sha256", Hash('e')}, {"began_ms", 1}, {"until_ms", 2}, {"operations", -3}}},
  };
  for (const auto& [member, value] : kWrong) {
    Json json = Sound();
    json[member] = value;
    auto state = ParsePolicyState(Dump(json));
    EXPECT_EQ(Code::kPolicy, state.status().code()) << member << ": " << value;
    EXPECT_NE(std::string::npos, state.status().message().find("\"" + std::string(member) + "\""))
        << state.status().message();
  }
  EXPECT_EQ(Code::kPolicy, ParsePolicyState("[]").status().code());
  EXPECT_EQ(Code::kPolicy, ParsePolicyState("{").status().code());
}

using Hashes = std::vector<std::string>;

TEST(StateFileTest, WhatCanBeGoneBackToIsNeitherActiveNorBarred) {
  PolicyState state;
  EXPECT_EQ(Hashes(), state.Earlier());
  state.Activate(Hash('a'), "1.0.0", 1);
  state.Activate(Hash('b'), "1.1.0", 2);
  state.Activate(Hash('c'), "1.2.0", 3);
  EXPECT_EQ(Hashes({Hash('b'), Hash('a')}), state.Earlier());
  state.shadow = ShadowState{Hash('e'), 1, 0, 0};
  state.Bar(Hash('b'));
  state.Bar(Hash('b'));
  EXPECT_EQ(1u, state.barred.size()) << "barred once";
  EXPECT_TRUE(state.shadow.has_value()) << "another one is barred";
  EXPECT_EQ(Hashes({Hash('a')}), state.Earlier());
  state.previous.push_back(Hash('c'));
  EXPECT_EQ(Hashes({Hash('a')}), state.Earlier()) << "the active one is no way back";
  state.Bar(Hash('e'));
  EXPECT_FALSE(state.shadow.has_value()) << "what is barred is tried no further";
  state.shadow = ShadowState{Hash('f'), 1, 0, 0};
  state.Activate(Hash('d'), "1.3.0", 4);
  EXPECT_TRUE(state.shadow.has_value());
  state.Activate(Hash('f'), "1.4.0", 5);
  EXPECT_FALSE(state.shadow.has_value()) << "it is the active one now";
  constexpr char kHex[] = "0123456789abcdef";
  for (int i = 0; i < 1005; ++i) {
    std::string hash = Hash('0');
    hash[0] = kHex[i & 15], hash[1] = kHex[(i >> 4) & 15], hash[2] = kHex[(i >> 8) & 15], hash[3] = '1';
    state.Bar(hash);
  }
  EXPECT_EQ(1000u, state.barred.size());
  for (char c : std::string("0123456789")) state.Activate(Hash(c), "2.0.0", 9);
  EXPECT_EQ(8u, state.previous.size());
  state.watermark = "2.0.0";
  EXPECT_TRUE(ParsePolicyState(ToText(state)).ok()) << "what is written at its bounds is read";
}

}  // namespace
}  // namespace dvdi
