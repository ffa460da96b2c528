// A prepare from its request to its answer, and every way in which it can end otherwise.
#include <filesystem>

#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class OperationTest : public SimEngineTest {};

TEST_F(OperationTest, GivesEachVolumeAStage) {
  MakeVolume("red", "old");
  Json answer = Prepare("one", {Volume("red", "old"), Volume("blue", "new", {{"mode", "ro"}})});
  ASSERT_TRUE(answer.contains("ok")) << answer;
  const Json& volumes = answer["ok"]["volumes"];
  ASSERT_EQ(volumes.size(), 2u);
  EXPECT_EQ(volumes[0]["what"], "re-attached");
  EXPECT_EQ(volumes[1]["what"], "created");
  EXPECT_EQ(volumes[1]["mode"], "ro");
  EXPECT_EQ(volumes[0]["target"], "/srv/red-old");
  for (const Json& v : volumes) {
    EXPECT_TRUE(world_.sys.IsMounted(v["stage"].get<std::string>()));
    EXPECT_EQ(v["id"].get<std::string>().size(), 64u);
  }
  EXPECT_EQ(answer["ok"]["policy"]["name"], "scripted");
  EXPECT_EQ(Sent(), (std::vector<std::string>{"red Get", "red Mount", "blue Get", "blue List", "blue Create",
                                              "blue Mount"}));
}

TEST_F(OperationTest, NoDeclaredVolumeIsNoError) {
  Json answer = Prepare("one", {});
  ASSERT_TRUE(answer.contains("ok")) << answer;
  EXPECT_EQ(answer["ok"]["volumes"], Json::array());
  ExpectNothingLeft();
}

TEST_F(OperationTest, WhoseScopeIsTakenIsToldHowItIsEnded) {
  MakeVolume("red", "a");
  MakeVolume("red", "b");
  const std::pair<const char*, const char*> kHints[] = {{"manual", "`dvdi unmount --name one`"},
                                                        {"oci", "delete that container"},
                                                        {"mesos", "end it first, or"}};
  for (const auto& [owner, hint] : kHints) {
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}, {{"owner", owner}}).contains("ok"));
    const Json taken = Prepare("one", {Volume("red", "b")}, {{"owner", owner}});
    EXPECT_EQ(CodeOf(taken), "refused") << taken;
    EXPECT_HAS(MessageOf(taken), "has volumes already");
    EXPECT_HAS(taken["error"]["hint"].get<std::string>(), hint);
    EXPECT_EQ(taken["error"]["hint"].get<std::string>().find("unmount") != std::string::npos,
              std::string_view(owner) == "manual");
  }
}

TEST_F(OperationTest, TheSameRequestAgainGetsTheSameAnswer) {
  std::vector<Json> volumes = {Volume("red", "a")};
  Json first = Prepare("one", volumes), again = Prepare("one", volumes);
  EXPECT_FALSE(first["ok"].contains("stored")) << first;
  EXPECT_EQ(again["ok"]["stored"], true) << again;
  again["ok"].erase("stored");
  EXPECT_EQ(first, again);
  EXPECT_EQ(Count("red Mount"), 1);
  Json other = Prepare("one", {Volume("red", "b")});
  EXPECT_EQ(CodeOf(other), "refused") << other;
  EXPECT_EQ(Count("red Mount"), 1);
}

TEST_F(OperationTest, APathThatNoVolumeCoversIsRefusedBeforeAnyCall) {
  MakeVolume("red", "old");
  const Json volume = Volume("red", "old");
  auto prepare = [&](const std::string& covers) { return Prepare("one", {volume}, {{"covers", covers}}); };
  for (const char* path : {"/nosuch", "/srv", "/srv/red-older"}) {
    Json answer = prepare(path);
    EXPECT_EQ(answer["error"]["code"], "invalid") << answer;
    EXPECT_EQ(answer["error"]["path"], path);
    EXPECT_FALSE(answer["error"]["hint"].empty());
  }
  EXPECT_TRUE(Sent().empty());
  EXPECT_TRUE(prepare("/srv/red-old/in/it").contains("ok"));
}

TEST_F(OperationTest, ANameThatIsNoLineIsSaidToBeTheScope) {
  Json answer = Prepare("a\nb", {Volume("red", "old")});
  EXPECT_EQ(answer["error"]["message"],
            "the request's scope \"a b\" is not one plain line: it has 1 to 512 bytes");
  EXPECT_NE(answer["error"]["hint"].get<std::string>().find("--name"), std::string::npos);
}

