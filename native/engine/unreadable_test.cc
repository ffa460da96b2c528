// A lost ledger, and a stage folder of which not all can be read: nobody is told more than is known, and what
// can be read again is known again (promises 1, 6 and 8).
#include <filesystem>

#include "engine/meta.h"
#include "engine/testing/recover.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

class UnreadableTest : public RecoverTest {
 protected:
  // What proves that the stage is ours: a symlink to itself in its place answers ELOOP, whoever asks.
  static std::string ProofOf(const std::string& stage) {
    return stage.substr(0, stage.rfind('/')) + "/meta.json";
  }
  static void Hide(const std::string& file) {
    fs::rename(file, file + ".hidden");
    fs::create_symlink(file, file);
  }
  static void Show(const std::string& file) { fs::rename(file + ".hidden", file); }
  // Scope "one" has the volume red/a, of which neither a ledger nor a file tells any more.
  Json PrepareAndLose() {
    const Json one = Prepare("one", {Volume("red", "a")});
    EXPECT_TRUE(one.contains("ok")) << one;
    Close();
    Hide(ProofOf(StageOf(one)));
    RemoveLedger();
    return one;
  }
  // Scope "one" has the volume red/a, which was mounted for another one too that could not have it: nobody
  // knew whose it is.
  Json PrepareTwice() {
    const Json one = PrepareAndLose();
    EXPECT_HAS(Dump(Prepare("two", {Volume("red", "a")})), "nothing tells for which workload");
    Show(ProofOf(StageOf(one)));
    Recover({{"live", {"one"}}});
    return one;
  }
  Json End(const std::string& scope) {
    return Call(engine(), &Engine::Cleanup, {{"owner", "manual"}, {"scope", scope}});
  }
};

constexpr char kMayHaveMore[] = "whether it has more volumes is not known";

// Who is told that his scope is over does not say so again.
TEST_F(UnreadableTest, TheEndOfAScopeIsNotToldWhereItMayHaveMore) {
  const Json manual = {{"owner", "manual"}};
  const Json one = Prepare("one", {Volume("red", "a"), Volume("blue", "b")}, manual);
  const Json two = Prepare("two", {Volume("red", "c")}, manual);
  ASSERT_TRUE(one.contains("ok") && two.contains("ok")) << one << two;
  Close();
  for (const Json* answer : {&one, &two}) Hide(ProofOf(StageOf(*answer)));
  RemoveLedger();
  for (const char* scope : {"one", "two", "one", "none"}) EXPECT_HAS(Dump(End(scope)), kMayHaveMore) << scope;
  ASSERT_TRUE(Prepare("new", {Volume("blue", "d")}, manual).contains("ok"));
  EXPECT_HAS_NOT(Dump(End("new")), kMayHaveMore) << "it has what this ledger gave it";
  for (const Json* answer : {&one, &two}) {
    EXPECT_TRUE(world_.sys.IsMounted(StageOf(*answer))) << "nothing proves that it is ours";
    Show(ProofOf(StageOf(*answer)));
  }
  EXPECT_FALSE(world_.sys.IsMounted(StageOf(one, 1)));
  Recover();
  EXPECT_EQ(Ask("scopes")["scopes"].size(), 2u) << "known again, in the same engine";
  for (const char* scope : {"one", "two", "none"}) EXPECT_HAS_NOT(Dump(End(scope)), kMayHaveMore) << scope;
  Settle();
  ExpectNothingLeft();
}

// Where the other one lies is known to nobody either: its Unmount might take the volume from who has it.
TEST_F(UnreadableTest, WhatMayBeInUseByAnotherIdIsNotUnmounted) {
  const Json one = PrepareAndLose();
  EXPECT_HAS(Dump(Prepare("two", {Volume("red", "a")})), "nothing tells for which workload");
  Close();
  RemoveLedger();
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0) << "it is in use";
  EXPECT_HAS(Dump(Ask("summary")["pending"]), StageOf(one) + " is mounted");
  Show(ProofOf(StageOf(one)));
  Recover({{"live", {"one"}}});
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0);
  EXPECT_EQ(Known("red", "a")["users"].size(), 1u);
  EXPECT_TRUE(world_.sys.IsMounted(StageOf(one)));
}

// The one recovery that an agent makes at its start ends it: no other may follow for days.
TEST_F(UnreadableTest, AScopeThatIsFoundAgainAtARecoveryIsEndedByIt) {
  const Json over = Prepare("over", {Volume("red", "a")}), lives = Prepare("lives", {Volume("red", "b")});
  ASSERT_TRUE(over.contains("ok") && lives.contains("ok")) << over << lives;
  Close();
  for (const Json* answer : {&over, &lives}) Hide(ProofOf(StageOf(*answer)));
  RemoveLedger();
  EXPECT_EQ(Ask("scopes")["scopes"].size(), 0u);
  for (const Json* answer : {&over, &lives}) Show(ProofOf(StageOf(*answer)));
  EXPECT_EQ(Recover({{"live", {"lives"}}})["ok"]["ended"], Json({"over"}));
  EXPECT_FALSE(world_.sys.IsMounted(StageOf(over)));
  EXPECT_TRUE(world_.sys.IsMounted(StageOf(lives)));
}

