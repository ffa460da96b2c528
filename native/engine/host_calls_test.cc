// What a policy may ask for, and what it does not get whatever it asks (promises 4, 9 and 11).
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/meta.h"
#include "engine/testing/sim_engine.h"
#include "mount/mountinfo.h"

namespace dvdi {
namespace {

class HostCallsTest : public SimEngineTest {
 protected:
  // One call of the policy on the volume red/a; its answer.
  Json OneCall(const Json& call, const Json& volume = Volume("red", "a")) {
    Json answer;
    Hostile({volume}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
      answer = host.Do("plugin_call", {{"calls", {call}}});
      return SaysError("refused", "that was all");
    });
    return answer;
  }
  // Asks Get and List as Create wants it.
  static void AskFirst(ScriptHost& host) {
    host.Plugin({{"method", "Get"}, {"volume", 0}});
    host.Plugin({{"method", "List"}, {"driver", "red"}});
  }
};

const Json kCreate = {{"method", "Create"}, {"volume", 0}};
const Json kGet = {{"method", "Get"}, {"volume", 0}};
const Json kMount = {{"method", "Mount"}, {"volume", 0}};

TEST_F(HostCallsTest, CreateNeedsGetsOwnNo) {
  Json create;
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    host.Plugin({{"method", "List"}, {"driver", "red"}});
    create = host.Plugin(kCreate);
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(create["kind"], "refused") << create;
  EXPECT_EQ(Count("red Create"), 0);
}

TEST_F(HostCallsTest, AFolderOfOurOwnIsNobodysVolume) {
  MakeVolume("red", "a");
  const std::string state = settings_.state_dir;
  for (const std::string& named :
       {state, state + "/stage", state + "/./ledger.db", state.substr(0, state.rfind('/'))}) {
    if (named.empty()) continue;
    transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
      *reply = Says(Json{{"Mountpoint", named}, {"Err", ""}}.dump());
      return method == "Mount";
    };
    Json answer = OneCall(kMount);
    EXPECT_EQ(answer["ok"]["answers"][0]["kind"], "refused") << named << answer;
    EXPECT_HAS(answer.dump(), "keeps its own") << named;
  }
}

TEST_F(HostCallsTest, CreateNeedsAListWithoutTheVolume) {
  // Get says no to a volume that exists: some drivers do while their backend is away.
  MakeVolume("red", "a");
  Json create, after_list;
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    world_.transport.plugins["red"].volumes.clear();
    host.Plugin(kGet);
    create = host.Plugin(kCreate);
    MakeVolume("red", "a");
    host.Plugin({{"method", "List"}, {"driver", "red"}});
    after_list = host.Plugin(kCreate);
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(create["kind"], "refused") << create;
  EXPECT_EQ(after_list["kind"], "refused") << after_list;
  EXPECT_EQ(Count("red Create"), 0);
}

TEST_F(HostCallsTest, WhatIsUnknownNeverLeadsToCreate) {
  using Outcome = PluginReply::Outcome;
  std::vector<PluginReply> odd(6);
  odd[0].outcome = Outcome::kTimeout, odd[0].sent = true;
  odd[1].outcome = Outcome::kLost, odd[1].sent = true;
  odd[2].outcome = Outcome::kUnreachable;
  odd[3] = Says("<html>bad gateway</html>", 502);
  odd[4] = Says("404 page not found", 404);
  odd[5].outcome = Outcome::kTooLarge;
  settings_.breaker.failures = 0;
  for (const std::string asked : {"Get", "List"}) {
    // A list that did not come names nothing, and says nothing by that.
    if (asked == "List") odd.push_back(Says("{\"Err\":\"the backend is away\"}", 500));
    for (size_t i = 0; i < odd.size(); ++i) {
      SCOPED_TRACE(asked + " " + std::to_string(i));
      transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
        *reply = odd[i];
        return method == asked;
      };
      Json get, create;
      Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
        get = host.Plugin(kGet);
        host.Plugin({{"method", "List"}, {"driver", "red"}});
        create = host.Plugin(kCreate);
        return SaysError("unavailable", "enough");
      });
      EXPECT_EQ(get["kind"], asked == "Get" ? "unknown" : "error") << get;
      EXPECT_EQ(create["kind"], "refused") << create;
      EXPECT_EQ(Count("red Create"), 0);
    }
  }
}

