// A tier whose pool cannot be had, beside one that can.
#include "driver/closed_tier_test.h"

#include <sys/mount.h>

#include <atomic>

#include "driver/elsewhere_test.h"
#include "driver/fence.h"
#include "driver/hanging_test.h"
#include "driver/protocol.h"
#include "driver/server.h"
#include "sys/env.h"

namespace dvdi {
namespace {

using namespace dvdi::testing;  // NOLINT(google-build-using-namespace): as the other tests of lives

TEST_F(ClosedTierTest, OthersAreServedAndItsVolumesAreNotMissing) {
  Away();
  auto a = Start();
  ASSERT_OK(a);
  ExpectServed(a->get());
  ExpectAllClosed(a->get(), "No such file or directory");
  Back();
  ExpectOpen(a->get());
}

TEST_F(ClosedTierTest, OneThatHangsHoldsNobodyUp) {
  HangingMount hangs(there_);
  if (!hangs.ok()) GTEST_SKIP() << "needs FUSE";
  const int64_t begun = Clock::Real()->MonotonicMs();
  auto a = Start(300);
  ASSERT_OK(a);
  ExpectServed(a->get());
  ExpectAllClosed(a->get(), "does not answer");
  EXPECT_LT(Clock::Real()->MonotonicMs() - begun, 20'000);
  hangs.End();
  ExpectOpen(a->get());
}

TEST_F(ClosedTierTest, AnotherKindOfFailureCloses) {
  ASSERT_EQ(::chmod((there_ + "/pool").c_str(), 0777), 0);
  auto a = Start();
  ASSERT_OK(a);
  ExpectServed(a->get());
  ExpectAllClosed(a->get(), "can be written by others");
  ASSERT_EQ(::chmod((there_ + "/pool").c_str(), 0700), 0);
  ExpectOpen(a->get());
}

// The folder is there before its filesystem is mounted on it.
TEST_F(ClosedTierTest, AnEmptyFolderInItsPlaceIsNotTakenForIt) {
  Away();
  auto a = Start();
  ASSERT_OK(a);
  ASSERT_EQ(::mkdir(there_.c_str(), 0700), 0);
  ExpectClosed((*a)->Get("w").status(), "No such file or directory");
  EXPECT_EQ(Names(there_), std::vector<std::string>{}) << "the pool was made where it is to be mounted";
  ASSERT_EQ(::mkdir((there_ + "/pool").c_str(), 0700), 0);
  for (int i = 0; i < 3; ++i) {
    (*a)->ReleaseDrained();
    ::usleep(150'000);
  }
  ExpectAllClosed(a->get(), "is empty");
  ASSERT_EQ(::mount((there_ + "-away").c_str(), there_.c_str(), nullptr, MS_BIND, nullptr), 0);
  ExpectOpen(a->get());
}

// What an earlier driver left in it is seen to when it is opened, asked for or not.
TEST_F(ClosedTierTest, IsTakenOverWhenItIsThere) {
  auto a = Start();
  ASSERT_OK(a);
  ASSERT_OK((*a)->Create("gone", {{"tier", "big"}}));
  ASSERT_OK((*a)->Mount("gone", "1"));
  auto at = (*a)->Mount("w", "1");
  ASSERT_OK(at);
  const uint64_t before = (*a)->Get("w")->generation;
  a->reset();
  ASSERT_EQ(::umount((dir_ / "mnt/gone").c_str()), 0);
  Away();
  a = Start();
  ASSERT_OK(a);
  EXPECT_EQ(ReadFile(*at + "/file"), "data") << "what is mounted stays so";
  ExpectClosed((*a)->Mount("w", "2").status(), "No such file or directory");
  EXPECT_EQ(ReadFile(*at + "/file"), "data");
  Back();
  auto taken = [&] { return Exists(there_ + "/pool/w/lease." + std::to_string(before + 1)); };
  auto given_back = [&] { return Exists(there_ + "/pool/gone/released.1"); };
  for (int i = 0; i < 1000 && (!taken() || !given_back()); ++i) {
    (*a)->ReleaseDrained();
    ::usleep(10'000);
  }
  EXPECT_TRUE(taken());
  EXPECT_TRUE(given_back());
  ASSERT_OK((*a)->Unmount("w", "1"));
}

// The first thread that comes to the step hangs, as in a pool that does not answer, until it may go on.
std::atomic<bool> g_hung{false}, g_goes_on{false};
void HangOnce() {
  if (g_hung.exchange(true)) return;
  while (!g_goes_on) ::usleep(1000);
}
void HangOnceDetached(const char* step) {
  if (std::string(step) == "detached") HangOnce();
}
void HangOnceLeased(const char* step) {
  if (std::string(step) == "lease-taken") HangOnce();
}

// Each request that hangs has a connection, and clients that gave up come again.
TEST_F(ClosedTierTest, APoolThatHangsTakesNotAllConnections) {
  most_slow_ = 2;
  auto a = Start();
  ASSERT_OK(a);
  ServerOptions options;
  options.socket = dir_ / "socket";
  options.max_connections = 4;
  auto server = Server::Start(options, [&](const HttpRequest& r) { return HandleRequest(**a, r); });
  ASSERT_OK(server);
  g_hung = g_goes_on = false;
  SetStepHook(HangOnceLeased);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<RawClient>(options.socket));
    ASSERT_TRUE(clients.back()->Send(PostText("/VolumeDriver.Mount", R"({"Name":"w","ID":"1"})")));
    for (int t = 0; t < 10'000 && !g_hung; ++t) ::usleep(1000);
  }
  RawClient other(options.socket);
  const struct timeval patience = {10, 0};
  ASSERT_EQ(::setsockopt(other.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
  ASSERT_TRUE(other.Send(PostText("/VolumeDriver.Get", R"({"Name":"v"})")));
  EXPECT_TRUE(Is200(other.ReadResponse())) << "a tier that is well does not answer";
  const std::string refused = clients.back()->ReadResponse();
  EXPECT_NE(refused.find("2 requests are at work in tier big"), std::string::npos) << refused;
  g_goes_on = true;
  EXPECT_TRUE(Is200(clients.front()->ReadResponse()));
  SetStepHook(nullptr);
  (*server)->Stop();
  ASSERT_OK((*a)->Unmount("w", "1"));
}

TEST_F(ClosedTierTest, APoolThatHangsHoldsUpNoOthersThatAreGivenBackLate) {
  auto a = Start();
  ASSERT_OK(a);
  std::vector<std::unique_ptr<Elsewhere>> users;
  for (const char* name : {"v", "w"}) {
    auto at = (*a)->Mount(name, "1");
    ASSERT_OK(at);
    users.push_back(std::make_unique<Elsewhere>(MS_PRIVATE, *at));
    ASSERT_TRUE(users.back()->ok());
  }
  for (const char* name : {"v", "w"}) EXPECT_EQ((*a)->Unmount(name, "1").code(), Code::kRefused);
  users.clear();
  g_hung = g_goes_on = false;
  SetStepHook(HangOnceDetached);
  auto leased = [&] {
    int count = 0;
    for (const char* name : {"v", "w"}) count += (*a)->Get(name)->lease.has_value() ? 1 : 0;
    return count;
  };
  for (int i = 0; i < 1000 && (!g_hung || leased() == 2); ++i) {
    (*a)->ReleaseDrained(0);
    ::usleep(10'000);
  }
  EXPECT_TRUE(g_hung);
  EXPECT_EQ(leased(), 1) << "one hangs, and the other one waits for it";
  EXPECT_FALSE((*a)->Settled(0));
  g_goes_on = true;
  EXPECT_TRUE((*a)->Settled(20'000));
  SetStepHook(nullptr);
  EXPECT_EQ(leased(), 0);
}

TEST_F(ClosedTierTest, WhereAllAreTheDriverDoesNotStart) {
  Away();
  ASSERT_EQ(::chmod((dir_ / "fast").c_str(), 0777), 0);
  auto a = Start();
  EXPECT_EQ(a.status().code(), Code::kUnavailable);
  for (const char* why : {"big: ", "No such file or directory", "fast: ", "can be written by others"})
    EXPECT_NE(Text(a).find(why), std::string::npos) << Text(a);
}

// An operator, or a driver that did not know of the first one, made it twice.
TEST_F(ClosedTierTest, OfTwoVolumesOfOneNameNoneIsUsed) {
  Away();
  auto a = Start();
  ASSERT_OK(a);
  Back();
  std::filesystem::copy(there_ + "/pool/w", dir_ / "fast/w", std::filesystem::copy_options::recursive);
  ASSERT_EQ(::chmod((dir_ / "fast/w").c_str(), 0700), 0);
  a->reset();
  a = Start();
  ASSERT_OK(a);
  for (int i = 0; i < 2; ++i) {
    auto mounted = (*a)->Mount("w", "1");
    EXPECT_EQ(mounted.status().code(), Code::kRefused);
    EXPECT_NE(Text(mounted).find("there are two volumes w"), std::string::npos) << Text(mounted);
  }
  std::filesystem::remove_all(dir_ / "fast/w");
  ASSERT_OK((*a)->Mount("w", "1"));
  ASSERT_OK((*a)->Unmount("w", "1"));
}

TEST_F(ClosedTierTest, AVolumeOfAnotherTierCanBeFencedByHand) {
  Away();
  WriteFile(dir_ / "fast/v/lease.1",
            R"({"format":1,"node":"dead","generation":1,"since":"2026-01-01T00:00:00Z","boot_id":"b",)"
            R"("machine":"m","pid":1,"start_time":1,"session":"dead.0123456789abcdef","lease_ms":0})");
  const std::vector<TierConfig> tiers = {Tier("big", there_ + "/pool"), Tier("fast", dir_ / "fast")};
  auto fenced = FenceWithoutDriver(tiers, 0, "B", "v", true);
  ASSERT_OK(fenced);
  EXPECT_EQ(fenced->from, "dead");
  auto closed = FenceWithoutDriver(tiers, 0, "B", "w", true);
  EXPECT_NE(Text(closed).find("volume w may be in the pool " + there_ + "/pool: "), std::string::npos)
      << Text(closed);
}

}  // namespace
}  // namespace dvdi