// The refused one was mounted too, and nobody would say so to its driver but us.
TEST_F(UnreadableTest, BothIdsOfAVolumeAreUnmountedBehindItsLastUse) {
  for (const bool lost_again : {false, true}) {
    const Json one = PrepareTwice();
    EXPECT_EQ(world_.transport.plugins["red"].volumes["a"].ids.size(), 2u);
    if (lost_again) {
      Close();
      RemoveLedger();
    }
    Recover({{"live", {"one"}}});
    Settle();
    const int before = Count("red Unmount");
    EXPECT_TRUE(world_.sys.IsMounted(StageOf(one)));
    Cleanup("one");
    Settle();
    EXPECT_EQ(Count("red Unmount"), before + 2) << lost_again;
    EXPECT_FALSE(Attached("red", "a")) << lost_again;
    ExpectNothingLeft(lost_again ? "lost again" : "");
  }
}

// A ledger that is not whole yet is gone through at each recovery.
TEST_F(UnreadableTest, TheOtherIdIsKeptOnceHoweverOftenItIsFound) {
  const Json hidden = Prepare("hidden", {Volume("blue", "b")});
  ASSERT_TRUE(hidden.contains("ok")) << hidden;
  Hide(ProofOf(StageOf(hidden)));
  PrepareTwice();
  for (int i = 0; i < 2; ++i) Recover({{"live", {"one"}}});
  const Status read = engine().core().ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(const auto row, tx.FindAttachment("red", "a"));
    EXPECT_TRUE(row && IsAttachmentId(row->also)) << (row ? row->also : "no row");
    return Status();
  });
  EXPECT_TRUE(read.ok()) << read.message();
  Cleanup("one");
  Settle();
  EXPECT_EQ(Count("red Unmount"), 2);
}

// A driver that has forgotten the first says no to its Unmount, and has the volume mounted all the same.
TEST_F(UnreadableTest, TheOtherIdIsUnmountedWhereTheFirstIsForgotten) {
  const Json one = PrepareTwice();
  auto& ids = world_.transport.plugins["red"].volumes["a"].ids;
  const std::string first = one["ok"]["volumes"][0]["id"];
  ASSERT_EQ(ids.erase(first), 1u);
  transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method != "Unmount" || GetString(Json::parse(request.body), "ID") != first) return false;
    *reply = Says(R"({"Err": "volume a is not mounted by this ID"})", 500);
    return true;
  };
  Cleanup("one");
  Settle();
  EXPECT_FALSE(Attached("red", "a"));
  ExpectNothingLeft();
}

TEST_F(UnreadableTest, AnIdWhoseUnmountIsRefusedStaysPending) {
  const Json one = PrepareTwice();
  const std::string first = one["ok"]["volumes"][0]["id"];
  transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method != "Unmount" || GetString(Json::parse(request.body), "ID") == first) return false;
    EXPECT_EQ(Ask("summary")["pending"].size(), 1u) << "whoever dies here leaves it to others";
    *reply = Says(R"({"Err": "device is busy"})", 500);
    return true;
  };
  const Json ended =
      Call(engine(), &Engine::Cleanup, {{"owner", "run"}, {"scope", "one"}, {"release_ms", 5000}});
  EXPECT_HAS(Dump(ended["ok"]["pending"]), "device is busy");
  EXPECT_TRUE(ended["ok"]["released"].empty()) << ended;
  EXPECT_HAS(Dump(Ask("summary")["pending"]), "device is busy");
  transport_.hook = nullptr;
  Settle();
  EXPECT_FALSE(Attached("red", "a"));
  ExpectNothingLeft();
}

// Another process ends a scope while this one is at its rebuild: what it has read is no news any more.
TEST_F(UnreadableTest, AScopeThatEndsWithinARebuildIsNotBroughtBack) {
  const Json one = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(one.contains("ok")) << one;
  Close();
  RemoveLedger();
  const std::string stage = StageOf(one);
  std::string last;
  world_.sys.look_fault = [&](const char* call) {
    const std::string now = call;
    if (now == "getdents" || (now == "read" && last == "getdents")) last = now;
    if (now != "fstatat" || last != "read") return 0;
    // A stage's file was read, and its row is about to be looked for.
    last.clear();
    EXPECT_TRUE(world_.sys.RemoveMount(stage));
    std::filesystem::remove(stage + ".json");
    return 0;
  };
  EXPECT_EQ(Ask("scopes")["scopes"].size(), 0u);
  world_.sys.look_fault = nullptr;
  EXPECT_FALSE(std::filesystem::exists(stage + ".json"));
}

