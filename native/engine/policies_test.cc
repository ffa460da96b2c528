// A node's policies over time: canary, shadow, activation, the automatic return, and what operators are told.
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/testing/policy_blobs.h"

namespace dvdi {
namespace {

class PoliciesTest : public PolicyBlobsTest {
 protected:
  PoliciesTest() { MakeVolume("red", "a"); }
};

TEST_F(PoliciesTest, TheCanaryDecidesTheRecordedOperationsOnceMore) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Workload("w" + std::to_string(i)).contains("ok"));
  Json same = Install(Sound("1.0.1"));
  ASSERT_TRUE(same.contains("ok")) << same;
  EXPECT_EQ(same["ok"]["canary"]["checks"], 3);
  // Prepares and cleanups.
  EXPECT_EQ(same["ok"]["canary"]["operations"], 8);
  EXPECT_EQ(same["ok"]["canary"]["different"], 0) << same;
  EXPECT_GE(same["ok"]["canary"]["same"], 4) << same;

  const std::string other = ScriptBlob(ParseSteps(), PrepareSteps(1, true), "1.1.0");
  Json counted = Install(other);
  ASSERT_TRUE(counted.contains("ok")) << counted;
  EXPECT_EQ(counted["ok"]["canary"]["different"], 4) << counted;
  EXPECT_EQ(counted["ok"]["canary"]["examples"][0]["now"]["read_only"], true) << counted;
  EXPECT_EQ(Active(), "1.1.0");
}

TEST_F(PoliciesTest, TheSettingsBoundWhatMayDiffer) {
  settings_.max_differences = 1;
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Workload("w1").contains("ok"));
  const std::string other = ScriptBlob(ParseSteps(), PrepareSteps(1, true), "1.1.0");
  EXPECT_TRUE(Install(other).contains("ok")) << "one may";
  ASSERT_TRUE(Verb("rollback").contains("ok"));
  ASSERT_TRUE(Workload("w2").contains("ok"));
  Json refused = Verb("activate", {{"policy", "1.1.0"}});
  EXPECT_EQ(CodeOf(refused), "refused") << refused;
  EXPECT_HAS(MessageOf(refused), "decides 2 of");
  EXPECT_HAS(MessageOf(refused), "policies.max_differences");
  EXPECT_EQ(Active(), "1.0.0");
  EXPECT_TRUE(Verb("activate", {{"policy", "1.1.0"}, {"allow_differences", true}}).contains("ok"));
  EXPECT_EQ(Active(), "1.1.0");
}

TEST_F(PoliciesTest, OneFailureInTheCanaryIsTheEnd) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Workload("w1", "mount the moon").contains("ok"));
  for (char how : {'t', 'l', 'z'}) {
    Json failed = Install(Trapping("1.1.0", "moon", how), {{"allow_differences", true}});
    EXPECT_EQ(CodeOf(failed), "policy") << failed;
    EXPECT_HAS(MessageOf(failed), "its canary failed on the recorded operation ");
    EXPECT_EQ(Active(), "1.0.0");
  }
  settings_.canary_operations = 0;
  Close();
  EXPECT_TRUE(Install(Trapping("1.1.0", "moon")).contains("ok"));
}

TEST_F(PoliciesTest, AShadowDecidesAndDoesNothing) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  Json begun = Verb("shadow", {{"path", File(ScriptBlob(ParseSteps(), PrepareSteps(1, true), "2.0.0"))},
                               {"operations", 3}});
  ASSERT_TRUE(begun.contains("ok")) << begun;
  EXPECT_EQ(Active(), "1.0.0");
  const int mounts = Count("red Mount");
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Workload("w" + std::to_string(i)).contains("ok"));
  EXPECT_EQ(Count("red Mount"), mounts + 2) << "the shadow sent nothing";
  Json seen = Verb("shadow")["ok"]["shadow"];
  EXPECT_EQ(seen["decisions"], Json({{"different", 2}})) << seen;
  EXPECT_EQ(seen["examples"][0]["now"]["read_only"], true) << seen;
  ASSERT_TRUE(Workload("last").contains("ok"));
  Json over = Verb("shadow")["ok"];
  EXPECT_TRUE(over["shadow"].is_null()) << over;
  EXPECT_EQ(over["last"]["decisions"], Json({{"different", 3}})) << over;
  EXPECT_EQ(Active(), "1.0.0");
  EXPECT_HAS(Audit(), "\"event\":\"shadow-ended\",\"detail\":\"it has decided 3 operations\"");
  ASSERT_TRUE(Verb("activate", {{"policy", "script@2.0.0"}}).contains("ok"));
  EXPECT_EQ(Active(), "2.0.0");
}

