// Unmount: once, when nobody uses the volume any more, and until it is done (promises 1 and 6).
#include "engine/release.h"

#include <filesystem>

#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class ReleaseTest : public SimEngineTest {
 protected:
  Json Pending() { return Ask("summary")["pending"]; }
  std::string IdOf(const std::string& driver, const std::string& name) {
    return GetString(Known(driver, name), "id");
  }
  // Drivers answer this to Unmount.
  void AnswerUnmount(PluginReply reply) {
    transport_.hook = [reply](const std::string& method, const PluginRequest&, PluginReply* out) {
      *out = reply;
      return method == "Unmount";
    };
  }
};

TEST_F(ReleaseTest, TheLastUserUnmounts) {
  std::vector<Json> volumes = {Volume("red", "a")};
  for (const char* scope : {"one", "two", "three"}) ASSERT_TRUE(Prepare(scope, volumes).contains("ok"));
  EXPECT_EQ(Known("red", "a")["users"].size(), 3u);
  for (const char* scope : {"two", "one"}) {
    Json answer = Cleanup(scope);
    EXPECT_EQ(answer["ok"]["released"].size(), 1u) << answer;
    Settle();
    EXPECT_TRUE(Attached("red", "a"));
    EXPECT_EQ(Known("red", "a")["state"], "attached");
    EXPECT_EQ(Count("red Unmount"), 0);
  }
  Json answer = Cleanup("three");
  EXPECT_EQ(answer["ok"]["pending"].size(), 1u) << answer;
  EXPECT_FALSE(Attached("red", "a"));
  EXPECT_EQ(Count("red Mount"), 1);
  EXPECT_EQ(Count("red Unmount"), 1);
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, AUsedVolumeIsNotReleasedWhateverTheLedgerSays) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  std::string id = IdOf("red", "a");
  // As after a fault of ours: due for release, while somebody uses it.
  ASSERT_TRUE(engine()
                  .core()
                  .ledger
                  ->Apply(Commit::intent, false,
                          [&](LedgerTx& tx) -> Status {
                            DVDI_ASSIGN_OR_RETURN(auto a, tx.GetAttachment(id));
                            a->state = kReleasing, a->next_ms = 0;
                            return tx.PutAttachment(*a);
                          })
                  .ok());
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0);
  EXPECT_TRUE(Attached("red", "a"));
}

TEST_F(ReleaseTest, APrepareThatFailsLeavesTheVolumeToItsUser) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Json answer = Hostile({Volume("red", "a"), Volume("blue", "b")}, [](const Json& input, ScriptHost& host) {
    auto ignored = Honest(input, host);
    return Result<std::string>(SaysError("refused", "no"));
  });
  EXPECT_EQ(CodeOf(answer), "refused");
  Settle();
  EXPECT_TRUE(Attached("red", "a"));
  EXPECT_FALSE(Attached("blue", "b"));
  EXPECT_EQ(Count("red Unmount"), 0);
  EXPECT_EQ(Known("red", "a")["users"].size(), 1u);
}

TEST_F(ReleaseTest, WhatAFailedPrepareReleasesWaitsForNoOtherDriver) {
  std::vector<std::string> held;
  transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply*) {
    if (method != "Unmount") return false;
    const bool red = request.body.find("\"a\"") != std::string::npos;
    // While this one is asked, everybody may have the other.
    auto other = red ? std::pair<std::string, std::string>{"blue", "b"}
                     : std::pair<std::string, std::string>{"red", "a"};
    if (!VolumeLocks::Take(env(), engine().core().lock_file, {other}, 0).ok()) held.push_back(other.first);
    return false;
  };
  Json answer = Hostile({Volume("red", "a"), Volume("blue", "b")}, [](const Json& input, ScriptHost& host) {
    auto ignored = Honest(input, host);
    return Result<std::string>(SaysError("refused", "no"));
  });
  EXPECT_EQ(CodeOf(answer), "refused");
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1);
  EXPECT_EQ(Count("blue Unmount"), 1);
  EXPECT_EQ(held, std::vector<std::string>());
  ExpectNothingLeft("a");
}

