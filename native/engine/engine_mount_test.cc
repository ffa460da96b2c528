// The engine on the real kernel with real threads, in a mount namespace of the test program's own.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

#include "engine/meta.h"
#include "engine/testing/mount_engine.h"
#include "mount/mountinfo.h"
#include "mount/volume_folder.h"

namespace dvdi {
namespace {

TEST_F(EngineMountTest, VolumesComeWithTheirFlagsAndGoAgain) {
  auto engine = Open();
  Json answer = Call(*engine, &Engine::Prepare, Request("one", {"a", "ro"}, {{"targets", "make"}}));
  ASSERT_TRUE(answer.contains("ok")) << answer;
  std::string stage = answer["ok"]["volumes"][0]["stage"], read_only = answer["ok"]["volumes"][1]["stage"];
  std::ofstream(stage + "/file") << "data";
  EXPECT_TRUE(std::filesystem::exists(plugins_->Mountpoint("red", "a") + "/file")) << "it is the volume";
  int fd = ::open((read_only + "/file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  EXPECT_LT(fd, 0);
  EXPECT_EQ(errno, EROFS);
  EXPECT_TRUE(std::filesystem::is_directory(Path("targets/one/a")));
  // The second scope's flags are its own, and the volume is the same.
  Json other = Call(*engine, &Engine::Prepare, Request("two", {"a"}));
  ASSERT_TRUE(other.contains("ok")) << other;
  std::string second = other["ok"]["volumes"][0]["stage"];
  EXPECT_TRUE(std::filesystem::exists(second + "/file"));
  EXPECT_TRUE(Cleanup(*engine, "one").contains("ok"));
  EXPECT_FALSE(std::filesystem::exists(stage));
  EXPECT_FALSE(std::filesystem::exists(Path("targets/one")));
  EXPECT_TRUE(std::filesystem::exists(second + "/file"));
  EXPECT_TRUE(Cleanup(*engine, "two").contains("ok"));
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
  EXPECT_TRUE(std::filesystem::is_empty(Path("state/stage")));
  engine.reset();
  EXPECT_TRUE(Eventually([&] { return std::filesystem::is_empty(Path("state/instances")); }));
  EXPECT_EQ(plugins_->violations(), std::vector<std::string>());
}

// Whoever began it was killed between its bind and its sharing.
TEST_F(EngineMountTest, AStageRootThatWasOnlyBegunIsMadeReady) {
  auto engine = Open();
  const std::string root = Path("state/stage");
  ASSERT_EQ(::mount(root.c_str(), root.c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_EQ(::mount(nullptr, root.c_str(), nullptr, MS_PRIVATE, nullptr), 0);
  ASSERT_TRUE(Call(*engine, &Engine::Prepare, Request("one", {"a"})).contains("ok"));
  auto mounts = ReadMounts(engine->core().env);
  ASSERT_TRUE(mounts.ok());
  const MountEntry* own = FindMount(*mounts, root);
  ASSERT_NE(own, nullptr);
  EXPECT_TRUE(own->propagation.starts_with("shared:")) << own->propagation;
  EXPECT_TRUE(Cleanup(*engine, "one").contains("ok"));
  EXPECT_TRUE(Released(*engine));
}

// The keeper and a recovery look at operations that are not theirs to end, and hold them meanwhile.
TEST_F(EngineMountTest, ACleanupThatFindsItsScopeHeldWaits) {
  auto engine = Open();
  Json answer = Call(*engine, &Engine::Prepare, Request("one", {"a"}));
  ASSERT_TRUE(answer.contains("ok")) << answer;
  std::string stage = answer["ok"]["volumes"][0]["stage"];
  auto held =
      std::make_unique<ActiveOperation>(&engine->core(), answer["ok"]["operation"].get<std::string>());
  ASSERT_TRUE(held->mine());
  auto ended = std::async(std::launch::async, [&] { return Cleanup(*engine, "one"); });
  EXPECT_EQ(ended.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  EXPECT_TRUE(IsMounted(stage));
  held.reset();
  Json end = ended.get();
  ASSERT_TRUE(end.contains("ok")) << end;
  EXPECT_EQ(end["ok"]["pending"][0]["name"], "a") << end;
  EXPECT_FALSE(IsMounted(stage));
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

// A folder and its file are there before their row: another engine's recovery takes them for no leftovers.
TEST_F(EngineMountTest, ARecoveryLeavesWhatIsJustBeingAttached) {
  auto engine = Open();
  Core& core = engine->core();
  auto recover = [&] { return Call(*engine, &Engine::Recover, {{"owner", "run"}}); };
  Meta meta;
  meta.operation.id = "0123456789abcdef", meta.operation.owner = "run", meta.operation.scope = "s";
  meta.operation.instance = core.instance->id(), meta.operation.boot_id = core.boot_id.id;
  meta.attachments = {{std::string(64, 'a'), "red", "v"}};
  const std::string folder = core.stage_root + "/" + std::string(64, 'a');
  // As in the middle of a WriteMeta.
  std::filesystem::create_directory(folder);
  const std::string temporary = core.stage_root + "/.meta-" + core.instance->id() + "-" + meta.operation.id;
  std::ofstream(temporary) << "{";
  {
    ActiveOperation active(&core, meta.operation.id);
    EXPECT_TRUE(recover().contains("ok"));
    EXPECT_TRUE(std::filesystem::exists(folder));
  }
  std::filesystem::remove(temporary);
  EXPECT_TRUE(recover().contains("ok"));
  EXPECT_FALSE(std::filesystem::exists(folder)) << "nobody is at it: it is left over";
  // Between the file and the row, which comes while the recovery waits for the volume's lock.
  ASSERT_TRUE(WriteMeta(core.env, core.stage_root, meta).ok());
  auto lock = VolumeLocks::Take(core.env, core.lock_file, {{"red", "v"}}, INT64_MAX);
  ASSERT_TRUE(lock.ok());
  auto recovered = std::async(std::launch::async, recover);
  EXPECT_EQ(recovered.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  AttachmentRow row;
  row.id = std::string(64, 'a'), row.driver = "red", row.name = "v", row.state = kIntent;
  row.boot_id = core.boot_id.id;
  ASSERT_TRUE(
      core.ledger->Apply(Commit::intent, false, [&](LedgerTx& tx) { return tx.PutAttachment(row); }).ok());
  lock->reset();
  EXPECT_TRUE(recovered.get().contains("ok"));
  EXPECT_TRUE(std::filesystem::exists(folder + "/meta.json"));
  ASSERT_TRUE(
      core.ledger->Apply(Commit::released, false, [&](LedgerTx& tx) { return tx.DeleteAttachment(row.id); })
          .ok());
  EXPECT_TRUE(recover().contains("ok"));
  EXPECT_FALSE(std::filesystem::exists(folder));
  engine->Close(1000);
}

// Two engines on one state folder, as two processes are: each with its own descriptors, locks and threads.
TEST_F(EngineMountTest, TwoEnginesAtOnceNeverUndoEachOthersWork) {
  std::vector<std::shared_ptr<Engine>> engines = {Open(), Open()};
  std::atomic<int> refused = 0;
  auto work = [&](int worker) {
    Engine& engine = *engines[static_cast<size_t>(worker % 2)];
    std::mt19937 random(static_cast<unsigned>(worker));
    for (int i = 0; i < 12; ++i) {
      std::string scope = "w" + std::to_string(worker) + "-" + std::to_string(i);
      std::vector<std::string> names;
      for (const char* name : {"a", "b", "c"})
        if (random() % 2 == 0) names.push_back(name);
      if (names.empty()) names.push_back("a");
      Json answer = Call(engine, &Engine::Prepare, Request(scope, names));
      if (!answer.contains("ok")) {
        ++refused;
        ADD_FAILURE() << scope << ": " << answer;
        continue;
      }
      for (const auto& name : names) plugins_->AddUser("red", name, 1);
      auto check = [&] {
        for (const Json& v : answer["ok"]["volumes"]) {
          std::string file = v["stage"].get<std::string>() + "/" + scope;
          std::ofstream(file) << scope;
          EXPECT_TRUE(IsMounted(v["stage"])) << scope;
          EXPECT_TRUE(std::filesystem::exists(plugins_->Mountpoint("red", v["name"]) + "/" + scope)) << scope;
        }
      };
      check();
      if (i % 3 == worker % 3) Call(engine, &Engine::Recover, {{"owner", "run"}});
      engine.Tick();
      check();
      for (const auto& name : names) plugins_->AddUser("red", name, -1);
      // Half of them are ended by the other engine.
      Json ended = Cleanup(*engines[static_cast<size_t>((worker + i) % 2)], scope);
      EXPECT_TRUE(ended.contains("ok")) << ended;
      for (const Json& v : answer["ok"]["volumes"]) EXPECT_FALSE(IsMounted(v["stage"])) << scope;
    }
  };
  std::vector<std::thread> threads;
  for (int worker = 0; worker < 4; ++worker) threads.emplace_back(work, worker);
  for (auto& t : threads) t.join();
  EXPECT_EQ(refused, 0);
  EXPECT_TRUE(Released(*engines[0]));
  for (auto& e : engines) {
    EXPECT_EQ((*e->StatusOf({{"what", "scopes"}}))["scopes"], Json::array());
    e->Close(1000);
  }
  EXPECT_EQ(plugins_->violations(), std::vector<std::string>());
  EXPECT_TRUE(std::filesystem::is_empty(Path("state/stage")));
}

// Requests that wait, and how often each was answered.
class Waiters {
 public:
  Engine::Done Next() {
    std::lock_guard lock(mu_);
    size_t i = answers_.size();
    answers_.emplace_back();
    return [this, i](const Status& s, const Json&) {
      std::lock_guard inner(mu_);
      answers_[i].push_back(s.code());
      cv_.notify_all();
    };
  }
  // The answers so far, when at least `n` came; waits long.
  std::vector<std::vector<Code>> Wait(size_t n) {
    std::unique_lock lock(mu_);
    cv_.wait_for(lock, std::chrono::seconds(30), [&] { return Came() >= n; });
    return answers_;
  }

 private:
  size_t Came() const {
    size_t n = 0;
    for (const auto& a : answers_) n += a.size();
    return n;
  }
  std::mutex mu_;
  std::condition_variable cv_;
  std::vector<std::vector<Code>> answers_;
};

// A driver that does not answer until the test lets it.
class Gate {
 public:
  void Enter() {
    std::unique_lock lock(mu_);
    ++inside_;
    cv_.notify_all();
    cv_.wait(lock, [&] { return open_; });
  }
  void WaitForOne() {
    std::unique_lock lock(mu_);
    cv_.wait(lock, [&] { return inside_ > 0; });
  }
  void Open() {
    std::lock_guard lock(mu_);
    open_ = true;
    cv_.notify_all();
  }

 private:
  std::mutex mu_;
  std::condition_variable cv_;
  int inside_ = 0;
  bool open_ = false;
};

TEST_F(EngineMountTest, ClosingAnswersEverybodyOnce) {
  settings_.max_in_flight = 1;
  Gate gate;
  plugins_->before = [&](const std::string& method, const std::string&) {
    if (method == "Get") gate.Enter();
  };
  auto engine = Open();
  Waiters waiters;
  for (int i = 0; i < 6; ++i)
    ASSERT_TRUE(engine->Prepare(Request("s" + std::to_string(i), {"a"}), waiters.Next()).ok());
  gate.WaitForOne();
  std::thread closing([&] { engine->Close(1000); });
  gate.Open();
  closing.join();
  auto answers = waiters.Wait(6);
  ASSERT_EQ(answers.size(), 6u);
  for (const auto& a : answers) EXPECT_EQ(a, std::vector<Code>{Code::kOk});
  EXPECT_EQ(engine->Prepare(Request("late", {"a"}), waiters.Next()).code(), Code::kRefused);
  EXPECT_EQ(engine->Cleanup({{"owner", "run"}, {"scope", "s0"}}, waiters.Next()).code(), Code::kRefused);
  engine.reset();
  // Another engine finds what was left, and ends it.
  engine = Open();
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Cleanup(*engine, "s" + std::to_string(i)).contains("ok"));
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

TEST_F(EngineMountTest, WhoWaitsForAStuckDriverEndsAtItsDeadlineAndOthersAreNotHeldUp) {
  settings_.max_in_flight = 1;
  Gate gate;
  plugins_->before = [&](const std::string& method, const std::string& name) {
    if (method == "Get" && name == "stuck") gate.Enter();
  };
  auto engine = Open();
  Waiters waiters;
  ASSERT_TRUE(engine->Prepare(Request("stuck", {"stuck"}), waiters.Next()).ok());
  gate.WaitForOne();
  // The keeper has nothing to do for a minute from now on.
  engine->Tick();
  ASSERT_TRUE(engine->Prepare(Request("waits", {"b"}, {{"deadline_ms", 50}}), waiters.Next()).ok());
  auto answers = waiters.Wait(1);
  EXPECT_TRUE(answers[0].empty());
  EXPECT_EQ(answers[1], std::vector<Code>{Code::kTimeout});
  EXPECT_TRUE(Call(*engine, &Engine::Cleanup, {{"owner", "run"}, {"scope", "none"}}).contains("ok"));
  gate.Open();
  waiters.Wait(2);
  Cleanup(*engine, "stuck");
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

}  // namespace
}  // namespace dvdi
