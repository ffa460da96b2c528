// A blob that means harm: it ends its operation, and nothing else.
#include <gtest/gtest.h>

#include "base/text.h"
#include "policy/test_runtime.h"

namespace dvdi {
namespace {

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

}  // namespace
}  // namespace dvdi