TEST_F(HostCallsTest, TheListOfOneDriverSaysNothingOfAnothersVolumes) {
  MakeVolume("red", "a");
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    *reply = Says("{\"Err\":\"the backend is away\"}", 500);
    return method == "Get";
  };
  Json get, create;
  Hostile({Volume("red", "a"), Volume("blue", "b")},
          [&](const Json&, ScriptHost& host) -> Result<std::string> {
            get = host.Plugin(kGet);
            host.Plugin({{"method", "List"}, {"driver", "blue"}});
            create = host.Plugin(kCreate);
            return SaysError("refused", "enough");
          });
  EXPECT_EQ(get["kind"], "error") << get;
  EXPECT_EQ(create["kind"], "refused") << create;
  EXPECT_EQ(Count("red Create"), 0);
}

// Another node may have made it since, or a Mount whose answer was lost.
TEST_F(HostCallsTest, ANoThatIsNotTheLastWordLeadsToNoCreate) {
  Json found, after_found, mount, after_mount;
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    AskFirst(host);
    MakeVolume("red", "a");
    found = host.Plugin(kGet);
    after_found = host.Plugin(kCreate);
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(found["kind"], "ok") << found;
  EXPECT_EQ(after_found["kind"], "refused") << after_found;
  world_.transport.plugins["red"].volumes.clear();
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method == "Mount") reply->outcome = PluginReply::Outcome::kLost, reply->sent = true;
    return method == "Mount";
  };
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    AskFirst(host);
    mount = host.Plugin(kMount);
    after_mount = host.Plugin(kCreate);
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(mount["kind"], "unknown") << mount;
  EXPECT_EQ(after_mount["kind"], "refused") << after_mount;
  EXPECT_EQ(Count("red Create"), 0);
}

TEST_F(HostCallsTest, CreateIsNotSentWhereTheStatementSaysNever) {
  Json create;
  Hostile({Volume("red", "a", {{"create", "never"}})},
          [&](const Json&, ScriptHost& host) -> Result<std::string> {
            AskFirst(host);
            create = host.Plugin(kCreate);
            return SaysError("refused", "enough");
          });
  EXPECT_EQ(create["kind"], "refused") << create;
  EXPECT_HAS(create["error"].get<std::string>(), "never");
  EXPECT_EQ(Count("red Create"), 0);
}

TEST_F(HostCallsTest, ASecondCreateIsNotSentOnTheSameAnswer) {
  Json together, after;
  Hostile({Volume("red", "a"), Volume("red", "a", {{"container_path", "/srv/other"}})},
          [&](const Json&, ScriptHost& host) -> Result<std::string> {
            AskFirst(host);
            Json second = kCreate;
            second["volume"] = 1;
            together = host.PluginAll({kCreate, kCreate, second});
            after = host.Plugin(kCreate);
            return SaysError("refused", "enough");
          });
  EXPECT_EQ(together[0]["kind"], "ok") << together;
  EXPECT_EQ(together[1]["kind"], "refused") << together;
  EXPECT_EQ(together[2]["kind"], "refused") << together;
  EXPECT_EQ(after["kind"], "refused") << after;
  EXPECT_EQ(Count("red Create"), 1);
}