// A volume that others use too is theirs at once, however long the driver of another one takes.
TEST_F(ReleaseTest, WhatAScopeSharesWaitsForNoReleaseOfItsOthers) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  int free = 0;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply*) {
    if (method == "Unmount")
      free += VolumeLocks::Take(env(), engine().core().lock_file, {{"red", "a"}}, 0).ok() ? 1 : 0;
    return false;
  };
  const std::vector<Json> both = {Volume("red", "a"), Volume("blue", "b")};
  ASSERT_TRUE(Prepare("two", both).contains("ok"));
  ASSERT_TRUE(Cleanup("two").contains("ok"));
  EXPECT_EQ(Count("blue Unmount"), 1);
  EXPECT_EQ(free, 1) << "behind a cleanup";
  EXPECT_EQ(CodeOf(Hostile(both,
                           [](const Json& input, ScriptHost& host) {
                             auto ignored = Honest(input, host);
                             return Result<std::string>(SaysError("refused", "no"));
                           })),
            "refused");
  EXPECT_EQ(Count("blue Unmount"), 2);
  EXPECT_EQ(free, 2) << "behind a prepare that failed";
  EXPECT_TRUE(Attached("red", "a"));
  EXPECT_EQ(Count("red Unmount"), 0);
}

// A look that comes between a cleanup's answer and its releases finds the volumes' locks taken, and each
// would leave the release to the other: an engine that closes then would end without it.
TEST_F(ReleaseTest, ALookBehindACleanupsAnswerTakesNoReleaseAway) {
  for (const auto& volumes :
       {std::vector<Json>{Volume("red", "a")}, {Volume("red", "b"), Volume("blue", "c")}}) {
    const std::string first = GetString(volumes[0], "name");
    ASSERT_TRUE(Prepare("of " + first, volumes).contains("ok"));
    bool looked = false;
    auto answered = [&](const Status& s, const Json&) {
      EXPECT_TRUE(s.ok()) << s.message();
      engine().Tick();
      looked = true;
    };
    ASSERT_TRUE(engine().Cleanup({{"owner", "run"}, {"scope", "of " + first}}, answered).ok());
    // Each thread of the look tries its lock before the cleanup's has let go, and may try again. That thread
    // keeps the lock of a single volume, and releases it by itself.
    int tries = 0;
    world_.sys.look_fault = [&](const char* call) {
      return looked && std::string(call) == "fcntl" && (++tries % 2 == 1 || volumes.size() == 1) ? EAGAIN : 0;
    };
    world_.scheduler.RunAll();
    world_.sys.look_fault = nullptr;
    EXPECT_GE(tries, 1) << "the look came too late";
    for (const Json& v : volumes) EXPECT_FALSE(Attached(GetString(v, "driver"), GetString(v, "name"))) << v;
  }
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, ADriverThatIsDownIsAskedAgainUntilItIsDone) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("blue", "b")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  Json answer = Cleanup("one");
  ASSERT_TRUE(answer.contains("ok")) << "cleanup waits for no driver: " << answer;
  EXPECT_FALSE(Attached("blue", "b"));
  ASSERT_EQ(Pending().size(), 1u);
  EXPECT_EQ(Pending()[0]["name"], "a");
  EXPECT_FALSE(GetString(Pending()[0], "error").empty());
  EXPECT_TRUE(world_.sys.MountsBelow(settings_.state_dir + "/stage").empty())
      << "our own mounts are gone at once";
  int64_t before = 0;
  for (int i = 0; i < 12; ++i) {
    ASSERT_EQ(Pending().size(), 1u);
    int64_t pause = GetInt(Pending()[0], "next_ms") - world_.clock.WallMs();
    EXPECT_GT(pause, 0);
    EXPECT_GE(pause + settings_.release_base_ms, before) << "the pauses grow";
    EXPECT_LE(pause, settings_.release_max_ms * 5 / 4) << "up to a bound";
    before = std::min(pause, settings_.release_max_ms * 4 / 5);
    int tried = Count("red Unmount");
    engine().Tick();
    world_.scheduler.RunAll();
    EXPECT_EQ(Count("red Unmount"), tried) << "not before its time";
    world_.clock.Advance(pause);
    engine().Tick();
    world_.scheduler.RunAll();
    EXPECT_EQ(Count("red Unmount"), tried + 1);
  }
  EXPECT_GE(GetInt(Pending()[0], "attempts"), 12);
  world_.transport.plugins["red"].up = true;
  Settle();
  EXPECT_FALSE(Attached("red", "a"));
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, AnUnmountThatDidNotReachItsDriverIsSentWhateverTheDriverSaysOfItsVolume) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  // As where we have no descriptor for a connection, and have one a moment later; and Get names no
  // mountpoint.
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* out) {
    if (method == "Unmount") out->outcome = PluginReply::Outcome::kUnreachable, out->detail = "no descriptor";
    if (method == "Get") {
      out->outcome = PluginReply::Outcome::kAnswer, out->status = 200;
      out->body = R"({"Volume": {"Name": "a"}, "Err": ""})";
    }
    return method == "Unmount" || method == "Get";
  };
  Cleanup("one");
  ASSERT_EQ(Pending().size(), 1u);
  transport_.hook = nullptr;
  Settle();
  EXPECT_EQ(Pending().size(), 0u);
  EXPECT_FALSE(Attached("red", "a"));
  EXPECT_EQ(Count("red Unmount"), 1);
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, ACleanupThatReleasesAnswersInTimeThoughNothingAnswersIt) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("red", "b"), Volume("red", "c")}).contains("ok"));
  transport_.hook = [&](const std::string&, const PluginRequest& request, PluginReply* reply) {
    world_.clock.AdvanceTo(request.deadline_ms);
    reply->outcome = PluginReply::Outcome::kTimeout, reply->sent = true;
    return true;
  };
  const int64_t began = world_.clock.MonotonicMs();
  Json answer = Call(engine(), &Engine::Cleanup,
                     {{"owner", "run"}, {"scope", "one"}, {"release_ms", 5000}, {"deadline_ms", 8000}});
  EXPECT_LE(world_.clock.MonotonicMs(), began + 5000) << "Get after an Unmount without answer is bounded too";
  EXPECT_EQ(answer["ok"]["pending"].size(), 3u) << answer;
  transport_.hook = nullptr;
  Settle();
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, ACleanupThatReleasesAnswersInTimeThoughOthersHoldTheVolumes) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  ASSERT_TRUE(Prepare("two", {Volume("red", "b")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  Cleanup("two");
  ASSERT_EQ(Pending().size(), 1u);
  world_.transport.plugins["red"].up = true;
  {
    auto lock = VolumeLocks::Take(env(), engine().core().lock_file, {{"red", "a"}, {"red", "b"}}, 0);
    ASSERT_TRUE(lock.ok());
    const int64_t began = world_.clock.MonotonicMs();
    Json answer = Call(engine(), &Engine::Cleanup,
                       {{"owner", "run"},
                        {"scope", "one"},
                        {"release_ms", 5000},
                        {"volumes", {{{"driver", "red"}, {"name", "b"}}}}});
    EXPECT_EQ(answer["ok"]["pending"].size(), 2u) << answer;
    EXPECT_LE(world_.clock.MonotonicMs(), began + 5000) << "one wait for the locks and the releases";
  }
  Cleanup("one");
  world_.clock.Advance(60'000);
  Settle();
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, ARemovalThatReleasesFirstAnswersInTimeThoughNothingAnswersIt) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  ASSERT_EQ(Pending().size(), 1u);
  transport_.hook = [&](const std::string&, const PluginRequest& request, PluginReply* reply) {
    world_.clock.AdvanceTo(request.deadline_ms);
    reply->outcome = PluginReply::Outcome::kTimeout, reply->sent = true;
    return true;
  };
  const int64_t began = world_.clock.MonotonicMs();
  Json answer = Call(engine(), &Engine::Remove, {{"driver", "red"}, {"name", "a"}, {"deadline_ms", 3000}});
  EXPECT_HAS(MessageOf(answer), "is still attached to this node");
  EXPECT_LE(world_.clock.MonotonicMs(), began + 3000);
  transport_.hook = nullptr;
  world_.transport.plugins["red"].up = true;
  Settle();
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, AReleaseThatIsUnderWayIsLookedAtAgainSoon) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  ASSERT_TRUE(Cleanup("one").contains("ok"));
  world_.clock.Advance(GetInt(Pending()[0], "next_ms") - world_.clock.WallMs());
  std::vector<int64_t> looks;
  engine().core().wake_at = [&](int64_t at) { looks.push_back(at); };
  // The keeper starts the release, and cannot know yet that it will fail: that says when to look again.
  engine().Tick();
  EXPECT_TRUE(looks.empty());
  world_.scheduler.RunAll();
  ASSERT_EQ(Pending().size(), 1u);
  ASSERT_EQ(looks.size(), 1u);
  EXPECT_EQ(looks[0] - world_.clock.MonotonicMs(), GetInt(Pending()[0], "next_ms") - world_.clock.WallMs());
}

TEST_F(ReleaseTest, NobodyHasToLookForAReleaseThatIsDone) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("blue", "b")}).contains("ok"));
  std::vector<int64_t> looks;
  engine().core().wake_at = [&](int64_t at) { looks.push_back(at); };
  ASSERT_TRUE(Cleanup("one").contains("ok"));
  EXPECT_FALSE(Attached("red", "a"));
  EXPECT_TRUE(looks.empty()) << looks.size();
  // One that another operation holds is to be looked for again.
  ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("blue", "b")}).contains("ok"));
  engine().core().wake_at = [](int64_t) {};
  auto lock = VolumeLocks::Take(env(), engine().core().lock_file, {{"red", "a"}}, 0);
  ASSERT_TRUE(lock.ok());
  engine().core().wake_at = [&](int64_t at) { looks.push_back(at); };
  Cleanup("one");
  EXPECT_FALSE(looks.empty());
}

