// What a blob can do, and what the engine makes of it.
#include "policy/runtime.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/text.h"
#include "policy/test_runtime.h"
#include "policy/wasm_engine.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

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

// It would be a fault of the policy's, and a reason to go back to the one before it.
TEST(Runtime, WhereAddressSpaceIsMissingNoPolicyIsAtFault) {
  if (NeedsEveryMmap()) GTEST_SKIP() << "a sanitizer's runtime needs address space of its own";
  rlimit before;
  ASSERT_EQ(0, ::getrlimit(RLIMIT_AS, &before));
  auto limit_to = [&](uint64_t more) {
    std::ifstream statm("/proc/self/statm");
    uint64_t pages = 0;
    statm >> pages;
    const rlimit limit = {pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) + more, before.rlim_max};
    return ::setrlimit(RLIMIT_AS, &limit);
  };
  PolicyLimits limits;
  limits.memory_bytes = uint64_t{1} << 30;
  ASSERT_EQ(0, limit_to(uint64_t{3} << 30));  // no room for a pool
  auto module = Hostile(limits);
  ASSERT_EQ(WasmEngine::Pool(limits), nullptr);
  ASSERT_TRUE(module->Call("prepare", "e", Ok).ok());
  ASSERT_EQ(0, limit_to(uint64_t{512} << 20));
  const Status s = module->Call("prepare", "e", Ok).status();
  ASSERT_EQ(0, ::setrlimit(RLIMIT_AS, &before));
  EXPECT_EQ(s.code(), Code::kSystem);
  EXPECT_EQ(s.error_number(), ENOMEM);
  EXPECT_HAS(s.message(), "1024 MiB of address space");
  EXPECT_HAS(s.hint(), "ulimit -v");
  EXPECT_TRUE(module->Call("prepare", "e", Ok).ok());
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

}  // namespace
}  // namespace dvdi