TEST_F(UnreadableTest, BothIdsAreUnmountedBehindAReboot) {
  PrepareTwice();
  Kill();
  world_.sys.Reboot();
  Recover();
  Settle();
  EXPECT_TRUE(world_.transport.plugins["red"].volumes["a"].ids.empty());
  ExpectNothingLeft();
}

TEST_F(UnreadableTest, AnIdThatWaitsForItsReleaseIsKeptBesideALaterOne) {
  sim::SimPlugin& red = world_.transport.plugins["red"];
  const Json one = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(one.contains("ok")) << one;
  red.up = false;
  Cleanup("one");
  Close();
  Hide(ProofOf(StageOf(one)));
  RemoveLedger();
  EXPECT_EQ(Ask("summary")["pending"].size(), 0u);
  red.up = true;
  ASSERT_TRUE(Prepare("two", {Volume("red", "a")}).contains("ok"));
  red.up = false;
  Cleanup("two");
  Show(ProofOf(StageOf(one)));
  Recover();
  red.up = true;
  EXPECT_EQ(red.volumes["a"].ids.size(), 2u);
  Recover();
  Settle();
  EXPECT_TRUE(red.volumes["a"].ids.empty());
  ExpectNothingLeft();
}

TEST_F(UnreadableTest, WhoGivesAVolumeUpGivesUpAllItsIds) {
  const Json one = PrepareTwice();
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  ASSERT_TRUE(engine().Forget({{"driver", "red"}, {"name", "a"}}).ok());
  world_.transport.ForgetMounts("red", true);  // as whoever gives it up does there
  ExpectNothingLeft();
}

// Its driver lost the first mount, and had it mounted anew for somebody else meanwhile.
TEST_F(UnreadableTest, AScopeIsKnownAgainWhereItsVolumeHasAnotherId) {
  const Json one = PrepareAndLose();
  world_.transport.ForgetMounts("red", true);
  const Json two = Prepare("two", {Volume("red", "a")});
  ASSERT_TRUE(two.contains("ok")) << two;
  Show(ProofOf(StageOf(one)));
  const Json live = {{"live", {"one", "two"}}};
  Recover(live);
  EXPECT_EQ(Known("red", "a")["users"].size(), 2u);
  // As an engine in a container has it, which sees no stage.
  ASSERT_TRUE(world_.sys.RemoveMount(StageOf(one)));
  Recover(live);
  EXPECT_TRUE(std::filesystem::exists(ProofOf(StageOf(one)))) << "swept as what nobody uses";
  world_.sys.AddMount(StageOf(one), "ext4", "7:1");
  Cleanup("one");
  EXPECT_FALSE(world_.sys.IsMounted(StageOf(one))) << "its end was answered";
  EXPECT_TRUE(world_.sys.IsMounted(StageOf(two)));
  EXPECT_EQ(Count("red Unmount"), 0);
  Cleanup("two");
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1);
  Recover();
  ExpectNothingLeft();
}

// An older copy knows nothing of a stage, and says that it is whole.
TEST_F(UnreadableTest, AnOlderLedgerIsNotWholeBesideAStageThatCannotBeRead) {
  KeepEarlierLedger();
  const Json one = Prepare("one", {Volume("red", "a")}, {{"owner", "manual"}});
  ASSERT_TRUE(one.contains("ok")) << one;
  Close();
  Hide(ProofOf(StageOf(one)));
  LoseLedger();
  EXPECT_HAS(Dump(End("one")), kMayHaveMore);
  EXPECT_HAS(engine().core().ledger->note(), StageOf(one) + ", which is mounted, and what tells whose it is");
  Show(ProofOf(StageOf(one)));
  Recover();
  EXPECT_HAS_NOT(Dump(End("one")), kMayHaveMore);
  Settle();
  ExpectNothingLeft();
}

// Nor does one that is not whole know all the stages of an attachment that it knows.
TEST_F(UnreadableTest, AStageThatAnOlderLedgerLacksIsKnownAgain) {
  const Json hidden = Prepare("hidden", {Volume("blue", "b")}), one = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(hidden.contains("ok") && one.contains("ok")) << hidden << one;
  Close();
  Hide(ProofOf(StageOf(hidden)));
  RemoveLedger();
  EXPECT_EQ(Ask("scopes")["scopes"].size(), 1u) << "of a ledger that is not whole";
  Close();
  std::filesystem::copy_file(ledger(), ledger() + ".earlier");
  const Json two = Prepare("two", {Volume("red", "a")});
  ASSERT_TRUE(two.contains("ok")) << two;
  LoseLedger();
  EXPECT_EQ(Known("red", "a")["users"].size(), 2u);
  Cleanup("one");
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0) << "it is in use";
  EXPECT_TRUE(world_.sys.IsMounted(StageOf(two)));
}

}  // namespace
}  // namespace dvdi
