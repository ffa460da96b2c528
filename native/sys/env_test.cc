#include "sys/env.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <set>
#include <thread>

namespace dvdi {
namespace {

// The thread that a task runs on; returns when the task is over.
pid_t RunTask() {
  std::promise<pid_t> ran;
  EXPECT_TRUE(Scheduler::Real()->Spawn([&ran] { ran.set_value(::gettid()); }, "dvdi-test").ok());
  return ran.get_future().get();
}

TEST(SchedulerTest, AThreadIsUsedAgain) {
  std::set<pid_t> threads;
  // A task may come before the last one's thread is free; sooner or later one does not.
  for (int i = 0; i < 10'000; ++i)
    if (!threads.insert(RunTask()).second) return;
  FAIL() << "10,000 threads for as many tasks, one after the other";
}

TEST(SchedulerTest, TasksThatWaitForEachOtherHaveAThreadEach) {
  constexpr int kTasks = 40;
  std::mutex mu;
  std::condition_variable all;
  int there = 0;
  std::promise<void> over[kTasks];
  for (auto& o : over) {
    ASSERT_TRUE(Scheduler::Real()
                    ->Spawn(
                        [&] {
                          std::unique_lock lock(mu);
                          if (++there == kTasks) all.notify_all();
                          all.wait(lock, [&] { return there == kTasks; });
                          lock.unlock();
                          o.set_value();
                        },
                        "dvdi-test")
                    .ok());
  }
  for (auto& o : over) o.get_future().get();
}

TEST(SchedulerTest, WhatATaskHoldsGoesWithIt) {
  std::promise<void> gone;
  auto held = std::shared_ptr<int>(new int(1), [&gone](int* p) {
    delete p;
    gone.set_value();
  });
  ASSERT_TRUE(Scheduler::Real()->Spawn([held] {}, "dvdi-test").ok());
  held.reset();
  gone.get_future().get();
}

TEST(SchedulerTest, AForkedChildStartsThreadsOfItsOwn) {
  RunTask();
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::alarm(60);  // a task that is handed to a thread of the parent never runs
    RunTask();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(SchedulerTest, AThreadOfAnotherMountNamespaceIsNotUsed) {
  if (::geteuid() != 0) GTEST_SKIP() << "a mount namespace needs root";
  auto namespace_of_task = [] {
    std::promise<std::string> is;
    EXPECT_TRUE(Scheduler::Real()
                    ->Spawn(
                        [&is] {
                          char text[64] = {};
                          EXPECT_GT(::readlink("/proc/thread-self/ns/mnt", text, sizeof text - 1), 0);
                          is.set_value(text);
                        },
                        "dvdi-test")
                    .ok());
    return is.get_future().get();
  };
  for (int i = 0; i < 20; ++i) {
    const std::string before = namespace_of_task();
    std::string inside;
    bool made = false;
    std::thread([&] {
      made = ::unshare(CLONE_FS) == 0 && ::unshare(CLONE_NEWNS) == 0;
      if (made) inside = namespace_of_task();
    }).join();
    if (!made) GTEST_SKIP() << "no mount namespace can be made here";
    EXPECT_NE(before, inside);
    EXPECT_EQ(namespace_of_task(), before);
  }
}

}  // namespace
}  // namespace dvdi
