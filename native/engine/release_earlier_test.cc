// After a reboot: one question to a driver for all that it had, and Unmount only for what it still holds.
#include <filesystem>
#include <fstream>
#include <utility>

#include "engine/release.h"
#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

constexpr int kMany = 120;  // more than are let go together

class EarlierReleaseTest : public SimEngineTest {
 protected:
  static std::string Name(int i) { return "v" + std::to_string(i); }
  // So many volumes of red in use, and one of blue; then the node reboots.
  void RebootWith(int volumes) {
    std::vector<Json> all = {Volume("blue", "b")};
    for (int i = 0; i < volumes; ++i)
      all.push_back(Volume("red", Name(i), {{"container_path", "/srv/" + Name(i)}}));
    ASSERT_TRUE(Prepare("one", all).contains("ok"));
    Close();
    world_.sys.Reboot();
    for (const char* driver : {"red", "blue"}) world_.transport.ForgetMounts(driver, true);
    for (const char* method : {"Get", "List", "Unmount"})
      before_[method] = Count(std::string("red ") + method);
  }
  int Since(const std::string& method) { return Count("red " + method) - before_[method]; }
  Json Pending() { return Ask("summary")["pending"]; }
  // The driver holds it elsewhere (a cloud's disk): that outlives the node's mounts.
  void Hold(const std::string& name) {
    world_.transport.plugins["red"].volumes[name].mountpoint = root_ + "/volumes/red-" + name;
  }

  std::map<std::string, int> before_;
};

