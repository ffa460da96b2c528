#include "driver/options.h"

#include <gtest/gtest.h>

namespace dvdi {
namespace {

TEST(DriverOptionsText, SizesThatAreUnderstood) {
  const int64_t mib = 1 << 20, gib = int64_t{1} << 30;
  struct {
    const char* text;
    int64_t bytes;
  } cases[] = {{"1g", gib},        {"1G", gib},         {"1gb", gib},         {"1GiB", gib},
               {"10", 10 * gib},   {"512m", 512 * mib}, {"512MB", 512 * mib}, {"2t", 2048 * gib},
               {"8192k", 8 * mib}, {"64t", 65536 * gib}};
  for (const auto& c : cases) {
    auto r = ParseSize(c.text);
    ASSERT_TRUE(r.ok()) << c.text << ": " << r.status().message();
    EXPECT_EQ(*r, c.bytes) << c.text;
  }
}

TEST(DriverOptionsText, SizesThatAreRefusedSayWhatIsAccepted) {
  for (const char* text :
       {"", "g", " 1g", "1g ", "1.5g", "-1g", "+1g", "0", "0g", "1x", "1gg", "1gibs", "1 g", "0x10",
        "1073741824", "65t", "99999999999999999999", "18446744073709551616k", "1e3"}) {
    auto r = ParseSize(text);
    ASSERT_FALSE(r.ok()) << text;
    EXPECT_EQ(r.status().code(), Code::kInvalid) << text;
    EXPECT_NE(r.status().hint().find("512m"), std::string::npos) << text << ": " << r.status().hint();
  }
}

TEST(DriverOptionsText, SizesAreWrittenForPeople) {
  EXPECT_EQ(FormatSize(int64_t{1} << 30), "1 GiB");
  EXPECT_EQ(FormatSize(512 << 20), "512 MiB");
  EXPECT_EQ(FormatSize(1000), "1000 bytes");
}

TEST(DriverOptionsText, Names) {
  for (const char* name : {"a", "data", "Data_1.x-y", "_x", "9", "a..b"})
    EXPECT_TRUE(CheckName(name, "volume name").ok()) << name;
  EXPECT_TRUE(CheckName(std::string(128, 'n'), "volume name").ok());
  for (std::string name :
       {std::string(""), std::string("."), std::string(".."), std::string(".x"), std::string("-x"),
        std::string("a/b"), std::string("../x"), std::string("a b"), std::string("a\n"),
        std::string("a\0b", 3), std::string("\xC3\xA9"), std::string(129, 'n')}) {
    Status s = CheckName(name, "volume name");
    EXPECT_EQ(s.code(), Code::kInvalid) << name;
    EXPECT_NE(s.message().find("volume name"), std::string::npos);
    EXPECT_EQ(s.message().find('\n'), std::string::npos);
  }
}

TEST(DriverOptionsText, CreateOptions) {
  auto r = ParseCreateOptions({{"size", "2g"}, {"newfstype", "xfs"}, {"overwritefs", "true"}});
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(*r->size_bytes, int64_t{2} << 30);
  EXPECT_EQ(*r->filesystem, Filesystem::kXfs);
  EXPECT_TRUE(r->overwrite);
  auto none = ParseCreateOptions({});
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->size_bytes.has_value());
  auto unknown = ParseCreateOptions({{"color", "red"}}, {"media"});
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().message().find("'color'"), std::string::npos);
  EXPECT_NE(unknown.status().hint().find("newfstype"), std::string::npos);
  EXPECT_NE(unknown.status().hint().find("media"), std::string::npos);
  EXPECT_EQ(*ParseCreateOptions({{"newfstype", "btrfs"}})->filesystem, Filesystem::kBtrfs);
  EXPECT_FALSE(ParseCreateOptions({{"newfstype", ""}}).ok());
  EXPECT_FALSE(ParseCreateOptions({{"overwritefs", "yes"}}).ok());
  // In any case, as REX-Ray has it; two spellings that contradict each other are an error.
  EXPECT_EQ(*ParseCreateOptions({{"Size", "1g"}, {"FSTYPE", "XFS"}})->size_bytes, int64_t{1} << 30);
  EXPECT_TRUE(ParseCreateOptions({{"size", "1g"}, {"Size", "1"}}).ok());
  EXPECT_FALSE(ParseCreateOptions({{"size", "1g"}, {"Size", "2g"}}).ok());
  EXPECT_FALSE(ParseCreateOptions({{"tier", "fast"}, {"volumetype", "slow"}}).ok());
  EXPECT_EQ(*ParseCreateOptions({{"volumetype", "Fast"}})->tier, "fast");
}

TEST(DriverOptionsText, LimitsAndAttributes) {
  auto r = ParseCreateOptions({{"iops", "500"}, {"bps", "10m"}, {"Media", "ssd"}}, {"media"});
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(*r->iops, 500);
  EXPECT_EQ(*r->bps, 10 << 20);
  EXPECT_EQ(r->attributes.at("media"), "ssd");
  EXPECT_EQ(*ParseCreateOptions({{"bps", "4096"}})->bps, 4096) << "without a unit a rate counts bytes";
  for (const char* bad : {"", "0", "-1", "1k", "1.5", "99999999999999999999"})
    EXPECT_FALSE(ParseCreateOptions({{"iops", bad}}).ok()) << bad;
  for (const char* bad : {"", "0", "fast", "1x"})
    EXPECT_FALSE(ParseCreateOptions({{"bps", bad}}).ok()) << bad;
  EXPECT_FALSE(ParseCreateOptions({{"media", ""}}, {"media"}).ok());
}

TEST(DriverOptionsText, RoundedSizes) {
  EXPECT_EQ(RoundSize(512), "512 bytes");
  EXPECT_EQ(RoundSize(int64_t{1} << 30), "1 GiB");
  EXPECT_EQ(RoundSize((int64_t{1} << 30) * 3 / 2 + 7), "1.5 GiB");
  EXPECT_EQ(RoundSize((int64_t{1} << 40) - 1), "1023.9 GiB");
}

}  // namespace
}  // namespace dvdi
