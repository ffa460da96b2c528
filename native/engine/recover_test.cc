// After a crash, a reboot, a lost ledger: what is ours is found, what is used is kept, the rest is left alone
// (promises 2, 6 and 8).
#include "engine/testing/recover.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "engine/meta.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

// The proof of a volume that a prepare took over: an fsync fails behind it, and so does the one that would
// let its temporary name go. An engine may run for months; while the name is there, nobody sweeps folders.
TEST_F(RecoverTest, AnEngineSweepsWhatItsOwnFailedPrepareHasLeft) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount") *reply = Says("{\"Err\":\"busy\"}", 500);
    return method == "Unmount";
  };
  Cleanup("one");
  int fsyncs = 0;
  world_.sys.fault = [&](const char* call) { return call == std::string("fsync") && ++fsyncs > 2 ? EIO : 0; };
  EXPECT_HAS(MessageOf(Prepare("two", {Volume("red", "a")})), "cannot be recorded");
  world_.sys.fault = nullptr;
  EXPECT_GE(fsyncs, 4);
  auto temporaries = [&] {
    int found = 0;
    for (const auto& entry : fs::directory_iterator(stage_root()))
      found += entry.path().filename().string().starts_with(".meta-") ? 1 : 0;
    return found;
  };
  ASSERT_EQ(temporaries(), 1);
  Recover();
  EXPECT_EQ(temporaries(), 0) << "nobody is at it any more";
  transport_.hook = nullptr;
  Settle();
  ExpectNothingLeft();
}

TEST_F(RecoverTest, WhatThePolicySaysOfOurOwnIsNotToldAsAStrangers) {
  stock_ = true;
  ASSERT_TRUE(Prepare("one", {},
                      {{"sources", {{{"form", "volume"}, {"text", "a:/srv/a"}}}}, {"default_driver", "red"}})
                  .contains("ok"));
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount") *reply = Says("{\"Err\":\"busy\"}", 500);
    return method == "Unmount";
  };
  Cleanup("one");
  Settle();
  const Json answer = Recover()["ok"];
  ASSERT_EQ(answer["notes"].size(), 1u) << answer;
  EXPECT_HAS(answer["notes"][0].get<std::string>(), "could not be released in ");
  EXPECT_EQ(answer["reported"], Json::array());
  EXPECT_EQ(Ask("summary")["reported"], Json::array());
  transport_.hook = nullptr;
  Settle();
}

TEST_F(RecoverTest, WhatIsPreparedBehindTheListOfTheLivingIsAlive) {
  ASSERT_TRUE(Prepare("gone", {Volume("red", "a")}).contains("ok"));
  Json recovered;
  Status accepted = engine().Recover({{"owner", "run"}, {"live", Json::array()}},
                                     [&](const Status&, const Json& answer) { recovered = answer; });
  ASSERT_TRUE(accepted.ok()) << accepted.message();
  world_.scheduler.Take()();            // the front thread: the list is taken
  auto late = world_.scheduler.Take();  // the recovery's own
  Json prepared = Prepare("new", {Volume("blue", "b")});
  ASSERT_TRUE(prepared.contains("ok")) << prepared;
  ASSERT_TRUE(world_.scheduler.Spawn(late, "late", 256).ok());
  world_.scheduler.RunAll();
  EXPECT_EQ(recovered["ended"], Json::array({"gone"})) << recovered;
  EXPECT_TRUE(world_.sys.IsMounted(StageOf(prepared))) << "its volume was unmounted under it";
  EXPECT_EQ(Recover({{"live", Json::array()}})["ok"]["ended"], Json::array({"new"}));
}

// The process dies at every call that changes something, in a prepare and in a cleanup.
TEST_F(RecoverTest, ACrashAnywhereInAPrepareLeavesNothing) {
  std::vector<Json> volumes = {Volume("red", "a"), Volume("blue", "b"),
                               Volume("red", "a", {{"container_path", "/srv/again"}})};
  int crashes = 0;
  for (int n = 1;; ++n) {
    engine();
    world_.sys.CrashAfter(n);
    Prepare("one", volumes);
    bool crashed = world_.sys.crashed();
    Close();
    world_.sys.Restart();
    if (!crashed) break;
    ++crashes;
    Recover({{"live", Json::array()}});
    Settle();
    ExpectNothingLeft("change " + std::to_string(n));
    if (HasFailure()) return;
  }
  EXPECT_GT(crashes, 15);
}

