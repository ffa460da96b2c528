// A ledger that is lost, damaged or of earlier: rebuilt from what is there (promises 2, 6 and 8).
#include <filesystem>
#include <fstream>
#include <map>

#include "engine/locks.h"
#include "engine/meta.h"
#include "engine/testing/recover.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

TEST_F(RecoverTest, AMissingLedgerIsRebuiltAndNothingInUseIsUnmounted) {
  Json one = Prepare("one", {Volume("red", "a"), Volume("blue", "b", {{"mode", "ro"}})});
  Json two = Prepare("two", {Volume("red", "a", {{"container_path", "/srv/two"}})});
  ASSERT_TRUE(one.contains("ok") && two.contains("ok"));
  std::string id = Known("red", "a")["id"];
  Close();
  RemoveLedger();
  EXPECT_EQ(Ask("scopes")["scopes"].size(), 2u) << Ask("scopes");
  Json a = Known("red", "a");
  ASSERT_FALSE(a.is_null()) << "the volume is known again";
  EXPECT_EQ(a["id"], id);
  EXPECT_EQ(a["state"], "attached");
  EXPECT_EQ(a["users"].size(), 2u) << a;
  EXPECT_EQ(Known("blue", "b")["users"][0]["mode"], "ro");
  Settle();
  Recover({{"live", {"one", "two"}}});
  Settle();
  for (const Json* answer : {&one, &two}) EXPECT_TRUE(world_.sys.IsMounted(StageOf(*answer)));
  EXPECT_EQ(Count("red Unmount") + Count("blue Unmount"), 0);
  Cleanup("one");
  Settle();
  EXPECT_TRUE(Attached("red", "a"));
  EXPECT_FALSE(Attached("blue", "b"));
  Cleanup("two");
  Settle();
  ExpectNothingLeft();
}

// Other workloads are kept from seeing it there, and nobody has to mount it again.
TEST_F(RecoverTest, WhereAVolumeIsMountedIsKnownAfterARebuild) {
  // The files of an engine that did not write it down.
  auto without = [&] {
    for (const auto& folder : fs::directory_iterator(stage_root()))
      for (const auto& file : fs::directory_iterator(folder)) {
        if (!file.is_regular_file() || file.path().filename() == "meta.json") continue;
        std::ifstream in(file.path());
        Json j = Json::parse(in);
        EXPECT_EQ(j.erase("mountpoint") + j.erase("device"), 2u) << j;
        std::ofstream(file.path()) << Dump(j);
      }
  };
  for (bool old : {false, true}) {
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    const Json before = Known("red", "a");
    ASSERT_FALSE(GetString(before, "mountpoint").empty()) << before;
    const int mounts = Count("red Mount");
    Close();
    if (old) without();
    RemoveLedger();
    Json now = Known("red", "a");
    ASSERT_FALSE(now.is_null());
    EXPECT_EQ(GetString(now, "mountpoint"), old ? "" : GetString(before, "mountpoint"));
    Json beside =
        Prepare("beside", {Volume("blue", "b")}, {{"process", {{"pid", world_.sys.StartProcess()}}}});
    ASSERT_TRUE(beside.contains("ok")) << beside;
    EXPECT_EQ(beside["ok"]["hide"].size(), old ? 1u : 2u) << beside;
    Json two = Prepare("two", {Volume("red", "a", {{"container_path", "/srv/two"}})});
    ASSERT_TRUE(two.contains("ok")) << two;
    EXPECT_EQ(two["ok"]["volumes"][0]["what"], old ? "re-attached" : "shared");
    EXPECT_EQ(Count("red Mount"), mounts + (old ? 1 : 0));
    EXPECT_EQ(GetString(Known("red", "a"), "mountpoint"), GetString(before, "mountpoint"));
    for (const char* scope : {"one", "two", "beside"}) Cleanup(scope);
    Settle();
    ExpectNothingLeft();
  }
}

