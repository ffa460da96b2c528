#include "base/text.h"

#include <gtest/gtest.h>

namespace dvdi {
namespace {

TEST(Utf8, TakesEveryLengthOfSequenceAtEveryPlace) {
  // Before and behind runs of ASCII of every length: they are skipped by the word.
  for (const char* character :
       {"a", "\x7F", "ü", "\xE0\xA0\x80", "♥", "\xED\x9F\xBF", "😀", "\xF4\x8F\xBF\xBF"})
    for (size_t before = 0; before < 20; ++before)
      for (size_t behind = 0; behind < 20; ++behind)
        EXPECT_TRUE(IsValidUtf8(std::string(before, 'x') + character + std::string(behind, 'y')));
  EXPECT_TRUE(IsValidUtf8(""));
}

TEST(Utf8, RefusesWhatIsNotStrict) {
  // Stray and missing continuations, overlong forms, surrogates, past the last character.
  for (const char* bad :
       {"\x80", "\xBF", "\xC3", "\xC0\xA2", "\xC1\xBF", "\xE2\x99", "\xE0\x80\x80", "\xED\xA0\x80",
        "\xF0\x80\x80\x80", "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xFE"})
    for (size_t before = 0; before < 20; ++before)
      for (size_t behind = 0; behind < 20; ++behind)
        EXPECT_FALSE(IsValidUtf8(std::string(before, 'x') + bad + std::string(behind, 'y')));
}

TEST(OneLine, IsPrintableAndBounded) {
  EXPECT_EQ(OneLine("a\n\tb\r\n"), "a b");
  EXPECT_EQ(OneLine("x\x1B[31m\x7F\xC2\x9B\xFFy"), "x?[31m???y");
  EXPECT_EQ(OneLine("♥♥♥", 7), "♥♥…");
  EXPECT_EQ(OneLine("gpj.\u202Eexe"), "gpj.?exe");
  for (const char* control :
       {"\u061C", "\u200E", "\u200F", "\u2028", "\u2029", "\u202A", "\u202E", "\u2066", "\u2069"})
    EXPECT_EQ(OneLine(std::string("a") + control + "b"), "a?b") << control;
  for (const char* plain :
       {"\u00A0", "\u061B", "\u200D", "\u2010", "\u202F", "\u2065", "\u206A", "שלום", "😀"})
    EXPECT_EQ(OneLine(plain), plain);
}

TEST(Sha256, IsOfTheBytes) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace dvdi
