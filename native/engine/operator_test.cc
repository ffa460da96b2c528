// What operators do to volumes: remove, prune, fence; and what there is to get volumes from.
#include "engine/operator.h"

#include <filesystem>
#include <fstream>

#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class OperatorTest : public SimEngineTest {
 protected:
  OperatorTest() {
    transport_.hook = [this](const std::string& method, const PluginRequest& request, PluginReply* reply) {
      if (method == "Remove" && remove_.outcome == PluginReply::Outcome::kAnswer && remove_.status == 0) {
        Erase(request);
        *reply = Says("{\"Err\":\"\"}");
        return true;
      }
      if (method == "Remove") {
        if (acts_) Erase(request);
        *reply = remove_;
        return true;
      }
      if (method == "Capabilities" && global_) {
        *reply = Says(R"({"Capabilities":{"Scope":"global"}})");
        return true;
      }
      return false;
    };
    remove_.outcome = PluginReply::Outcome::kAnswer;
  }
  void Erase(const PluginRequest& request) {
    auto body = ParseJson(request.body, "a body");
    world_.transport.plugins["red"].volumes.erase(GetString(*body, "Name"));
  }
  Json Remove(const std::string& name, const Json& more = Json::object()) {
    Json request = {{"driver", "red"}, {"name", name}};
    request.update(more);
    return Call(engine(), &Engine::Remove, request);
  }
  Json Prune(const std::string& name, const Json& more = Json::object()) {
    Json request = {{"unused_only", true}};
    request.update(more);
    return Remove(name, request);
  }
  // As after `dvdi create`.
  void Created(const std::string& name) {
    MakeVolume("red", name);
    ASSERT_TRUE(engine()
                    .core()
                    .ledger
                    ->Apply(Commit::intent, false,
                            [&](LedgerTx& tx) {
                              return tx.TouchVolume({"red", name, true, 1000, 0, "created"});
                            })
                    .ok());
  }
  PluginReply remove_;  // status 0: it removes
  bool acts_ = false;   // it removes, whatever it answers
  bool global_ = false;
};

TEST_F(OperatorTest, RemovesWhatNobodyUses) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Cleanup("one");
  Json answer = Remove("a");
  EXPECT_EQ(answer["ok"]["removed"], Json({{"driver", "red"}, {"name", "a"}})) << answer;
  EXPECT_EQ(answer["ok"]["existed"], true);
  EXPECT_FALSE(HasVolume("red", "a"));
  EXPECT_TRUE(Known("red", "a").is_null());
  Json record = Record("remove");
  EXPECT_EQ(record["kind"], "remove");
  EXPECT_EQ(record["outcome"], "ok");
  std::ifstream audit(settings_.state_dir + "/audit.log");
  std::string line, last;
  while (std::getline(audit, line)) last = line;
  EXPECT_HAS(last, "\"event\":\"removed\"");
  EXPECT_EQ(record["calls"].back()["request"]["calls"][0],
            Json({{"method", "Remove"}, {"driver", "red"}, {"name", "a"}}));
}

TEST_F(OperatorTest, NeverRemovesWhatIsUsed) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  // The plugin itself shows no mountpoint, so that nothing else keeps the volume.
  auto hook = transport_.hook;
  transport_.hook = [hook](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method != "Get") return hook(method, request, reply);
    *reply = Says(R"({"Volume":{"Name":"a"},"Err":""})");
    return true;
  };
  for (const Json& more : {Json::object(), Json{{"unused_only", true}}}) {
    Json answer = Remove("a", more);
    EXPECT_EQ(CodeOf(answer), "refused") << answer;
    EXPECT_HAS(MessageOf(answer), "in use on this node by scope one of run");
  }
  EXPECT_EQ(Count("red Remove"), 0);
  EXPECT_TRUE(HasVolume("red", "a"));
  EXPECT_EQ(Record("remove")["outcome"], "refused");
}

