// What is undone, in which order, and what happens to the rest where it cannot be.
#include "engine/undo.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class UndoTest : public SimEngineTest {
 protected:
  // Unmounting fails until AllowUmount.
  void ForbidUmount() {
    world_.sys.fault = [](const char* call) { return std::strcmp(call, "umount") == 0 ? EPERM : 0; };
  }
  void AllowUmount() { world_.sys.fault = nullptr; }
  // Scopes "one" and "two", whose targets shared_/a and shared_/b are made, and shared_ with them.
  void PrepareTwoBelowOneFolder() {
    const std::string targets = root_ + "/targets";
    settings_.target_roots = {targets};
    std::filesystem::create_directory(targets);
    shared_ = targets + "/t";
    for (const auto& [scope, name] : {std::pair("one", "a"), std::pair("two", "b")}) {
      Json volume = Volume("red", name, {{"container_path", shared_ + "/" + name}});
      ASSERT_TRUE(Prepare(scope, {volume}, {{"targets", "make"}}).contains("ok"));
    }
  }
  std::string shared_;
};

TEST_F(UndoTest, LastDoneFirstUndone) {
  std::vector<std::string> order;
  world_.sys.fault = [&](const char* call) {
    order.push_back(call);
    return 0;
  };
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("blue", "b")}).contains("ok"));
  order.clear();
  Cleanup("one");
  world_.sys.fault = nullptr;
  Json record = Record("one");
  EXPECT_EQ(record["kind"], "cleanup");
  ASSERT_EQ(record["undone"].size(), 4u) << record;
  EXPECT_HAS(record["undone"][0].get<std::string>(), "stage ");
  EXPECT_HAS(record["undone"][1].get<std::string>(), "stage ");
  EXPECT_HAS(record["undone"][2].get<std::string>(), "attach ");
  EXPECT_LT(record["undone"][1].get<std::string>().find("-0"), std::string::npos)
      << "the first stage comes last";
  EXPECT_EQ(std::count(order.begin(), order.end(), "umount"), 4)
      << "each twice: until nothing is there any more";
}

TEST_F(UndoTest, AStageThatCannotBeUnmountedKeepsItsVolumeAttached) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("blue", "b")}).contains("ok"));
  ForbidUmount();
  Json answer = Cleanup("one");
  ASSERT_TRUE(answer.contains("ok")) << answer;
  EXPECT_GE(answer["ok"]["pending"].size(), 2u) << answer;
  Settle();
  EXPECT_TRUE(Attached("red", "a")) << "the driver's mount is under a stage of ours";
  EXPECT_EQ(Count("red Unmount"), 0);
  EXPECT_EQ(Ask("scopes")["scopes"].size(), 1u) << "what cannot be undone now stays in the ledger";
  AllowUmount();
  Settle();
  ExpectNothingLeft();
}

TEST_F(UndoTest, AFailedPrepareThatCannotBeUndoneIsTakenUpAgain) {
  MakeVolume("red", "a");
  Json answer =
      Hostile({Volume("red", "a")}, [&](const Json& input, ScriptHost& host) -> Result<std::string> {
        auto ignored = Honest(input, host);
        ForbidUmount();
        return SaysError("refused", "no");
      });
  EXPECT_EQ(CodeOf(answer), "refused");
  EXPECT_TRUE(Attached("red", "a"));
  AllowUmount();
  Settle();  // the same engine, not one that comes later
  ExpectNothingLeft();
}

TEST_F(UndoTest, ACleanupAskedAgainIsTheSame) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  ForbidUmount();
  Cleanup("one");
  AllowUmount();
  Json again = Cleanup("one");
  ASSERT_TRUE(again.contains("ok")) << again;
  for (const Json& p : again["ok"]["pending"])
    EXPECT_HAS_NOT(GetString(p, "why"), "another process") << again;
  Settle();
  ExpectNothingLeft();
  EXPECT_TRUE(Cleanup("one").contains("ok"));
  EXPECT_TRUE(Cleanup("never heard of").contains("ok")) << "an unknown scope is no error";
  EXPECT_EQ(CodeOf(Cleanup("")), "invalid");
}

TEST_F(UndoTest, CleanupDoesNotWaitForAVolumeThatIsWorkedOn) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  auto lock = VolumeLocks::Take(env(), engine().core().lock_file, {{"red", "a"}}, 0);
  ASSERT_TRUE(lock.ok());
  int64_t begin = world_.clock.MonotonicMs();
  Json answer = Cleanup("one");
  ASSERT_TRUE(answer.contains("ok")) << answer;
  EXPECT_LT(world_.clock.MonotonicMs() - begin, 2000);
  EXPECT_TRUE(world_.sys.MountsBelow(settings_.state_dir + "/stage").empty());
  EXPECT_TRUE(Attached("red", "a"));
  lock->reset();
  Settle();
  ExpectNothingLeft();
}

// Who finds a folder there counts on it: nobody may look for the folders of its targets between our look at
// who else has one there and its removal.
TEST_F(UndoTest, WhileAFolderIsRemovedNobodyLooksForTheirs) {
  PrepareTwoBelowOneFolder();
  const std::string removed = shared_ + "/a";
  bool free = true;  // at the last call that found the folder there
  world_.sys.fault = [&](const char* call) {
    if (std::strcmp(call, "unlink") == 0 && std::filesystem::exists(removed))
      free = VolumeLocks::Take(env(), engine().core().lock_file, {kFoldersLock}, 0).ok();
    return 0;
  };
  Cleanup("one");
  world_.sys.fault = nullptr;
  EXPECT_FALSE(std::filesystem::exists(removed));
  EXPECT_FALSE(free);
  Cleanup("two");
  Settle();
  ExpectNothingLeft();
}