TEST_F(PoliciesTest, AShadowThatFailsIsOver) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Verb("shadow", {{"path", File(Trapping("2.0.0", "moon", 'l'))}}).contains("ok"));
  ASSERT_TRUE(Workload("w1", "fine").contains("ok"));
  ASSERT_TRUE(Workload("w2", "the moon").contains("ok")) << "nobody notices";
  Json over = Verb("shadow")["ok"];
  EXPECT_TRUE(over["shadow"].is_null()) << over;
  EXPECT_EQ(over["last"]["decisions"], Json({{"same", 1}, {"failed", 1}})) << over;
  EXPECT_HAS(Audit(), "it failed on operation");
}

TEST_F(PoliciesTest, AShadowHasItsTime) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Verb("shadow", {{"path", File(Sound("2.0.0"))}, {"for_ms", 60'000}}).contains("ok"));
  ASSERT_TRUE(Workload("w1").contains("ok"));
  EXPECT_EQ(Verb("shadow")["ok"]["shadow"]["decisions"], Json({{"same", 1}}));
  world_.clock.Advance(60'001);
  EXPECT_EQ(Verb("shadow")["ok"]["shadow"]["over"], true);
  ASSERT_TRUE(Workload("w2").contains("ok"));
  EXPECT_TRUE(Verb("shadow")["ok"]["shadow"].is_null());
  EXPECT_EQ(CodeOf(Verb("shadow", {{"stop", true}})), "not-found");
}

TEST_F(PoliciesTest, ADamagedVerdictOfAShadowIsShownForWhatIsLeft) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Verb("shadow", {{"path", File(Sound("2.0.0"))}}).contains("ok"));
  const Json begun = Verb("shadow")["ok"]["shadow"];
  VerdictRow row;
  row.sha256 = begun["sha256"], row.kind = kShadowVerdict, row.operation = "damaged",
  row.outcome = "different";
  row.detail = "7", row.at_ms = world_.clock.WallMs();
  ASSERT_TRUE(engine()
                  .core()
                  .ledger->Apply(Commit::recorded, false, [&](LedgerTx& tx) { return tx.PutVerdict(row); })
                  .ok());
  const Json seen = Verb("shadow");
  EXPECT_EQ(seen["ok"]["shadow"]["examples"][0]["operation"], "damaged") << seen;
}

TEST_F(PoliciesTest, AShadowOfNoPossibleLengthCostsNoCanary) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Workload("w1", "mount the moon").contains("ok"));
  const std::string path = File(Trapping("1.1.0", "moon"));
  EXPECT_EQ(CodeOf(Verb("shadow", {{"path", path}})), "policy") << "its canary fails";
  for (const Json& length : {Json{{"operations", -1}}, Json{{"operations", 100'001}}, Json{{"for_ms", -1}}}) {
    Json request = length;
    request["path"] = path;
    const Json answer = Verb("shadow", request);
    EXPECT_EQ(CodeOf(answer), "invalid") << answer;
    EXPECT_HAS(MessageOf(answer), path + ": a shadow has a time, or 1 to 100000 operations");
  }
}

TEST_F(PoliciesTest, WhatIsRefusedByTheActiveOneIsDecidedInShadowToo) {
  const ScriptSteps no = {{'a', R"({"error":{"code":"refused","message":"not today"}})"}};
  ASSERT_TRUE(Install(ScriptBlob(no, PrepareSteps(), "1.0.0")).contains("ok"));
  ASSERT_TRUE(Verb("shadow", {{"path", File(Sound("2.0.0"))}}).contains("ok"));
  EXPECT_EQ(CodeOf(Workload("w1")), "refused");
  EXPECT_EQ(Verb("shadow")["ok"]["shadow"]["decisions"], Json({{"different", 1}}));
}

// What the node's policies were and which are barred is no damage because a descriptor or memory is missing.
TEST_F(PoliciesTest, AStateThatCannotBeReadForTheMomentIsNotPutAside) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  for (int error : {EMFILE, ENFILE, ENOMEM}) {
    int n = 1;
    for (;; ++n) {
      int seen = 0;
      world_.sys.look_fault = [&](const char*) { return ++seen == n ? error : 0; };
      const std::string version = n % 2 == 0 ? "1.0.0" : "2.0.0";
      Json answer = Install(Sound(version), {{"allow_downgrade", true}});
      world_.sys.look_fault = nullptr;
      for (const auto& entry : std::filesystem::directory_iterator(settings_.policy_dir))
        EXPECT_EQ(entry.path().filename().string().find(".damaged-"), std::string::npos)
            << std::strerror(error) << " at look " << n;
      EXPECT_NE(Active(), "") << std::strerror(error) << " at look " << n << ": " << answer;
      if (HasFailure() || seen < n) break;
    }
    if (HasFailure()) return;
    EXPECT_GT(n, 10);
  }
}

TEST_F(PoliciesTest, APolicyThatFailsOnThreeWorkloadsIsTakenBack) {
  settings_.canary_operations = 0;  // which would not let it in
  for (char how : {'t', 'l', 'z'}) {
    const std::string version = std::string("2.0.") + std::to_string(how);
    ASSERT_TRUE(Install(Sound("1.0.0"), {{"allow_downgrade", true}}).contains("ok"));
    ASSERT_TRUE(Install(Trapping(version, "moon", how), {{"allow_downgrade", true}}).contains("ok"));
    const std::string tag(1, how);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(CodeOf(Workload(tag + "same", "the moon")), "policy");
    EXPECT_EQ(CodeOf(Workload(tag + "other", "the moon")), "policy");
    EXPECT_EQ(Active(), version) << "two workloads, however often they try";
    EXPECT_TRUE(Workload(tag + "fine").contains("ok"));
    EXPECT_EQ(CodeOf(Workload(tag + "third", "the moon")), "policy");
    EXPECT_EQ(Active(), "1.0.0");
    EXPECT_TRUE(Workload(tag + "third", "the moon").contains("ok"));
    Json barred = Install(Trapping(version, "moon", how), {{"allow_downgrade", true}});
    EXPECT_EQ(CodeOf(barred), "refused") << barred;
  }
  EXPECT_HAS(Audit(), "\"event\":\"taken-back\"");
  Json last = Verb("history")["ok"]["history"].back();
  EXPECT_EQ(last["event"], "taken-back");
  EXPECT_HAS(GetString(last, "why"), "it failed on 3 workloads that the policy before it decides");
}

// The record of one that asks without end has no room for all that it asked.
TEST_F(PoliciesTest, AFloodOfHostCallsCountsToo) {
  settings_.canary_operations = 0;
  for (char how : {'f', 'B'}) {
    ScriptSteps flood = PrepareSteps();
    flood.insert(flood.begin() + 1, {how, ""});
    const std::string version = std::string("2.0.") + std::to_string(how), tag(1, how);
    ASSERT_TRUE(Install(Sound("1.0.0"), {{"allow_downgrade", true}}).contains("ok"));
    ASSERT_TRUE(
        Install(ScriptBlob(ParseSteps(), flood, version), {{"allow_downgrade", true}}).contains("ok"));
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(Active(), version);
      Json answer = Workload(tag + std::to_string(i));
      EXPECT_HAS(MessageOf(answer), how == 'f' ? "host calls" : "bytes by host calls") << answer;
      EXPECT_EQ(Record(tag + std::to_string(i))["cut"], true);
    }
    EXPECT_EQ(Active(), "1.0.0");
  }
  Settle();
  ExpectNothingLeft();
}

