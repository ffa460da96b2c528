// Policies that mean harm, or are broken, as real Wasm in a real runtime: whatever one does costs one
// operation, which is undone, and whose error names the cause. After each the node works on.
#include <cstring>

#include "engine/testing/policy_blobs.h"

namespace dvdi {
namespace {

class HostileTest : public PolicyBlobsTest {
 protected:
  HostileTest() {
    settings_.return_after = 0;  // each gets its turn
    MakeVolume("red", "a");
  }

  // Installs what does these steps in prepare, between a Mount and its stage, and runs one workload on it.
  Json Run(const ScriptSteps& hostile, const std::string& what) {
    ScriptSteps prepare = PrepareSteps();
    prepare.insert(prepare.begin() + 1, hostile.begin(), hostile.end());
    Json installed = Install(ScriptBlob(ParseSteps(), prepare), {{"allow_downgrade", true}});
    EXPECT_TRUE(installed.contains("ok")) << what << installed;
    Json answer = Prepare("hostile", {});
    Settle();
    ExpectNothingLeft(what);
    return answer;
  }
  static std::string Calls(const Json& call) { return Dump({{"calls", {call}}}); }
};

TEST_F(HostileTest, EachWayToFailIsOneFailedOperationWithItsCause) {
  settings_.limits.memory_bytes = 16u << 20;
  settings_.limits.fuel = 20'000'000;
  struct Case {
    const char* what;
    char step;
    const char* says;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"an endless loop", 'l', "ran out of fuel"},
           {"endless recursion", 'r', "overflowed its stack"},
           {"all memory", 'm', "ran out of memory"},
           {"a flood of host calls", 'f', "made more than 10000 host calls"},
           {"a flood of bytes", 'B', "moved more than 16777216 bytes by host calls"},
           {"a huge answer", 'H', "answered 8388608 bytes; at most 4194304 are accepted"},
           {"a forged pointer to the host", 'p', "called plugin_call with a bad pointer"},
           {"a forged length to the host", 'Q', "called plugin_call with a bad pointer"},
           {"a forged pointer in the answer", 'P', "answered with a bad pointer"},
           {"a forged length in the answer", 'L', "answered 2147483647 bytes"},
           {"an empty answer", 'z', "answered nothing"},
           {"an answer that is no UTF-8", 'N', "not UTF-8"},
           {"a trap", 't', "trapped: unreachable code was reached"},
           {"an abort", 'b', "policy aborted: bad at a.ts:1:2"},
       }) {
    Json answer = Run({{c.step, ""}}, c.what);
    EXPECT_EQ(CodeOf(answer), "policy") << c.what << answer;
    EXPECT_HAS(MessageOf(answer), c.says) << c.what;
    EXPECT_EQ(MessageOf(answer).rfind("policy script 1.0.0: ", 0), 0u) << c.what << answer;
    EXPECT_NE(GetString(answer["error"], "hint"), "") << c.what;
  }
  Json answer = Run({{'A', ""}, {'q', "{}"}}, "bad memory for an answer");
  EXPECT_HAS(MessageOf(answer), "bad pointer by dvdi_alloc");
  for (const char* text : {"{}", R"({"error":{"code":"teapot","message":"no"}})", R"({"ok":{}})"}) {
    answer = Run({{'a', text}}, text);
    EXPECT_EQ(CodeOf(answer), "policy") << answer;
    EXPECT_EQ(MessageOf(answer).rfind("policy script 1.0.0: ", 0), 0u) << answer;
    EXPECT_HAS(GetString(answer["error"], "hint"), "dvdi policy rollback");
  }
}

// What it asks for and must not get: the host call says no, and the operation, which ends then, is undone.
TEST_F(HostileTest, WhatNoPolicyGets) {
  struct Case {
    const char* what;
    char step;
    std::string request;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"a socket outside of discovery", 'c', Calls({{"method", "Activate"}, {"driver", "/run/docker.sock"}}),
       "driver /run/docker.sock is not one of this operation's"},
      {"another driver", 'c', Calls({{"method", "List"}, {"driver", "blue"}}), "driver blue is not one of"},
      {"a method outside of the protocol", 'c', Calls({{"method", "Format"}, {"volume", 0}}),
       "method Format is not one of the protocol's"},
      {"an Unmount", 'c', Calls({{"method", "Unmount"}, {"volume", 0}}), "Unmount is the engine's own"},
      {"a Remove", 'c', Calls({{"method", "Remove"}, {"volume", 0}}), "Remove is the engine's own"},
      {"another volume", 'c', Calls({{"method", "Get"}, {"volume", 7}}), "names no volume of this operation"},
      {"a stage of another volume", 's', R"({"stages":[{"volume":7}]})", "stage names no volume"},
      {"a stage that escapes", 's', R"({"stages":[{"volume":0,"subpath":"../../etc"}]})", "subpath"},
      {"no JSON", 'c', "{", "is not JSON"},
      {"a deep request", 'c', std::string(5'000, '['), "nested deeper than 64"},
  };
  for (const Case& c : cases) {
    // Then it gives up: the record holds what it was answered.
    Json answer =
        Run({{c.step, c.request}, {'a', R"({"error":{"code":"refused","message":"I give up"}})"}}, c.what);
    EXPECT_EQ(CodeOf(answer), "refused") << c.what << answer;
    Json calls = Record("hostile")["calls"];
    ASSERT_GE(calls.size(), 2u) << c.what;
    EXPECT_HAS(Dump(calls[1]["answer"]), c.says) << c.what;
  }
  EXPECT_EQ(Count("red Remove"), 0);
  EXPECT_EQ(Count("blue List"), 0);
}

TEST_F(HostileTest, AVolumeThatOthersUseStaysTheirs) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Prepare("neighbour", {}).contains("ok"));
  const int unmounts = Count("red Unmount");
  ScriptSteps steps = PrepareSteps();
  steps.insert(steps.begin() + 1, {{'c', Calls({{"method", "Unmount"}, {"volume", 0}})}, {'t', ""}});
  ASSERT_TRUE(Install(ScriptBlob(ParseSteps(), steps, "2.0.0")).contains("ok"));
  EXPECT_EQ(CodeOf(Prepare("hostile", {})), "policy");
  Settle();
  EXPECT_EQ(Count("red Unmount"), unmounts);
  EXPECT_TRUE(Attached("red", "a"));
  Cleanup("neighbour");
  Settle();
  ExpectNothingLeft();
}

