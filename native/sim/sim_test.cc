// The smoke simulation: a hundred seeds, the real engine, the real SQLite, the real blob.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "policy/runtime.h"
#include "sim/history.h"
#include "sys/env.h"

namespace dvdi::sim {
namespace {

class SimTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // In memory where that is there: SQLite's fsyncs are real, and power loss is not simulated.
    char memory[] = "/dev/shm/dvdi-sim-XXXXXX", disk[] = "/tmp/dvdi-sim-XXXXXX";
    const char* made = ::mkdtemp(memory);
    if (made == nullptr) made = ::mkdtemp(disk);
    ASSERT_NE(made, nullptr);
    root_ = made;
    // No volume may be below /dev.
    ASSERT_NE(::mkdtemp(volumes_), nullptr);
    // Compiled before any history: the first one would write the cache, and the others not.
    ASSERT_EQ(::mkdir((root_ + "/policy").c_str(), 0700), 0);
    auto runtime = PolicyRuntime::Create(RealEnv(), PolicyLimits{}, root_ + "/policy/compiled");
    ASSERT_TRUE(runtime.ok());
    ASSERT_TRUE((*runtime)->Load(BuiltinPolicy()).ok());
  }
  void TearDown() override {
    std::filesystem::remove_all(root_);
    std::filesystem::remove_all(volumes_);
  }

  HistoryResult Run(uint64_t seed) {
    HistoryOptions o;
    o.seed = seed;
    // The folder's name is part of the history: the same for the same seed.
    o.folder = root_ + "/world";
    o.volumes = volumes_;
    o.policy_dir = root_ + "/policy";
    std::filesystem::remove_all(o.folder);
    std::filesystem::create_directory(o.folder);
    return RunHistory(o);
  }
  std::string root_;
  char volumes_[32] = "/tmp/dvdi-sim-volumes-XXXXXX";
};

TEST_F(SimTest, AHundredSeedsKeepThePromises) {
  int prepared = 0, crashes = 0, reboots = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    HistoryResult r = Run(seed);
    prepared += r.prepared, crashes += r.crashes, reboots += r.reboots;
    for (const auto& v : r.violations) ADD_FAILURE() << "seed " << seed << ": " << v;
    if (!r.violations.empty()) {
      for (const auto& line : r.transcript) std::fprintf(stderr, "  %s\n", line.c_str());
      break;
    }
  }
  // A simulation in which nothing happens proves nothing.
  EXPECT_GT(prepared, 300);
  EXPECT_GT(crashes, 30);
  EXPECT_GT(reboots, 10);
}

TEST_F(SimTest, TheSameSeedIsTheSameHistory) {
  for (uint64_t seed : {3u, 17u, 41u}) {
    HistoryResult one = Run(seed), two = Run(seed);
    EXPECT_EQ(one.transcript, two.transcript) << "seed " << seed;
    EXPECT_FALSE(one.transcript.empty());
  }
}

}  // namespace
}  // namespace dvdi::sim