TEST_F(ReleaseTest, AnotherEngineTakesThePendingOver) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  Close();
  world_.transport.plugins["red"].up = true;
  world_.clock.Advance(600'000);
  Settle();
  EXPECT_EQ(Count("red Unmount"), 2);
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, APrepareTakesAPendingReleaseOver) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  std::string id = IdOf("red", "a");
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  world_.transport.plugins["red"].up = true;
  ASSERT_TRUE(Prepare("two", {Volume("red", "a")}).contains("ok"));
  EXPECT_EQ(IdOf("red", "a"), id)
      << "an unanswered Unmount may come later: with the same ID it is the same Mount";
  Settle();
  EXPECT_TRUE(Attached("red", "a")) << "the release that was due is no more";
  EXPECT_EQ(Known("red", "a")["state"], "attached");
  Cleanup("two");
  Settle();
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, ANoToUnmountIsBelievedOnlyWhereTheVolumeIsNotMounted) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  AnswerUnmount(Says("{\"Err\":\"volume is not mounted\"}", 500));
  Cleanup("one");
  EXPECT_EQ(Pending().size(), 1u) << "it is mounted still";
  world_.transport.ForgetMounts("red", true);
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
}

// Many drivers name no mountpoint in Get, whether anything is mounted or not.
TEST_F(ReleaseTest, AnUnmountWithoutAnAnswerIsNotBelievedWhileTheNodeSeesTheMount) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  std::string unmount = "lost";
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount" && unmount == "lost") {
      *reply = PluginReply{};
      reply->outcome = PluginReply::Outcome::kLost;
      reply->sent = true;
      reply->detail = "the connection was closed";
    } else if (method == "Unmount" && unmount == "refused") {
      *reply = Says("{\"Err\":\"no\"}", 500);
    } else if (method == "Get") {
      *reply = Says("{\"Volume\":{\"Name\":\"a\"},\"Err\":\"\"}");
    } else {
      return false;
    }
    return true;
  };
  Cleanup("one");
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "it is mounted";
  EXPECT_HAS(GetString(Pending()[0], "error"), "the connection was closed");
  unmount = "refused";
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "a driver that is busy refuses, and it is mounted";
  EXPECT_HAS(GetString(Pending()[0], "error"), "the node still has it mounted at ");
  // It has done what it was asked: the next refuses, or says so.
  for (const char* then : {"refused", "done"}) {
    unmount = then;
    if (unmount == "refused") world_.transport.ForgetMounts("red", true);  // gone is gone
    Settle();
    EXPECT_EQ(Pending(), Json::array());
    EXPECT_EQ(Known("red", "a")["state"], unmount == "refused" ? "released-unconfirmed" : "known");
    world_.transport.ForgetMounts("red", true);
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    unmount = "lost";
    Cleanup("one");
    ASSERT_EQ(Pending().size(), 1u);
  }
  // Whose mount is gone is gone.
  world_.transport.ForgetMounts("red", true);
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
}