TEST_F(OperatorTest, NeverRemovesWhatSomebodyElseHasMounted) {
  MakeVolume("red", "a");
  std::string at = root_ + "/elsewhere";
  world_.sys.AddMount(at, "ext4", "7:99");
  world_.transport.plugins["red"].volumes["a"].mountpoint = at;
  Json answer = Remove("a");
  EXPECT_EQ(CodeOf(answer), "refused") << answer;
  EXPECT_HAS(MessageOf(answer), "is mounted at " + at);
  EXPECT_EQ(Count("red Remove"), 0);
  // A plain folder is where many drivers keep a volume.
  world_.sys.RemoveMount(at);
  EXPECT_TRUE(Remove("a").contains("ok"));
}

TEST_F(OperatorTest, NeverRemovesWhatIsMountedThoughItsDriverWritesThePathInAnotherWay) {
  MakeVolume("red", "a");
  std::string at = root_ + "/elsewhere";
  world_.sys.AddMount(at, "ext4", "7:99");
  for (const std::string& named : {at + "/", root_ + "//elsewhere", root_ + "/./elsewhere"}) {
    world_.transport.plugins["red"].volumes["a"].mountpoint = named;
    Json answer = Remove("a");
    EXPECT_EQ(CodeOf(answer), "refused") << answer;
    EXPECT_HAS(MessageOf(answer), "is mounted at " + named);
  }
  EXPECT_EQ(Count("red Remove"), 0);
  EXPECT_TRUE(HasVolume("red", "a"));
}

// Where it cannot be seen whether somebody has the volume mounted, it stays. (The simulated world has no
// helper, which follows a symlink.)
TEST_F(OperatorTest, NeverRemovesWhatCannotBeLookedAt) {
  MakeVolume("red", "a");
  const std::string link = root_ + "/link";
  std::filesystem::create_directory(root_ + "/elsewhere");
  std::filesystem::create_symlink("elsewhere", link);
  world_.transport.plugins["red"].volumes["a"].mountpoint = link;
  EXPECT_HAS(MessageOf(Remove("a")), "it cannot be told whether somebody has volume a mounted");
  EXPECT_EQ(Count("red Remove"), 0);
  // What is no folder of this node's has no mount on it.
  std::filesystem::remove(link);
  EXPECT_TRUE(Remove("a").contains("ok"));
}

TEST_F(OperatorTest, ReleasesFirst) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  EXPECT_EQ(CodeOf(Remove("a")), "unavailable");
  world_.transport.plugins["red"].up = true;
  EXPECT_TRUE(Remove("a").contains("ok"));
  EXPECT_FALSE(HasVolume("red", "a"));
  ExpectNothingLeft();
}

TEST_F(OperatorTest, WhatIsGoneIsForgotten) {
  Created("a");
  world_.transport.plugins["red"].volumes.clear();
  Json answer = Remove("a");
  EXPECT_EQ(answer["ok"]["existed"], false) << answer;
  EXPECT_EQ(Count("red Remove"), 0);
  EXPECT_TRUE(Known("red", "a").is_null());
}

TEST_F(OperatorTest, AnAnswerThatDidNotComeIsAskedFor) {
  MakeVolume("red", "a");
  remove_.outcome = PluginReply::Outcome::kLost, remove_.sent = true;
  EXPECT_EQ(CodeOf(Remove("a")), "unavailable");
  EXPECT_TRUE(HasVolume("red", "a"));
  acts_ = true;
  EXPECT_EQ(Remove("a")["ok"]["existed"], true);
}

TEST_F(OperatorTest, ADriversNoIsItsError) {
  Created("a");
  remove_ = Says(R"({"Err":"volume is busy"})", 500);
  Json answer = Remove("a");
  EXPECT_EQ(CodeOf(answer), "driver");
  EXPECT_HAS(MessageOf(answer), "volume is busy");
  EXPECT_FALSE(Known("red", "a").is_null());
}

TEST_F(OperatorTest, ASilentDriverLosesNothing) {
  Created("a");
  world_.transport.plugins["red"].up = false;
  EXPECT_EQ(CodeOf(Remove("a")), "unavailable");
  EXPECT_FALSE(Known("red", "a").is_null());
}