// One of two stages may be of an earlier Mount, which its driver has lost since.
TEST_F(RecoverTest, OfTwoPlacesThatStagesNameTheOneThatIsThereCounts) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  ASSERT_TRUE(Prepare("two", {Volume("red", "a", {{"container_path", "/srv/two"}})}).contains("ok"));
  const Json before = Known("red", "a");
  std::vector<fs::path> files;
  for (const auto& file : fs::directory_iterator(stage_root() + "/" + GetString(before, "id")))
    if (file.is_regular_file() && file.path().filename() != "meta.json") files.push_back(file.path());
  ASSERT_EQ(files.size(), 2u);
  for (const auto& stale : files) {
    Close();
    std::ifstream in(stale);
    const Json good = Json::parse(in);
    Json j = good;
    j["device"] = "0:0 /", j["mountpoint"] = root_ + "/before";
    std::ofstream(stale) << Dump(j);
    RemoveLedger();
    EXPECT_EQ(GetString(Known("red", "a"), "mountpoint"), GetString(before, "mountpoint"));
    std::ofstream(stale) << Dump(good);
  }
}

TEST_F(RecoverTest, ALedgerThatLostWhatIsMountedIsRebuilt) {
  KeepEarlierLedger();
  Json one = Prepare("one", {Volume("red", "a"), Volume("blue", "b")});
  ASSERT_TRUE(one.contains("ok")) << one;
  std::string id = Known("red", "a")["id"];
  LoseLedger();
  Json summary = Ask("summary");
  EXPECT_EQ(summary["ledger"]["ok"], false);
  EXPECT_HAS(summary["ledger"]["note"].get<std::string>(), "which is mounted");
  EXPECT_EQ(summary["scopes"], 1);
  EXPECT_EQ(Known("red", "a")["id"], id);
  EXPECT_EQ(Known("blue", "b")["state"], "attached");
  int unmounts = Count("red Unmount") + Count("blue Unmount");
  Recover({{"live", {"one"}}});
  Settle();
  EXPECT_TRUE(world_.sys.IsMounted(StageOf(one)));
  EXPECT_EQ(Count("red Unmount") + Count("blue Unmount"), unmounts);
  Cleanup("one");
  Settle();
  ExpectNothingLeft();
}

TEST_F(RecoverTest, ALedgerThatLosesTheSameAgainIsRebuiltAgain) {
  KeepEarlierLedger();
  Json one = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(one.contains("ok")) << one;
  // The second time, as where a process died before it had brought back what the first one's note names.
  for (int i = 0; i < 2; ++i) {
    LoseLedger();
    EXPECT_EQ(Ask("summary")["scopes"], 1) << "time " << i;
  }
  Cleanup("one");
  Settle();
  ExpectNothingLeft();
}

TEST_F(RecoverTest, ASoundLedgerIsLeftAlone) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  for (int i = 0; i < 2; ++i) {
    Close();
    Json summary = Ask("summary");
    EXPECT_EQ(summary["ledger"]["ok"], true) << summary;
  }
  for (const auto& entry : fs::directory_iterator(settings_.state_dir))
    EXPECT_EQ(entry.path().string().find(".damaged-"), std::string::npos) << entry.path();
}

TEST_F(RecoverTest, ADamagedLedgerIsKeptAsideAndSaid) {
  Json one = Prepare("one", {Volume("red", "a")});
  Close();
  {
    std::fstream file(settings_.state_dir + "/ledger.db", std::ios::in | std::ios::out | std::ios::binary);
    file << std::string(4096, '\xA5');
  }
  for (const char* end : {"-wal", "-shm"}) fs::remove(settings_.state_dir + "/ledger.db" + end);
  Json summary = Ask("summary");
  EXPECT_EQ(summary["ledger"]["ok"], false) << summary;
  EXPECT_HAS(summary["ledger"]["note"].get<std::string>(), "damaged");
  bool kept = false;
  for (const auto& entry : fs::directory_iterator(settings_.state_dir))
    kept |= entry.path().filename().string().starts_with("ledger.db.damaged-");
  EXPECT_TRUE(kept);
  Settle();
  EXPECT_TRUE(world_.sys.IsMounted(StageOf(one)));
  EXPECT_EQ(Count("red Unmount"), 0);
  Cleanup("one");
  Settle();
  ExpectNothingLeft();
}