TEST_F(RecoverTest, ACrashAnywhereInACleanupIsFinished) {
  std::vector<Json> volumes = {Volume("red", "a"), Volume("blue", "b")};
  int crashes = 0;
  for (int n = 1;; ++n) {
    ASSERT_TRUE(Prepare("one", volumes).contains("ok"));
    ASSERT_TRUE(Prepare("two", {Volume("blue", "b")}).contains("ok"));
    world_.sys.CrashAfter(n);
    Cleanup("one");
    bool crashed = world_.sys.crashed();
    Close();
    world_.sys.Restart();
    if (crashed) {
      ++crashes;
      Recover({{"live", {"two"}}});
      Settle();
    }
    EXPECT_TRUE(Attached("blue", "b")) << "change " << n << ": two uses it";
    EXPECT_FALSE(Attached("red", "a")) << "change " << n;
    EXPECT_EQ(Ask("scopes")["scopes"].size(), 1u) << "change " << n;
    Cleanup("two");
    Settle();
    ExpectNothingLeft("change " + std::to_string(n));
    if (HasFailure() || !crashed) break;
  }
  EXPECT_GT(crashes, 3);
}

TEST_F(RecoverTest, WhatARunningEngineIsAtIsItsOwn) {
  MakeVolume("red", "a"), MakeVolume("red", "b");
  auto other = OpenAnother();
  std::string stage;
  Json answer = Hostile(
      {Volume("red", "a"), Volume("red", "b")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
        host.PluginAll({{{"method", "Mount"}, {"volume", 0}}, {{"method", "Mount"}, {"volume", 1}}});
        host.Stage({{"volume", 0}});
        // Another engine recovers, keeps going, and is asked to clean up, all in the middle of it.
        Json recovered = Call(*other, &Engine::Recover, {{"owner", "run"}, {"live", Json::array()}});
        EXPECT_EQ(recovered["ok"]["undone"], Json::array()) << recovered;
        other->Tick();
        world_.scheduler.RunAll();
        Call(*other, &Engine::Cleanup, {{"owner", "run"}, {"scope", "hostile"}});
        EXPECT_EQ(world_.sys.MountsBelow(stage_root()).size(), 1u);
        EXPECT_TRUE(Attached("red", "a"));
        host.Stage({{"volume", 1}});
        return AllIsWell();
      });
  EXPECT_TRUE(answer.contains("ok")) << answer;
  EXPECT_EQ(Count("red Unmount"), 0);
  EXPECT_EQ(world_.sys.MountsBelow(stage_root()).size(), 2u);
  other->Close(0);
}

TEST_F(RecoverTest, WhatADeadEngineLeftIsUndoneByAnyOther) {
  MakeVolume("red", "a");
  Hostile({Volume("red", "a")}, [&](const Json& input, ScriptHost& host) -> Result<std::string> {
    auto done = Honest(input, host);
    world_.sys.CrashAfter(1);  // dies before it can commit or undo
    return SaysError("refused", "no");
  });
  ASSERT_TRUE(Attached("red", "a"));
  Close();
  world_.sys.Restart();
  Settle();  // no recovery is asked for: keeping is enough
  ExpectNothingLeft();
}

TEST_F(RecoverTest, AnOwnersRecoveryTouchesItsOwnScopes) {
  ASSERT_TRUE(Prepare("mine", {Volume("red", "a")}).contains("ok"));
  ASSERT_TRUE(Prepare("theirs", {Volume("red", "b")}, {{"owner", "mesos:/var/lib/mesos"}}).contains("ok"));
  Json answer = Recover({{"live", Json::array()}});
  EXPECT_EQ(answer["ok"]["ended"], Json::parse(R"(["mine"])")) << answer;
  EXPECT_FALSE(Attached("red", "a"));
  EXPECT_TRUE(Attached("red", "b"));
  answer = Recover({{"owner", "mesos:/var/lib/mesos"}, {"live", {"theirs"}}});
  EXPECT_EQ(answer["ok"]["ended"], Json::array());
  EXPECT_TRUE(Attached("red", "b"));
  answer = Recover({{"owner", "mesos:/var/lib/mesos"}});
  EXPECT_EQ(answer["ok"]["ended"], Json::array()) << "without a word of the agent a task's scope lives";
  EXPECT_TRUE(Attached("red", "b"));
  EXPECT_EQ(CodeOf(Recover({{"owner", ""}})), "invalid");
}