// Get says no to a volume that exists, as some drivers do while their backend is away, and their list fails.
TEST_F(OperatorTest, ADriverThatCannotTellLosesNothing) {
  Created("a");
  auto hook = transport_.hook;
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    *reply = Says(R"({"Err":"the backend is away"})", 500);
    return method == "Get" || method == "List";
  };
  EXPECT_EQ(CodeOf(Remove("a")), "unavailable");
  EXPECT_FALSE(Known("red", "a").is_null());
  transport_.hook = hook;
  EXPECT_EQ(Remove("a")["ok"]["existed"], true);
}

TEST_F(OperatorTest, AForbiddenDriverIsNotCalled) {
  settings_.all_drivers = false;
  settings_.allowed_drivers = {"blue"};
  EXPECT_EQ(CodeOf(Remove("a")), "refused");
  EXPECT_TRUE(Sent().empty());
}

TEST_F(OperatorTest, PruneTakesOnlyWhatWasCreatedAndNeverUsed) {
  Created("fresh");
  EXPECT_TRUE(Prune("fresh").contains("ok"));
  EXPECT_FALSE(HasVolume("red", "fresh"));
  EXPECT_EQ(Record("prune")["kind"], "prune");
  // Not made here.
  MakeVolume("red", "old");
  EXPECT_EQ(CodeOf(Prune("old")), "refused");
  // Used since.
  ASSERT_TRUE(Prepare("one", {Volume("red", "used")}).contains("ok"));
  Cleanup("one");
  EXPECT_EQ(CodeOf(Prune("used")), "refused");
  EXPECT_TRUE(HasVolume("red", "old") && HasVolume("red", "used"));
}

TEST_F(OperatorTest, PruneLeavesWhatOtherNodesMayUse) {
  Created("a");
  global_ = true;
  Json answer = Prune("a");
  EXPECT_EQ(CodeOf(answer), "refused");
  EXPECT_HAS(MessageOf(answer), "another node may have used it");
  EXPECT_TRUE(HasVolume("red", "a"));
  EXPECT_TRUE(Prune("a", {{"global", true}}).contains("ok"));
}

// One that does not say whether all nodes share it may be one that they do.
TEST_F(OperatorTest, PruneLeavesWhatItsDriverSaysNothingOf) {
  Created("a");
  auto hook = transport_.hook;
  transport_.hook = [hook](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method != "Capabilities") return hook(method, request, reply);
    reply->outcome = PluginReply::Outcome::kLost, reply->sent = true;
    return true;
  };
  EXPECT_EQ(CodeOf(Prune("a")), "unavailable");
  EXPECT_EQ(Count("red Remove"), 0);
  EXPECT_FALSE(Known("red", "a").is_null());
  transport_.hook = hook;
  EXPECT_TRUE(Prune("a").contains("ok"));
}

TEST_F(OperatorTest, FenceAsksTheDriver) {
  MakeVolume("red", "a");
  std::string path, body;
  transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method != "Fence") return false;
    path = request.path, body = request.body;
    *reply = Says(R"({"Generation":7,"WaitedMs":1200,"From":"node-a","Err":""})");
    return true;
  };
  Json request = {{"driver", "red"}, {"name", "a"}, {"node_is_dead", true}};
  Json answer = Call(engine(), &Engine::Fence, request);
  EXPECT_EQ(answer["ok"], Json({{"fenced", {{"driver", "red"}, {"name", "a"}}},
                                {"generation", 7},
                                {"waited_ms", 1200},
                                {"from", "node-a"}}));
  EXPECT_EQ(path, "/DvdiDriver.Fence");
  EXPECT_EQ(*ParseJson(body, "it"), Json({{"Name", "a"}, {"NodeIsDead", true}}));
  EXPECT_EQ(Record("fence")["kind"], "fence");
  // Not where this node has it.
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  EXPECT_EQ(CodeOf(Call(engine(), &Engine::Fence, request)), "refused");
}

TEST_F(OperatorTest, ADriverWithoutFenceSaysSo) {
  MakeVolume("red", "a");
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    *reply = Says("404 page not found", 404);
    return method == "Fence";
  };
  Json answer = Call(engine(), &Engine::Fence, {{"driver", "red"}, {"name", "a"}});
  EXPECT_EQ(CodeOf(answer), "unsupported") << answer;
}

