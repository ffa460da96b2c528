#include "sys/lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <utility>
#include <vector>

#include "sys/sys.h"

namespace dvdi {
namespace {

// Time stands still but for who sleeps.
class Still : public Clock, public Scheduler {
 public:
  int64_t MonotonicMs() override { return now_; }
  int64_t MonotonicNs() override { return now_ * 1'000'000; }
  int64_t WallMs() override { return now_; }
  Status Spawn(std::function<void()>, const char*, size_t) override {
    return Status(Code::kInternal, "no thread");
  }
  void Wait(std::unique_lock<std::mutex>&, std::condition_variable&, int64_t) override {}
  void SleepUntil(int64_t ms) override {
    slept.push_back(ms - now_), now_ = ms;
    if (wakes) wakes();
  }
  std::vector<int64_t> slept;
  std::function<void()> wakes;

 private:
  int64_t now_ = 1000;
};

class WaitForLockTest : public ::testing::Test {
 protected:
  WaitForLockTest() {
    env_.clock = &still_, env_.scheduler = &still_;
    char path[] = "/tmp/dvdi-lock-XXXXXX";
    other_ = ::mkstemp(path);
    mine_ = ::open(path, O_RDWR | O_CLOEXEC);
    ::unlink(path);
  }
  ~WaitForLockTest() override {
    for (const int fd : {other_, mine_})
      if (fd >= 0) ::close(fd);
  }
  Still still_;
  Env env_ = SystemEnv();
  int other_ = -1, mine_ = -1;
};

TEST_F(WaitForLockTest, AFreeOneIsTakenHoweverLateItIs) {
  EXPECT_EQ(WaitForLock(env_, mine_, 0), 0);
  EXPECT_EQ(env_.sys->TryLock(other_), -EAGAIN);
  EXPECT_TRUE(still_.slept.empty());
}

TEST_F(WaitForLockTest, OneThatAnotherHasIsWaitedForAtMostUntilTheDeadline) {
  ASSERT_EQ(env_.sys->TryLock(other_), 0);
  EXPECT_EQ(WaitForLock(env_, mine_, 1200), -EAGAIN);
  EXPECT_EQ(still_.MonotonicMs(), 1200);
  EXPECT_EQ(still_.slept, std::vector<int64_t>({1, 2, 4, 8, 16, 32, 50, 50, 37})) << "ever longer";
}

TEST_F(WaitForLockTest, OneThatIsGivenBackIsTaken) {
  ASSERT_EQ(env_.sys->TryLock(other_), 0);
  still_.wakes = [this] {
    if (still_.slept.size() == 3) ::close(std::exchange(other_, -1));
  };
  EXPECT_EQ(WaitForLock(env_, mine_, 9'000), 0);
  EXPECT_EQ(still_.slept.size(), 3u);
}

TEST_F(WaitForLockTest, PartsOfAFileAreLocksOfTheirOwn) {
  ASSERT_EQ(env_.sys->TryLock(other_, 5, 1), 0);
  EXPECT_EQ(WaitForLock(env_, mine_, 0, 6, 1), 0);
  EXPECT_EQ(WaitForLock(env_, mine_, 0, 5, 1), -EAGAIN);
}

TEST_F(WaitForLockTest, WhatCannotBeLockedSaysSoAtOnce) {
  EXPECT_EQ(WaitForLock(env_, -1, 9'000), -EBADF);
  EXPECT_TRUE(still_.slept.empty());
}

}  // namespace
}  // namespace dvdi