TEST_F(OperationTest, RequestsThatAreWrongTouchNothing) {
  std::vector<Json> volumes = {Volume("red", "a")};
  for (const Json& more : {Json{{"owner", ""}}, Json{{"scope", ""}}, Json{{"scope", "a\nb"}},
                           Json{{"scope", std::string(600, 'x')}}, Json{{"targets", "perhaps"}},
                           Json{{"sources", 7}}, Json{{"sources", {{{"form", "statement"}}}}},
                           Json{{"sources", {{{"form", "env"}, {"env", {{"A", 7}}}}}}},
                           Json{{"sources", {{{"form", "volume"}, {"text", "a:/a"}, {"origin", 7}}}}}}) {
    Json answer = Prepare("one", volumes, more);
    EXPECT_EQ(CodeOf(answer), "invalid") << more << ": " << answer;
  }
  EXPECT_EQ(CodeOf(Prepare("one", volumes, {{"process", {{"pid", 4'000'000}}}})), "system");
  EXPECT_EQ(CodeOf(Call(engine(), &Engine::Prepare, Json::array())), "invalid");
  EXPECT_TRUE(Sent().empty());
  ExpectNothingLeft();
}

TEST_F(OperationTest, WhereASourceWasWrittenDownIsToldAndDecidesNothing) {
  Json seen;
  policy_->scripts["parse"] = [&](const Json& input, ScriptHost&) -> Result<std::string> {
    seen = input["sources"][0];
    return Dump({{"ok", {{"volumes", {Volume("red", "a")}}, {"notes", Json::array()}}}});
  };
  auto from = [&](const std::string& origin) {
    Json source = {{"form", "statement"}, {"text", "{}"}, {"origin", origin}};
    return Prepare("one", {}, {{"sources", {source}}});
  };
  Json first = from("/etc/a\nb\x1b.yaml");
  ASSERT_TRUE(first.contains("ok")) << first;
  EXPECT_EQ(seen["origin"], "/etc/a b?.yaml");
  first["ok"]["stored"] = true;
  EXPECT_EQ(from(std::string(5'000, 'x')), first) << "the same request";
  EXPECT_LE(seen["origin"].get<std::string>().size(), 260u);
}

TEST_F(OperationTest, DriversThatTheOperatorDoesNotAllowAreRefusedBeforeAnyCall) {
  settings_.all_drivers = false, settings_.allowed_drivers = {"red"};
  Json answer = Prepare("one", {Volume("red", "a"), Volume("blue", "b")});
  EXPECT_EQ(CodeOf(answer), "refused") << answer;
  EXPECT_EQ(answer["error"]["driver"], "blue");
  EXPECT_TRUE(Sent().empty());
  EXPECT_TRUE(Prepare("two", {Volume("red", "a")}).contains("ok"));
}

TEST_F(OperationTest, AnswersOfParseThatAreNoneAreThePolicysFault) {
  for (const char* text :
       {"", "{}", "null", "{\"ok\":{}}", "{\"ok\":{\"volumes\":7}}", "{\"ok\":{\"volumes\":[7]}}",
        "{\"ok\":{\"volumes\":[{\"driver\":\"red\"}]}}", "{\"error\":{}}", "{\"error\":7}"}) {
    policy_->scripts["parse"] = [&](const Json&, ScriptHost&) -> Result<std::string> {
      return std::string(text);
    };
    Json answer = Prepare("one", {Volume("red", "a")});
    EXPECT_EQ(CodeOf(answer), "policy") << text << ": " << answer;
  }
  EXPECT_TRUE(Sent().empty());
  ExpectNothingLeft();
}

TEST_F(OperationTest, ParseThatFailsLeavesARecordAndNothingElse) {
  policy_->scripts["parse"] = [&](const Json&, ScriptHost&) -> Result<std::string> {
    return Status(Code::kPolicy, "policy scripted 1.0.0: parse ran out of fuel");
  };
  Json answer = Prepare("one", {Volume("red", "a")});
  EXPECT_EQ(CodeOf(answer), "policy");
  EXPECT_HAS(MessageOf(answer), "fuel");
  Json record = Record("one");
  EXPECT_EQ(record["outcome"], "policy") << record;
  EXPECT_HAS(record["error"]["message"].get<std::string>(), "fuel");
  policy_->scripts["parse"] = [&](const Json&, ScriptHost& host) -> Result<std::string> {
    host.Do("plugin_call", {{"calls", {{{"method", "Get"}, {"volume", 0}}}}});
    return AllIsWell();
  };
  EXPECT_EQ(CodeOf(Prepare("two", {Volume("red", "a")})), "policy") << "parse has no drivers";
  EXPECT_TRUE(Sent().empty());
  ExpectNothingLeft();
}

TEST_F(OperationTest, TheShippedPolicyThatRunsOutOfFuelCostsOneOperation) {
  stock_ = true;
  settings_.policy_dir = DVDI_TEST_POLICY_DIR;  // compiled once for all tests
  settings_.limits.fuel = 2'000'000;
  std::string many = "{\"volumes\":[";
  for (int i = 0; i < 2000; ++i)
    many += (i > 0 ? "," : "") + Dump(Json{{"driver", "red"},
                                           {"name", "v" + std::to_string(i)},
                                           {"container_path", "/srv/" + std::to_string(i)}});
  Json answer = Prepare("one", {}, {{"sources", {{{"form", "statement"}, {"text", many + "]}"}}}}});
  EXPECT_EQ(CodeOf(answer), "policy") << answer;
  EXPECT_HAS(MessageOf(answer), "fuel");
  EXPECT_EQ(Record("one")["outcome"], "policy");
  EXPECT_TRUE(Sent().empty());
  Json small = {{"volumes", {{{"driver", "red"}, {"name", "a"}, {"container_path", "/srv/a"}}}}};
  EXPECT_TRUE(
      Prepare("two", {}, {{"sources", {{{"form", "statement"}, {"text", Dump(small)}}}}}).contains("ok"));
  Cleanup("two");
  Settle();
  ExpectNothingLeft();
}

TEST_F(OperationTest, AYesWithoutStagesIsANo) {
  MakeVolume("red", "a");
  Json mount = {{"method", "Mount"}, {"volume", 0}};
  for (bool mounts : {false, true}) {
    Json answer = Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
      if (mounts) host.Plugin(mount);
      return AllIsWell();
    });
    EXPECT_EQ(CodeOf(answer), "policy") << answer;
    Settle();
    ExpectNothingLeft();
  }
}

TEST_F(OperationTest, NonsenseInsteadOfAnAnswerIsUndone) {
  for (const char* text : {"", "no JSON", "{}", "{\"ok\"", "[]", "{\"error\":{\"message\":\"\"}}"}) {
    Json answer =
        Hostile({Volume("red", "a")}, [&](const Json& input, ScriptHost& host) -> Result<std::string> {
          auto ignored = Honest(input, host);
          return std::string(text);
        });
    EXPECT_EQ(CodeOf(answer), "policy") << text << ": " << answer;
    Settle();
    ExpectNothingLeft(text);
  }
}

TEST_F(OperationTest, ATrapAfterEverythingIsUndone) {
  Json answer =
      Hostile({Volume("red", "a")}, [&](const Json& input, ScriptHost& host) -> Result<std::string> {
        auto done = Honest(input, host);
        EXPECT_TRUE(done.ok());
        EXPECT_TRUE(Attached("red", "a"));
        return Status(Code::kPolicy, "policy scripted 1.0.0: wasm trap: unreachable");
      });
  EXPECT_EQ(CodeOf(answer), "policy");
  EXPECT_FALSE(Attached("red", "a")) << "undone before anybody else works on the volume";
  EXPECT_TRUE(HasVolume("red", "a")) << "data is never undone";
  ExpectNothingLeft();
}

// An error after every host call of a prepare of three volumes, one of them at two paths.
TEST_F(OperationTest, AnErrorAfterAnyHostCallLeavesNothing) {
  MakeVolume("blue", "b");
  std::vector<Json> volumes = {Volume("red", "a"), Volume("blue", "b"), Volume("red", "c"),
                               Volume("red", "a", {{"container_path", "/srv/again"}})};
  int n = 0;
  for (bool complete = false; !complete; ++n) {
    int calls = 0;
    Json answer = Hostile(volumes, [&](const Json& input, ScriptHost& host) -> Result<std::string> {
      // The honest policy, stopped after n calls.
      bool over = false;
      HostFunction some = [&](std::string_view name, std::string_view request) -> Result<std::string> {
        if (calls == n) {
          over = true;
          return Status(Code::kPolicy, "the script ends here");
        }
        ++calls;
        Json answer = host.Do(std::string(name).c_str(), std::string(request));
        return Dump(answer);
      };
      ScriptHost limited(some);
      auto done = Honest(input, limited);
      if (!over) return done;
      return SaysError("refused", "no, after " + std::to_string(n) + " calls");
    });
    complete = answer.contains("ok");
    if (complete) break;
    EXPECT_EQ(CodeOf(answer), "refused") << answer;
    ExpectNothingLeft("after " + std::to_string(n) + " calls");
    if (HasFailure()) return;
  }
  EXPECT_GE(n, 12);
  Cleanup("hostile");
  Settle();
  ExpectNothingLeft("at the end");
}

// Every system call that changes something fails once.
TEST_F(OperationTest, AFailureOfAnySystemCallLeavesNothing) {
  MakeVolume("blue", "b");
  std::vector<Json> volumes = {Volume("red", "a"), Volume("blue", "b")};
  ASSERT_TRUE(Prepare("first", volumes).contains("ok"));
  Cleanup("first");
  Settle();
  int failed = 0;
  for (int n = 1;; ++n) {
    int left = n;
    world_.sys.fault = [&](const char*) { return left > 0 && --left == 0 ? ENOSPC : 0; };
    Json answer = Prepare("one", volumes);
    world_.sys.fault = nullptr;
    if (left > 0) {
      EXPECT_TRUE(answer.contains("ok")) << answer;
      break;
    }
    if (answer.contains("ok")) {
      Cleanup("one");  // what failed could be done without
    } else {
      ++failed;
      EXPECT_FALSE(MessageOf(answer).empty()) << n;
    }
    Settle();
    Recover();
    ExpectNothingLeft("call " + std::to_string(n));
    if (HasFailure()) return;
  }
  EXPECT_GT(failed, 8);
}

// Beneath the lost volume is a folder of the node: what is written there is on no volume.
TEST_F(OperationTest, AVolumeThatItsDriverLosesInTheMiddleIsNotStaged) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply*) {
    if (method == "Create") world_.transport.ForgetMounts("red", true);  // its plugin starts anew
    return false;
  };
  Json answer = Prepare("two", {Volume("blue", "b"), Volume("red", "a")});
  ASSERT_TRUE(answer.contains("error")) << answer;
  EXPECT_NE(Dump(answer).find("the driver lost the volume: its mount at "), std::string::npos) << answer;
  transport_.hook = nullptr;
  EXPECT_TRUE(Prepare("two", {Volume("blue", "b"), Volume("red", "a")}).contains("ok")) << "attached anew";
}

