// What waits goes on and ends whatever looks after the engine; and an engine that nothing can look after does
// not open.
#include <string_view>

#include "engine/testing/mount_engine.h"

namespace dvdi {
namespace {

using namespace std::chrono_literals;

constexpr int64_t kAgainMs = 30;

class KeepingTest : public EngineMountTest {
 protected:
  // Without a thread that retries; its policy refuses a volume that is in use for now.
  std::shared_ptr<Engine> OpenWithoutKeeper() {
    auto engine = Open(Sys::Real(), false);
    auto policy = std::make_shared<ScriptedPolicy>();
    policy->scripts["prepare"] = [](const Json& input, ScriptHost& host) -> Result<std::string> {
      if (input["volumes"][0]["attachment"]["users"].empty()) return Honest(input, host);
      return Dump({{"error", {{"code", "refused"}, {"message", "it is in use"}, {"again_ms", kAgainMs}}}});
    };
    Core& core = engine->core();
    core.policy = std::make_unique<ScriptedSelector>(core.env, core.runtime.get(), policy);
    return engine;
  }
  std::future<Code> Begin(Engine& engine, const std::string& scope, int64_t deadline_ms) {
    auto promise = std::make_shared<std::promise<Code>>();
    Status s = engine.Prepare(Request(scope, {"a"}, {{"deadline_ms", deadline_ms}}),
                              [promise](const Status& why, const Json&) { promise->set_value(why.code()); });
    EXPECT_TRUE(s.ok()) << s.message();
    return promise->get_future();
  }
  // Where nobody looks, the answer never comes.
  static void ExpectAnswer(std::future<Code>& answer, Code code) {
    ASSERT_EQ(answer.wait_for(20s), std::future_status::ready);
    EXPECT_EQ(answer.get(), code);
  }
};

TEST_F(KeepingTest, APauseWithoutAKeeperGoesOnWhenItsTimeComes) {
  auto engine = OpenWithoutKeeper();
  auto one = Begin(*engine, "one", 10'000);
  ExpectAnswer(one, Code::kOk);
  auto two = Begin(*engine, "two", 60'000);
  EXPECT_EQ(two.wait_for(4 * kAgainMs * 1ms), std::future_status::timeout);
  EXPECT_TRUE(Cleanup(*engine, "one").contains("ok"));
  ExpectAnswer(two, Code::kOk);
  auto three = Begin(*engine, "three", 300);
  ExpectAnswer(three, Code::kRefused);
  EXPECT_TRUE(Cleanup(*engine, "two").contains("ok"));
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

TEST_F(KeepingTest, AWaitForRoomWithoutAKeeperEndsAtItsDeadline) {
  settings_.max_in_flight = 1;
  auto engine = OpenWithoutKeeper();
  auto room = engine->core().admission->TryAdmit("prepare", {"red"}, [](const Status&) {});
  ASSERT_TRUE(room);
  auto ends = Begin(*engine, "ends", 50);
  ExpectAnswer(ends, Code::kTimeout);
  auto goes_on = Begin(*engine, "goes on", 60'000);
  EXPECT_EQ(goes_on.wait_for(50ms), std::future_status::timeout);
  room();
  ExpectAnswer(goes_on, Code::kOk);
  EXPECT_TRUE(Cleanup(*engine, "goes on").contains("ok"));
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

// Also where no thread of the engine does.
TEST_F(KeepingTest, CloseEndsWhatWaitsForRoomAtItsDeadline) {
  settings_.max_in_flight = 1;
  Env env = TestEnv(Sys::Real());
  env.transport = plugins_.get();
  EngineOptions options;
  options.settings = settings_, options.keeper = Keeping::kNothing;
  auto engine = Engine::Open(env, std::move(options));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  Core& core = (*engine)->core();
  core.policy =
      std::make_unique<ScriptedSelector>(env, core.runtime.get(), std::make_shared<ScriptedPolicy>());
  auto room = core.admission->TryAdmit("prepare", {"red"}, [](const Status&) {});
  ASSERT_TRUE(room);
  auto waits = Begin(**engine, "waits", 50);
  auto closed = std::async(std::launch::async, [&] { (*engine)->Close(0); });
  EXPECT_EQ(closed.wait_for(20s), std::future_status::ready);
  room();
  closed.get();
  ExpectAnswer(waits, Code::kTimeout);
}

TEST_F(KeepingTest, WithoutAThreadForItAnEngineDoesNotOpen) {
  struct NoKeeper : Scheduler {
    Status Spawn(std::function<void()> task, const char* name, size_t stack_kb) override {
      if (std::string_view(name) == "dvdi-keeper") return Status(Code::kSystem, "no more threads");
      return Scheduler::Real()->Spawn(std::move(task), name, stack_kb);
    }
    void Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t ms) override {
      Scheduler::Real()->Wait(lock, cv, ms);
    }
    void SleepUntil(int64_t ms) override { Scheduler::Real()->SleepUntil(ms); }
  } scheduler;
  Env env = TestEnv(Sys::Real());
  env.transport = plugins_.get(), env.scheduler = &scheduler;
  for (Keeping keeper : {Keeping::kAll, Keeping::kWaits, Keeping::kNothing}) {
    EngineOptions options;
    options.settings = settings_, options.keeper = keeper;
    auto engine = Engine::Open(env, std::move(options));
    EXPECT_EQ(engine.ok(), keeper == Keeping::kNothing);
    if (engine.ok()) {
      (*engine)->Close(0);
      continue;
    }
    EXPECT_EQ(engine.status().message(),
              "the thread that looks after what waits cannot be started: no more threads");
  }
}

TEST_F(KeepingTest, BehindASymbolicLinkNoEngineOpens) {
  const std::string real = MakeDir("real"), link = Path("link");
  ASSERT_EQ(0, ::symlink(real.c_str(), link.c_str()));
  Env env = TestEnv(Sys::Real());
  env.transport = plugins_.get();
  auto open = [&](const std::string& folder) {
    EngineOptions options;
    options.settings = settings_, options.settings.state_dir = folder;
    return Engine::Open(env, std::move(options)).status();
  };
  for (const std::string& folder : {link, link + "/state"}) {
    const Status s = open(folder);
    EXPECT_EQ(s.message(), "the state folder " + folder + " lies behind a symbolic link");
    EXPECT_TRUE(s.hint().starts_with("put the real path into the settings")) << s.hint();
    EXPECT_NE(::access((real + "/state").c_str(), F_OK), 0) << "nothing is made there";
  }
  MakeDir("real/state", 0700);
  EXPECT_EQ(open(link + "/state").hint(),
            "put the real path into the settings (state_dir: " + real + "/state)");
}

// Who wants no end of it says the largest number that there is.
TEST_F(KeepingTest, ADeadlineMayBeAsFarAsANumberGoes) {
  constexpr int64_t kNoEnd = INT64_MAX;
  auto engine = Open();
  Json answer = Call(*engine, &Engine::Prepare, Request("one", {"a"}, {{"deadline_ms", kNoEnd}}));
  ASSERT_TRUE(answer.contains("ok")) << answer;
  Json ended = Call(*engine, &Engine::Cleanup,
                    {{"owner", "run"}, {"scope", "one"}, {"deadline_ms", kNoEnd}, {"release_ms", kNoEnd}});
  EXPECT_EQ(ended["ok"]["pending"], Json::array()) << ended;
  EXPECT_EQ(plugins_->mounted(), 0);
  Json recovered = Call(*engine, &Engine::Recover, {{"owner", "run"}, {"wait_ms", kNoEnd}});
  EXPECT_TRUE(recovered.contains("ok")) << recovered;
  Json fenced = Call(*engine, &Engine::Fence, {{"driver", "red"}, {"name", "a"}, {"deadline_ms", kNoEnd}});
  EXPECT_EQ(fenced["error"]["code"], "driver") << "it was asked: " << fenced;
  engine->Close(1000);
}

// The second of a volume's IDs, which nothing proves ours, stays: who waits is not told that all is given
// back.
TEST_F(KeepingTest, WhoWaitsForAReleaseIsToldOfTheVolumesOtherId) {
  const std::string other(64, 'b');
  auto engine = OpenWithoutKeeper();
  const Json one = Call(*engine, &Engine::Prepare, Request("one", {"a"}, {{"owner", "agent"}}));
  ASSERT_TRUE(one.contains("ok")) << one;
  int status = 200;
  plugins_->Act("red", "Mount", Dump({{"Name", "a"}, {"ID", other}}), &status);
  ASSERT_TRUE(engine->core()
                  .ledger
                  ->Apply(Commit::rebuilt, false,
                          [&](LedgerTx& tx) { return tx.SetAlso(one["ok"]["volumes"][0]["id"], other); })
                  .ok());
  const Json recovered =
      Call(*engine, &Engine::Recover, {{"owner", "agent"}, {"live", Json::array()}, {"wait_ms", 300}});
  EXPECT_EQ(recovered["ok"]["released"], Json::array()) << recovered;
  EXPECT_NE(Dump(recovered["ok"]["pending"]).find(other), std::string::npos) << recovered;
  plugins_->Act("red", "Unmount", Dump({{"Name", "a"}, {"ID", other}}), &status);
  engine->Close(1000);
}

}  // namespace
}  // namespace dvdi
