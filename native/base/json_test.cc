#include "base/json.h"

#include <gtest/gtest.h>

namespace dvdi {
namespace {

std::string ByLibrary(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

TEST(Dump, WritesWhatTheLibraryWrites) {
  // What is hashed, kept and compared must not depend on who wrote it.
  for (const char* text : {"null", "true", "0", "-1", "18446744073709551615", "1.5", "1e300", "\"\"", "{}",
                           "[]", "[[],{}]", R"({"a":1,"b":[1,"x",null,{"c":false}],"":{"\"":"\\"}})",
                           R"(["ü","\u0000","\u001f","\u007f","~ /"])"}) {
    const Json value = Json::parse(text);
    EXPECT_EQ(Dump(value), ByLibrary(value)) << text;
  }
}

TEST(Dump, WritesEachByteOfATextAsTheLibraryDoes) {
  for (int c = 0; c < 256; ++c) {
    for (const std::string& around : {std::string(), std::string("plain"), std::string("\"\\")}) {
      const std::string text = around + static_cast<char>(c) + around;
      EXPECT_EQ(Dump(Json(text)), ByLibrary(Json(text))) << c;
      EXPECT_EQ(Dump(Json{{text, 1}}), ByLibrary(Json{{text, 1}})) << c;
    }
  }
}

TEST(DumpWhole, RefusesWhatItWouldHaveToReplace) {
  EXPECT_EQ(*DumpWhole({{"a", {1, "ü"}}}), "{\"a\":[1,\"ü\"]}");
  for (const Json& value : {Json("caf\xE9"), Json{{"a", {1, {{"b", "caf\xE9"}}}}}, Json{{"caf\xE9", 1}}}) {
    auto text = DumpWhole(value);
    ASSERT_FALSE(text.ok());
    EXPECT_EQ(text.status().code(), Code::kInvalid);
    EXPECT_EQ(text.status().message(), "\"caf?\" is not valid UTF-8");
  }
}

TEST(AppendJson, AppendsAText) {
  std::string to = "x:";
  AppendJson(&to, "say \"\\\"");
  EXPECT_EQ(to, R"(x:"say \"\\\"")");
  to.clear();
  AppendJson(&to, std::string_view("\xFF\n", 2));
  EXPECT_EQ(to, "\"\xEF\xBF\xBD\\n\"");
}

}  // namespace
}  // namespace dvdi