TEST_F(OperationTest, TheDeadlineInTheMiddleOfThePlan) {
  // Each call of the driver costs a millisecond: the deadline passes at another place each time.
  MakeVolume("red", "a"), MakeVolume("red", "b");
  for (int64_t ms = 1; ms <= 4; ++ms) {
    Json answer = Prepare("one", {Volume("red", "a"), Volume("red", "b")}, {{"deadline_ms", ms}});
    EXPECT_EQ(CodeOf(answer), "timeout") << ms << ": " << answer;
    Settle();
    ExpectNothingLeft(std::to_string(ms) + " ms");
  }
  EXPECT_TRUE(Prepare("one", {Volume("red", "a"), Volume("red", "b")}, {{"deadline_ms", 5}}).contains("ok"));
}

TEST_F(OperationTest, TargetFoldersAreMadeAndRemoved) {
  std::string below = root_ + "/targets";
  settings_.target_roots = {below};
  std::filesystem::create_directory(below);
  Json inside = {{"container_path", below + "/x/y"}}, outside = {{"container_path", "/srv/elsewhere"}};
  Json refused = Prepare("one", {Volume("red", "a", outside)}, {{"targets", "make"}});
  EXPECT_EQ(CodeOf(refused), "refused") << refused;
  EXPECT_TRUE(Sent().empty());
  ASSERT_TRUE(Prepare("one", {Volume("red", "a", inside)}, {{"targets", "make"}}).contains("ok"));
  EXPECT_TRUE(std::filesystem::is_directory(below + "/x/y"));
  // Another one with a target there inherits the folders.
  ASSERT_TRUE(Prepare("two", {Volume("red", "a", inside)}, {{"targets", "make"}}).contains("ok"));
  Cleanup("one");
  EXPECT_TRUE(std::filesystem::is_directory(below + "/x/y"));
  Cleanup("two");
  EXPECT_FALSE(std::filesystem::exists(below + "/x"));
  EXPECT_TRUE(std::filesystem::is_directory(below)) << "it was there before";
  Settle();
  ExpectNothingLeft();
}

