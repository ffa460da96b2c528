// A lost ledger, and a stage folder of which not all can be read: nobody is told more than is known, and what
// can be read again is known again (promises 1, 6 and 8).
#include <filesystem>

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
  const Json one = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(one.contains("ok")) << one;
  Close();
  Hide(ProofOf(StageOf(one)));
  RemoveLedger();
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

}  // namespace
}  // namespace dvdi
