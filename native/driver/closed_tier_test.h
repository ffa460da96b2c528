// A driver of two tiers, of which one can be taken away from it.
#ifndef DVDI_DRIVER_CLOSED_TIER_TEST_H_
#define DVDI_DRIVER_CLOSED_TIER_TEST_H_

#include <memory>
#include <string>
#include <vector>

#include "driver/life_test.h"

namespace dvdi::testing {

class ClosedTierTest : public LifeTest {
 protected:
  void SetUp() override {
    DVDI_SKIP_UNLESS(NeedVolumes("ext4"));
    ASSERT_EQ(::mkdir(there_.c_str(), 0700), 0);
    auto a = Start();
    ASSERT_OK(a);
    ASSERT_OK((*a)->Create("v", {{"tier", "fast"}}));
    ASSERT_OK((*a)->Create("w", {{"tier", "big"}}));
    auto at = (*a)->Mount("w", "1");
    ASSERT_OK(at);
    WriteFile(*at + "/file", "data");
    ASSERT_OK((*a)->Unmount("w", "1"));
  }
  static TierConfig Tier(const std::string& name, const std::string& pool) {
    TierConfig tier;
    tier.name = name;
    tier.pool = pool;
    tier.default_size = 16 * kMiB;
    return tier;
  }
  Result<std::unique_ptr<Driver>> Start(int wait_ms = 20'000) {
    DriverOptions o;
    o.tiers = {Tier("big", there_ + "/pool"), Tier("fast", dir_ / "fast")};
    o.mount_root = dir_ / "mnt";
    o.node = "A";
    o.lease_ms = 0;
    o.open_wait_ms = wait_ms;
    o.detach_wait_ms = 50;
    o.most_slow = most_slow_;
    o.slow_ms = most_slow_ == 0 ? o.slow_ms : 0;
    return Driver::Open(o);
  }
  // As a server that is away: not even the folder that the pool lies in is there.
  void Away() { ASSERT_EQ(::rename(there_.c_str(), (there_ + "-away").c_str()), 0); }
  void Back() { ASSERT_EQ(::rename((there_ + "-away").c_str(), there_.c_str()), 0); }
  // What a volume, or a name, that may be in the closed tier is answered.
  void ExpectClosed(const Status& s, const std::string& why) {
    EXPECT_EQ(s.code(), Code::kUnavailable) << s.message();
    EXPECT_NE(s.message().find("tier big cannot be used (pool " + there_ + "/pool): "), std::string::npos)
        << s.message();
    EXPECT_NE(s.message().find(why), std::string::npos) << s.message();
    EXPECT_NE(s.hint().find("the driver opens it"), std::string::npos) << s.hint();
  }
  void ExpectAllClosed(Driver* a, const std::string& why) {
    for (const char* name : {"w", "new"}) {
      ExpectClosed(a->Get(name).status(), why);
      ExpectClosed(a->Mount(name, "1").status(), why);
      ExpectClosed(a->Path(name).status(), why);
      ExpectClosed(a->Unmount(name, "1"), why);
      ExpectClosed(a->Remove(name), why);
      ExpectClosed(a->Fence(name, true).status(), why);
      ExpectClosed(a->Create(name, {}), why);
      ExpectClosed(a->Create(name, {{"tier", "fast"}}), why);
    }
    ExpectClosed(a->List().status(), why);
    EXPECT_EQ(Names(dir_ / "fast"), std::vector<std::string>{"v"}) << "a volume was made anew";
    auto tiers = a->Tiers();
    ASSERT_OK(tiers);
    EXPECT_NE((*tiers)[0].room.problem.find(why), std::string::npos) << (*tiers)[0].room.problem;
    EXPECT_EQ((*tiers)[1].room.problem, "");
  }
  void ExpectServed(Driver* a) {
    ASSERT_OK(a->Get("v"));
    ASSERT_OK(a->Create("v", {}));
    ASSERT_OK(a->Mount("v", "1"));
    ASSERT_OK(a->Unmount("v", "1"));
  }
  void ExpectOpen(Driver* a) {
    for (int i = 0; i < 1000 && !a->Get("w").ok(); ++i) ::usleep(10'000);
    auto at = a->Mount("w", "1");
    ASSERT_OK(at);
    EXPECT_EQ(ReadFile(*at + "/file"), "data");
    ASSERT_OK(a->Unmount("w", "1"));
    ASSERT_OK(a->Create("new", {}));
    auto list = a->List();
    ASSERT_OK(list);
    EXPECT_EQ(list->size(), 3u);
  }

  const std::string there_ = dir_ / "there";
  size_t most_slow_ = 0;
};

}  // namespace dvdi::testing

#endif  // DVDI_DRIVER_CLOSED_TIER_TEST_H_
