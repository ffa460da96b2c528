#include "driver/tiers.h"

#include <gtest/gtest.h>

#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::TempDir;
using testing::WriteFile;

constexpr int64_t kGiB = int64_t{1} << 30;

class TiersTest : public ::testing::Test {
 protected:
  Result<std::vector<TierConfig>> Read(const std::string& text, mode_t mode = 0600) {
    WriteFile(dir_ / "driver.yaml", text);
    EXPECT_EQ(::chmod((dir_ / "driver.yaml").c_str(), mode), 0);
    return ReadTiers(dir_ / "driver.yaml");
  }
  static CreateOptions Options(const std::map<std::string, std::string>& opts) {
    auto options = ParseCreateOptions(opts, {"media", "iops", "room"});
    EXPECT_TRUE(options.ok()) << options.status().message();
    return *options;
  }
  TempDir dir_;
};

TEST_F(TiersTest, EveryField) {
  auto tiers = Read(R"(tiers:
  - name: fast
    pool: /srv/nvme
    label: NVMe of this rack
    filesystem: xfs
    default_size: 10g
    capacity: 2t
    overcommit: 1.5
    lease_seconds: 30
    attributes: { Media: ssd, iops: 20000 }
  - { name: big, pool: /srv/nfs }
)");
  ASSERT_TRUE(tiers.ok()) << tiers.status().message();
  ASSERT_EQ(tiers->size(), 2u);
  const TierConfig& fast = (*tiers)[0];
  EXPECT_EQ(fast.name, "fast");
  EXPECT_EQ(fast.pool, "/srv/nvme");
  EXPECT_EQ(fast.label, "NVMe of this rack");
  EXPECT_EQ(fast.filesystem, Filesystem::kXfs);
  EXPECT_EQ(fast.default_size, 10 * kGiB);
  EXPECT_EQ(*fast.capacity, 2048 * kGiB);
  EXPECT_EQ(fast.overcommit, 1.5);
  EXPECT_EQ(*fast.lease_ms, 30'000);
  EXPECT_EQ(fast.attributes, (std::map<std::string, std::string>{{"iops", "20000"}, {"media", "ssd"}}));
  EXPECT_FALSE((*tiers)[1].lease_ms.has_value());
  EXPECT_EQ(AttributeNames(*tiers), (std::set<std::string>{"iops", "media"}));
}

TEST_F(TiersTest, WhatIsWrongIsSaidWithItsLine) {
  struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"", "list of 1 to 64 tiers"},
      {"tiers: []", "list of 1 to 64 tiers"},
      {"tiers: [{name: a, pool: /a}]\nmore: 1", "list of 1 to 64 tiers"},
      {"tiers:\n  - pool: /a", "line 2: a tier has no name"},
      {"tiers:\n  - name: a", "line 2: tier a has no pool"},
      {"tiers:\n  - name: a\n    pool: b", "line 3: the pool b is not an absolute path"},
      {"tiers:\n  - name: a\n    pool: /a\n    color: red", "line 4: a tier has no field color"},
      {"tiers:\n  - name: a/b\n    pool: /a", "line 2: the tier name"},
      {"tiers:\n  - name: a\n    pool: /a\n    filesystem: ntfs", "line 4: filesystem 'ntfs'"},
      {"tiers:\n  - name: a\n    pool: /a\n    capacity: much", "line 4: capacity: size 'much'"},
      {"tiers:\n  - name: a\n    pool: /a\n    overcommit: 0.5", "line 4: overcommit"},
      {"tiers:\n  - name: a\n    pool: /a\n    lease_seconds: 1", "line 4: lease_seconds is 1"},
      {"tiers:\n  - name: a\n    pool: /a\n    filesystem: xfs\n    default_size: 8m",
       "line 5: default_size is too small"},
      {"tiers:\n  - name: a\n    pool: /a\n    attributes: { size: 3 }",
       "attribute size has the name of an option"},
      {"tiers:\n  - name: a\n    pool: /a\n    attributes: { media: [ssd] }", "attribute media is not"},
      {"tiers:\n  - {name: a, pool: /a}\n  - {name: A, pool: /b}", "same name or pool"},
      {"tiers:\n  - {name: a, pool: /a}\n  - {name: b, pool: /a}", "same name or pool"},
      {"tiers: [", "driver.yaml"},
  };
  for (const auto& c : cases) {
    auto tiers = Read(c.text);
    ASSERT_FALSE(tiers.ok()) << c.text;
    EXPECT_NE(tiers.status().message().find(c.message), std::string::npos) << tiers.status().message();
    EXPECT_EQ(tiers.status().message().find('\n'), std::string::npos);
  }
}

