#include "engine/locks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "sim/world.h"

namespace dvdi {
namespace {

class LocksTest : public ::testing::Test {
 protected:
  LocksTest() {
    char name[] = "/tmp/dvdi-locks-test-XXXXXX";
    root_ = ::mkdtemp(name);
    world_ = std::make_unique<sim::World>(1, root_, root_);
  }
  ~LocksTest() override { std::filesystem::remove_all(root_); }
  Result<std::unique_ptr<VolumeLocks>> Take(const VolumeLocks::Names& names, int64_t wait_ms = 0) {
    int64_t deadline = wait_ms == 0 ? 0 : world_->clock.MonotonicMs() + wait_ms;
    return VolumeLocks::Take(world_->env(), root_ + "/volumes.lock", names, deadline);
  }
  std::string root_;
  std::unique_ptr<sim::World> world_;
};

TEST_F(LocksTest, AVolumeIsWorkedOnByOneAtATime) {
  auto first = Take({{"red", "a"}, {"red", "b"}});
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_TRUE(Take({{"red", "c"}, {"blue", "a"}}).ok()) << "other volumes are free";
  auto second = Take({{"red", "b"}, {"red", "c"}}, 700);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::kTimeout);
  EXPECT_EQ(second.status().volume(), "b");
  EXPECT_EQ(second.status().driver(), "red");
  EXPECT_TRUE(Take({{"red", "c"}}).ok()) << "what a failed try took is free again";
  first->reset();
  EXPECT_TRUE(Take({{"red", "b"}, {"red", "a"}}).ok());
}

TEST_F(LocksTest, WaitsUntilTheDeadlineAndNoLonger) {
  auto first = Take({{"red", "a"}});
  int64_t begin = world_->clock.MonotonicMs();
  EXPECT_FALSE(Take({{"red", "a"}}, 1234).ok());
  EXPECT_EQ(world_->clock.MonotonicMs(), begin + 1234);
  EXPECT_FALSE(Take({{"red", "a"}}).ok());
  EXPECT_EQ(world_->clock.MonotonicMs(), begin + 1234) << "one try takes no time";
}

TEST_F(LocksTest, NamesCannotBeConfused) {
  auto first = Take({{"red", "ab"}});
  EXPECT_TRUE(Take({{"reda", "b"}}).ok());
  EXPECT_TRUE(Take({{"", "redab"}}).ok());
  EXPECT_TRUE(Take({}).ok());
  EXPECT_TRUE(Take({kFoldersLock}).ok());
}

TEST_F(LocksTest, AFileThatCannotBeOpenedIsAnError) {
  auto r = VolumeLocks::Take(world_->env(), root_ + "/none/volumes.lock", {{"red", "a"}}, 0);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kSystem);
}

TEST_F(LocksTest, AnEngineIsAliveAsLongAsItHoldsItsLock) {
  Env env = world_->env();
  auto one = InstanceLock::Take(env, root_), two = InstanceLock::Take(env, root_);
  ASSERT_TRUE(one.ok() && two.ok());
  std::string id = (*one)->id(), other = (*two)->id();
  EXPECT_NE(id, other);
  EXPECT_TRUE(InstanceAlive(env, root_, id));
  one->reset();
  EXPECT_FALSE(InstanceAlive(env, root_, id));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/" + id));
  EXPECT_TRUE(InstanceAlive(env, root_, other));
  EXPECT_FALSE(InstanceAlive(env, root_, "never"));
}

// What it is at would be undone under it.
TEST_F(LocksTest, AnEngineThatCannotBeLookedAtIsAlive) {
  auto one = InstanceLock::Take(world_->env(), root_);
  ASSERT_TRUE(one.ok());
  for (const char* fails : {"open", "fcntl"}) {
    world_->sys.look_fault = [&](const char* call) { return std::string(call) == fails ? EMFILE : 0; };
    EXPECT_TRUE(InstanceAlive(world_->env(), root_, (*one)->id())) << fails;
    SweepInstances(world_->env(), root_);
    EXPECT_TRUE(std::filesystem::exists(root_ + "/" + (*one)->id())) << fails;
  }
  world_->sys.look_fault = nullptr;
}

// Two that want the same ones would wait for each other else, each for what the other has.
TEST_F(LocksTest, SeveralAreTakenInOneOrderHoweverTheyAreNamed) {
  struct Recorder : Sys {
    std::vector<int64_t> offsets;
    int TryLock(int fd, int64_t offset, int64_t length) override {
      offsets.push_back(offset);
      return Sys::TryLock(fd, offset, length);
    }
  };
  VolumeLocks::Names names = {{"red", "a"}, {"red", "b"}, {"blue", "a"}, {"blue", "b"}};
  std::vector<int64_t> first;
  for (int turn = 0; turn < 4; ++turn) {
    Recorder recorder;
    Env env = world_->env();
    env.sys = &recorder;
    EXPECT_TRUE(VolumeLocks::Take(env, root_ + "/volumes.lock", names, 0).ok());
    if (turn == 0) first = recorder.offsets;
    EXPECT_EQ(recorder.offsets.size(), names.size());
    EXPECT_EQ(recorder.offsets, first);
    std::rotate(names.begin(), names.begin() + 1, names.end());
  }
}

TEST_F(LocksTest, FilesOfKilledEnginesAreSweptAndOnlyThose) {
  Env env = world_->env();
  auto living = InstanceLock::Take(env, root_);
  std::ofstream(root_ + "/killed") << "";
  std::ofstream(root_ + "/.killed-before-it-had-its-name") << "";
  EXPECT_FALSE(InstanceAlive(env, root_, "killed"));
  SweepInstances(env, root_);
  EXPECT_FALSE(std::filesystem::exists(root_ + "/killed"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/.killed-before-it-had-its-name"));
  EXPECT_TRUE(std::filesystem::exists(root_ + "/" + (*living)->id()));
}

TEST_F(LocksTest, AnEngineWhoseFileIsSweptBeforeItIsLockedTakesAnother) {
  bool swept = false;
  world_->sys.fault = [&](const char* call) {
    if (std::string(call) == "rename" && !std::exchange(swept, true))
      for (const auto& entry : std::filesystem::directory_iterator(root_))
        if (entry.path().filename().string()[0] == '.') std::filesystem::remove(entry.path());
    return 0;
  };
  auto one = InstanceLock::Take(world_->env(), root_);
  ASSERT_TRUE(one.ok()) << one.status().message();
  EXPECT_TRUE(swept);
  EXPECT_TRUE(InstanceAlive(world_->env(), root_, (*one)->id()));
}

TEST_F(LocksTest, AnInstanceThatCannotLockSaysSoAndLeavesNothing) {
  world_->sys.fault = [](const char* call) { return std::string(call) == "rename" ? EROFS : 0; };
  auto r = InstanceLock::Take(world_->env(), root_);
  EXPECT_FALSE(r.ok());
  for (const auto& entry : std::filesystem::directory_iterator(root_))
    EXPECT_TRUE(entry.is_directory()) << entry.path();
}

}  // namespace
}  // namespace dvdi