// What a prepare that fails knew of the place is known when the Unmount is refused.
TEST_F(ReleaseTest, AFailedPreparesBusyVolumeIsNotLetGoWhileTheNodeSeesTheMount) {
  ASSERT_TRUE(Prepare("zero", {Volume("red", "a")}).contains("ok"));
  Cleanup("zero");
  Settle();
  bool busy = true;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount" && busy) *reply = Says("{\"Err\":\"the device is busy\"}", 500);
    if (method == "Get") *reply = Says("{\"Volume\":{\"Name\":\"a\"},\"Err\":\"\"}");
    return method == "Get" || (method == "Unmount" && busy);
  };
  world_.sys.fault = [](const char* call) { return std::string_view(call) == "open_tree" ? EIO : 0; };
  Json failed = Prepare("one", {Volume("red", "a")});
  EXPECT_HAS(Dump(failed), "cannot copy the mount");
  world_.sys.fault = nullptr;
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "its driver has it still";
  EXPECT_HAS(GetString(Pending()[0], "error"), "the node still has it mounted at ");
  busy = false;
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  ExpectNothingLeft();
}

// A driver under load: it has mounted when nobody waits for that any more.
TEST_F(ReleaseTest, WhereNobodyKnowsTheMountAnUnmountWithoutAnAnswerIsSentAgain) {
  bool slow = true;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if ((method == "Mount" || method == "Unmount") && slow) {
      *reply = PluginReply{};
      reply->outcome = PluginReply::Outcome::kTimeout;
      reply->sent = true;
      return true;
    }
    if (method != "Get") return false;
    *reply = Says("{\"Volume\":{\"Name\":\"a\"},\"Err\":\"\"}");
    return true;
  };
  EXPECT_FALSE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "its Mount may be under way still";
  slow = false;
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_HAS(transport_.requests.back().path, "Unmount");
  ExpectNothingLeft();
}