// A second Create under a mount makes some drivers forget it, or count it anew.
TEST_F(HostCallsTest, WhatIsAttachedIsNotCreated) {
  MakeVolume("red", "a");
  // A driver that was restarted, and says that it knows nothing.
  bool forgot = false;
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (!forgot) return false;
    if (method == "Get") *reply = Says("{\"Err\":\"no such volume\"}", 500);
    if (method == "List") *reply = Says("{\"Volumes\":[]}");
    return method == "Get" || method == "List";
  };
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Json used, mounted;
  forgot = true;
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    AskFirst(host);
    used = host.Plugin(kCreate);
    return SaysError("refused", "enough");
  });
  forgot = false;
  Cleanup("one");
  Settle();
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    forgot = true;
    AskFirst(host);
    forgot = false;
    host.Plugin(kMount);
    mounted = host.Plugin(kCreate);
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(used["kind"], "refused") << used;
  EXPECT_EQ(mounted["kind"], "refused") << mounted;
  EXPECT_EQ(Count("red Create"), 0);
}

TEST_F(HostCallsTest, OptionsThatOverwriteNeedTheOperatorsWord) {
  settings_.drivers["blue"].overwrite_options = {"overwritefs"};
  auto create = [&](const std::string& driver, const Json& options) {
    Json answer;
    Hostile({Volume(driver, "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
      host.Plugin(kGet);
      host.Plugin({{"method", "List"}, {"driver", driver}});
      Json call = kCreate;
      call["options"] = options;
      answer = host.Plugin(call);
      return SaysError("refused", "enough");
    });
    if (GetString(answer, "kind") == "refused")
      EXPECT_HAS(GetString(answer, "error"), "drivers." + driver + ".overwrite_options");
    return GetString(answer, "kind");
  };
  for (const char* name :
       {"overwritefs", "overwriteFS", "overwrite-fs", "dvdi/overwritefs", "force_format"}) {
    EXPECT_EQ(create("red", {{name, "true"}}), "refused") << name;
    EXPECT_EQ(create("red", {{name, "anything"}}), "refused") << name;
  }
  EXPECT_EQ(create("blue", {{"force_format", "true"}}), "refused") << "another option than the allowed one";
  // What a secret holds is read where the option is looked at.
  std::filesystem::create_directory(settings_.secrets_dir);
  ASSERT_EQ(::chmod(settings_.secrets_dir.c_str(), 0700), 0);
  std::ofstream(settings_.secrets_dir + "/yes") << "true";
  ASSERT_EQ(::chmod((settings_.secrets_dir + "/yes").c_str(), 0600), 0);
  EXPECT_EQ(create("red", {{"overwritefs", {{"secret", "yes"}}}}), "refused");
  EXPECT_EQ(Count("red Create") + Count("blue Create"), 0);
  EXPECT_EQ(create("red", {{"overwritefs", "false"}, {"size", "1"}}), "ok") << "saying no destroys nothing";
  EXPECT_EQ(create("blue", {{"overwritefs", "true"}}), "ok") << "the operator allows it for that driver";
}

TEST_F(HostCallsTest, OptionsGoWithAMountOnlyWhereTheDriverTakesThem) {
  MakeVolume("red", "a");
  std::vector<std::string> mounts;
  bool takes = false;
  transport_.hook = [&](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method == "Mount") mounts.push_back(request.body);
    *reply = Says(Json{{"Capabilities", {{"Scope", "global"}, {"MountOpts", takes}}}}.dump());
    return method == "Capabilities";
  };
  auto mount = [&](const Json& options) {
    Json answer;
    Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
      Json capabilities = host.Plugin({{"method", "Capabilities"}, {"driver", "red"}});
      EXPECT_EQ(GetBool(capabilities, "mount_opts"), takes);
      Json call = kMount;
      call["options"] = options;
      answer = host.Plugin(call);
      return SaysError("refused", "enough");
    });
    return answer;
  };
  EXPECT_EQ(mount({{"size", "2"}})["kind"], "refused");
  EXPECT_TRUE(mounts.empty());
  takes = true;
  EXPECT_EQ(mount({{"size", "2"}})["kind"], "ok");
  ASSERT_EQ(mounts.size(), 1u);
  EXPECT_HAS(mounts[0], "\"Opts\":{\"size\":\"2\"}");
  Json overwrite = mount({{"size", "2"}, {"overwritefs", "true"}});
  EXPECT_EQ(overwrite["kind"], "refused");
  EXPECT_HAS(overwrite["error"].get<std::string>(), "with a Create alone");
  EXPECT_EQ(mounts.size(), 1u);
}

