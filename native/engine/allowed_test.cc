// Drivers that the operator does not allow (plugins.allowed_drivers, promise 9): nobody's wish calls them,
// and what is attached of them is released all the same (promise 6).
#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class AllowedTest : public SimEngineTest {
 protected:
  // From here on only these are allowed, as after a restart with other settings.
  void Allow(std::vector<std::string> drivers) {
    Close();
    settings_.all_drivers = false, settings_.allowed_drivers = std::move(drivers);
  }
  // How many requests a driver has had.
  int Calls(const std::string& driver) {
    int calls = 0;
    for (const std::string& sent : Sent()) calls += sent.rfind(driver + " ", 0) == 0;
    return calls;
  }
};

TEST_F(AllowedTest, WhatOperatorsAskShowsTheDriverAndDoesNotCallIt) {
  MakeVolume("red", "theirs");
  settings_.policy = {{"pools", {{{"name", "p"}, {"driver", "red"}}, {{"name", "q"}, {"driver", "blue"}}}}};
  Allow({"blue"});
  Json drivers = Ask("drivers")["drivers"];
  ASSERT_EQ(drivers.size(), 2u);
  EXPECT_EQ(drivers[0]["reachable"], true) << drivers;
  EXPECT_EQ(drivers[0]["allowed"], true);
  EXPECT_EQ(drivers[1]["name"], "red");
  EXPECT_EQ(drivers[1]["allowed"], false);
  EXPECT_FALSE(drivers[1].contains("reachable")) << drivers;
  EXPECT_HAS(drivers[1]["error"].get<std::string>(), "plugins.allowed_drivers");
  bool shown = false;
  const Json doctor = Ask("doctor");
  for (const Json& c : doctor["checks"]) {
    if (c["name"] != "driver red") continue;
    shown = true;
    EXPECT_EQ(c["ok"], true) << "it is the operator's wish: " << c;
    EXPECT_HAS(c["found"].get<std::string>(), "not allowed");
  }
  EXPECT_TRUE(shown) << doctor;
  const Json pools = Ask("pools");
  EXPECT_EQ(pools["pools"][0]["allowed"], false) << pools;
  EXPECT_FALSE(pools["pools"][1].contains("allowed"));
  for (const char* what : {"pools", "listed", "volume"}) {
    const Status s =
        engine()
            .StatusOf({{"what", what}, {"driver", "red"}, {"name", "theirs"}, {"ask_plugin", true}})
            .status();
    EXPECT_EQ(s.code(), Code::kRefused) << what;
    EXPECT_HAS(s.message(), "driver red is not allowed on this node");
    EXPECT_EQ(s.driver(), "red");
  }
  EXPECT_EQ(Calls("red"), 0);
  EXPECT_GT(Calls("blue"), 0);
}

TEST_F(AllowedTest, WhatIsKnownOfItsVolumeIsShown) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Allow({"blue"});
  const int calls = Calls("red");
  auto one = engine().StatusOf({{"what", "volume"}, {"driver", "red"}, {"name", "a"}, {"ask_plugin", true}});
  ASSERT_TRUE(one.ok()) << one.status().message();
  EXPECT_EQ((*one)["state"], "attached");
  EXPECT_EQ((*one)["plugin"]["kind"], "unknown");
  EXPECT_EQ((*one)["plugin"]["reason"], "not-allowed");
  EXPECT_EQ(Calls("red"), calls);
}

TEST_F(AllowedTest, OneThatWasTakenOffTheListIsStillToldToUnmount) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  ASSERT_TRUE(Prepare("two", {Volume("red", "b")}).contains("ok"));
  Allow({"blue"});
  EXPECT_EQ(CodeOf(Prepare("three", {Volume("red", "a")})), "refused");
  EXPECT_TRUE(Cleanup("one").contains("ok"));
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1);
  EXPECT_FALSE(Attached("red", "a"));
  EXPECT_TRUE(Attached("red", "b")) << "it is in use";
  // Neither now nor by the engine that began: by one that finds it pending.
  world_.transport.plugins["red"].up = false;
  EXPECT_TRUE(Cleanup("two").contains("ok"));
  Kill();
  EXPECT_TRUE(Attached("red", "b"));
  const int before = Count("red Unmount");
  world_.transport.plugins["red"].up = true;
  Recover();
  Settle();
  EXPECT_EQ(Count("red Unmount"), before + 1);
  EXPECT_FALSE(Attached("red", "b"));
  ExpectNothingLeft();
}

// A Mount whose answer was lost: it may have been done, and is undone by whoever comes next.
TEST_F(AllowedTest, WhatAFailedPrepareLeftOfItIsUndone) {
  transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method == "Mount") {
      (void)world_.transport.Exchange({request});
      world_.transport.plugins["red"].up = false;
      *reply = PluginReply();
      reply->outcome = PluginReply::Outcome::kTimeout;
    }
    return method == "Mount";
  };
  EXPECT_NE(CodeOf(Prepare("one", {Volume("red", "a")})), "ok");
  EXPECT_TRUE(Attached("red", "a"));
  Allow({"blue"});
  const int before = Count("red Unmount");
  world_.transport.plugins["red"].up = true;
  Recover();
  Settle();
  EXPECT_EQ(Count("red Unmount"), before + 1);
  EXPECT_FALSE(Attached("red", "a"));
  ExpectNothingLeft();
}

}  // namespace
}  // namespace dvdi