// As rclone does it: Get names a mountpoint whatever is the case, and an Unmount of what is not mounted is an
// error.
TEST_F(ReleaseTest, ADriversOwnWordThatNothingIsMountedCountsWhereTheNodeSaysTheSame) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  const std::string mountpoint = world_.transport.plugins["red"].volumes["a"].mountpoint;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Unmount") *reply = Says("{\"Err\":\"Volume is NOT MOUNTED\"}", 500);
    if (method == "Get")
      *reply = Says(Dump({{"Volume", {{"Name", "a"}, {"Mountpoint", mountpoint}}}, {"Err", ""}}));
    return method == "Unmount" || method == "Get";
  };
  Cleanup("one");
  Settle();
  ASSERT_EQ(Pending().size(), 1u) << "the node has a mount there";
  std::string why = GetString(Pending()[0], "error");
  EXPECT_HAS(why, "Volume is NOT MOUNTED");
  EXPECT_HAS(why, mountpoint + " is mounted");
  EXPECT_HAS(why, "`dvdi forget red/a`");
  world_.transport.ForgetMounts("red", true);
  Settle();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
}

TEST_F(ReleaseTest, AfterARebootTheDriverIsAskedFirst) {
  for (bool mounted : {true, false}) {
    std::string name = mounted ? "kept" : "gone";
    ASSERT_TRUE(Prepare("one", {Volume("red", name)}).contains("ok"));
    std::string id = IdOf("red", name);
    Close();
    world_.sys.Reboot();
    world_.transport.ForgetMounts("red", true);
    // A driver may hold an attachment elsewhere (a cloud's disk) that outlives the node's mounts.
    if (mounted) world_.transport.plugins["red"].volumes[name].mountpoint = root_ + "/volumes/red-" + name;
    int unmounts = Count("red Unmount");
    Recover({{"wait_ms", 1000}});
    Settle();
    EXPECT_EQ(Count("red Unmount"), unmounts + (mounted ? 1 : 0));
    if (mounted) EXPECT_HAS(transport_.requests.back().body, id);
    EXPECT_EQ(Known("red", name)["state"], mounted ? "known" : "released-unconfirmed");
    ExpectNothingLeft(name);
  }
}