TEST_F(HostCallsTest, UnmountAndRemoveAreTheEnginesOwn) {
  MakeVolume("red", "a");
  for (const char* method : {"Unmount", "Remove"}) {
    Json answer = OneCall({{"method", method}, {"volume", 0}});
    EXPECT_EQ(CodeOf(answer), "policy") << answer;
  }
  EXPECT_TRUE(HasVolume("red", "a"));
  EXPECT_EQ(Count("red Unmount") + Count("red Remove"), 0);
}

TEST_F(HostCallsTest, OnlyTheProtocolsMethods) {
  for (const char* method : {"", "get", "Get ", "Prune", "../VolumeDriver.Remove", "Remove\n"}) {
    Json answer = OneCall({{"method", method}, {"volume", 0}});
    EXPECT_EQ(CodeOf(answer), "policy") << method << ": " << answer;
  }
  EXPECT_TRUE(Sent().empty());
}

TEST_F(HostCallsTest, OnlyDriversAndVolumesOfTheOperation) {
  for (const char* method : {"Activate", "Capabilities", "List"}) {
    for (const char* driver : {"blue", "", "../red", "none"}) {
      Json answer = OneCall({{"method", method}, {"driver", driver}});
      EXPECT_EQ(CodeOf(answer), "policy") << driver << ": " << answer;
    }
  }
  for (const Json& index : {Json(1), Json(-1), Json(INT64_MAX), Json(INT64_MIN), Json(18446744073709551615u),
                            Json("0"), Json(0.0), Json(nullptr), Json::array()}) {
    Json answer = OneCall({{"method", "Get"}, {"volume", index}});
    EXPECT_EQ(CodeOf(answer), "policy") << index << ": " << answer;
  }
  EXPECT_TRUE(Sent().empty());
}

TEST_F(HostCallsTest, ListShowsTheOperationsOwnVolumesAlone) {
  for (const char* name : {"a", "b", "payroll"}) MakeVolume("red", name);
  Json list = OneCall({{"method", "List"}, {"driver", "red"}});
  EXPECT_EQ(list["ok"]["answers"][0]["volumes"], Json::parse(R"([{"name":"a"}])")) << list;
}

TEST_F(HostCallsTest, EveryCallHasADeadlineWithinTheOperations) {
  MakeVolume("red", "a");
  for (int64_t within : {int64_t{0}, int64_t{700}}) {
    int64_t begin = 0;
    transport_.requests.clear();
    Hostile(
        {Volume("red", "a")},
        [&](const Json&, ScriptHost& host) -> Result<std::string> {
          begin = world_.clock.MonotonicMs();
          for (const Json& ms : {Json(50), Json(), Json(int64_t{1} << 60), Json(-5), Json(0), Json("1")}) {
            Json call = kGet;
            if (!ms.is_null()) call["timeout_ms"] = ms;
            host.Plugin(call);
          }
          return SaysError("refused", "enough");
        },
        {{"deadline_ms", within}});
    ASSERT_EQ(transport_.requests.size(), 6u);
    EXPECT_EQ(transport_.requests[0].deadline_ms, begin + 50) << "a shorter one is the policy's to choose";
    for (const auto& r : transport_.requests) {
      EXPECT_LE(r.deadline_ms, world_.clock.MonotonicMs() + (within > 0 ? within : settings_.call_max_ms));
      EXPECT_GT(r.deadline_ms, 0);
      EXPECT_EQ(r.max_body, settings_.max_body);
    }
  }
}

TEST_F(HostCallsTest, SleepEndsAtTheDeadlineAndThenTheOperation) {
  MakeVolume("red", "a");
  int64_t begin = world_.clock.MonotonicMs();
  bool went_on = false;
  Json answer = Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    host.Plugin(kGet);
    host.Plugin(kMount);
    host.Do("sleep", {{"ms", INT64_MAX}});
    Json stage = host.Stage({{"volume", 0}});
    went_on = !stage.is_null();
    return AllIsWell();
  });
  EXPECT_EQ(CodeOf(answer), "timeout") << answer;
  EXPECT_FALSE(went_on);
  EXPECT_LE(world_.clock.MonotonicMs() - begin, settings_.prepare_ms + 1000);
  ExpectNothingLeft();
}