TEST_F(RecoverTest, AScopeLivesAsLongAsAProcessIsInItsNamespace) {
  pid_t pid = world_.sys.StartProcess();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}, {{"process", {{"pid", pid}}}}).contains("ok"));
  EXPECT_EQ(Recover()["ok"]["ended"], Json::array());
  EXPECT_TRUE(Attached("red", "a"));
  world_.sys.EndProcess(pid);
  EXPECT_EQ(Recover({{"wait_ms", 1000}})["ok"]["ended"], Json::parse(R"(["one"])"));
  Settle();
  ExpectNothingLeft();
}

TEST_F(RecoverTest, AScopeOfWhoseProcessesNothingCanBeToldLives) {
  pid_t pid = world_.sys.StartProcess();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}, {{"process", {{"pid", pid}}}}).contains("ok"));
  world_.sys.EndProcess(pid);
  world_.sys.look_fault = [](const char* call) { return std::string_view(call) == "processes" ? EIO : 0; };
  EXPECT_EQ(Recover()["ok"]["ended"], Json::array());
  EXPECT_TRUE(Attached("red", "a"));
  world_.sys.look_fault = nullptr;
  EXPECT_EQ(Recover({{"wait_ms", 1000}})["ok"]["ended"], Json::parse(R"(["one"])"));
  ExpectNothingLeft();
}

// Its own engine is about to clean it up, and says that the volume is free when that is done.
TEST_F(RecoverTest, AScopeThatIsOverIsLeftToItsEngineWhileThatRuns) {
  pid_t pid = world_.sys.StartProcess();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}, {{"process", {{"pid", pid}}}}).contains("ok"));
  world_.sys.EndProcess(pid);
  auto other = OpenAnother();
  Json answer = Call(*other, &Engine::Recover, {{"owner", "run"}});
  EXPECT_EQ(answer["ok"]["ended"], Json::array()) << answer;
  EXPECT_TRUE(Attached("red", "a"));
  Kill();
  EXPECT_EQ(Call(*other, &Engine::Recover, {{"owner", "run"}})["ok"]["ended"], Json::parse(R"(["one"])"));
  other->Close(0);
}

// In a container: its own scopes have ended with it, those of the node go on, and neither's processes are
// there.
TEST_F(RecoverTest, AScopeOfAnotherPidNamespaceIsOverOnlyWhereItsMountNamespaceIsGone) {
  const pid_t pid = world_.sys.StartProcess();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}, {{"process", {{"pid", pid}}}}).contains("ok"));
  Close();
  world_.sys.EnterPidNamespace(4'026'532'000u);
  EXPECT_EQ(Recover()["ok"]["ended"], Json::array());
  EXPECT_EQ(Ask("scopes")["scopes"][0]["process"]["alive"], true);
  world_.sys.EndProcess(pid);
  world_.sys.tells_ended_namespaces = false;
  EXPECT_EQ(Recover()["ok"]["ended"], Json::array()) << "nobody can tell";
  world_.sys.tells_ended_namespaces = true;
  EXPECT_EQ(Ask("scopes")["scopes"][0]["process"]["alive"], false);
  EXPECT_EQ(Recover()["ok"]["ended"].size(), 1u);
  Settle();
  ExpectNothingLeft();
}

// As where a container was ended, and its state is on the node: there every process is seen.
TEST_F(RecoverTest, TheNodesOwnEngineEndsAScopeOfAnyPidNamespace) {
  world_.sys.EnterPidNamespace(4'026'532'000u);
  const pid_t pid = world_.sys.StartProcess();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}, {{"process", {{"pid", pid}}}}).contains("ok"));
  Close();
  world_.sys.EnterPidNamespace(kFirstPidNamespace);
  world_.sys.tells_ended_namespaces = false;
  EXPECT_EQ(Recover()["ok"]["ended"], Json::array());
  world_.sys.EndProcess(pid);
  EXPECT_EQ(Recover()["ok"]["ended"].size(), 1u);
  Settle();
  ExpectNothingLeft();
}