TEST_F(OperatorTest, NoPolicyCanCallWhatIsTheOperators) {
  for (const char* method : {"Fence", "Tiers", "Remove"}) {
    Json answer =
        Hostile({Volume("red", "a")}, [method](const Json&, ScriptHost& host) -> Result<std::string> {
          Json said =
              host.Do("plugin_call", {{"calls", {{{"method", method}, {"volume", 0}, {"driver", "red"}}}}});
          return SaysError("refused", said.dump());
        });
    EXPECT_HAS(MessageOf(answer), "error") << method;
    EXPECT_EQ(Count("red " + std::string(method)), 0);
  }
}

TEST_F(OperatorTest, PoolsAndTiers) {
  settings_.secret_options = {"key"};
  settings_.policy = *ParseJson(
      R"({"pools":[{"name":"fast","driver":"red","options":{"tier":"ssd","key":"hunter2"},"attributes":{"media":"ssd"}},
                   {"name":"slow","driver":"blue"}]})",
      "it");
  transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method != "Tiers") return false;
    bool red = request.address.path.find("red") != std::string::npos;
    *reply =
        red ? Says(R"({"Tiers":[{"Name":"ssd","Path":"/p","Label":"L","Filesystem":"xfs","CapacityBytes":100,
                          "PromisedBytes":40,"FreeBytes":60,"Attributes":{"media":"ssd"}}],"Err":""})")
            : Says("404 page not found", 404);
    return true;
  };
  auto all = engine().StatusOf({{"what", "pools"}});
  ASSERT_TRUE(all.ok());
  ASSERT_EQ((*all)["pools"].size(), 2u);
  EXPECT_EQ((*all)["pools"][0]["options"], Json({{"tier", "ssd"}, {"key", "[secret]"}}));
  ASSERT_EQ((*all)["tiers"].size(), 1u);
  EXPECT_EQ((*all)["tiers"][0], Json({{"driver", "red"},
                                      {"name", "ssd"},
                                      {"path", "/p"},
                                      {"label", "L"},
                                      {"filesystem", "xfs"},
                                      {"capacity_bytes", 100},
                                      {"promised_bytes", 40},
                                      {"free_bytes", 60},
                                      {"attributes", {{"media", "ssd"}}}}));
  auto blue = engine().StatusOf({{"what", "pools"}, {"driver", "blue"}});
  EXPECT_EQ(blue.status().code(), Code::kUnsupported);
}

TEST_F(OperatorTest, DriversSayTheirScope) {
  global_ = true;
  auto drivers = engine().StatusOf({{"what", "drivers"}});
  ASSERT_TRUE(drivers.ok());
  const Json& red = (*drivers)["drivers"][1];
  EXPECT_EQ(red["name"], "red");
  EXPECT_EQ(red["scope"], "global");
  EXPECT_EQ(red["reachable"], true);
  size_t before = Sent().size();
  ASSERT_TRUE(engine().StatusOf({{"what", "drivers"}, {"ask", false}}).ok());
  EXPECT_EQ(Sent().size(), before);
}

TEST_F(OperatorTest, ACleanupThatWaitsTellsHowTheReleaseEnded) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  auto end = [&](const char* scope) {
    return Call(engine(), &Engine::Cleanup,
                {{"owner", "run"},
                 {"scope", scope},
                 {"release_ms", 1000},
                 {"volumes", {{{"driver", "red"}, {"name", "a"}}}}});
  };
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    *reply = Says(R"({"Err":"still detaching"})", 500);
    return method == "Unmount";
  };
  Json answer = end("one");
  ASSERT_EQ(answer["ok"]["pending"].size(), 1u) << answer;
  EXPECT_HAS(GetString(answer["ok"]["pending"][0], "why"), "still detaching");
  // Its scope is over; who asks for the volume is still told.
  transport_.hook = nullptr;
  answer = end("one");
  EXPECT_EQ(answer["ok"]["released"][0]["name"], "a") << answer;
  ExpectNothingLeft();
  EXPECT_TRUE(end("never").contains("ok"));
}

}  // namespace
}  // namespace dvdi