// Where the one before does the same to the end of what is recorded, nobody knows how it would go on.
TEST_F(PoliciesTest, AFloodThatBothBeginCountsNothing) {
  settings_.canary_operations = 0;
  ScriptSteps both = PrepareSteps(), flood = both;
  for (ScriptSteps* steps : {&both, &flood})
    for (int i = 0; i < 9; ++i)
      steps->insert(steps->begin() + 1, {'w', "{\"ms\":0," + std::string(3'000, ' ') + "\"x\":1}"});
  flood.insert(flood.begin() + 10, {'t', ""});
  settings_.record_bytes = 20'000;
  ASSERT_TRUE(Install(ScriptBlob(ParseSteps(), both, "1.0.0")).contains("ok"));
  ASSERT_TRUE(Install(ScriptBlob(ParseSteps(), flood, "2.0.0")).contains("ok"));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(CodeOf(Workload("w" + std::to_string(i))), "policy");
    EXPECT_EQ(Record("w" + std::to_string(i))["cut"], true);
  }
  EXPECT_EQ(Active(), "2.0.0");
}

// In prepare, after effects: the policy before goes on where the other one traps.
TEST_F(PoliciesTest, ATrapAfterAMountCountsToo) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ScriptSteps late = PrepareSteps();
  late.insert(late.begin() + 1, {'t', ""});
  ASSERT_TRUE(Install(ScriptBlob(ParseSteps(), late, "2.0.0")).contains("ok"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(CodeOf(Workload("w" + std::to_string(i))), "policy");
  EXPECT_EQ(Active(), "1.0.0");
  Settle();
  ExpectNothingLeft();
}

TEST_F(PoliciesTest, AHostileStatementOrAnOutageTakesNoPolicyBack) {
  // Both fail on it.
  ASSERT_TRUE(Install(Trapping("1.0.0", "moon", 'l')).contains("ok"));
  ASSERT_TRUE(Install(Trapping("2.0.0", "moon", 't')).contains("ok"));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(CodeOf(Workload("h" + std::to_string(i), "moon")), "policy");
  EXPECT_EQ(Active(), "2.0.0");
  // The driver is away, hangs, or answers nonsense.
  transport_.hook = [](const std::string&, const PluginRequest&, PluginReply* reply) {
    reply->outcome = PluginReply::Outcome::kTimeout, reply->sent = true;
    return true;
  };
  for (int i = 0; i < 6; ++i) EXPECT_NE(CodeOf(Workload("o" + std::to_string(i))), "ok");
  transport_.hook = nullptr;
  Settle();
  Json list = Verb("ls")["ok"]["policies"];
  EXPECT_EQ(Active(), "2.0.0") << list;
}

// The stock policy with drivers that fail in every way, beside one that would have refused at once.
TEST_F(PoliciesTest, RefusalsAndDriversErrorsTakeNoPolicyBack) {
  ASSERT_TRUE(Install(Sound("0.0.1")).contains("ok"));
  ASSERT_TRUE(Install(std::string(BuiltinPolicy())).contains("ok"));
  const std::string stock = Active();
  const Json statement = {{"volumes", {{{"driver", "red"}, {"name", "a"}, {"container_path", "/srv/a"}}}}};
  int n = 0;
  for (const char* body :
       {R"({"Err":"internal error: backend down"})", "no JSON at all", R"({"Err": 5})", ""}) {
    transport_.hook = [body](const std::string& method, const PluginRequest&, PluginReply* reply) {
      *reply = Says(body, 500);
      return method != "Activate";
    };
    for (int i = 0; i < 4; ++i) EXPECT_NE(CodeOf(Workload("d" + std::to_string(++n), Dump(statement))), "ok");
  }
  transport_.hook = nullptr;
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(CodeOf(Workload("i" + std::to_string(i), "{\"volumes\": 5}")), "invalid");
  EXPECT_EQ(Active(), stock);
  Settle();
}

TEST_F(PoliciesTest, TheReturnCanBeLeftOut) {
  settings_.return_after = 0;
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Install(Trapping("2.0.0", "moon")).contains("ok"));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(CodeOf(Workload("w" + std::to_string(i), "moon")), "policy");
  EXPECT_EQ(Active(), "2.0.0");
}

TEST_F(PoliciesTest, AnotherProcessGoesOverAtItsNextOperation) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  auto agent = OpenAnother();
  EXPECT_EQ((*agent->core().policy->Current())->module->manifest().version, "1.0.0");
  ASSERT_TRUE(Install(Sound("1.1.0")).contains("ok"));
  Json answer = Call(*agent, &Engine::Prepare, Request("w", {}));
  EXPECT_EQ(answer["ok"]["policy"]["version"], "1.1.0") << answer;
  Cleanup("w");
  agent->Close(0);
}

// So that no operation has to wait until a policy is loaded.
TEST_F(PoliciesTest, TheKeeperLoadsWhatAnotherProcessSwappedIn) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  auto agent = OpenAnother();
  agent->Tick();
  ASSERT_TRUE(Install(Sound("1.1.0")).contains("ok"));
  agent->Tick();
  // It is not read again.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(settings_.policy_dir))
    if (entry.path().extension() == ".wasm") std::filesystem::resize_file(entry.path(), 0);
  Json answer = Call(*agent, &Engine::Prepare, Request("w", {}));
  EXPECT_EQ(answer["ok"]["policy"]["version"], "1.1.0") << answer;
  Cleanup("w");
  agent->Close(0);
}