TEST_F(RecoverTest, ARebootEndsEveryScope) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Close();
  world_.sys.Reboot();
  for (const char* driver : {"red", "blue"}) world_.transport.ForgetMounts(driver, true);
  EXPECT_EQ(Recover()["ok"]["ended"].size(), 1u);
  Settle();
  ExpectNothingLeft();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
}

TEST_F(RecoverTest, BeforeMountIsSentTheIdIsOnDisk) {
  MakeVolume("red", "a"), MakeVolume("red", "b");
  int seen = 0;
  transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply*) {
    if (method != "Mount") return false;
    ++seen;
    Json body = Json::parse(request.body);
    auto meta = ReadMeta(env(), stage_root(), GetString(body, "ID"));
    EXPECT_TRUE(meta.ok()) << meta.status().message();
    if (!meta.ok()) return false;
    EXPECT_EQ(meta->operation.owner, "run");
    EXPECT_EQ(meta->operation.scope, "one");
    EXPECT_EQ(meta->operation.boot_id, engine().core().boot_id);
    bool named = false;
    for (const auto& e : meta->attachments)
      named |= e.name == GetString(body, "Name") && e.id == GetString(body, "ID");
    EXPECT_TRUE(named);
    return false;
  };
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("red", "b")}).contains("ok"));
  EXPECT_EQ(seen, 2);
}

TEST_F(RecoverTest, WhatIsNotProvablyOursIsReportedAndNotTouched) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  std::string id = Known("red", "a")["id"];
  Cleanup("one");
  Settle();
  // A file that somebody else could have written, naming a volume that somebody else uses; a folder of
  // another name; a mount without any file.
  MakeVolume("blue", "b");
  world_.transport.plugins["blue"].volumes["b"].mountpoint = root_ + "/volumes/blue-b";
  std::string forged = std::string(64, 'a'), bare = std::string(64, 'b');
  fs::create_directories(stage_root() + "/" + forged + "/x");
  fs::create_directories(stage_root() + "/" + bare + "/x");
  fs::create_directories(stage_root() + "/holiday-pictures");
  Meta meta;
  meta.operation.id = "0123456789abcdef", meta.operation.owner = "run", meta.operation.scope = "forged";
  meta.operation.boot_id = "boot-0";
  meta.attachments = {{forged, "blue", "b"}};
  ASSERT_TRUE(WriteMeta(env(), stage_root(), meta).ok());
  std::string file = stage_root() + "/" + forged + "/meta.json";
  ASSERT_EQ(::chmod(file.c_str(), 0666), 0);
  world_.sys.AddMount(stage_root() + "/" + bare + "/x", "ext4", "7:99");
  for (bool rebuild : {false, true}) {
    Close();
    if (rebuild) RemoveLedger();
    Json answer = Recover({{"live", Json::array()}, {"wait_ms", 1000}});
    Settle();
    std::string reported = Dump(answer["ok"]["reported"]);
    EXPECT_HAS(reported, forged);
    EXPECT_HAS(reported, bare);
    EXPECT_HAS(reported, "holiday-pictures");
    EXPECT_TRUE(fs::exists(file));
    EXPECT_TRUE(fs::exists(stage_root() + "/holiday-pictures"));
    EXPECT_TRUE(world_.sys.IsMounted(stage_root() + "/" + bare + "/x"));
    EXPECT_EQ(Count("blue Unmount"), 0);
  }
}

// As where its engine died between the commit that its volume is given back and the removal of its folder. By
// then somebody else may have the volume at a driver that does not look at IDs.
TEST_F(RecoverTest, OfWhatWasGivenBackInThisBootNoUnmountIsSentAgain) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  const std::string id = GetString(Known("red", "a"), "id");
  auto meta = ReadMeta(env(), stage_root(), id);
  ASSERT_TRUE(meta.ok());
  Cleanup("one");
  Settle();
  ASSERT_EQ(Count("red Unmount"), 1);
  Kill();
  ASSERT_TRUE(WriteMeta(env(), stage_root(), *meta).ok());
  EXPECT_EQ(Recover({{"wait_ms", 1000}})["ok"]["released"], Json::array());
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1);
  ExpectNothingLeft();
}

