#include "driver/keeper.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <new>

#include "driver/files.h"
#include "driver/lease.h"
#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Names;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

// Long enough that nothing ends by itself while the test runs; time is moved by hand.
constexpr int64_t kLease = 600'000;

class KeeperTest : public ::testing::Test {
 protected:
  std::unique_ptr<LeaseKeeper> Start(int64_t lease_ms = kLease) {
    KeeperOptions o;
    o.pool = dir_.path();
    o.folder = folder_.get();
    o.node = "A";
    o.lease_ms = lease_ms;
    o.now = [clock = clock_, throws = throws_, takes = takes_, sessions = dir_ / ".sessions"]() -> int64_t {
      if (throws->load()) throw std::bad_alloc();
      if (takes->load() != 0 && !Names(sessions).empty()) *clock += takes->exchange(0);
      return clock->load();
    };
    o.lost = [this](const std::vector<std::string>& names, const std::string& why) {
      if (untold_-- > 0) throw std::bad_alloc();
      telling_ = true;
      while (busy_) ::usleep(1000);
      std::lock_guard<std::mutex> hold(mu_);
      lost_.insert(lost_.end(), names.begin(), names.end());
      why_ = why;
    };
    auto keeper = LeaseKeeper::Start(std::move(o));
    EXPECT_TRUE(keeper.ok()) << keeper.status().message();
    return keeper.ok() ? std::move(*keeper) : nullptr;
  }
  // A lease of that node, in the folder of a volume.
  void WriteLease(const std::string& volume, const std::string& number, const std::string& node,
                  const std::string& session) {
    WriteFile(dir_ / "aside",
              "{\"format\":1,\"node\":\"" + node + "\",\"generation\":" + number +
                  ",\"since\":\"2026-01-01T00:00:00Z\",\"boot_id\":\"b\",\"machine\":\"m\",\"pid\":1,"
                  "\"start_time\":1,\"session\":\"" +
                  session + "\",\"lease_ms\":2000}");
    std::filesystem::rename(dir_ / "aside", dir_ / (volume + "/lease." + number));
  }
  // Until all guarded volumes were looked at since now: each renewal is followed by a look.
  void WaitForALook(const LeaseKeeper& keeper) {
    for (int round = 0; round < 2; ++round) {
      std::string session = *keeper.Session(), then = *ReadSession(folder_.get(), session, "B");
      for (int i = 0; i < 4000 && *ReadSession(folder_.get(), session, "B") == then; ++i) ::usleep(5000);
    }
  }
  std::vector<std::string> WaitForLost() {
    for (int i = 0; i < 4000; ++i) {
      {
        std::lock_guard<std::mutex> hold(mu_);
        if (!lost_.empty()) return lost_;
      }
      ::usleep(5000);
    }
    return {};
  }

  TempDir dir_;
  const UniqueFd folder_{::open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  // A renewer that is left behind may still look at it.
  const std::shared_ptr<std::atomic<int64_t>> clock_ = std::make_shared<std::atomic<int64_t>>(1'000'000);
  std::atomic<int64_t>& now_ = *clock_;
  const std::shared_ptr<std::atomic<bool>> throws_ = std::make_shared<std::atomic<bool>>(false);
  // So long the first write of a session takes.
  const std::shared_ptr<std::atomic<int64_t>> takes_ = std::make_shared<std::atomic<int64_t>>(0);
  std::atomic<int> untold_{0};  // how often `lost` throws
  std::atomic<bool> busy_{false},
      telling_{false};  // whether `lost` is to take its time; whether it was called
  std::mutex mu_;
  std::vector<std::string> lost_;
  std::string why_;
};

TEST_F(KeeperTest, LeasesThatLastForEverNeedNothing) {
  auto keeper = Start(0);
  EXPECT_EQ(*keeper->Session(), "");
  now_ += int64_t{1} << 40;
  EXPECT_TRUE(keeper->Holds("v"));
  EXPECT_TRUE(Names(dir_.path()).empty());
}

TEST_F(KeeperTest, ASessionIsAFileWithACounter) {
  auto keeper = Start();
  auto session = keeper->Session();
  ASSERT_TRUE(session.ok());
  EXPECT_TRUE(IsSessionName(*session));
  EXPECT_FALSE(IsSessionName("../x.0123456789abcdef"));
  auto text = ReadSession(folder_.get(), *session, "B");
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find("\"counter\":1"), std::string::npos) << *text;
  EXPECT_EQ(Names(dir_ / ".sessions").size(), 1u) << "a look leaves nothing";
  EXPECT_EQ(*ReadSession(folder_.get(), "A.0123456789abcdef", "B"), "");
}

