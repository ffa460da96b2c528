// The ledger's file is replaced, removed or damaged while an engine runs that has it open.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>

#include "engine/testing/sim_engine.h"
#include "ledger/schema.h"
#include "ledger/testing/faulty_vfs.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

class ReplacedTest : public SimEngineTest {
 protected:
  ReplacedTest() { settings_.records_keep = 100; }
  std::string ledger() const { return settings_.state_dir + "/ledger.db"; }
  void Remove() {
    for (const char* end : {"", "-wal", "-shm"}) fs::remove(ledger() + end);
  }
  // Removed while the volume's Mount is under way, and another thread of the engine meets that first.
  void RemoveAtMountOf(const std::string& name) {
    transport_.hook = [this, name, met = false](const std::string& method, const PluginRequest& request,
                                                PluginReply*) mutable {
      if (met || method != "Mount" || GetString(Json::parse(request.body), "Name") != name) return false;
      met = true;
      RemoveAndLook();
      return false;
    };
  }
  // Another process, whose ledger it is then, has prepared scope "one" for red/b meanwhile.
  void BeginsAtMountOf(const std::string& name, std::shared_ptr<Engine>* another, Json* outcome) {
    transport_.hook = [=, this, met = false](const std::string& method, const PluginRequest& request,
                                             PluginReply*) mutable {
      if (met || method != "Mount" || GetString(Json::parse(request.body), "Name") != name) return false;
      met = true;
      Remove();
      *another = Another();
      *outcome = Call(**another, &Engine::Prepare, Request("one", {Volume("red", "b")}));
      return false;
    };
  }
  void RemoveAndLook() {
    Remove();
    EXPECT_TRUE(engine().StatusOf({{"what", "volumes"}}).ok());
  }
  // What another process makes of it.
  std::shared_ptr<Engine> Another() {
    auto another = OpenAnother();
    EXPECT_TRUE(another->StatusOf({{"what", "volumes"}}).ok());
    return another;
  }
  void End(const std::shared_ptr<Engine>& other) {
    world_.scheduler.RunAll();
    other->Close(0);
  }
};

TEST_F(ReplacedTest, WhoHasSharedAVolumeSinceKeepsIt) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Remove();
  auto another = Another();
  ASSERT_TRUE(Call(*another, &Engine::Prepare, Request("two", {Volume("red", "a")})).contains("ok"));
  ASSERT_TRUE(Cleanup("one").contains("ok"));
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0) << "\"two\" uses it";
  EXPECT_EQ(Known("red", "a")["users"].size(), 1u);
  ASSERT_TRUE(Call(*another, &Engine::Cleanup, {{"owner", "run"}, {"scope", "two"}}).contains("ok"));
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1);
  End(another);
  ExpectNothingLeft("a");
}

TEST_F(ReplacedTest, WhatAnotherProcessHasAttachedSinceIsKnown) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Remove();
  auto another = Another();
  ASSERT_TRUE(Call(*another, &Engine::Prepare, Request("two", {Volume("red", "b")})).contains("ok"));
  const std::string id = Known("red", "b")["id"];
  ASSERT_TRUE(Prepare("three", {Volume("red", "b")}).contains("ok"));
  EXPECT_EQ(Count("red Mount"), 2) << "a second one, with an ID of its own, would be another writer";
  EXPECT_EQ(Known("red", "b")["id"], id);
  EXPECT_EQ(Known("red", "b")["users"].size(), 2u);
  // And nobody takes the new file for one that lost something.
  End(another);
  another = Another();
  EXPECT_EQ(another->core().ledger->note().find("which is mounted"), std::string::npos);
  End(another);
  EXPECT_EQ(Known("red", "a")["state"], "attached");
  EXPECT_EQ(Known("red", "b")["state"], "attached");
}

TEST_F(ReplacedTest, ARemovedLedgerIsRebuiltByWhoRuns) {
  Json one = Prepare("one", {Volume("red", "a"), Volume("blue", "b")});
  ASSERT_TRUE(one.contains("ok"));
  Remove();
  EXPECT_EQ(Known("red", "a")["state"], "attached");
  EXPECT_TRUE(fs::exists(ledger()));
  EXPECT_EQ(Ask("summary")["ledger"]["ok"], false) << "it is said";
  ASSERT_TRUE(Cleanup("one").contains("ok"));
  Settle();
  EXPECT_EQ(Count("red Unmount") + Count("blue Unmount"), 2);
  ExpectNothingLeft("a");
}