TEST_F(HostCallsTest, StageNeedsAnAnsweredMountAndComesOnce) {
  MakeVolume("red", "a");
  Json early, first, again, twice, none;
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    early = host.Do("stage", {{"stages", {{{"volume", 0}}}}});
    host.Plugin(kMount);
    twice = host.Do("stage", {{"stages", {{{"volume", 0}}, {{"volume", 0}}}}});
    first = host.Do("stage", {{"stages", {{{"volume", 0}}}}});
    again = host.Do("stage", {{"stages", {{{"volume", 0}}}}});
    none = host.Do("stage", {{"stages", {{{"volume", 7}}}}});
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(CodeOf(early), "policy") << early;
  EXPECT_EQ(CodeOf(twice), "policy") << twice;
  EXPECT_TRUE(first.contains("ok")) << first;
  EXPECT_EQ(CodeOf(again), "policy") << again;
  EXPECT_EQ(CodeOf(none), "policy") << none;
  Settle();
  ExpectNothingLeft();
}

// What failed may be asked for otherwise.
TEST_F(HostCallsTest, AStageThatFailedCanBeMadeByAnotherTry) {
  MakeVolume("red", "a");
  Json first, again;
  Json answer = Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    host.Plugin(kMount);
    first = host.Do("stage", {{"stages", {{{"volume", 0}, {"subpath", "none/there"}}}}});
    again = host.Do("stage", {{"stages", {{{"volume", 0}}}}});
    return AllIsWell();
  });
  EXPECT_TRUE(first["ok"]["stages"][0].contains("error")) << first;
  EXPECT_EQ(again["ok"]["stages"][0]["ok"], true) << again;
  EXPECT_TRUE(answer.contains("ok")) << answer;
}

TEST_F(HostCallsTest, ReadOnlyCannotBeLifted) {
  MakeVolume("red", "a");
  Json answer = Hostile({Volume("red", "a", {{"mode", "ro"}})},
                        [&](const Json&, ScriptHost& host) -> Result<std::string> {
                          host.Plugin(kMount);
                          host.Stage({{"volume", 0}, {"read_only", false}});
                          return AllIsWell();
                        });
  ASSERT_TRUE(answer.contains("ok")) << answer;
  EXPECT_EQ(answer["ok"]["volumes"][0]["mode"], "ro");
  auto mounts = ParseMountinfo(world_.sys.Mountinfo(0).value());
  const MountEntry* stage = FindMount(mounts, answer["ok"]["volumes"][0]["stage"].get<std::string>());
  ASSERT_NE(stage, nullptr);
  EXPECT_TRUE(stage->options.starts_with("ro")) << stage->options;
}

TEST_F(HostCallsTest, MountOfAnAttachedVolumeIsAnsweredWithoutTheDriver) {
  MakeVolume("red", "a");
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  Json answer = Prepare("two", {Volume("red", "a"), Volume("red", "a", {{"container_path", "/srv/second"}})});
  ASSERT_TRUE(answer.contains("ok")) << answer;
  EXPECT_EQ(Count("red Mount"), 1);
  EXPECT_EQ(answer["ok"]["volumes"][0]["what"], "shared");
}