TEST_F(PoliciesTest, VerbsAreAuditedAlsoWhereTheyAreRefused) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  EXPECT_EQ(CodeOf(Install(Sound("0.9.0"))), "refused");
  EXPECT_EQ(CodeOf(Verb("activate", {{"policy", "nobody"}})), "not-found");
  EXPECT_EQ(CodeOf(Verb("sing")), "invalid");
  EXPECT_TRUE(Verb("rollback", {{"bar", true}, {"why", "bad"}}).contains("ok"));
  EXPECT_TRUE(Verb("unbar", {{"policy", "1.0.0"}}).contains("ok"));
  const std::string audit = Audit();
  EXPECT_HAS(audit, "\"event\":\"installed\",\"outcome\":\"ok\",\"kind\":\"policy\",\"owner\":\"operator\"");
  EXPECT_HAS(audit, "\"event\":\"installed\",\"outcome\":\"refused\",\"error\":\"" + File(Sound("0.9.0")) +
                        ": the policy is not installed: version");
  EXPECT_HAS(audit, "\"event\":\"activated\",\"detail\":\"nobody\",\"outcome\":\"not-found\"");
  EXPECT_HAS(audit, "\"event\":\"rolled-back\"");
  EXPECT_HAS(audit, "\"event\":\"unbarred\"");
  EXPECT_HAS_NOT(audit, "sing");
}

