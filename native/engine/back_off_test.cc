// What cannot be undone is tried again at growing intervals, and told once.
#include "engine/back_off.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class BackOffTest : public SimEngineTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
    world_.sys.fault = [this](const char* call) {
      if (std::strcmp(call, "umount") != 0 || error_ == 0) return 0;
      tried_ = true;
      return error_;
    };
  }
  // The engine's looks for so long, whenever it wants one. The times, in seconds from now, of those that
  // tried to unmount.
  std::vector<int64_t> Look(int64_t seconds) {
    const int64_t begin = world_.clock.MonotonicMs(), end = begin + seconds * 1000;
    std::vector<int64_t> tries;
    while (world_.clock.MonotonicMs() < end) {
      tried_ = false;
      const int64_t now = world_.clock.MonotonicMs(), next = engine().Tick();
      world_.scheduler.RunAll();
      if (tried_) tries.push_back((now - begin) / 1000);
      EXPECT_GT(next, now);
      ++looks_;
      world_.clock.AdvanceTo(std::min(std::max(next, now + 1), end));
    }
    return tries;
  }
  std::vector<Json> Records() {
    auto answer = engine().Explain({{"scope", "one"}, {"last", 100}});
    EXPECT_TRUE(answer.ok());
    std::vector<Json> records = (*answer)["operations"];
    std::erase_if(records, [](const Json& r) { return r["kind"] == "prepare"; });
    return records;
  }
  int error_ = EPERM;
  bool tried_ = false;
  int looks_ = 0;
};

TEST_F(BackOffTest, ThePauseDoublesUpToTheSettingsLongest) {
  Cleanup("one");
  const std::vector<int64_t> tries = Look(600);
  ASSERT_GE(tries.size(), 10u);
  EXPECT_LE(tries.size(), 16u) << "of 600 with one each second";
  for (size_t i = 1; i < tries.size(); ++i) {
    const int64_t pause = tries[i] - tries[i - 1], expected = std::min<int64_t>(60, 1LL << i);
    EXPECT_GE(pause, expected - 1) << i;
    EXPECT_LE(pause, expected + 2) << i;
  }
  EXPECT_LE(looks_, 40) << "nothing is looked at in between";
}

TEST_F(BackOffTest, TriesThatFailAlikeLeaveOneRecord) {
  Cleanup("one");
  ASSERT_EQ(Records().size(), 1u);
  EXPECT_HAS(Dump(Records()[0]["notes"]), "not undone: ");
  Look(600);
  EXPECT_EQ(Records().size(), 1u) << "they would push out those of all others";
  error_ = EACCES;
  Look(120);
  EXPECT_EQ(Records().size(), 2u) << "another reason is told, once";
  error_ = 0;
  Look(120);
  EXPECT_EQ(Records().size(), 3u) << "and that it is done";
  EXPECT_HAS(Dump(Records()[0]["undone"]), "stage ");
  ExpectNothingLeft();
}

TEST_F(BackOffTest, WhoAsksForItIsNotMadeToWait) {
  Cleanup("one");
  Look(300);
  error_ = 0;
  EXPECT_TRUE(Cleanup("one").contains("ok"));
  ExpectNothingLeft("a cleanup");

  ASSERT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  error_ = EPERM;
  Cleanup("one");
  Look(300);
  error_ = 0;
  EXPECT_TRUE(Recover().contains("ok"));
  ExpectNothingLeft("a recovery");
}

TEST_F(BackOffTest, AVolumeThatOthersHoldIsLookedForEachSecond) {
  error_ = 0;
  auto lock = VolumeLocks::Take(env(), engine().core().lock_file, {{"red", "a"}}, 0);
  ASSERT_TRUE(lock.ok());
  Cleanup("one");
  Look(300);
  EXPECT_EQ(Records().size(), 1u) << Dump(Records());
  lock->reset();
  Look(2);
  ExpectNothingLeft();
}

TEST_F(BackOffTest, AFolderWhoseParentIsASymlinkNowIsNotOursAnyMore) {
  error_ = 0;
  const std::string box = root_ + "/targets/box";
  settings_.target_roots = {root_ + "/targets"};
  Close();
  std::filesystem::create_directories(box);
  const Json volume = Volume("red", "b", {{"container_path", box + "/made/b"}});
  ASSERT_EQ(CodeOf(Prepare("two", {volume}, {{"targets", "make"}})), "ok");
  // As a task may do that owns the folder above.
  std::filesystem::rename(box, root_ + "/moved");
  std::filesystem::create_directory_symlink(root_ + "/moved", box);
  Json answer = Cleanup("two");
  ASSERT_TRUE(answer.contains("ok")) << answer;
  for (const Json& p : answer["ok"]["pending"]) EXPECT_EQ(GetString(p, "name"), "b") << answer;
  EXPECT_TRUE(std::filesystem::exists(root_ + "/moved/made/b"));
  Cleanup("one");
  Settle();
  ExpectNothingLeft();
}

TEST(BackOffUnitTest, WhatHasEndedElsewhereIsForgotten) {
  BackOff back_off;
  back_off.Failed("a", "why", false, 100);
  back_off.Failed("b", "why", false, 100);
  OperationRow b;
  b.id = "b";
  back_off.KeepOnly({b});
  EXPECT_EQ(back_off.DueAt("a"), 0);
  EXPECT_EQ(back_off.DueAt("b"), 1100);
  EXPECT_TRUE(back_off.IsNews("a", "why"));
  EXPECT_FALSE(back_off.IsNews("b", "why"));
  EXPECT_TRUE(back_off.IsNews("b", "another"));
  back_off.Done("b");
  EXPECT_EQ(back_off.DueAt("b"), 0);
}

}  // namespace
}  // namespace dvdi