TEST_F(TiersTest, AFileThatOthersMayWriteIsRefused) {
  auto tiers = Read("tiers: [{name: a, pool: /a}]", 0666);
  ASSERT_FALSE(tiers.ok());
  EXPECT_EQ(tiers.status().code(), Code::kRefused);
  EXPECT_EQ(Read("tiers: [{name: a, pool: /a}]", 0620).status().code(), Code::kRefused);
  EXPECT_TRUE(Read("tiers: [{name: a, pool: /a}]", 0644).ok());
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown((dir_ / "driver.yaml").c_str(), 1234, 0), 0);
    EXPECT_EQ(ReadTiers(dir_ / "driver.yaml").status().code(), Code::kRefused) << "another owner";
    ASSERT_EQ(::chown((dir_ / "driver.yaml").c_str(), 0, 0), 0);
  }
  EXPECT_FALSE(ReadTiers(dir_ / "none").ok());
  EXPECT_FALSE(ReadTiers(dir_.path()).ok());
}

class ChooseTierTest : public TiersTest {
 protected:
  void SetUp() override {
    auto tiers = Read(R"(tiers:
  - { name: fast, pool: /fast, attributes: { media: ssd, iops: 20000 }, capacity: 10g, default_size: 2g }
  - { name: safe, pool: /safe, attributes: { media: hdd, iops: 500 }, lease_seconds: 60 }
  - { name: big, pool: /big, attributes: { media: hdd }, overcommit: 2 }
)");
    ASSERT_TRUE(tiers.ok()) << tiers.status().message();
    tiers_ = *tiers;
    rooms_ = {{9 * kGiB, 100 * kGiB, ""}, {0, 100 * kGiB, ""}, {0, 300 * kGiB, ""}};
  }
  // The tier's name, or the refusal.
  std::string Choose(const std::map<std::string, std::string>& opts) {
    auto chosen = ChooseTier(tiers_, rooms_, Options(opts), "v");
    return chosen.ok() ? tiers_[*chosen].name : chosen.status().message();
  }
  std::vector<TierConfig> tiers_;
  std::vector<TierRoom> rooms_;
};

TEST_F(ChooseTierTest, ByNameByAttributeByRoom) {
  EXPECT_EQ(Choose({{"size", "1g"}}), "fast") << "the first that fits";
  EXPECT_EQ(Choose({}), "safe") << "2 GiB by default do not fit into what is left of the first";
  EXPECT_EQ(Choose({{"volumetype", "BIG"}}), "big");
  EXPECT_EQ(Choose({{"media", "SSD"}, {"size", "1g"}}), "fast");
  EXPECT_EQ(Choose({{"iops", "500"}, {"size", "2g"}}), "safe");
  EXPECT_EQ(Choose({{"newfstype", "btrfs"}, {"size", "2g"}}), "big")
      << "btrfs cannot be where leases are renewed";
  EXPECT_EQ(Choose({{"size", "200g"}}), "big");
  EXPECT_EQ(Choose({{"size", "600g"}}), "big") << "it is overcommitted";
}

TEST_F(ChooseTierTest, ARefusalSaysWhyEachTierWasPassedOver) {
  EXPECT_EQ(Choose({{"media", "ssd"}, {"size", "2g"}}),
            "no tier for volume v (fast has no room: 2 GiB asked for, 1 GiB of 10 GiB not promised yet; "
            "safe has media hdd, not ssd; big has media hdd, not ssd)");
  rooms_[2] = {0, 512 << 20, ""};
  EXPECT_EQ(Choose({{"iops", "1000"}, {"size", "2g"}}),
            "no tier for volume v (fast has no room: 2 GiB asked for, 1 GiB of 10 GiB not promised yet; "
            "safe has iops 500, below 1000; big has no room: 2 GiB asked for, its disk has 512 MiB free)");
  rooms_[2].problem = "the disk is gone";
  EXPECT_EQ(Choose({{"tier", "big"}}),
            "no tier for volume v (fast is not tier big; safe is not tier big; "
            "big cannot be looked at: the disk is gone)");
}

}  // namespace
}  // namespace dvdi