TEST_F(OperationTest, TheEnginesOwnFoldersAreNoTargets) {
  for (const std::string& target :
       {settings_.state_dir + "/stage/x", settings_.policy_dir, root_, std::string("/etc"),
        std::string("/srv/../etc"), std::string("relative")}) {
    Json answer = Prepare("one", {Volume("red", "a", {{"container_path", target}})}, {{"targets", "check"}});
    EXPECT_FALSE(answer.contains("ok")) << target;
  }
  EXPECT_TRUE(Sent().empty());
}

TEST_F(OperationTest, HidesVolumesOfOthersFromAScopeWithAProcess) {
  MakeVolume("red", "a"), MakeVolume("blue", "b");
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  pid_t pid = world_.sys.StartProcess();
  Json answer = Prepare("two", {Volume("blue", "b")}, {{"process", {{"pid", pid}}}});
  ASSERT_TRUE(answer.contains("ok")) << answer;
  Json mountpoint = Known("red", "a")["mountpoint"];
  EXPECT_NE(std::find(answer["ok"]["hide"].begin(), answer["ok"]["hide"].end(), mountpoint),
            answer["ok"]["hide"].end())
      << answer;
}

// Data is never undone: what was made for a workload that could not start stays, and is known as that.
TEST_F(OperationTest, AVolumeThatWasMadeInVainIsKnownAsMadeAndUnused) {
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Mount") *reply = Says(R"({"Err":"no more devices"})", 500);
    return method == "Mount";
  };
  EXPECT_EQ(CodeOf(Prepare("one", {Volume("red", "new")})), "driver");
  EXPECT_EQ(Known("red", "new")["state"], "created");
  EXPECT_EQ(Known("red", "new")["created_by_us"], true);
  transport_.hook = nullptr;
  EXPECT_TRUE(Prepare("two", {Volume("red", "new")}).contains("ok"));
  Cleanup("two");
  EXPECT_EQ(Known("red", "new")["state"], "known");
  EXPECT_EQ(Count("red Create"), 1);
}