TEST_F(PoliciesTest, WhatIsWrongWithAFileNamesIt) {
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  const std::string older = Sound("0.9.0"), nonsense = "no wasm";
  for (const std::string& blob : {older, nonsense}) {
    const std::string path = File(blob);
    EXPECT_EQ(MessageOf(Install(blob)).find(path + ": "), 0u) << MessageOf(Install(blob));
  }
  const std::string path = File(nonsense);
  EXPECT_EQ(MessageOf(Verb("shadow", {{"path", path}})).find(path + ": "), 0u);
  EXPECT_EQ(MessageOf(Verb("inspect", {{"path", path}})).find(path + ": "), 0u);
  const std::string pinned = MessageOf(Install(Sound("2.0.0"), {{"sha256", std::string(64, 'a')}}));
  EXPECT_EQ(pinned.find(File(Sound("2.0.0")) + ": the policy is not installed: its SHA-256 is "), 0u);
  // What is wrong with another place names that one alone: a file lies where the folder of policies is.
  const std::string blobs = settings_.policy_dir + "/blobs";
  std::filesystem::rename(blobs, blobs + ".aside");
  std::ofstream(blobs) << "no folder";
  for (const char* verb : {"install", "shadow"}) {
    const Json answer = Verb(verb, {{"path", File(Sound("3.0.0"))}, {"inactive", true}});
    EXPECT_HAS(MessageOf(answer), blobs);
    EXPECT_EQ(MessageOf(answer).find(File(Sound("3.0.0"))), std::string::npos) << answer;
  }
  std::filesystem::remove(blobs);
  std::filesystem::rename(blobs + ".aside", blobs);
  // Said once where it says so itself.
  const std::string gone = MessageOf(Verb("install", {{"path", "/nowhere/house.wasm"}}));
  EXPECT_EQ(gone.find("/nowhere"), gone.rfind("/nowhere")) << gone;
}

