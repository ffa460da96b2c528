// What a blob can do, and what the engine makes of it.
#include "policy/runtime.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/text.h"
#include "policy/test_blobs.h"
#include "policy/wasm_engine.h"

namespace dvdi {
namespace {

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

Result<std::string> Ok(std::string_view, std::string_view) { return std::string(R"({"ok":{}})"); }

std::unique_ptr<PolicyRuntime> NewRuntime(const PolicyLimits& limits = {}) {
  auto r = PolicyRuntime::Create(SystemEnv(), limits, "");
  EXPECT_TRUE(r.ok()) << r.status().message();
  return r.ok() ? std::move(*r) : nullptr;
}

std::shared_ptr<const PolicyModule> Hostile(const PolicyLimits& limits = {}) {
  auto module = NewRuntime(limits)->Load(HostileBlob());
  EXPECT_TRUE(module.ok()) << module.status().message();
  return *module;
}

// `prepare` of the hostile blob in the mode that `input` begins with: the failure's message, which must be
// kPolicy.
std::string Failure(const std::shared_ptr<const PolicyModule>& module, const std::string& input,
                    const HostFunction& host = Ok, CallStats* stats = nullptr) {
  auto r = module->Call("prepare", input, host, stats);
  EXPECT_FALSE(r.ok()) << *r;
  if (r.ok()) return "";
  const Status status = r.status();
  EXPECT_EQ(status.code(), Code::kPolicy) << status.message();
  EXPECT_EQ(status.message(), OneLine(status.message(), 10'000));
  EXPECT_HAS(status.message(), "policy hostile 1.0.0: ");
  // The next operation is as if nothing had been.
  auto next = module->Call("prepare", "e", host);
  EXPECT_TRUE(next.ok()) << next.status().message();
  return status.message();
}

TEST(Runtime, ChecksLimitsBeforeWasmtimeSeesThem) {
  struct Case {
    void (*change)(PolicyLimits&);
    const char* name;
  };
  const Case cases[] = {
      {[](PolicyLimits& l) { l.stack_bytes = 0; }, "stack_bytes"},
      {[](PolicyLimits& l) { l.stack_bytes = 4u << 20; }, "stack_bytes"},
      {[](PolicyLimits& l) { l.memory_bytes = 0; }, "memory_bytes"},
      {[](PolicyLimits& l) { l.memory_bytes = UINT64_MAX; }, "memory_bytes"},
      {[](PolicyLimits& l) { l.fuel = 0; }, "fuel"},
      {[](PolicyLimits& l) { l.fuel = UINT64_MAX; }, "fuel"},
      {[](PolicyLimits& l) { l.reply_bytes = 0; }, "reply_bytes"},
  };
  for (const Case& c : cases) {
    PolicyLimits limits;
    c.change(limits);
    auto r = PolicyRuntime::Create(SystemEnv(), limits, "");
    ASSERT_FALSE(r.ok());
    EXPECT_EQ(r.status().code(), Code::kInvalid);
    EXPECT_HAS(r.status().message(), c.name);
  }
}

TEST(Runtime, TakesEveryLimitInRange) {
  // A configuration that contradicts itself would end this process.
  for (uint64_t memory : {65'536ull, 65'537ull, 1ull << 20, 1ull << 30, 4ull << 30})
    for (uint64_t stack : {32ull << 10, 1ull << 20}) {
      PolicyLimits limits;
      limits.memory_bytes = memory;
      limits.stack_bytes = stack;
      auto runtime = NewRuntime(limits);
      ASSERT_NE(runtime, nullptr);
      auto module = runtime->Load(BlobBuilder().Build());
      ASSERT_TRUE(module.ok()) << module.status().message();
      auto answer = (*module)->Call("parse", "x", Ok);
      ASSERT_TRUE(answer.ok()) << answer.status().message();
      EXPECT_EQ(*answer, R"({"ok":{}})");
      ASSERT_NE(WasmEngine::Reserve(limits), nullptr);  // the other kind of engine takes them too
    }
}

TEST(Runtime, AnswersAndCounts) {
  auto module = Hostile();
  EXPECT_EQ(module->sha256(), Sha256Hex(HostileBlob()));
  EXPECT_EQ(module->manifest().name, "hostile");
  CallStats stats;
  auto r = module->Call("prepare", "echo: grüße 😀", Ok, &stats);
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(*r, "echo: grüße 😀");
  EXPECT_GT(stats.fuel_used, 10u);
  EXPECT_LT(stats.fuel_used, 100'000u);
  EXPECT_EQ(stats.memory_bytes, 2u * 65'536);
  EXPECT_EQ(stats.host_calls, 0u);
  EXPECT_GT(stats.duration_ns, 0);
  r = module->Call("canary", "{}", Ok);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(*r, R"({"ok":{"checks":3}})");
}

TEST(Runtime, HostSeesNameAndRequest) {
  auto module = Hostile();
  std::string seen;
  std::thread::id thread;
  CallStats stats;
  auto r = module->Call(
      "prepare", "h{\"a\":\"ü\"}",
      [&](std::string_view name, std::string_view request) -> Result<std::string> {
        seen = std::string(name) + " " + std::string(request);
        thread = std::this_thread::get_id();
        return std::string("answer ♥");
      },
      &stats);
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(*r, "answer ♥");
  EXPECT_EQ(seen, "plugin_call {\"a\":\"ü\"}");
  EXPECT_EQ(thread, std::this_thread::get_id());
  EXPECT_EQ(stats.host_calls, 1u);
}

TEST(Runtime, InstancesShareNothing) {
  auto module = Hostile();
  // A mode that is stored in a global of the instance, and a heap that grows.
  EXPECT_HAS(Failure(module, "1"), "trapped");
  CallStats first, second;
  ASSERT_TRUE(module->Call("prepare", "k", Ok, &first).ok());
  ASSERT_TRUE(module->Call("prepare", "e", Ok, &second).ok());
  EXPECT_EQ(first.memory_bytes, 502u * 65'536);
  EXPECT_EQ(second.memory_bytes, 2u * 65'536);
}

// The answer of the hostile blob's prepare, or the failure's message.
std::string Ask(PolicyInstance* instance, const std::string& input, CallStats* stats = nullptr) {
  auto r = instance->Call("prepare", input, Ok, stats);
  return r.ok() ? *r : r.status().message();
}

TEST(Runtime, AnOperationHasOneInstanceForAllItsCalls) {
  PolicyLimits limits;
  limits.fuel = 10'000;
  limits.host_calls = 3;
  auto module = Hostile(limits);
  auto one = module->Begin();
  auto other = module->Begin();
  EXPECT_EQ(Ask(one.get(), "c"), "1");
  EXPECT_EQ(Ask(other.get(), "c"), "1");
  EXPECT_EQ(Ask(one.get(), "c"), "2");
  // Fuel and host calls are those of one call, however many there were before.
  CallStats stats;
  for (int i = 0; i < 200; ++i) ASSERT_EQ(Ask(one.get(), "h{}", &stats), R"({"ok":{}})");
  EXPECT_EQ(stats.host_calls, 1u);
  EXPECT_GT(stats.fuel_used, 10u);
  EXPECT_LT(stats.fuel_used, 1'000u);
  // It outlives the module's other users, and may go to another thread.
  module.reset();
  std::thread([&] { EXPECT_EQ(Ask(one.get(), "c"), "3"); }).join();
}

TEST(Runtime, ACallThatFailsEndsTheInstance) {
  auto instance = Hostile()->Begin();
  for (const char* failing : {"u", "l", "1", "p", "N", "i"}) {
    SCOPED_TRACE(failing);
    EXPECT_EQ(Ask(instance.get(), "c"), "1");
    EXPECT_EQ(Ask(instance.get(), "c"), "2");
    EXPECT_HAS(Ask(instance.get(), failing), "policy hostile 1.0.0: ");
  }
  EXPECT_EQ(Ask(instance.get(), "c"), "1");
  // An input that is refused never reaches it.
  EXPECT_FALSE(instance->Call("prepare", "c\xff", Ok).ok());
  EXPECT_EQ(Ask(instance.get(), "c"), "2");
}

TEST(Runtime, InstancesThatWaitKeepNobodyFromMemory) {
  auto module = Hostile();
  auto grown = module->Begin();
  EXPECT_EQ(Ask(grown.get(), "c"), "1");
  CallStats stats;
  Ask(grown.get(), "k", &stats);
  EXPECT_EQ(stats.memory_bytes, 502u * 65'536);
  EXPECT_EQ(Ask(grown.get(), "c", &stats), "1");
  EXPECT_EQ(stats.memory_bytes, 2u * 65'536);
  // More operations than may wait, and than the pool has slots: all are served.
  std::vector<std::unique_ptr<PolicyInstance>> many(2 * WasmEngine::kPoolSlots);
  int kept = 0;
  for (auto& instance : many) {
    instance = module->Begin();
    ASSERT_EQ(Ask(instance.get(), "c"), "1");
  }
  for (auto& instance : many) kept += Ask(instance.get(), "c") == "2";
  EXPECT_LE(kept, WasmEngine::kIdleInstances);
  // One has room again where others have gone.
  many.clear();
  auto last = module->Begin();
  Ask(last.get(), "c");
  EXPECT_EQ(Ask(last.get(), "c"), "2");
}

TEST(Runtime, KnowsItsOperations) {
  auto r = Hostile()->Call("dvdi_alloc", "", Ok);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kInternal);
}

TEST(Runtime, RefusesWrongInputs) {
  PolicyLimits limits;
  limits.input_bytes = 100;
  auto module = Hostile(limits);
  auto r = module->Call("prepare", std::string(101, 'e'), Ok);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kInvalid);
  r = module->Call("prepare", "e\xC0\x80", Ok);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kInvalid);
}

TEST(Hostile, Loops) {
  PolicyLimits limits;
  limits.fuel = 10'000'000;
  auto module = Hostile(limits);
  CallStats stats;
  EXPECT_HAS(Failure(module, "l", Ok, &stats), "prepare ran out of fuel (10000000 units) in ");
  EXPECT_GE(stats.fuel_used, 10'000'000u);
  EXPECT_HAS(Failure(module, "s"), "ran out of fuel");  // bulk memory costs by the byte
  EXPECT_HAS(Failure(module, "S"), "ran out of fuel");
}

TEST(Hostile, Recurses) {
  const std::string message = Failure(Hostile(), "r");
  EXPECT_HAS(message, "prepare overflowed its stack (256 KiB) in recurse");
}

TEST(Hostile, GrowsMemory) {
  PolicyLimits limits;
  limits.memory_bytes = 8u << 20;
  CallStats stats;
  EXPECT_HAS(Failure(Hostile(limits), "m", Ok, &stats),
             "prepare ran out of memory (8 MiB in use, limit 8 MiB)");
  EXPECT_EQ(stats.memory_bytes, limits.memory_bytes);
}

TEST(Hostile, MemoryLimitNeedNotBeWholePages) {
  PolicyLimits limits;
  limits.memory_bytes = 3 * 65'536 + 1;
  CallStats stats;
  Failure(Hostile(limits), "m", Ok, &stats);
  EXPECT_EQ(stats.memory_bytes, 3u * 65'536);
}

TEST(Hostile, Traps) {
  auto module = Hostile();
  EXPECT_HAS(Failure(module, "u"), "prepare trapped: unreachable code was reached in ");
  EXPECT_HAS(Failure(module, "u"), " (byte ");
  EXPECT_HAS(Failure(module, "o"), "prepare trapped: out-of-bounds memory access in ");
  EXPECT_HAS(Failure(module, "d"), "integer division by zero");
  EXPECT_HAS(Failure(module, "v"), "integer overflow");
  EXPECT_HAS(Failure(module, "t"), "call of a missing function");
  EXPECT_HAS(Failure(module, "T"), "function of another type");
  EXPECT_HAS(Failure(module, "I"), "out-of-bounds table access");
}

TEST(Hostile, FloodsTheHost) {
  PolicyLimits limits;
  limits.host_calls = 100;
  int calls = 0;
  auto count = [&](std::string_view, std::string_view) -> Result<std::string> {
    ++calls;
    return std::string("{}");
  };
  EXPECT_HAS(Failure(Hostile(limits), "f", count), "made more than 100 host calls");
  EXPECT_EQ(calls, 100);
  limits = PolicyLimits();
  limits.host_bytes = 1'000'000;
  calls = 0;
  EXPECT_HAS(Failure(Hostile(limits), "B", count), "moved more than 1000000 bytes by host calls");
  EXPECT_EQ(calls, 9);
}

TEST(Hostile, HugeAnswersOfTheHostAreBounded) {
  PolicyLimits limits;
  limits.host_bytes = 1'000'000;
  auto huge = [](std::string_view, std::string_view) -> Result<std::string> {
    return std::string(2'000'000, 'x');
  };
  EXPECT_HAS(Failure(Hostile(limits), "h", huge), "moved more than 1000000 bytes");
  // Within the limit, but more than the policy's memory holds.
  limits.host_bytes = 16u << 20;
  limits.memory_bytes = 1u << 20;
  EXPECT_HAS(Failure(Hostile(limits), "h", huge), "dvdi_alloc ran out of memory");
}

TEST(Hostile, ForgesPointersToTheHost) {
  auto module = Hostile();
  bool called = false;
  auto host = [&](std::string_view, std::string_view) -> Result<std::string> {
    called = true;
    return std::string("{}");
  };
  EXPECT_HAS(Failure(module, "p", host), "called log with a bad pointer: 256 bytes at 4294967280");
  EXPECT_HAS(Failure(module, "q", host), "called log with a bad pointer: 4294967295 bytes at 0");
  EXPECT_HAS(Failure(module, "n", host), "called log with a request that is not UTF-8");
  EXPECT_FALSE(called);
}

TEST(Hostile, ForgesAnswers) {
  auto module = Hostile();
  EXPECT_HAS(Failure(module, "P"), "answered with a bad pointer: 256 bytes at 4294967280");
  EXPECT_HAS(Failure(module, "L"), "answered 4294967295 bytes; at most 4194304");
  EXPECT_HAS(Failure(module, "M"), "answered with a bad pointer: 17 bytes at 131056");
  EXPECT_HAS(Failure(module, "z"), "answered nothing");
  EXPECT_HAS(Failure(module, "N"), "answered with text that is not UTF-8");
}

TEST(Hostile, MisallocatesTheInput) {
  auto module = Hostile();
  EXPECT_HAS(Failure(module, std::string(7777, 'e')), "bad pointer by dvdi_alloc: 7777 bytes at 4294967280");
  EXPECT_HAS(Failure(module, std::string(7778, 'e')),
             "dvdi_alloc trapped: unreachable code was reached in alloc");
  EXPECT_HAS(Failure(module, std::string(7778, 'e')), "(called for prepare)");
}

TEST(Hostile, MisallocatesAnswersOfTheHost) {
  PolicyLimits limits;
  limits.fuel = 10'000'000;
  auto module = Hostile(limits);
  EXPECT_HAS(Failure(module, "1"), "dvdi_alloc trapped: unreachable code was reached in alloc");
  EXPECT_HAS(Failure(module, "2"), "bad pointer by dvdi_alloc: 9 bytes at 2147483632");
  EXPECT_HAS(Failure(module, "4"), "called log out of dvdi_alloc");
  EXPECT_HAS(Failure(module, "5"), "dvdi_alloc ran out of fuel");
  EXPECT_HAS(Failure(module, "6"), "policy aborted: no?[1m ♥ 😀 at a.ts:7:8");
}

TEST(Hostile, AnswersGoWhereMemoryGrewMeanwhile) {
  auto r = Hostile()->Call("prepare", "3", Ok);
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(*r, R"({"ok":{}})");
}

TEST(Hostile, Aborts) {
  auto module = Hostile();
  EXPECT_HAS(Failure(module, "A"), "prepare: policy aborted: no?[1m ♥ 😀 at a.ts:12:34");
  EXPECT_HAS(Failure(module, "F"), "policy aborted: no message at ?:4294967295:0");
}

TEST(Hostile, ExportsAnImport) {
  std::string seen;
  auto r = Hostile()->Call("recover", "by itself", [&](std::string_view name, std::string_view request) {
    seen = std::string(name) + " " + std::string(request);
    return Result<std::string>(std::string("{}"));
  });
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(seen, "log by itself");
}

TEST(Hostile, InstantiationCanTrap) {
  BlobBuilder b;
  b.data_offset = 65'530;
  auto module = NewRuntime()->Load(b.Build());
  ASSERT_TRUE(module.ok()) << module.status().message();
  auto r = (*module)->Call("prepare", "x", Ok);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kPolicy);
  EXPECT_HAS(r.status().message(), "instantiation trapped: out-of-bounds memory access");
}

TEST(Hostile, InvalidCodeIsRefusedAtLoad) {
  auto runtime = NewRuntime();
  BlobBuilder b;
  b.extra_body = std::string("\x00\x6A\x0B", 3);  // i32.add of nothing
  auto r = runtime->Load(b.Build());
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kPolicy);
  EXPECT_HAS(r.status().message(), "the policy blob is refused: it is not valid: ");
  // Instructions of features that are off: SIMD, threads, tail calls.
  for (std::string body : {std::string("\x00\xFD\x0C", 3) + std::string(16, '\0') + "\x1A\x0B",
                           std::string("\x00\xFE\x03\x00\x0B", 5), std::string("\x00\x12\x04\x0B", 4)}) {
    b.extra_body = body;
    EXPECT_FALSE(runtime->Load(b.Build()).ok());
  }
  b.extra_body = std::string("\x00\x0B", 2);
  EXPECT_TRUE(runtime->Load(b.Build()).ok());
}

TEST(Hostile, DamagedBlobsNeverLoadAsSomethingElse) {
  // Through wasmtime's validation and compiler this time; few, because each is compiled.
  auto runtime = NewRuntime();
  const std::string good = HostileBlob();
  int loaded = 0;
  for (size_t i = 8; i < good.size(); i += 13) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x15);
    auto r = runtime->Load(bad);
    if (!r.ok()) {
      EXPECT_EQ(r.status().code(), Code::kPolicy) << r.status().message();
      continue;
    }
    ++loaded;
    EXPECT_NE((*r)->sha256(), Sha256Hex(good));
  }
  EXPECT_LT(loaded, static_cast<int>(good.size() / 13));
}

TEST(Hostile, DeepNestingDoesNotExhaustTheCompilersStack) {
  auto runtime = NewRuntime();
  BlobBuilder b;
  // 60,000 nested blocks; then an expression of 60,000 operands.
  b.extra_body = std::string("\x00", 1);
  for (int i = 0; i < 60'000; ++i) b.extra_body += std::string("\x02\x40", 2);
  b.extra_body += std::string(60'001, '\x0B');
  auto r = runtime->Load(b.Build());
  EXPECT_TRUE(r.ok() || r.status().code() == Code::kPolicy) << r.status().message();
  b.extra_body = std::string("\x00", 1);
  for (int i = 0; i < 60'000; ++i) b.extra_body += std::string("\x41\x01", 2);
  b.extra_body += std::string(59'999, '\x6A') + "\x1A\x0B";
  r = runtime->Load(b.Build());
  EXPECT_TRUE(r.ok() || r.status().code() == Code::kPolicy) << r.status().message();
}

TEST(Host, ItsErrorEndsTheOperationAsItIs) {
  auto module = Hostile();
  Status deadline(Code::kTimeout, "the deadline passed", "try later");
  auto host = [&](std::string_view, std::string_view) -> Result<std::string> {
    return Status(deadline).WithVolume("rexray", "data");
  };
  auto r = module->Call("prepare", "h", host);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kTimeout);
  EXPECT_EQ(r.status().message(), "the deadline passed");
  EXPECT_EQ(r.status().hint(), "try later");
  EXPECT_EQ(r.status().volume(), "data");
}

TEST(Host, ItsExceptionsStopBeforeWasmtime) {
  auto module = Hostile();
  auto r = module->Call("prepare", "h", [](std::string_view, std::string_view) -> Result<std::string> {
    throw std::runtime_error("boom");
  });
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kInternal);
  EXPECT_HAS(r.status().message(), "boom");
  EXPECT_FALSE(module->Call("prepare", "h", HostFunction()).ok());
}

TEST(Host, ItsAnswerMustBeUtf8) {
  auto r = Hostile()->Call("prepare", "h", [](std::string_view, std::string_view) {
    return Result<std::string>(std::string("\xC0\xA2"));
  });
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kInternal);
}

TEST(Host, MayCallAnotherPolicy) {
  auto module = Hostile();
  auto r = module->Call(
      "prepare", "h", [&](std::string_view, std::string_view) { return module->Call("parse", "inner", Ok); });
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(*r, "inner");
}

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
