// Stacks and threads of what runs a blob.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "policy/test_runtime.h"
#include "policy/wasm_engine.h"

namespace dvdi {
namespace {

// Runs `task` on a thread of `kb` KiB of stack, by the scheduler of the engine.
void OnStack(size_t kb, const std::function<void()>& task) {
  std::mutex mutex;
  std::condition_variable cv;
  bool done = false;
  ASSERT_TRUE(Scheduler::Real()
                  ->Spawn(
                      [&] {
                        task();
                        std::lock_guard<std::mutex> lock(mutex);
                        done = true;
                        cv.notify_one();
                      },
                      "test", kb)
                  .ok());
  std::unique_lock<std::mutex> lock(mutex);
  cv.wait(lock, [&] { return done; });
}

TEST(Stack, TheDefaultSuffices) {
  EXPECT_GE(kOperationStackKb, 1024u + 64);
  OnStack(kOperationStackKb, [] {
    auto module = Hostile();  // compiles, too
    EXPECT_HAS(Failure(module, "r"), "overflowed its stack");
    // Host functions at the bottom of a stack that Wasm has used up; each uses half of what it is promised.
    uint64_t calls = 0;
    auto greedy = [&](std::string_view, std::string_view) -> Result<std::string> {
      volatile char room[kHostStackBytes / 2];
      for (size_t i = 0; i < sizeof room; i += 4096) room[i] = static_cast<char>(i);
      ++calls;
      return std::string("{}") + (room[0] == 1 ? " " : "");
    };
    const std::string message = Failure(module, "i", greedy);
    EXPECT_TRUE(message.find("overflowed its stack") != std::string::npos ||
                message.find("host calls") != std::string::npos)
        << message;
    EXPECT_GT(calls, 100u);
  });
}

TEST(Stack, TooLittleIsAnErrorAndNoCrash) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer gives every thread a larger stack than it was asked for";
#endif
  auto module = Hostile();
  OnStack(256, [&] {
    auto r = module->Call("prepare", "r", Ok);
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.status().code(), Code::kInternal);
    EXPECT_HAS(r.status().message(), "calling a policy needs 1024 KiB");
  });
}

// A process that forks, or that is asked how many threads it has, sees none of the compiler's.
TEST(Threads, ThoseOfTheCompilerEndWithIt) {
  auto threads = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  // One that was joined is still listed for a moment: those of an earlier test too.
  auto at_most = [&](std::ptrdiff_t wanted, int looks) {
    for (; looks > 0 && threads() > wanted; --looks)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return threads();
  };
  std::thread([] {}).join();  // ThreadSanitizer begins one of its own beside the first
  const auto before = at_most(1, 100);
  auto runtime = NewRuntime();
  auto module = runtime->Load(HostileBlob());
  ASSERT_TRUE(module.ok()) << module.status().message();
  runtime->Finish();
  EXPECT_LE(at_most(before, 1000), before);
}

// A form that was made quickly goes while instances of it are made and run.
TEST(Threads, CallWhileTheFormIsReplaced) {
  auto host = [](std::string_view, std::string_view request) {
    return Result<std::string>(std::string(request));
  };
  for (int round = 0; round < 60; ++round) {
    auto runtime = NewRuntime();
    auto module = runtime->Load(HostileBlob());
    ASSERT_TRUE(module.ok()) << module.status().message();
    std::atomic<bool> replaced{false};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int more = 3; more > 0; more -= replaced ? 1 : 0) {
          auto r = (*module)->Call("prepare", "hello", host);
          if (!r.ok() || *r != "ello") ++wrong;
        }
      });
    runtime->Finish();
    replaced = true;
    for (auto& t : threads) t.join();
    ASSERT_EQ(wrong, 0) << round;
  }
}

TEST(Threads, CallConcurrently) {
  PolicyLimits limits;
  limits.fuel = 2'000'000;
  auto module = Hostile(limits);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const std::string text = "h" + std::to_string(t * 1000 + i);
        auto r = module->Call("prepare", text, [](std::string_view, std::string_view request) {
          return Result<std::string>(std::string(request));
        });
        if (r.ok() && "h" + *r == text) ++right;
        if (!module->Call("prepare", i % 2 ? "u" : "m", Ok).ok()) ++right;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(right.load(), 8 * 50 * 2);
}

TEST(Threads, LoadConcurrently) {
  auto runtime = NewRuntime();
  const std::string blob = HostileBlob("7.0.0");
  std::vector<std::thread> threads;
  std::vector<std::shared_ptr<const PolicyModule>> modules(8);
  for (auto& slot : modules)
    threads.emplace_back([&] {
      auto r = runtime->Load(blob);
      if (r.ok()) slot = *r;
    });
  for (auto& t : threads) t.join();
  for (const auto& m : modules) EXPECT_EQ(m, modules[0]);
  EXPECT_NE(modules[0], nullptr);
}

TEST(Threads, MoreOperationsThanThePoolHasSlots) {
  // Each waits in a host call until all are there, as operations wait for a slow driver.
  constexpr int kCalls = WasmEngine::kPoolSlots + 20;
  auto module = Hostile();
  std::mutex mutex;
  std::condition_variable cv;
  int waiting = 0, right = 0, ended = 0;
  auto task = [&] {
    auto r = module->Call("prepare", "h", [&](std::string_view, std::string_view) -> Result<std::string> {
      std::unique_lock<std::mutex> lock(mutex);
      ++waiting;
      cv.notify_all();
      cv.wait(lock, [&] { return waiting == kCalls; });
      return std::string("together");
    });
    std::lock_guard<std::mutex> lock(mutex);
    right += r.ok() && *r == "together";
    waiting += r.ok() ? 0 : 1;
    ++ended;
    cv.notify_all();
  };
  for (int i = 0; i < kCalls; ++i)
    ASSERT_TRUE(Scheduler::Real()->Spawn(task, "test", kOperationStackKb).ok());
  std::unique_lock<std::mutex> lock(mutex);
  cv.wait(lock, [&] { return ended == kCalls; });
  EXPECT_EQ(right, kCalls);
}

}  // namespace
}  // namespace dvdi