TEST_F(HostileTest, BlobsThatAreNotEvenRun) {
  struct Case {
    const char* what;
    BlobBuilder blob;
    const char* says;
  };
  std::vector<Case> cases(3);
  const std::string type_one("\x00\x01", 2);
  cases[0].what = "an unknown import", cases[0].says = "it imports";
  cases[0].blob.imports = {{"wasi_snapshot_preview1", "path_open", type_one}};
  cases[1].what = "an unknown function of ours", cases[1].says = "it imports";
  cases[1].blob.imports = {{"dvdi", "exec", type_one}};
  cases[2].what = "a start function", cases[2].says = "start function";
  cases[2].blob.extra = std::string("\x08\x01\x04", 3), cases[2].blob.extra_body = std::string("\x00\x0B", 2);
  for (const Case& c : cases) {
    Json answer = Install(c.blob.Build());
    EXPECT_EQ(CodeOf(answer), "policy") << c.what << answer;
    EXPECT_HAS(MessageOf(answer), c.says) << c.what;
  }
}

// --- A trap at every host call of the shipped policy.

// The real module, whose host calls end in a trap at the one that is chosen: before it did anything, or
// behind it.
class TrappedInstance : public PolicyInstance {
 public:
  TrappedInstance(std::unique_ptr<PolicyInstance> real, int at, bool behind, int* calls)
      : real_(std::move(real)), at_(at), behind_(behind), calls_(calls) {}
  Result<std::string> Call(const std::string& name, std::string_view input, const HostFunction& host,
                           CallStats* stats) override {
    if (name != "prepare") return real_->Call(name, input, host, stats);
    return real_->Call(
        name, input,
        [&](std::string_view import, std::string_view request) -> Result<std::string> {
          const bool now = ++*calls_ == at_;
          const Status trap(Code::kPolicy, "policy stock: trapped at host call " + std::to_string(*calls_));
          if (now && !behind_) return trap;
          auto answer = host(import, request);
          return now ? Result<std::string>(trap) : answer;
        },
        stats);
  }

 private:
  std::unique_ptr<PolicyInstance> real_;
  const int at_;
  const bool behind_;
  int* calls_;
};

class TrappedModule : public PolicyModule {
 public:
  explicit TrappedModule(std::shared_ptr<const PolicyModule> real) : real_(std::move(real)) {}
  const std::string& sha256() const override { return real_->sha256(); }
  const PolicyManifest& manifest() const override { return real_->manifest(); }
  std::unique_ptr<PolicyInstance> Begin() const override {
    calls = 0;
    return std::make_unique<TrappedInstance>(real_->Begin(), at, behind, &calls);
  }
  int at = 0;
  bool behind = false;
  mutable int calls = 0;

 private:
  const std::shared_ptr<const PolicyModule> real_;
};

TEST_F(HostileTest, ATrapAtEveryHostCallOfTheShippedPolicyLeavesNothing) {
  Core& core = engine().core();
  auto real = core.runtime->Load(BuiltinPolicy());
  ASSERT_TRUE(real.ok()) << real.status().message();
  auto module = std::make_shared<TrappedModule>(*real);
  core.policy = std::make_unique<ScriptedSelector>(core.env, core.runtime.get(), module);
  // One that is there, one that is created, one of another driver.
  MakeVolume("blue", "b");
  Json statement = {{"volumes", Json::array()}};
  for (const auto& [driver, name] :
       std::vector<std::pair<std::string, std::string>>{{"red", "a"}, {"blue", "b"}, {"red", "new"}})
    statement["volumes"].push_back({{"driver", driver}, {"name", name}, {"container_path", "/srv/" + name}});
  const Json sources = {{"sources", {{{"form", "statement"}, {"text", Dump(statement)}}}}};
  int total = 0;
  for (bool behind : {false, true}) {
    module->behind = behind;
    for (module->at = 1;; ++module->at) {
      SCOPED_TRACE((behind ? "behind " : "before ") + std::to_string(module->at));
      world_.transport.plugins["red"].volumes.erase("new");
      Json answer = Prepare("w", {}, sources);
      if (module->calls < module->at) {
        EXPECT_TRUE(answer.contains("ok")) << answer;
        Cleanup("w");
        Settle();
        break;
      }
      ++total;
      EXPECT_EQ(CodeOf(answer), "policy") << answer;
      EXPECT_HAS(MessageOf(answer), "trapped at host call " + std::to_string(module->at));
      Settle();
      ExpectNothingLeft();
      EXPECT_FALSE(Attached("red", "a") || Attached("blue", "b") || Attached("red", "new"));
      EXPECT_TRUE(HasVolume("red", "a") && HasVolume("blue", "b")) << "data stays";
    }
  }
  EXPECT_GE(total, 12);
}

}  // namespace
}  // namespace dvdi