TEST_F(RecoverTest, AnAttachmentWithoutAUserIsReleasedAfterARebuild) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  Close();
  RemoveLedger();
  world_.transport.plugins["red"].up = true;
  Settle();
  EXPECT_FALSE(Attached("red", "a"));
  ExpectNothingLeft();
}

// A prepare died between writing its proof and its row, so the next one took another ID, which the driver
// has. Then the rows are lost, before anybody swept the former's folder.
class TwoIdsTest : public RecoverTest {
 protected:
  // The later one is of a prepare that this makes, and that has ended.
  void LoseTheirRows(char earlier) {
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    later_ = Known("red", "a")["id"];
    world_.transport.plugins["red"].up = false;
    Cleanup("one");
    Close();
    RemoveLedger();
    auto meta = ReadMeta(env(), stage_root(), later_);
    ASSERT_TRUE(meta.ok()) << meta.status().message();
    meta->operation.started_ms -= 1000;
    for (auto& e : meta->attachments) e.id = std::string(64, earlier);
    ASSERT_TRUE(WriteMeta(env(), stage_root(), *meta).ok());
    world_.transport.plugins["red"].up = true;
  }
  // `then`: whose Unmounts follow.
  void ExpectTheLaterIsReleased(const std::vector<std::string>& then = {}) {
    std::vector<std::string> unmounted;
    transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply*) {
      if (method == "Unmount") unmounted.push_back(GetString(Json::parse(request.body), "ID"));
      return false;
    };
    for (int i = 0; i < 2; ++i) Recover(), Settle();
    transport_.hook = nullptr;
    std::vector<std::string> expected{later_};
    expected.insert(expected.end(), then.begin(), then.end());
    EXPECT_EQ(unmounted, expected);
    ExpectNothingLeft();
  }
  std::string later_;
};

TEST_F(TwoIdsTest, OfALostLedgerTheLaterIsReleased) {
  for (char earlier : {'0', 'f'}) {
    LoseTheirRows(earlier);
    ExpectTheLaterIsReleased({std::string(64, earlier)});
  }
}

// The ledger is there, without what was the last before the power failed.
TEST_F(TwoIdsTest, OfALossOfPowerTheLaterIsReleased) {
  for (char earlier : {'0', 'f'}) {
    KeepEarlierLedger();
    LoseTheirRows(earlier);
    LoseLedger();
    world_.sys.Reboot();
    ExpectTheLaterIsReleased();
  }
}

// Somebody is at a volume for long, as with a driver that hangs: what the driver has of others is given back.
TEST_F(RecoverTest, WhatALossOfPowerLeftIsAdoptedBesideAVolumeThatIsLocked) {
  KeepEarlierLedger();
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("red", "b"), Volume("red", "c")}).contains("ok"));
  std::map<std::string, std::string> by_id;  // as they are gone through
  for (const char* name : {"a", "b", "c"}) by_id[Known("red", name)["id"]] = name;
  LoseLedger();
  world_.sys.Reboot();
  const int before = Count("red Unmount");
  const std::string first = by_id.begin()->second;
  {
    auto lock = VolumeLocks::Take(env(), engine().core().lock_file, {{"red", first}}, 0);
    ASSERT_TRUE(lock.ok()) << lock.status().message();
    EXPECT_HAS(Dump(Recover()), "volume " + first + " of driver red is being worked on");
    Settle();
    EXPECT_EQ(Count("red Unmount") - before, 2);
  }
  Recover();
  Settle();
  ExpectNothingLeft();
}