TEST_F(PoliciesTest, OperatorsSeeWhatIsThere) {
  Json list = Verb("ls")["ok"];
  ASSERT_EQ(list["policies"].size(), 1u) << list;
  EXPECT_EQ(list["policies"][0]["source"], "built-in");
  EXPECT_EQ(list["unsigned"], "allow");
  EXPECT_EQ(Verb("inspect")["ok"]["source"], "built-in");
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Install(Sound("2.0.0"), {{"inactive", true}}).contains("ok"));
  EXPECT_EQ(Active(), "1.0.0");
  std::map<std::string, std::string> states;
  const Json listed = Verb("ls")["ok"];
  for (const Json& p : listed["policies"]) states[p["version"]] = p["state"];
  EXPECT_EQ(states["1.0.0"], "active");
  EXPECT_EQ(states["2.0.0"], "kept");
  // The built-in one is still there, and can be active again.
  const std::string builtin = list["policies"][0]["sha256"];
  int seen = 0;
  for (const Json& p : listed["policies"]) {
    if (p["sha256"] != builtin) continue;
    EXPECT_EQ(p["source"], "built-in") << p;
    ++seen;
  }
  EXPECT_EQ(seen, 1) << listed;
  EXPECT_EQ(Verb("inspect", {{"policy", "built-in"}})["ok"]["sha256"], builtin);
  EXPECT_EQ(Verb("activate", {{"policy", "built-in"}, {"allow_downgrade", true}})["ok"]["sha256"], builtin);
  ASSERT_TRUE(Verb("rollback").contains("ok"));
  EXPECT_EQ(Active(), "1.0.0");
  Json one = Verb("inspect", {{"policy", "2.0.0"}})["ok"];
  EXPECT_EQ(one["state"], "kept") << one;
  EXPECT_FALSE(one.contains("problem")) << one;
  Json file = Verb("inspect", {{"path", File(Sound("3.0.0"))}})["ok"];
  EXPECT_EQ(file["version"], "3.0.0") << file;
  EXPECT_EQ(CodeOf(Verb("inspect", {{"path", File("nothing")}})), "policy");
}

TEST_F(PoliciesTest, InspectSaysWhatTheNodesHistoryHasAgainstABlob) {
  const auto problem = [&](const Json& of) { return GetString(Verb("inspect", of)["ok"], "problem"); };
  const std::string barred = File(Sound("3.0.0"));
  ASSERT_TRUE(Install(Sound("1.0.0")).contains("ok"));
  ASSERT_TRUE(Install(Sound("2.0.0")).contains("ok"));
  EXPECT_EQ(problem({{"path", barred}}), "");
  ASSERT_TRUE(Verb("bar", {{"policy", Verb("inspect", {{"path", barred}})["ok"]["sha256"]}}).contains("ok"));
  EXPECT_HAS(problem({{"path", barred}}), "is barred");
  EXPECT_HAS(problem({{"path", File(Sound("1.5.0"))}}), "version 1.5.0 is older than 2.0.0");
  EXPECT_HAS(problem({{"policy", "1.0.0"}}), "version 1.0.0 is older than 2.0.0");
  ASSERT_TRUE(Verb("rollback").contains("ok"));
  EXPECT_EQ(Active(), "1.0.0");
  EXPECT_EQ(problem({{"policy", "1.0.0"}}), "") << "it is the active one";
  EXPECT_EQ(problem({{"policy", "2.0.0"}}), "");
}

TEST_F(PoliciesTest, KeysOfTheSettingsDecideWhoseAreTaken) {
  settings_.policy_keys = {"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"};
  EXPECT_EQ(CodeOf(Install(Sound("1.0.0"))), "refused");
  EXPECT_EQ(Verb("ls")["ok"]["unsigned"], "refuse");
  Json inspected = Verb("inspect", {{"path", File(Sound("1.0.0"))}})["ok"];
  EXPECT_HAS(GetString(inspected, "problem"), "is not signed");
  Close();
  settings_.policy_keys = {"nonsense"};
  EXPECT_HAS(MessageOf(Install(Sound("1.0.0"))),
             "the entry nonsense of policies.keys is no minisign public key");
  Close();
  settings_.policy_keys.clear();
  settings_.unsigned_said = true;
  EXPECT_EQ(CodeOf(Install(Sound("1.0.0"))), "refused");
}

}  // namespace
}  // namespace dvdi