// Its folder comes before its row, and both may come while somebody sweeps.
TEST_F(RecoverTest, AFolderWhoseRowComesWhileItIsSweptIsKept) {
  AttachmentRow row;
  row.id = std::string(64, 'a'), row.driver = "red", row.name = "a", row.state = kIntent;
  row.boot_id = engine().core().boot_id.id;
  Meta meta;
  meta.operation.id = "one", meta.operation.owner = "run", meta.operation.scope = "one";
  meta.operation.instance = engine().core().instance->id(), meta.operation.boot_id = row.boot_id;
  meta.attachments.push_back({row.id, row.driver, row.name});
  const std::string file = stage_root() + "/" + row.id + "/meta.json";
  Ledger& ledger = *engine().core().ledger;
  int kept = 0;
  for (int n = 1;; ++n) {
    ASSERT_TRUE(WriteMeta(env(), stage_root(), meta).ok());
    int left = n;
    bool came = false;
    world_.sys.look_fault = [&](const char* call) {
      if (std::string_view(call) != "fcntl" || --left != 0 || !fs::exists(file)) return 0;
      came = true;
      EXPECT_TRUE(
          ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) { return tx.PutAttachment(row); }).ok());
      return 0;
    };
    Recover();
    world_.sys.look_fault = nullptr;
    EXPECT_EQ(fs::exists(file), came) << "lock " << n;
    EXPECT_TRUE(
        ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) { return tx.DeleteAttachment(row.id); }).ok());
    Recover();
    EXPECT_FALSE(fs::exists(file));
    if (HasFailure() || left > 0) break;
    kept += came ? 1 : 0;
  }
  EXPECT_GT(kept, 0);
}

// What a loss of power leaves of a meta.json that was never durable: no Mount was sent with its ID.
TEST_F(RecoverTest, AFileThatWasNeverWholeGoesWithItsFolderAndADamagedOneIsKept) {
  engine();
  std::string cut = std::string(64, 'a'), damaged = std::string(64, 'b'), used = std::string(64, 'c');
  auto folder = [&](const std::string& id) { return stage_root() + "/" + id; };
  for (const std::string& id : {cut, damaged, used}) {
    fs::create_directories(folder(id));
    std::ofstream(folder(id) + "/meta.json") << (id == damaged ? "{\"id\":" : "");
  }
  // Of the engines that were at it there is nothing left but these.
  std::string of_cut = stage_root() + "/.meta-0123456789abcdef-1",
              of_used = stage_root() + "/.meta-01234567-2";
  fs::create_hard_link(folder(cut) + "/meta.json", of_cut);
  fs::create_hard_link(folder(used) + "/meta.json", of_used);
  fs::create_directory(folder(used) + "/001122334455-0");  // a stage: a Mount was answered
  for (int i = 0; i < 2; ++i) {
    std::string reported = Dump(Recover()["ok"]["reported"]);
    EXPECT_EQ(reported.find(cut), std::string::npos) << reported;
    EXPECT_HAS(reported, damaged + "/meta.json is not JSON");
    EXPECT_HAS(reported, "remove " + folder(damaged));
    EXPECT_HAS(reported, used);
    EXPECT_FALSE(fs::exists(folder(cut)));
    EXPECT_FALSE(fs::exists(of_cut));
    EXPECT_TRUE(fs::exists(folder(damaged) + "/meta.json"));
    EXPECT_TRUE(fs::exists(folder(used) + "/001122334455-0"));
    EXPECT_TRUE(fs::exists(of_used));
  }
}

TEST_F(RecoverTest, CleanupWorksWithoutAWorkingPolicyAndPrepareDoesNot) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Close();
  stock_ = true;
  std::ofstream(settings_.policy_dir + "/state.json") << "not what was written there";
  int calls = static_cast<int>(Sent().size());
  Json answer = Prepare("two", {Volume("red", "b")});
  EXPECT_EQ(CodeOf(answer), "policy") << answer;
  EXPECT_EQ(static_cast<int>(Sent().size()), calls);
  EXPECT_TRUE(Ask("summary")["policy"].contains("error"));
  EXPECT_TRUE(Cleanup("one").contains("ok"));
  EXPECT_TRUE(Recover().contains("ok"));
  Settle();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace dvdi