// The ledger is lost, and so is what would tell whose stage it is: whoever has it goes on.
TEST_F(RecoverTest, AVolumeIsNotReleasedWhileAStageIsMountedOfWhichNobodyKnows) {
  const Json one = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(one.contains("ok")) << one;
  Close();
  RemoveLedger();
  std::ofstream(StageOf(one) + ".json", std::ios::trunc) << "{";
  Recover();
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0) << "it is in use";
  EXPECT_TRUE(Attached("red", "a"));
  EXPECT_HAS(Dump(Ask("summary")["pending"]), StageOf(one) + " is mounted");
  ASSERT_TRUE(world_.sys.RemoveMount(StageOf(one)));
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1);
  EXPECT_FALSE(Attached("red", "a"));
}

// Neither the ledger nor the stage folder tells any more that it has a writer.
TEST_F(RecoverTest, WhatNobodyIsKnownToUseIsGivenToNobodyElseWhileItIsMounted) {
  const Json one = Prepare("one", {Volume("red", "a")});
  ASSERT_TRUE(one.contains("ok")) << one;
  Close();
  RemoveLedger();
  const std::string stage = StageOf(one);
  std::ofstream(stage.substr(0, stage.rfind('/')) + "/meta.json", std::ios::trunc) << "{";
  Recover();
  for (const char* scope : {"two", "three"}) {
    const Json refused = Prepare(scope, {Volume("red", "a")});
    EXPECT_HAS(Dump(refused), stage + " is mounted, and nothing tells for which workload: unmount it once");
    Settle();
    EXPECT_EQ(Count("red Unmount"), 0) << "it is in use";
  }
  ASSERT_TRUE(Prepare("other", {Volume("red", "b")}).contains("ok")) << "that is another volume";
  Cleanup("other");
  Close();
  Recover();
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1) << "of the other one";
  ASSERT_TRUE(world_.sys.RemoveMount(stage));
  ASSERT_TRUE(Prepare("four", {Volume("red", "a")}).contains("ok"));
}

// Some of its stages are known, and one is not.
TEST_F(RecoverTest, NobodySharesAVolumeWithAWorkloadThatNothingIsKnownOf) {
  const Json shared = {{"access", "multi-writer"}};
  const Json one = Prepare("one", {Volume("red", "a", shared)}),
             two = Prepare("two", {Volume("red", "a", shared)});
  ASSERT_TRUE(one.contains("ok") && two.contains("ok")) << one << two;
  Close();
  RemoveLedger();
  std::ofstream(StageOf(one) + ".json", std::ios::trunc) << "{";
  Recover();
  EXPECT_HAS(Dump(Prepare("three", {Volume("red", "a", shared)})), StageOf(one) + " is mounted, and nothing");
  ASSERT_TRUE(world_.sys.RemoveMount(StageOf(one)));
  EXPECT_TRUE(Prepare("three", {Volume("red", "a", shared)}).contains("ok"));
}

// Its owner was told that it is over, and nobody will say so again.
TEST_F(RecoverTest, AStageThatCouldNotBeRemovedIsNotInUseAfterARebuild) {
  const Json manual = {{"owner", "manual"}};
  Json one = Prepare("one", {Volume("red", "a"), Volume("blue", "b")}, manual);
  Json two = Prepare("two", {Volume("red", "a")}, manual);
  ASSERT_TRUE(one.contains("ok") && two.contains("ok")) << one << two;
  world_.sys.fault = [](const char* call) { return std::string(call) == "umount" ? EBUSY : 0; };
  Call(engine(), &Engine::Cleanup, {{"owner", "manual"}, {"scope", "one"}});
  Close();
  world_.sys.fault = nullptr;
  RemoveLedger();
  ASSERT_TRUE(world_.sys.IsMounted(StageOf(one)));
  Recover();
  Settle();
  EXPECT_FALSE(world_.sys.IsMounted(StageOf(one)));
  EXPECT_FALSE(world_.sys.IsMounted(StageOf(one, 1)));
  EXPECT_TRUE(world_.sys.IsMounted(StageOf(two)));
  EXPECT_TRUE(Attached("red", "a"));
  EXPECT_FALSE(Attached("blue", "b"));
  EXPECT_EQ(Ask("scopes")["scopes"].size(), 1u);
  Call(engine(), &Engine::Cleanup, {{"owner", "manual"}, {"scope", "two"}});
  Settle();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace dvdi
