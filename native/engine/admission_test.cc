#include "engine/admission.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <stdexcept>

#include "sim/world.h"

namespace dvdi {
namespace {

// Threads are held back until the test lets them go.
class AdmissionTest : public ::testing::Test {
 protected:
  AdmissionTest()
      : admission_(
            MakeEnv(), [this](const std::string& d) { return d == "wide" ? 3 : room_; }, 64) {}

  class HeldScheduler : public Scheduler {
   public:
    Status Spawn(std::function<void()> task, const char*, size_t) override {
      if (fails) return Status(Code::kSystem, "no more threads");
      tasks.push_back(std::move(task));
      return Status();
    }
    void Wait(std::unique_lock<std::mutex>&, std::condition_variable&, int64_t deadline_ms) override {
      clock->AdvanceTo(deadline_ms);
    }
    void SleepUntil(int64_t deadline_ms) override { clock->AdvanceTo(deadline_ms); }
    std::deque<std::function<void()>> tasks;
    bool fails = false;
    sim::SimClock* clock = nullptr;
  };
  Env MakeEnv() {
    scheduler_.clock = &clock_;
    Env env;
    env.clock = &clock_, env.scheduler = &scheduler_;
    return env;
  }
  void Submit(const std::string& name, const std::vector<std::string>& drivers, const char* kind = "prepare",
              int64_t deadline_ms = INT64_MAX) {
    admission_.Submit(kind, drivers, deadline_ms, [this, name](const Status& s) {
      ended_.push_back(name + (s.ok() ? "" : std::string(" ") + CodeName(s.code())));
    });
  }
  // Lets the oldest running thread end.
  void EndOne() {
    ASSERT_FALSE(scheduler_.tasks.empty());
    auto task = std::move(scheduler_.tasks.front());
    scheduler_.tasks.pop_front();
    task();
  }
  int room_ = 1;
  sim::SimClock clock_;
  HeldScheduler scheduler_;
  Admission admission_;
  std::vector<std::string> ended_;
};

TEST_F(AdmissionTest, OneDriverHasRoomForSoMany) {
  for (const char* name : {"1", "2", "3", "4", "5"}) Submit(name, {"wide"});
  EXPECT_EQ(admission_.running(), 3);
  EXPECT_EQ(admission_.waiting(), 2);
  EndOne();
  EXPECT_EQ(admission_.running(), 3);
  EXPECT_EQ(admission_.waiting(), 1);
  while (!scheduler_.tasks.empty()) EndOne();
  EXPECT_EQ(ended_, (std::vector<std::string>{"1", "2", "3", "4", "5"}));
  EXPECT_EQ(admission_.running(), 0);
}

TEST_F(AdmissionTest, ABusyDriverHoldsUpNobodyElse) {
  Submit("a", {"red"});
  Submit("waits", {"red"});
  Submit("both", {"blue", "red"});
  Submit("b", {"blue"});
  Submit("no driver", {});
  EXPECT_EQ(admission_.running(), 3);
  EXPECT_EQ(admission_.waiting(), 2);
  while (!scheduler_.tasks.empty()) EndOne();
  EXPECT_EQ(ended_, (std::vector<std::string>{"a", "b", "no driver", "waits", "both"}));
}

TEST_F(AdmissionTest, KindsDoNotWaitForEachOther) {
  Submit("prepare", {"red"});
  Submit("release", {"red"}, "release");
  EXPECT_EQ(admission_.running(), 2);
}

TEST_F(AdmissionTest, WhatWaitsTooLongEndsAsTimeout) {
  Submit("runs", {"red"}, "prepare", 2000);
  Submit("waits", {"red"}, "prepare", 3000);
  Submit("waits longer", {"red"}, "prepare", 4000);
  EXPECT_EQ(admission_.NextDue(), 3000);
  clock_.AdvanceTo(2999);
  admission_.Expire();
  EXPECT_TRUE(ended_.empty());
  clock_.AdvanceTo(3000);
  admission_.Expire();
  EXPECT_EQ(ended_, std::vector<std::string>{"waits timeout"});
  EXPECT_EQ(admission_.waiting(), 1);
  while (!scheduler_.tasks.empty()) EndOne();
  EXPECT_EQ(ended_, (std::vector<std::string>{"waits timeout", "runs", "waits longer"}));
  EXPECT_EQ(admission_.NextDue(), INT64_MAX);
}

TEST_F(AdmissionTest, WhatPausesNeedsNoRoomUntilItsTime) {
  const int64_t from = clock_.MonotonicMs() + 250, deadline = clock_.MonotonicMs() + 1000;
  auto pause = [&](const std::string& name) {
    admission_.Submit(
        "prepare", {"red"}, deadline,
        [this, name](const Status& s) { ended_.push_back(name + ' ' + CodeName(s.code())); }, from);
  };
  pause("paused");
  EXPECT_EQ(admission_.NextDue(), from);
  Submit("other", {"red"});
  EXPECT_EQ(admission_.running(), 1) << "its room is free for others";
  EndOne();
  EXPECT_EQ(admission_.running(), 0) << "nothing else lets it in";
  clock_.AdvanceTo(from);
  EXPECT_EQ(admission_.NextDue(), deadline);
  admission_.Expire();
  EXPECT_EQ(admission_.running(), 1);
  EndOne();
  EXPECT_EQ(ended_, (std::vector<std::string>{"other", "paused ok"}));
}

TEST_F(AdmissionTest, PausesEndAtOnceAndForGood) {
  auto pause = [&](const std::string& name) {
    admission_.Submit(
        "prepare", {"red"}, INT64_MAX,
        [this, name](const Status& s) { ended_.push_back(name + ' ' + CodeName(s.code())); },
        clock_.MonotonicMs() + 250);
  };
  Submit("runs", {"red"});
  Submit("waits", {"red"});
  pause("a");
  admission_.EndPauses();
  EXPECT_EQ(ended_, std::vector<std::string>{"a refused"});
  pause("b");
  EXPECT_EQ(ended_, (std::vector<std::string>{"a refused", "b refused"}));
  while (!scheduler_.tasks.empty()) EndOne();
  EXPECT_EQ(ended_, (std::vector<std::string>{"a refused", "b refused", "runs", "waits"}));
}

TEST_F(AdmissionTest, WithoutAThreadTheTaskIsToldWhyAndTheRoomIsFree) {
  scheduler_.fails = true;
  Submit("a", {"red"});
  Submit("b", {"red"});
  EXPECT_EQ(ended_, (std::vector<std::string>{"a system", "b system"}));
  EXPECT_EQ(admission_.running(), 0);
  scheduler_.fails = false;
  Submit("c", {"red"});
  EXPECT_EQ(admission_.running(), 1);
  EndOne();
}

TEST_F(AdmissionTest, DrainWaitsUntilNothingIsLeftOrTheDeadline) {
  EXPECT_TRUE(admission_.Drain(0));
  Submit("a", {"red"});
  Submit("b", {"red"});
  EXPECT_FALSE(admission_.Drain(clock_.MonotonicMs() + 500));
  EndOne();
  EXPECT_FALSE(admission_.Drain(clock_.MonotonicMs()));
  EndOne();
  EXPECT_TRUE(admission_.Drain(clock_.MonotonicMs()));
}

TEST_F(AdmissionTest, ATaskMaySubmitAnother) {
  admission_.Submit("prepare", {"red"}, INT64_MAX, [this](const Status&) { Submit("second", {"red"}); });
  while (!scheduler_.tasks.empty()) EndOne();
  EXPECT_EQ(ended_, std::vector<std::string>{"second"});
}

TEST_F(AdmissionTest, AThreadMayDoItselfWhatHasRoomAndItCountsAsRunning) {
  bool ran = false;
  auto here = admission_.TryAdmit("prepare", {"a"}, [&](const Status& s) { ran = s.ok(); });
  ASSERT_TRUE(here);
  EXPECT_FALSE(ran);
  EXPECT_EQ(admission_.running(), 1);
  EXPECT_FALSE(admission_.TryAdmit("prepare", {"a"}, [](const Status&) {})) << "the only place is taken";
  EXPECT_TRUE(admission_.TryAdmit("release", {"a"}, [](const Status&) {}));
  Submit("next", {"a"});
  EXPECT_TRUE(scheduler_.tasks.empty());
  here();
  EXPECT_TRUE(ran);
  ASSERT_EQ(scheduler_.tasks.size(), 1u) << "whoever waited is let in";
  EndOne();
  EXPECT_EQ(ended_, std::vector<std::string>{"next"});
}

TEST_F(AdmissionTest, WhatATaskThrowsIsToldToItAndTheRoomIsFree) {
  auto throws = [&](const Status& s) {
    ended_.push_back(s.ok() ? "throws" : CodeName(s.code()) + (" " + s.message()));
    throw std::runtime_error("no luck");
  };
  const std::vector<std::string> told = {"throws", "internal unexpected: no luck"};
  admission_.Submit("prepare", {"red"}, INT64_MAX, throws);
  Submit("next", {"red"});
  EndOne();
  EXPECT_EQ(ended_, told);
  EXPECT_EQ(admission_.running(), 1) << "whoever waited is let in";
  EndOne();
  ended_.clear();
  auto here = admission_.TryAdmit("prepare", {"red"}, throws);
  ASSERT_TRUE(here);
  here();
  EXPECT_EQ(ended_, told);
  EXPECT_EQ(admission_.running(), 0);
}

// An engine that was closed goes with its last task, and so does what counts the tasks.
TEST_F(AdmissionTest, TheLastTaskMayTakeItsAdmissionWithIt) {
  for (bool at_once : {false, true}) {
    auto shared = std::make_shared<Admission>(
        MakeEnv(), [](const std::string&) { return 1; }, 64);
    std::weak_ptr<Admission> gone = shared;
    auto task = [keep = shared](const Status&) {};
    std::function<void()> here;
    if (at_once)
      here = shared->TryAdmit("release", {"red"}, std::move(task));
    else
      shared->Submit("release", {"red"}, INT64_MAX, std::move(task));
    shared.reset();
    ASSERT_FALSE(gone.expired());
    if (at_once)
      here();
    else
      EndOne();
    here = nullptr;
    EXPECT_TRUE(gone.expired());
  }
}

}  // namespace
}  // namespace dvdi