// Its proofs go with a prepare that cannot begin; those of what is attached already are others' too.
TEST_F(HostCallsTest, APrepareThatCannotBeginTakesNobodysProofAway) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  const std::string stages = settings_.state_dir + "/stage", id = GetString(Known("red", "a"), "id");
  Ledger& ledger = *engine().core().ledger;
  OperationRow other;
  other.id = "0123456789abcdef", other.owner = "run", other.scope = "hostile", other.state = kCommitted;
  MakeVolume("red", "b");
  Json mount;
  Hostile(
      {Volume("red", "a"), Volume("red", "b")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
        // Another process has begun a workload of this name meanwhile.
        EXPECT_TRUE(
            ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) { return tx.PutOperation(other); }).ok());
        mount = host.Do("plugin_call", {{"calls", {{{"method", "Mount"}, {"volume", 1}}}}});
        return SaysError("refused", "enough");
      });
  EXPECT_HAS(mount.dump(), "has volumes already");
  EXPECT_EQ(Count("red Mount"), 1);
  EXPECT_TRUE(ReadMeta(env(), stages, id).ok());
  EXPECT_EQ(ListMeta(env(), stages).value(), std::vector<std::string>{id});
  EXPECT_TRUE(
      ledger.Apply(Commit::undone, false, [&](LedgerTx& tx) { return tx.DeleteOperation(other.id); }).ok());
  Cleanup("one");
  Settle();
  EXPECT_FALSE(Attached("red", "a"));
  ExpectNothingLeft();
}

TEST_F(HostCallsTest, OneVolumeAtTwoPathsIsOneMount) {
  MakeVolume("red", "a");
  std::vector<Json> twice = {Volume("red", "a"), Volume("red", "a", {{"container_path", "/srv/second"}})};
  for (bool together : {true, false}) {
    Json mounts = Json::array();
    Json answer = Hostile(twice, [&](const Json&, ScriptHost& host) -> Result<std::string> {
      Json second = {{"method", "Mount"}, {"volume", 1}};
      if (together)
        mounts = host.PluginAll({kMount, second});
      else
        mounts = {host.Plugin(second), host.Plugin(kMount)};
      host.Do("stage", {{"stages", {{{"volume", 0}}, {{"volume", 1}}}}});
      return AllIsWell();
    });
    ASSERT_TRUE(answer.contains("ok")) << answer;
    EXPECT_EQ(mounts[0], mounts[1]);
    EXPECT_EQ(mounts[0]["kind"], "ok");
    EXPECT_NE(answer["ok"]["volumes"][0]["stage"], answer["ok"]["volumes"][1]["stage"]);
    Cleanup("hostile");
    Settle();
    ExpectNothingLeft();
  }
  EXPECT_EQ(Count("red Mount"), 2);
  EXPECT_EQ(Count("red Unmount"), 2);
}

TEST_F(HostCallsTest, RequestsThatMakeNoSenseAreAnsweredSo) {
  const char* odd[] = {"",
                       "null",
                       "[]",
                       "7",
                       "\"text\"",
                       "{\"calls\":{}}",
                       "{\"calls\":[]}",
                       "{\"calls\":[1]}",
                       "{",
                       "{\"calls\":[[]]}",
                       "\xff\xfe"};
  for (const char* name : {"plugin_call", "stage", "query"}) {
    for (const char* text : odd) {
      Json answer;
      Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
        answer = host.Do(name, std::string(text));
        return SaysError("refused", "enough");
      });
      EXPECT_EQ(CodeOf(answer), "policy") << name << " " << text << ": " << answer;
    }
  }
  std::vector<Json> many(257, kGet);
  Json answer;
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    answer = host.Do("plugin_call", {{"calls", many}});
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(CodeOf(answer), "policy");
  EXPECT_TRUE(Sent().empty());
}

TEST_F(HostCallsTest, TimeAndChance) {
  Json now, random, query;
  Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    now = host.Do("now", Json::object());
    random = host.Do("random", Json::object());
    query = host.Do("query", {{"what", "volume"}, {"volume", 0}});
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(now["ok"]["unix_ms"], world_.clock.WallMs());
  EXPECT_EQ(now["ok"]["left_ms"], settings_.prepare_ms);
  EXPECT_TRUE(random["ok"]["u32"].is_number_unsigned());
  EXPECT_EQ(query["ok"]["attachment"]["state"], "none");
  EXPECT_EQ(query["ok"]["history"]["known"], false);
}

}  // namespace
}  // namespace dvdi