TEST_F(EarlierReleaseTest, OneListTellsOfAllWhereItShowsMountpoints) {
  RebootWith(kMany);
  Hold(Name(7));
  Recover({{"wait_ms", 10'000}});
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_EQ(Since("List"), 1);
  EXPECT_EQ(Since("Get"), 1) << "of the one that it holds, by the release of that";
  EXPECT_EQ(Since("Unmount"), 1);
  EXPECT_EQ(Known("red", Name(7))["state"], "known");
  EXPECT_EQ(Known("red", Name(8))["state"], "released-unconfirmed");
  ExpectNothingLeft();
}

TEST_F(EarlierReleaseTest, AListWithoutMountpointsSaysNothingOfThem) {
  RebootWith(kMany);
  Hold(Name(7));
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method != "List") return false;
    Json list = Json::array();
    for (int i = 1; i < kMany; ++i) list.push_back({{"Name", Name(i)}});
    *reply = Says(Dump({{"Volumes", list}}));
    return true;
  };
  Recover({{"wait_ms", 10'000}});
  EXPECT_EQ(Since("Get"), kMany) << "each that is in the list, and the one that is mounted again";
  EXPECT_EQ(Since("Unmount"), 1);
  EXPECT_EQ(Pending(), Json::array());
  ExpectNothingLeft();
}

TEST_F(EarlierReleaseTest, AListThatNamesNothingIsNotBelieved) {
  RebootWith(3);
  Hold(Name(1));
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    *reply = Says("{}");
    return method == "List";
  };
  Recover({{"wait_ms", 10'000}});
  EXPECT_EQ(Since("Unmount"), 1);
  ExpectNothingLeft();
}

TEST_F(EarlierReleaseTest, AGetThatFailsSaysNothingOfWhatTheListNames) {
  RebootWith(3);
  Hold(Name(1));
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    Json list = Json::array();
    for (int i = 0; i < 3; ++i) list.push_back({{"Name", Name(i)}});
    if (method == "List") *reply = Says(Dump({{"Volumes", list}}));
    if (method == "Get") *reply = Says("{\"Err\":\"the backend is away\"}", 500);
    return method == "List" || method == "Get";
  };
  Recover({{"wait_ms", 1000}});
  EXPECT_EQ(Since("Unmount"), 0);
  EXPECT_GE(Pending().size(), 3u) << Pending();
  transport_.hook = nullptr;
  Settle();
  EXPECT_EQ(Since("Unmount"), 1);
  ExpectNothingLeft();
}

TEST_F(EarlierReleaseTest, OneThatIsWorkedOnIsLeftAloneAndKeepsNoneOfTheOthers) {
  RebootWith(3);
  Hold(Name(0));
  std::unique_ptr<VolumeLocks> lock;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply*) {
    if (method != "List" || lock) return false;
    auto taken = VolumeLocks::Take(env(), engine().core().lock_file, {{"red", Name(1)}}, 0);
    EXPECT_TRUE(taken.ok()) << taken.status().message();
    if (taken.ok()) lock = std::move(*taken);
    return false;
  };
  Recover({{"wait_ms", 1000}});
  EXPECT_EQ(Since("Unmount"), 1);
  ASSERT_EQ(Pending().size(), 1u) << Pending();
  EXPECT_EQ(GetString(Pending()[0], "name"), Name(1));
  transport_.hook = nullptr;
  lock.reset();
  Settle();
  EXPECT_EQ(Since("Unmount"), 1);
  ExpectNothingLeft();
}

// Of this boot, and to be unmounted: what was looked at is not it.
TEST_F(EarlierReleaseTest, WhatWasUsedMeanwhileAndIsReleasedAgainIsUnmounted) {
  RebootWith(3);
  Hold(Name(0));
  auto other = OpenAnother();
  bool once = true;
  Json again;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount") *reply = Says("{\"Err\":\"busy\"}", 500);
    if (method != "List" || !std::exchange(once, false)) return method == "Unmount";
    again = Call(*other, &Engine::Prepare, Request("two", {Volume("red", Name(1))}));
    Call(*other, &Engine::Cleanup, {{"owner", "run"}, {"scope", "two"}});
    const Json held = {{"Name", Name(0)}, {"Mountpoint", root_ + "/volumes/red-" + Name(0)}};
    *reply = Says(Dump({{"Volumes", {held, {{"Name", Name(1)}}, {{"Name", Name(2)}}}}}));
    return true;
  };
  Recover({{"wait_ms", 1000}});
  ASSERT_TRUE(again.contains("ok")) << again;
  EXPECT_TRUE(Attached("red", Name(1)));
  EXPECT_EQ(Pending().size(), 2u) << Pending();
  transport_.hook = nullptr;
  other->Close(0);
  Settle();
  EXPECT_FALSE(Attached("red", Name(1)));
  ExpectNothingLeft();
}

TEST_F(EarlierReleaseTest, ADriverThatIsDownKeepsAllOfItsOwnAndOnlyThose) {
  RebootWith(3);
  world_.transport.plugins["red"].up = false;
  Recover({{"wait_ms", 10'000}});
  EXPECT_EQ(Known("blue", "b")["state"], "released-unconfirmed");
  ASSERT_EQ(Pending().size(), 3u);
  for (const Json& p : Pending()) {
    EXPECT_EQ(GetInt(p, "attempts"), 1);
    EXPECT_FALSE(GetString(p, "error").empty());
  }
  world_.transport.plugins["red"].up = true;
  Settle();
  EXPECT_EQ(Since("Unmount"), 0);
  ExpectNothingLeft();
}

TEST_F(EarlierReleaseTest, WhatIsUsedAgainMeanwhileStays) {
  RebootWith(3);
  auto other = OpenAnother();
  bool once = true;
  Json again;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply*) {
    if (method == "List" && once) {
      once = false;
      again = Call(*other, &Engine::Prepare, Request("two", {Volume("red", Name(1))}));
    }
    return false;
  };
  Recover({{"wait_ms", 10'000}});
  ASSERT_TRUE(again.contains("ok")) << again;
  EXPECT_TRUE(Attached("red", Name(1)));
  EXPECT_EQ(Known("red", Name(1))["state"], "attached");
  EXPECT_EQ(Known("red", Name(2))["state"], "released-unconfirmed");
  EXPECT_EQ(Since("Unmount"), 0);
  Call(*other, &Engine::Cleanup, {{"owner", "run"}, {"scope", "two"}});
  other->Close(0);
  Settle();
  ExpectNothingLeft();
}

// A scope of the boot before that nobody has ended yet has its stage's folder in the attachment's.
TEST_F(EarlierReleaseTest, AScopeThatIsNotEndedYetKeepsNoFolder) {
  const std::string stages = settings_.state_dir + "/stage";
  for (const char* how : {"cleanup", "forget"}) {
    ASSERT_TRUE(Prepare("old", {Volume("red", "a")}).contains("ok")) << how;
    Close();
    world_.sys.Reboot();
    world_.transport.ForgetMounts("red", true);
    if (std::string(how) == "forget") {
      auto forgotten = engine().Forget({{"driver", "red"}, {"name", "a"}});
      EXPECT_TRUE(forgotten.ok()) << forgotten.status().message();
    } else {
      ASSERT_TRUE(Prepare("new", {Volume("red", "a")}).contains("ok"));
      Json ended =
          Call(engine(), &Engine::Cleanup, {{"owner", "run"}, {"scope", "new"}, {"release_ms", 5000}});
      EXPECT_EQ(ended["ok"]["pending"], Json::array()) << ended;
      EXPECT_EQ(ended["ok"]["released"].size(), 1u) << ended;
      std::ifstream audit(settings_.state_dir + "/audit.log");
      std::string line, last;
      while (std::getline(audit, line)) last = line;
      EXPECT_HAS(last, "\"event\":\"unmounted\"");
    }
    EXPECT_TRUE(std::filesystem::is_empty(stages)) << how;
    EXPECT_EQ(Ask("summary")["reported"], Json::array()) << how;
    EXPECT_EQ(Recover()["ok"]["ended"], Json::array({"old"})) << how;
    Settle();
    ExpectNothingLeft(how);
  }
}

}  // namespace
}  // namespace dvdi