// Two that share folders end at the same moment: the first passes the outer one on, and the other, which ends
// meanwhile, passes it back, into the very place in the ledger that it had.
TEST_F(UndoTest, AFolderThatIsPassedToAndFroIsRemoved) {
  PrepareTwoBelowOneFolder();
  auto other = OpenAnother();
  bool between = false;
  world_.sys.fault = [&](const char* call) {
    // The first has undone its folders, and not yet committed that.
    if (std::strcmp(call, "umount") != 0 || std::exchange(between, true)) return 0;
    Json answer = Call(*other, &Engine::Cleanup, {{"owner", "run"}, {"scope", "two"}});
    EXPECT_TRUE(answer.contains("ok")) << answer;
    return 0;
  };
  Cleanup("one");
  EXPECT_TRUE(between);
  world_.sys.fault = nullptr;
  Settle();
  EXPECT_FALSE(std::filesystem::exists(shared_));
  ExpectNothingLeft();
}

// Who has the inner folder could not remove it, and uses no volume any more: the outer one is its to remove
// then.
TEST_F(UndoTest, AFolderWaitsForWhatIsLeftBelowIt) {
  PrepareTwoBelowOneFolder();
  bool forbidden = false;
  world_.sys.fault = [&](const char* call) {
    // The first folder that it removes.
    return std::strcmp(call, "unlink") == 0 && !std::exchange(forbidden, true) ? EACCES : 0;
  };
  Json answer = Cleanup("two");
  EXPECT_EQ(answer["ok"]["pending"].size(), 2u) << answer;
  world_.sys.fault = nullptr;
  EXPECT_TRUE(std::filesystem::exists(shared_ + "/b"));
  Cleanup("one");
  EXPECT_FALSE(std::filesystem::exists(shared_ + "/a"));
  Settle();
  EXPECT_FALSE(std::filesystem::exists(shared_));
  ExpectNothingLeft();
}

TEST_F(UndoTest, AMountThatWasNeverSentIsNotUnmounted) {
  MakeVolume("red", "a");
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    host.Plugin({{"method", "Get"}, {"volume", 0}});
    return SaysError("refused", "no");
  });
  Settle();
  EXPECT_EQ(Sent(), (std::vector<std::string>{"red Get"}));
  ExpectNothingLeft();
}

TEST_F(UndoTest, AMountThatWasNotAnsweredIsUnmountedWithItsId) {
  using Outcome = PluginReply::Outcome;
  MakeVolume("red", "a");
  for (Outcome outcome : {Outcome::kTimeout, Outcome::kLost}) {
    std::string id;
    transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply* reply) {
      if (method != "Mount") return false;
      id = GetString(Json::parse(request.body), "ID");
      world_.transport.Exchange({request});  // it acted, and the answer went astray
      reply->outcome = outcome, reply->sent = true;
      return true;
    };
    Json answer = Prepare("one", {Volume("red", "a")});
    EXPECT_FALSE(answer.contains("ok"));
    transport_.hook = nullptr;
    EXPECT_FALSE(Attached("red", "a"));
    ASSERT_EQ(id.size(), 64u);
    EXPECT_HAS(transport_.requests.back().path, "Unmount");
    EXPECT_HAS(transport_.requests.back().body, id);
    Settle();
    ExpectNothingLeft();
  }
}

// Its stage says where the volume is, when it is undone by somebody else; nothing does afterwards.
TEST_F(UndoTest, WhereADeadPreparesVolumeIsMountedIsKnownOnceItsStageIsGone) {
  MakeVolume("red", "a");
  DieUnplaced();
  EXPECT_EQ(world_.sys.MountsBelow(settings_.state_dir + "/stage").size(), 1u);
  bool busy = true;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount" && busy) *reply = Says("{\"Err\":\"the device is busy\"}", 500);
    if (method == "Get") *reply = Says("{\"Volume\":{\"Name\":\"a\"},\"Err\":\"\"}");
    return method == "Get" || (method == "Unmount" && busy);
  };
  Settle();
  EXPECT_TRUE(world_.sys.MountsBelow(settings_.state_dir + "/stage").empty());
  EXPECT_TRUE(Attached("red", "a"));
  Json pending = Ask("summary")["pending"];
  ASSERT_EQ(pending.size(), 1u) << "its driver has it still";
  EXPECT_HAS(GetString(pending[0], "error"), "the node still has it mounted at ");
  busy = false;
  Settle();
  EXPECT_FALSE(Attached("red", "a"));
  ExpectNothingLeft();
}

// After a reboot a stage's folder is one of the node's own, and who has its path may have written to it.
TEST_F(UndoTest, FilesWhereNothingWasMountedAreKeptAndKeepNothing) {
  Json prepared = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(prepared.contains("ok")) << prepared;
  const std::string stage = prepared["ok"]["volumes"][0]["stage"];
  Close();
  world_.sys.Reboot();
  world_.transport.ForgetMounts("red", true);
  std::ofstream(stage + "/file") << "data";
  EXPECT_EQ(Recover()["ok"]["ended"], Json::array({"one"}));
  EXPECT_HAS(Dump(Record("one")["notes"]), "files in " + stage);
  Settle();
  EXPECT_EQ(Ask("scopes")["scopes"], Json::array()) << "the scope is over";
  EXPECT_EQ(Ask("summary")["pending"], Json::array()) << "and the volume is not attached any more";
  EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
  Recover();
  EXPECT_TRUE(std::filesystem::exists(stage + "/file"));
  Json reported = Ask("summary")["reported"];
  ASSERT_EQ(reported.size(), 1u) << reported;
  EXPECT_HAS(reported[0].get<std::string>(), stage + " holds files");
  EXPECT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  std::filesystem::remove_all(std::filesystem::path(stage).parent_path());
  Cleanup("one");
  Settle();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace dvdi