// An agent would fail all that it is asked for until it is started again.
TEST_F(ReplacedTest, ALedgerInWhichDamageIsMetIsPutAsideByWhoRuns) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Close();  // so that all is in the file
  EXPECT_EQ(Known("red", "a")["state"], "attached");
  {
    std::fstream file(ledger(), std::ios::in | std::ios::out | std::ios::binary);
    const auto size = fs::file_size(ledger());
    for (size_t at = 4096; at < size; at += 4096) {
      file.seekp(static_cast<std::streamoff>(at));
      file << std::string(4096, '\x5a');
    }
  }
  // Whoever commits makes others read what they had in memory: here page 1, which is sound.
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(ledger().c_str(), &db), SQLITE_OK);
  const std::string same = "PRAGMA user_version = " + std::to_string(SchemaVersion());
  EXPECT_EQ(sqlite3_exec(db, same.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  // Nor is whoever meets it told: he finds a ledger, too.
  bool met = false;
  for (int i = 0; i < 20 && !met; ++i) {
    Json other = Prepare("other" + std::to_string(i), {Volume("red", "c" + std::to_string(i))});
    EXPECT_TRUE(other.contains("ok")) << other;
    met = !engine().core().ledger->note().empty();
  }
  EXPECT_TRUE(met);
  EXPECT_EQ(Known("red", "a")["state"], "attached");
  ASSERT_TRUE(Cleanup("one").contains("ok"));
  EXPECT_TRUE(Prepare("last", {Volume("red", "d")}).contains("ok"));
  bool kept = false;
  for (const auto& entry : fs::directory_iterator(settings_.state_dir))
    kept |= entry.path().filename().string().starts_with("ledger.db.damaged-");
  EXPECT_TRUE(kept) << "the damaged file is kept";
}

// Its stages were not there yet when the ledger was rebuilt from them.
TEST_F(ReplacedTest, WhoPreparesMeanwhileKeepsWhatItShares) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  RemoveAtMountOf("b");
  Json two = Prepare("two", {Volume("red", "b"), Volume("red", "a")});
  ASSERT_TRUE(two.contains("ok")) << two;
  EXPECT_EQ(Known("red", "a")["users"].size(), 2u);
  EXPECT_EQ(Known("red", "b")["users"].size(), 1u);
  ASSERT_TRUE(Cleanup("one").contains("ok"));
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0) << "\"two\" uses it";
  ASSERT_TRUE(Cleanup("two").contains("ok"));
  Settle();
  EXPECT_EQ(Count("red Unmount"), 2);
  ExpectNothingLeft("after all have ended");
}

TEST_F(ReplacedTest, APrepareThatFailsMeanwhileLeavesNothing) {
  transport_.hook = [this](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method != "Mount") return false;
    const bool fails = GetString(Json::parse(request.body), "Name") == "b";
    if (fails)
      *reply = Says("{\"Err\":\"no\"}", 500);
    else
      RemoveAndLook();
    return fails;
  };
  Json two = Prepare("two", {Volume("red", "a"), Volume("red", "b")});
  EXPECT_FALSE(two.contains("ok")) << two;
  Settle();
  ExpectNothingLeft("after a prepare that failed");
}

// The new file knew nothing of the operation when it went on.
TEST_F(ReplacedTest, APrepareThatDiesBehindThatLeavesNothing) {
  FaultyVfs disk;
  store_ = &disk;
  for (const bool staged : {false, true}) {
    SCOPED_TRACE(staged ? "a stage was there" : "no stage was there");
    policy_->scripts["prepare"] = [&](const Json& input, ScriptHost& host) -> Result<std::string> {
      if (staged) return Honest(input, host);
      for (int i : {0, 1}) (void)host.Plugin({{"method", "Create"}, {"volume", i}});
      for (int i : {0, 1}) (void)host.Plugin({{"method", "Mount"}, {"volume", i}});
      return SaysError("refused", "no");
    };
    MakeVolume("red", "a"), MakeVolume("red", "b");
    transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply* reply) {
      const std::string name = GetString(Json::parse(request.body), "Name");
      if (method == "Mount" && name == "a" && !staged) RemoveAndLook();
      if (method == "Get" && name == "b" && staged) RemoveAndLook();
      if (method != "Mount" || name != "b") return false;
      *reply = world_.transport.Exchange({request})[0];
      world_.sys.CrashAfter(1);
      disk.FailAt(FaultyVfs::kWrite, 1, true, SQLITE_IOERR_WRITE);
      return true;
    };
    (void)Prepare("one", {Volume("red", "a"), Volume("red", "b")});
    transport_.hook = nullptr;
    Kill();
    disk.Heal();
    policy_->scripts["prepare"] = Honest;
    Settle();
    ExpectNothingLeft("one has died");
  }
  Close();
  store_ = nullptr;
}

