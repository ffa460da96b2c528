// Unmount: once, when nobody uses the volume any more, and until it is done (promises 1 and 6).
#include "engine/release.h"

#include "engine/testing/release.h"

namespace dvdi {
namespace {

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

TEST_F(ReleaseTest, WhereThePolicySaysNothingTheOperatorSaysHowOftenADriverIsAskedAgain) {
  stock_ = true;
  MakeVolume("red", "a");
  settings_.release_base_ms = 10'000, settings_.release_max_ms = 15'000;
  Json volume = Volume("red", "a");
  volume.erase("from");  // that is the policy's word
  const Json one = Prepare("one", {volume});
  ASSERT_TRUE(one.contains("ok")) << one;
  world_.transport.plugins["red"].up = false;
  ASSERT_TRUE(Cleanup("one").contains("ok"));
  for (int64_t least : {10'000, 15'000, 15'000}) {
    ASSERT_EQ(Pending().size(), 1u);
    const int64_t pause = GetInt(Pending()[0], "next_ms") - world_.clock.WallMs();
    EXPECT_GE(pause, least);
    EXPECT_LE(pause, least * 5 / 4);
    world_.clock.Advance(pause);
    engine().Tick();
    world_.scheduler.RunAll();
  }
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
  for (const bool mount : {true, false}) {
    SCOPED_TRACE(mount);
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
    // The volumes of many drivers are folders of a filesystem that they have mounted elsewhere.
    if (!mount) ASSERT_TRUE(world_.sys.RemoveMount(world_.transport.plugins["red"].volumes["a"].mountpoint));
    // As where we have no descriptor for a connection, and have one a moment later; and Get names no
    // mountpoint.
    transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* out) {
      if (method == "Unmount")
        out->outcome = PluginReply::Outcome::kUnreachable, out->detail = "no descriptor";
      if (method == "Get") {
        out->outcome = PluginReply::Outcome::kAnswer, out->status = 200;
        out->body = R"({"Volume": {"Name": "a"}, "Err": ""})";
      }
      return method == "Unmount" || method == "Get";
    };
    const int before = Count("red Unmount");
    Cleanup("one");
    ASSERT_EQ(Pending().size(), 1u);
    transport_.hook = nullptr;
    Settle();
    EXPECT_EQ(Pending().size(), 0u);
    EXPECT_FALSE(Attached("red", "a"));
    EXPECT_EQ(Count("red Unmount"), before + 1);
    ExpectNothingLeft();
  }
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