// As where an older copy of the ledger was put in its place: the row says what was so once. Whoever has the
// volume at the driver now need not be this node.
TEST_F(ReleaseTest, WithoutTheFileThatProvesItOursNoUnmountIsSent) {
  for (bool rebooted : {false, true}) {
    SCOPED_TRACE(rebooted);
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    const std::string file = settings_.state_dir + "/stage/" + IdOf("red", "a") + "/meta.json";
    world_.transport.plugins["red"].up = false;
    Cleanup("one");
    ASSERT_EQ(Pending().size(), 1u);
    if (rebooted) {
      Close();
      world_.sys.Reboot();
    }
    ASSERT_TRUE(std::filesystem::remove(file));
    world_.transport.plugins["red"].up = true;
    const int unmounts = Count("red Unmount");
    Recover({{"wait_ms", 1000}});
    Settle();
    EXPECT_EQ(Count("red Unmount"), unmounts);
    ASSERT_EQ(Pending().size(), 1u);
    std::string why = Pending()[0]["error"];
    EXPECT_HAS(why, file);
    EXPECT_HAS(why, "`dvdi forget red/a`");
    // Once the driver says that it has nothing mounted there is nothing to prove.
    world_.transport.ForgetMounts("red", true);
    Settle();
    EXPECT_EQ(Pending(), Json::array());
    EXPECT_EQ(Count("red Unmount"), unmounts);
    EXPECT_EQ(Known("red", "a")["state"], "released-unconfirmed");
    ExpectNothingLeft();
  }
}

TEST_F(ReleaseTest, AClockThatGoesBackPutsNoReleaseOff) {
  for (int64_t back : {int64_t{365} * 86'400'000, int64_t{7'200'000}}) {
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    world_.transport.plugins["red"].up = false;
    Cleanup("one");
    ASSERT_EQ(Pending().size(), 1u);
    world_.transport.plugins["red"].up = true;
    world_.clock.ShiftWall(-back);
    engine().Tick();
    world_.scheduler.RunAll();
    world_.clock.Advance(2 * settings_.release_max_ms);
    engine().Tick();
    world_.scheduler.RunAll();
    EXPECT_EQ(Pending(), Json::array()) << back;
    ExpectNothingLeft();
  }
}

TEST_F(ReleaseTest, ForgetIsTheOperatorsLastWord) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  auto forget = [&](const std::string& name) { return engine().Forget({{"driver", "red"}, {"name", name}}); };
  auto used = forget("a");
  ASSERT_FALSE(used.ok());
  EXPECT_EQ(used.status().code(), Code::kRefused);
  EXPECT_HAS(used.status().message(), "one");
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  int unmounts = Count("red Unmount");
  auto gone = forget("a");
  EXPECT_TRUE(gone.ok()) << gone.status().message();
  EXPECT_EQ(Pending(), Json::array());
  EXPECT_EQ(Known("red", "a")["state"], "forgotten");
  world_.transport.plugins["red"].up = true;
  Settle();
  EXPECT_EQ(Count("red Unmount"), unmounts) << "nothing is called";
  EXPECT_EQ(forget("a").status().code(), Code::kNotFound);
  EXPECT_EQ(engine().Forget(Json::object()).status().code(), Code::kInvalid);
  world_.transport.ForgetMounts("red", true);
  ExpectNothingLeft();
}

TEST_F(ReleaseTest, AReleaseThatIsUnderWayElsewhereIsLeftAlone) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  std::string id = IdOf("red", "a");
  EXPECT_EQ(Release(engine().core(), id).value(), ReleaseResult::kTakenOver) << "it is used";
  EXPECT_EQ(Release(engine().core(), std::string(64, 'f')).value(), ReleaseResult::kTakenOver)
      << "it is gone";
  auto lock = VolumeLocks::Take(env(), engine().core().lock_file, {{"red", "a"}}, 0);
  ASSERT_TRUE(lock.ok());
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0) << "another operation works on the volume";
  lock->reset();
  world_.transport.plugins["red"].up = true;
  Settle();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace dvdi