// Both have begun in a ledger that knew nothing of the other one.
TEST_F(ReplacedTest, AScopeThatAnotherProcessHasBegunMeanwhileStaysItsOwn) {
  for (const bool mounts_more : {false, true}) {
    SCOPED_TRACE(mounts_more);
    std::shared_ptr<Engine> another;
    Json theirs;
    BeginsAtMountOf("a", &another, &theirs);
    const Json ours = Prepare("one", mounts_more ? std::vector{Volume("red", "a"), Volume("red", "c")}
                                                 : std::vector{Volume("red", "a")});
    transport_.hook = nullptr;
    EXPECT_TRUE(theirs.contains("ok")) << theirs;
    // With another Mount to come it is the policy that is told, which says so in its own words.
    EXPECT_EQ(CodeOf(ours), mounts_more ? "driver" : "refused") << ours;
    EXPECT_HAS(MessageOf(ours), "scope one of run has volumes already");
    Settle();
    EXPECT_EQ(Known("red", "b")["users"].size(), 1u);
    EXPECT_TRUE(Attached("red", "b"));
    EXPECT_FALSE(Attached("red", "a")) << "it was undone";
    End(another);
    ASSERT_TRUE(Cleanup("one").contains("ok"));
    Settle();
    ExpectNothingLeft("the other one has ended");
  }
}

TEST_F(ReplacedTest, OfTwoStagesForOneScopeBothKeepTheirVolume) {
  FaultyVfs disk;
  store_ = &disk;
  std::shared_ptr<Engine> another;
  Json theirs;
  BeginsAtMountOf("a", &another, &theirs);
  policy_->scripts["prepare"] = [&](const Json& input, ScriptHost& host) -> Result<std::string> {
    auto said = Honest(input, host);
    if (GetString(input["volumes"][0], "name") == "a") {
      world_.sys.CrashAfter(1);  // all is staged, and nothing of it is committed
      disk.FailAt(FaultyVfs::kWrite, 1, true, SQLITE_IOERR_WRITE);
    }
    return said;
  };
  (void)Prepare("one", {Volume("red", "a")});
  transport_.hook = nullptr;
  EXPECT_TRUE(theirs.contains("ok")) << theirs;
  Kill();
  disk.Heal();
  policy_->scripts["prepare"] = Honest;
  End(another);
  // Its ledger is taken for one that lost something, and rebuilt; then another one is.
  for (const bool removed : {false, true}) {
    SCOPED_TRACE(removed);
    Close();
    if (removed) Remove();
    for (const char* name : {"a", "b"}) EXPECT_EQ(Known("red", name)["users"].size(), 1u) << name;
    EXPECT_EQ(Ask("scopes")["scopes"].size(), 2u);
  }
  ASSERT_TRUE(Cleanup("one").contains("ok"));
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1) << "nobody has ended the other one";
  const Json left = Ask("scopes")["scopes"];
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0]["owner"], "manual");
  EXPECT_HAS(GetString(left[0], "scope"), "run/one (");
  ASSERT_TRUE(
      Call(engine(), &Engine::Cleanup, {{"owner", "manual"}, {"scope", left[0]["scope"]}}).contains("ok"));
  Settle();
  Close();
  store_ = nullptr;
  ExpectNothingLeft("both have ended");
}

TEST_F(ReplacedTest, WhatACleanupCouldNotUndoMeanwhileIsTriedAgain) {
  for (int fails = 1; fails <= 3; ++fails) {
    const std::string n = std::to_string(fails);
    ASSERT_TRUE(Prepare("one" + n, {Volume("red", "a" + n), Volume("red", "b" + n), Volume("red", "c" + n)})
                    .contains("ok"));
    int umounts = 0;
    bool replaced = false;
    world_.sys.fault = [&](const char* call) {
      return std::string(call) == "umount" && replaced && ++umounts == fails ? EPERM : 0;
    };
    policy_->scripts["cleanup"] = [&](const Json&, ScriptHost&) -> Result<std::string> {
      if (!replaced) RemoveAndLook();
      replaced = true;
      return std::string("{\"ok\":{}}");
    };
    ASSERT_TRUE(Cleanup("one" + n).contains("ok"));
    world_.sys.fault = nullptr;  // it is free now
    Settle();
    ExpectNothingLeft("umount " + n + " failed once");
  }
}

TEST_F(ReplacedTest, ANewFileThatCouldNotBeFilledIsFilledByWhoComesNext) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Remove();
  world_.sys.look_fault = [](const char* call) { return std::string(call) == "getdents" ? EIO : 0; };
  EXPECT_FALSE(engine().StatusOf({{"what", "volumes"}}).ok()) << "it would tell of a node without volumes";
  world_.sys.look_fault = nullptr;
  EXPECT_EQ(Known("red", "a")["state"], "attached");
  EXPECT_EQ(Known("red", "a")["users"].size(), 1u);
}

}  // namespace
}  // namespace dvdi
