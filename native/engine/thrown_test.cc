// What a library throws (no memory, for one) ends what was asked for: the caller is told, what was begun is
// undone, and the engine, and all that others wait for in it, goes on.
#include <new>
#include <utility>

#include "base/caught.h"
#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class ThrownTest : public SimEngineTest {
 protected:
  ~ThrownTest() override { Heal(); }

  // The nth call of the world from now on throws; `forever`: and all after it.
  void ThrowAt(int n, bool forever = false) {
    seen_ = 0, at_ = n, forever_ = forever, thrown_by_.clear();
    world_.sys.fault = world_.sys.look_fault = [this](const char* call) { return Throw(call), 0; };
    transport_.hook = [this](const std::string& method, const PluginRequest&, PluginReply*) {
      return Throw(method), false;
    };
    transport_.idle_hook = [this] { Throw("CloseIdle"); };
  }
  void Heal() {
    world_.sys.fault = world_.sys.look_fault = nullptr;
    transport_.hook = nullptr, transport_.idle_hook = nullptr;
  }
  void Throw(const std::string& call) {
    ++seen_;
    if (forever_ ? seen_ < at_ : seen_ != at_) return;
    if (seen_ == at_) thrown_by_ = call;
    throw std::bad_alloc();
  }

  int seen_ = 0, at_ = 0;
  bool forever_ = false;
  std::string thrown_by_;
};

TEST_F(ThrownTest, AnyCallThrowsAndNothingIsLeft) {
  ASSERT_TRUE(Prepare("keeper", {Volume("red", "keep")}).contains("ok"));
  for (bool forever : {false, true}) {
    int n = 1, told = 0;
    for (;; ++n) {
      ThrowAt(n, forever);
      // Each is answered, once.
      const Json prepared = Prepare("one", {Volume("red", "a"), Volume("blue", "b")});
      const bool ok = CodeOf(prepared) == "ok";
      if (!forever) {
        EXPECT_EQ(Attached("red", "a") && Attached("blue", "b"), ok) << thrown_by_;
        EXPECT_EQ(world_.sys.MountsBelow(settings_.state_dir + "/stage").size(), ok ? 3u : 1u)
            << thrown_by_ << ": it is undone at once";
      }
      for (const Json& answer : {prepared, Prepare("two", {Volume("red", "c")}, {{"goal", "create"}}),
                                 Cleanup("one"), Cleanup("one"), Recover({{"live", {"keeper"}}}),
                                 Call(engine(), &Engine::Ask, {{"what", "usage"}}),
                                 Call(engine(), &Engine::Remove, {{"driver", "red"}, {"name", "c"}})})
        told += CodeOf(answer) == "internal";
      (void)Caught([&] { engine().Tick(); });  // as the keeper does it
      world_.scheduler.RunAll();
      Heal();
      const std::string when =
          "call " + std::to_string(n) + (forever ? " and all after it, " : ", ") + thrown_by_;
      if (forever) Settle();  // nothing could be undone: what is left is the keeper's
      ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok")) << when << ": it works again";
      EXPECT_TRUE(Cleanup("one").contains("ok")) << when;
      Settle();
      EXPECT_TRUE(Attached("red", "keep")) << when << ": a workload uses it";
      EXPECT_FALSE(Attached("red", "a")) << when;
      EXPECT_FALSE(Attached("blue", "b")) << when;
      EXPECT_EQ(Ask("scopes")["scopes"].size(), 1u) << when;
      EXPECT_EQ(Ask("summary")["pending"], Json::array()) << when;
      EXPECT_EQ(world_.sys.MountsBelow(settings_.state_dir + "/stage").size(), 1u) << when;
      EXPECT_EQ(engine().core().admission->running(), 0) << when;
      std::erase(violations_, "Remove was sent");  // an operator asked for it
      EXPECT_TRUE(violations_.empty()) << when << ": " << violations_.front();
      if (HasFailure() || thrown_by_.empty()) break;
    }
    if (HasFailure()) return;
    EXPECT_GT(n, 100) << "too little was tried";
    EXPECT_GT(told, n / 3) << "whoever asked is told";
  }
}

