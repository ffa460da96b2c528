#include "observe/counters.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "sys/sys.h"

namespace dvdi {
namespace {

class CountersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dvdi-counters-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name, path_ = folder_ + "/counters";
    env_.sys = Sys::Real(), env_.random = Random::Real(), env_.clock = Clock::Real();
    if (!Counters::Open(env_, path_)->status().ok())
      GTEST_SKIP() << Counters::Open(env_, path_)->status().message();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Env env_;
  std::string folder_, path_;
};

TEST_F(CountersTest, WhatOneProcessCountsAnotherReadsAndNothingIsLostWhenItIsKilled) {
  auto ours = Counters::Open(env_, path_);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto theirs = Counters::Open(env_, path_);
    for (int i = 0; i < 1000; ++i) theirs->Add("a{x=\"1\"}");
    ::raise(SIGKILL);
  }
  for (int i = 0; i < 1000; ++i) ours->Add("a{x=\"1\"}");
  ours->Add("b", 7);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  auto read = Counters::Open(env_, path_)->Read();
  EXPECT_EQ(read["a{x=\"1\"}"], 2000u);
  EXPECT_EQ(read["b"], 7u);
  EXPECT_EQ(read.size(), 2u);
}

TEST_F(CountersTest, ThreadsMeetInNewSeries) {
  auto counters = Counters::Open(env_, path_);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) counters->Add("series" + std::to_string(i));
    });
  for (auto& t : threads) t.join();
  auto read = counters->Read();
  EXPECT_EQ(read.size(), 300u);
  for (const auto& [name, value] : read) EXPECT_EQ(value, 4u) << name;
}

TEST_F(CountersTest, TooManySeriesOrTooLongOnesAreCountedAsLost) {
  auto counters = Counters::Open(env_, path_);
  for (int i = 0; i < 2000; ++i) counters->Add("s" + std::to_string(i));
  counters->Add(std::string(5000, 'x'));
  EXPECT_EQ(counters->Read().size() + counters->lost(), 2001u);
  EXPECT_GT(counters->lost(), 0u);
  uint64_t before = counters->Read()["s0"];
  counters->Add("s0");
  EXPECT_EQ(counters->Read()["s0"], before + 1);  // what has its place goes on counting
}

TEST_F(CountersTest, WhatIsNoFileOfCountersIsReplaced) {
  for (int kind = 0; kind < 3; ++kind) {
    std::filesystem::remove(path_);
    if (kind == 0) std::ofstream(path_) << "something else";
    if (kind == 1) {
      Counters::Open(env_, path_)->Add("a");
      std::filesystem::resize_file(path_, 100);
    }
    if (kind == 2) {
      Counters::Open(env_, path_)->Add("a");
      ASSERT_EQ(::chmod(path_.c_str(), 0666), 0);  // anybody could have written it
    }
    auto counters = Counters::Open(env_, path_);
    EXPECT_TRUE(counters->status().ok()) << counters->status().message();
    EXPECT_TRUE(counters->Read().empty()) << kind;
    struct stat st = {};
    ASSERT_EQ(::stat(path_.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(CountersTest, WhatOneThatDiedMakingTheFileHasLeftIsTakenAway) {
  const std::string left = folder_ + "/.counters.00112233aabbccdd.tmp";
  auto files = [&] { return std::distance(std::filesystem::directory_iterator(folder_), {}); };
  // It died before the link to the last name, and then behind it.
  std::filesystem::remove(path_);
  std::ofstream(left) << "part of it";
  Counters::Open(env_, path_)->Add("a");
  EXPECT_EQ(files(), 1);
  std::filesystem::create_hard_link(path_, left);
  EXPECT_EQ(Counters::Open(env_, path_)->Read()["a"], 1u);
  EXPECT_EQ(files(), 1);
  // Of one that is at it nothing is taken.
  std::ofstream(left) << "all of it";
  const int fd = env_.sys->OpenAt(AT_FDCWD, left.c_str(), O_WRONLY, 0);
  ASSERT_GE(fd, 0);
  ASSERT_GE(env_.sys->TryLock(fd), 0);
  std::filesystem::remove(path_);
  EXPECT_TRUE(Counters::Open(env_, path_)->status().ok());
  EXPECT_EQ(files(), 2);
  env_.sys->Close(fd);
}

TEST_F(CountersTest, ASymlinkIsNotFollowed) {
  std::string elsewhere = folder_ + "/elsewhere";
  std::ofstream(elsewhere) << "keep";
  std::filesystem::remove(path_);
  std::filesystem::create_symlink(elsewhere, path_);
  auto counters = Counters::Open(env_, path_);
  EXPECT_FALSE(counters->status().ok());
  counters->Add("a");  // for this process alone
  EXPECT_EQ(counters->Read()["a"], 1u);
  EXPECT_EQ(std::filesystem::file_size(elsewhere), 4u);
}

}  // namespace
}  // namespace dvdi