TEST_F(KeeperTest, TheCounterMoves) {
  auto keeper = Start(2000);  // the shortest: renewed every 400 ms of real time
  std::string session = *keeper->Session(), first = *ReadSession(folder_.get(), session, "B"), now = first;
  for (int i = 0; i < 4000 && now == first; ++i) {
    ::usleep(5000);
    now = *ReadSession(folder_.get(), session, "B");
  }
  EXPECT_NE(now, first);
  EXPECT_EQ(*keeper->Session(), session);
}

TEST_F(KeeperTest, WithoutARenewalEverythingIsLostBeforeTheEnd) {
  auto keeper = Start();
  std::string session = *keeper->Session();
  keeper->Guard("v", session, 1);
  keeper->Guard("w", session, 7);
  keeper->Guard("old", "A.0123456789abcdef", 1);
  EXPECT_TRUE(keeper->Holds("v"));
  EXPECT_FALSE(keeper->Holds("old")) << "its session is over";
  now_ += kLease - LeaseKeeper::Margin(kLease) - 1;
  EXPECT_TRUE(keeper->Holds("v"));
  now_ += 1;
  EXPECT_FALSE(keeper->Holds("v"));
  EXPECT_EQ(WaitForLost(), (std::vector<std::string>{"v", "w"}));
  EXPECT_NE(why_.find("could not be renewed"), std::string::npos) << why_;
  // The pool answers: later leases are of another session, and the old one never comes back.
  Result<std::string> next = keeper->Session();
  for (int i = 0; i < 4000 && !next.ok(); ++i) {
    ::usleep(5000);
    next = keeper->Session();
  }
  ASSERT_TRUE(next.ok());
  EXPECT_NE(*next, session);
  EXPECT_FALSE(keeper->Holds("v"));
  keeper->Guard("v", *next, 2);
  EXPECT_TRUE(keeper->Holds("v"));
}

// The pool may have taken the write at its begin: whoever waits for the end of the lease counts from there.
TEST_F(KeeperTest, ALeaseCountsFromTheBeginOfItsRenewal) {
  const int64_t begun = now_, takes = kLease / 2;
  *takes_ = takes;
  auto keeper = Start();
  ASSERT_EQ(now_, begun + takes);
  keeper->Guard("v", *keeper->Session(), 1);
  now_ = begun + kLease - LeaseKeeper::Margin(kLease) - 1;
  EXPECT_TRUE(keeper->Holds("v"));
  now_ += 1;
  EXPECT_FALSE(keeper->Holds("v"));
}

// The time in which the one who holds a lease lets go of it, on both sides of its end: docs/driver.md.
TEST_F(KeeperTest, TheMarginIsAQuarterOfALeaseAndHalfASecondAtLeast) {
  EXPECT_EQ(LeaseKeeper::Margin(kLease), kLease / 4);
  EXPECT_EQ(LeaseKeeper::Margin(2000), 500);
  EXPECT_EQ(LeaseKeeper::Margin(400), 500);
}

TEST_F(KeeperTest, AVolumeThatAnotherNodeTookIsLost) {
  auto keeper = Start(2000);
  ASSERT_EQ(::mkdir((dir_ / "v").c_str(), 0700), 0);
  ASSERT_EQ(::mkdir((dir_ / "w").c_str(), 0700), 0);
  for (const char* volume : {"v", "w"}) WriteFile(dir_ / (std::string(volume) + "/lease.3"), "{}");
  for (const char* volume : {"v", "w"}) keeper->Guard(volume, *keeper->Session(), 3);
  WriteFile(dir_ / "v/lease.4", "{}");
  EXPECT_EQ(WaitForLost(), std::vector<std::string>{"v"});
  EXPECT_NE(why_.find("another node has taken"), std::string::npos) << why_;
  EXPECT_FALSE(keeper->Holds("v"));
  EXPECT_TRUE(keeper->Holds("w"));
}