// Also what is thrown behind the answer of a prepare that was refused for now: it is not given up for that.
TEST_F(ThrownTest, APrepareThatPausedHasOneEnd) {
  engine();
  int n = 1, failed = 0;
  for (;; ++n) {
    bool refused = false;
    policy_->scripts["prepare"] = [&](const Json& input, ScriptHost& host) -> Result<std::string> {
      if (std::exchange(refused, true)) return Honest(input, host);
      return Dump({{"error", {{"code", "refused"}, {"message", "it is in use"}, {"again_ms", 250}}}});
    };
    ThrowAt(n);
    int times = 0;
    Status why;
    ASSERT_TRUE(engine()
                    .Prepare(Request("one", {Volume("red", "a")}),
                             [&](const Status& s, const Json&) {
                               ++times;
                               why = s;
                             })
                    .ok());
    auto pass = [&](int64_t ms) {
      world_.scheduler.RunAll();
      world_.clock.Advance(ms);
      (void)Caught([&] { engine().Tick(); });
      world_.scheduler.RunAll();
    };
    for (int i = 0; i < 3; ++i) pass(300);
    Heal();
    for (int i = 0; i < 3; ++i) pass(60'000);
    const std::string when = "call " + std::to_string(n) + ", " + thrown_by_ + ": " + why.message();
    EXPECT_EQ(times, 1) << when;
    EXPECT_EQ(Attached("red", "a"), why.ok()) << when;
    EXPECT_EQ(world_.sys.MountsBelow(settings_.state_dir + "/stage").size(), why.ok() ? 1u : 0u) << when;
    failed += !why.ok();
    Cleanup("one");
    Settle();
    EXPECT_FALSE(Attached("red", "a")) << when;
    if (HasFailure() || thrown_by_.empty()) break;
  }
  EXPECT_GT(n, 30) << "too little was tried";
  EXPECT_GT(failed, n / 3);
}

TEST_F(ThrownTest, TheFrontThreadGoesOn) {
  const auto parse = policy_->scripts["parse"];
  policy_->scripts["parse"] = [](const Json&, ScriptHost&) -> Result<std::string> { throw std::bad_alloc(); };
  EXPECT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "internal");
  policy_->scripts["parse"] = parse;
  EXPECT_EQ(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
}

// Who comes while the front thread is being started counts on it.
TEST_F(ThrownTest, WhereThereIsNoThreadAllAreToldWhoCountOnIt) {
  struct NoThreads : Scheduler {
    Status Spawn(std::function<void()>, const char*, size_t) override {
      if (meanwhile) std::exchange(meanwhile, nullptr)();
      return Status(Code::kSystem, "no more threads");
    }
    void Wait(std::unique_lock<std::mutex>&, std::condition_variable&, int64_t ms) override {
      SleepUntil(ms);
    }
    void SleepUntil(int64_t deadline_ms) override { clock->AdvanceTo(deadline_ms); }
    std::function<void()> meanwhile;
    sim::SimClock* clock = nullptr;
  } scheduler;
  scheduler.clock = &world_.clock;
  Env env = this->env();
  env.scheduler = &scheduler;
  EngineOptions options;
  options.settings = settings_, options.keeper = Keeping::kNothing;
  auto opened = Engine::Open(env, std::move(options));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  std::vector<std::string> told;
  auto prepare = [&](const std::string& scope) {
    Status s = (*opened)->Prepare(
        Request(scope, {Volume("red", "a")}),
        [&, scope](const Status& why, const Json&) { told.push_back(scope + ": " + why.message()); });
    EXPECT_TRUE(s.ok());
  };
  scheduler.meanwhile = [&] { prepare("two"); };
  prepare("one");
  EXPECT_EQ(told, (std::vector<std::string>{"one: no more threads", "two: no more threads"}));
  (*opened)->Close(0);
}

}  // namespace
}  // namespace dvdi