TEST_F(OperationTest, AVolumeThatMayHaveBeenMadeIsKnownToo) {
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method != "Create") return false;
    reply->outcome = PluginReply::Outcome::kLost, reply->sent = true, reply->detail = "gone";
    return true;
  };
  EXPECT_NE(CodeOf(Prepare("one", {Volume("red", "new")})), "ok");
  EXPECT_EQ(Known("red", "new")["state"], "created");
  EXPECT_EQ(Known("red", "new")["created_by_us"], false);
}

TEST_F(OperationTest, AVolumeThatTheDriverWouldNotMakeIsNotKnown) {
  transport_.hook = [](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Create") *reply = Says(R"({"Err":"no room"})", 500);
    return method == "Create";
  };
  EXPECT_EQ(CodeOf(Prepare("one", {Volume("red", "new")})), "driver");
  EXPECT_TRUE(Known("red", "new").is_null()) << Known("red", "new");
}

// Many drivers name a folder of a filesystem that is there in every boot, whether they have done what makes
// it the volume's or not.
TEST_F(OperationTest, AfterARebootADriverIsAskedForItsMountAgainWhateverLiesThere) {
  MakeVolume("red", "a");
  const std::string folder = root_ + "/volumes/plain";
  std::filesystem::create_directories(folder);
  int mounts = 0;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method != "Mount") return false;
    ++mounts;
    *reply = Says(Json{{"Mountpoint", folder}, {"Err", ""}}.dump());
    return true;
  };
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  ASSERT_TRUE(Prepare("two", {Volume("red", "a")}).contains("ok"));
  EXPECT_EQ(mounts, 1) << "shared";
  Close();
  world_.sys.Reboot();
  const Json answer = Prepare("three", {Volume("red", "a")});
  ASSERT_TRUE(answer.contains("ok")) << answer;
  EXPECT_EQ(mounts, 2);
  EXPECT_EQ(answer["ok"]["volumes"][0]["what"], "re-attached");
}

TEST_F(OperationTest, BeforeACreateLeavesItIsKnownThatTheVolumeMayBeThere) {
  std::string state;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply*) {
    if (method != "Create") return false;
    EXPECT_TRUE(engine()
                    .core()
                    .ledger
                    ->Read([&](LedgerTx& tx) -> Status {
                      DVDI_ASSIGN_OR_RETURN(auto row, tx.GetVolume("red", "new"));
                      if (row) state = row->state;
                      return Status();
                    })
                    .ok());
    return false;
  };
  EXPECT_TRUE(Prepare("one", {Volume("red", "new")}).contains("ok"));
  EXPECT_EQ(state, "creating");
}

}  // namespace
}  // namespace dvdi