TEST_F(KeeperTest, WhatThisDriverTookItselfIsNotLost) {
  auto keeper = Start(2000);
  std::string session = *keeper->Session(), earlier = "A.0123456789abcdef";
  for (const char* volume : {"mine", "theirs", "of-an-earlier-one"}) {
    ASSERT_EQ(::mkdir((dir_ / volume).c_str(), 0700), 0);
    keeper->Guard(volume, session, 3);
  }
  // The next number is there a moment before it is guarded.
  WriteLease("mine", "4", "A", session);
  WaitForALook(*keeper);
  EXPECT_TRUE(keeper->Holds("mine"));
  WriteLease("theirs", "4", "B", session);
  EXPECT_EQ(WaitForLost(), std::vector<std::string>{"theirs"});
  {
    std::lock_guard<std::mutex> hold(mu_);
    lost_.clear();
  }
  WriteLease("of-an-earlier-one", "4", "A", earlier);
  EXPECT_EQ(WaitForLost(), std::vector<std::string>{"of-an-earlier-one"});
  EXPECT_TRUE(keeper->Holds("mine"));
}

TEST_F(KeeperTest, WhatIsGuardedAnewSinceTheLookIsNotLost) {
  auto keeper = Start(2000);
  std::string session = *keeper->Session();
  busy_ = true;
  for (const char* volume : {"first", "v"}) {
    ASSERT_EQ(::mkdir((dir_ / volume).c_str(), 0700), 0);
    keeper->Guard(volume, session, 3);
  }
  WriteLease("first", "4", "B", session);
  while (!telling_) ::usleep(1000);
  // It waits until the first one's end is told.
  WriteLease("v", "4", "B", session);
  WaitForALook(*keeper);
  keeper->Guard("v", session, 5);
  busy_ = false;
  EXPECT_EQ(WaitForLost(), std::vector<std::string>{"first"});
  WriteLease("v", "5", "A", session);
  WaitForALook(*keeper);
  EXPECT_EQ(WaitForLost(), std::vector<std::string>{"first"});
  EXPECT_TRUE(keeper->Holds("v"));
}

// Its threads go on: without them a volume would be mounted here, and taken by another node.
TEST_F(KeeperTest, WhatALibraryThrowsEndsNeitherItsThreadsNorWhatTheyOwe) {
  auto keeper = Start(2000);
  std::string session = *keeper->Session();
  keeper->Guard("v", session, 1);
  *throws_ = true;
  ::usleep(600'000);
  *throws_ = false;
  std::string then = *ReadSession(folder_.get(), session, "B"), now = then;
  for (int i = 0; i < 4000 && now == then; ++i) {
    ::usleep(5000);
    now = *ReadSession(folder_.get(), session, "B");
  }
  EXPECT_NE(now, then) << "it renews";
  EXPECT_TRUE(keeper->Holds("v"));
  untold_ = 2;
  now_ += 2000;
  EXPECT_EQ(WaitForLost(), std::vector<std::string>{"v"});
  EXPECT_LT(untold_, 0) << "it was told again until it was done";
}

TEST_F(KeeperTest, NoPoolNoLeases) {
  KeeperOptions o;
  o.pool = dir_ / "nothing";
  ASSERT_EQ(::mkdir(o.pool.c_str(), 0700), 0);
  UniqueFd gone(::open(o.pool.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::rmdir(o.pool.c_str()), 0);
  o.folder = gone.get();
  o.node = "A";
  o.lease_ms = kLease;
  auto keeper = LeaseKeeper::Start(std::move(o));
  EXPECT_EQ(keeper.status().code(), Code::kUnavailable);
}

TEST_F(KeeperTest, OldSessionsOfThisNodeAreSwept) {
  auto keeper = Start();
  for (const char* name : {"A.0123456789abcdef", "B.0123456789abcdef", "tmp.A.0123456789abcdef"})
    WriteFile(dir_ / (std::string(".sessions/") + name), "{}");
  SweepSessions(folder_.get(), "A", {*keeper->Session()});
  auto names = Names(dir_ / ".sessions");
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{*keeper->Session(), "B.0123456789abcdef"}));
}

}  // namespace
}  // namespace dvdi
