#include "cli/verbs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "cli/doctor.h"
#include "cli/print.h"
#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

using Verbs = CommandTest;

Json ErrorAnswer(int code, const char* message) {
  return {{"code", code},
          {"answer", {{"error", {{"code", "x"}, {"message", message}, {"hint", "Do this"}}}}}};
}

TEST_F(Verbs, LsIsATableWithoutControls) {
  script_["status"]["volumes"]["answer"] = {
      {"volumes",
       {{{"driver", "d"},
         {"name", "data"},
         {"state", "attached"},
         {"last_used_ms", 1000},
         {"users", {{{"owner", "run"}, {"scope", "s"}, {"target", "/data"}, {"stage", "/st"}}}}},
        {{"driver", "evil\x1b[2J"},
         {"name", "old"},
         {"state", "known"},
         {"last_used_ms", 0},
         {"users", Json::array()}}}}};
  auto done = Dvdi({"ls"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out,
            "VOLUME  DRIVER    STATE     USERS  TARGETS  LAST-USED\n"
            "data    d         attached  1      /data    in use\n"
            "old     evil?[2J  known     0      -        -\n");
  auto json = Dvdi({"ls", "--json"});
  EXPECT_EQ(*ParseJson(json.out, "out"), script_["status"]["volumes"]["answer"]);
}

TEST_F(Verbs, OptionsBecomeSettings) {
  environment_ = {"DVDI_CONFIG=/c.yaml"};
  Dvdi({"ls", "--state-dir", "/s", "--runtime-dir", "/r", "--policy-dir", "/p", "--node", "n", "--plugin-dir",
        "/a", "--plugin-dir", "/b", "--spec-dir", "/e"});
  EXPECT_EQ(OneCall("open"), Json({{"config", "/c.yaml"},
                                   {"settings",
                                    {{"state_dir", "/s"},
                                     {"runtime_dir", "/r"},
                                     {"policy_dir", "/p"},
                                     {"node", "n"},
                                     {"plugins", {{"sockets", {"/a", "/b"}}, {"specs", {"/e"}}}}}}}));
}

TEST_F(Verbs, EveryCallCleansUpAfterEndedRuns) {
  script_["recover"]["answer"] = {{"ended", {"abc"}}};
  auto done = Dvdi({"ls"});
  EXPECT_EQ(OneCall("recover"), Json({{"owner", "run"}, {"wait_ms", 0}}));
  EXPECT_NE(done.err.find("cleaned up after the run abc"), std::string::npos);
  EXPECT_EQ(Log().back()["wait_ms"], 2000);  // a moment for the release
}

TEST_F(Verbs, ARecoveryThatFailsIsNoFailureOfTheVerb) {
  script_["recover"] = ErrorAnswer(7, "no");
  auto done = Dvdi({"ls"});
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_NE(done.err.find("note: cleaning up after ended runs failed: no. Do this"), std::string::npos);
  EXPECT_EQ(Log().back()["wait_ms"], 0);
}

TEST_F(Verbs, ErrorsHaveTheirExitCodes) {
  for (int code = 1; code <= 10; ++code) {
    script_["forget"] = ErrorAnswer(code, "it failed");
    auto done = Dvdi({"forget", "d/x"});
    EXPECT_EQ(done.exit_code, 10 + code);
    EXPECT_EQ(done.err, "dvdi: it failed. Do this\n");
    EXPECT_EQ(done.out, "");
    auto json = Dvdi({"forget", "d/x", "--json"});
    EXPECT_EQ(json.exit_code, 10 + code);
    EXPECT_EQ(json.err, "");
    EXPECT_EQ((*ParseJson(json.out, "out"))["error"]["message"], "it failed");
  }
  script_["prepare"] = {{"code", 9}, {"not_accepted", true}};
  EXPECT_EQ(Dvdi({"mount", "x"}).exit_code, 19);
  EXPECT_EQ(Dvdi({"frobnicate"}).exit_code, 2);
  EXPECT_EQ(Dvdi({"ls", "--json", "--frobnicate"}).out.rfind("{\"error\":", 0), 0u);
}

TEST_F(Verbs, OutputThatCannotBeWrittenIsAFailure) {
  UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  if (!full.valid()) GTEST_SKIP() << "there is no /dev/full";
  output_to_ = full.get();
  script_["prepare"]["answer"] = {{"volumes", {{{"name", "x"}, {"stage", "/st/1"}, {"message", "m"}}}}};
  script_["status"]["volumes"]["answer"]["volumes"] = {
      {{"driver", "d"}, {"name", "v"}, {"users", Json::array()}}};
  // More than stdio holds back.
  script_["status"]["metrics"]["answer"] = {{"text", std::string(100'000, 'm')}};
  const std::string line =
      "the output cannot be written to standard output: No space left on device. Make room on the "
      "filesystem\n";
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"ls"},
                                                    {"ls", "--json"},
                                                    {"--json", "status"},
                                                    {"metrics"},
                                                    {"--help"},
                                                    {"version"},
                                                    {"completion", "bash"},
                                                    {"policy", "ls"}}) {
    auto done = Dvdi(arguments);
    EXPECT_EQ(done.exit_code, 17) << arguments[0];
    EXPECT_EQ(done.err, "dvdi: " + line) << arguments[0];
  }
  auto done = Dvdi({"mount", "x"});
  EXPECT_EQ(done.exit_code, 17);
  EXPECT_EQ(done.err, "dvdi: m\ndvdi: " + line);
  EXPECT_TRUE(Calls("cleanup").empty()) << "it is mounted all the same";
  EXPECT_EQ(Dvdi({"run", "-v", "x:/x", "--dry-run", "--", "true"}).exit_code, 125);
  script_["forget"] = ErrorAnswer(3, "no such volume");
  EXPECT_EQ(Dvdi({"forget", "d/x", "--json"}).exit_code, 13) << "that comes first";
  program_ = "dvdcli";
  done = Dvdi({"version"});
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_EQ(done.err, "dvdcli: " + line);
}

TEST_F(Verbs, AReaderThatWentAwayIsNoFailure) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd out(ends[1]);
  ASSERT_EQ(::close(ends[0]), 0);
  output_to_ = out.get();
  auto before = ::signal(SIGPIPE, SIG_IGN);  // as many a program has it for what it starts
  for (const char* verb : {"version", "status"}) {
    auto done = Dvdi({verb, "--json"});
    EXPECT_EQ(done.exit_code, 0) << verb;
    EXPECT_EQ(done.err, "");
  }
  ::signal(SIGPIPE, before);
}

TEST_F(Verbs, InspectAsksThePlugin) {
  script_["status"]["volume"]["answer"] = {
      {"driver", "d"},
      {"name", "data"},
      {"state", "attached"},
      {"id", "aa"},
      {"mountpoint", "/m"},
      {"created_ms", 1000},
      {"created_by_us", true},
      {"last_used_ms", 0},
      {"users",
       {{{"owner", "run"},
         {"scope", "s1"},
         {"target", "/t"},
         {"mode", "rw"},
         {"access", "single-writer"},
         {"processes", {41, 42}}}}},
      {"plugin", {{"kind", "ok"}, {"mountpoint", "/pm"}, {"status", {{"Nested", {{"a", 1}}}}}}}};
  auto done = Dvdi({"inspect", "d/data"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(OneCall("status"),
            Json({{"what", "volume"}, {"driver", "d"}, {"name", "data"}, {"ask_plugin", true}}));
  for (const char* part :
       {"State:          attached", "(by this node)", "run s1 at /t (rw, single-writer)",
        "; its processes: 41 42\n", "Last used:      never", "/pm", "\n  Nested:       {\"a\":1}\n"})
    EXPECT_NE(done.out.find(part), std::string::npos) << part << "\n" << done.out;
}

TEST_F(Verbs, ForgetAsksWhoseVolumeANameIs) {
  script_["status"]["volume"]["answer"] = {{"driver", "d"}, {"name", "data"}};
  EXPECT_EQ(Dvdi({"forget", "data"}).exit_code, 0);
  EXPECT_EQ(OneCall("status"), Json({{"what", "volume"}, {"name", "data"}}));
  EXPECT_EQ(OneCall("forget"), Json({{"driver", "d"}, {"name", "data"}}));
  script_["status"]["volume"] = ErrorAnswer(3, "no such volume");
  EXPECT_EQ(Dvdi({"forget", "data"}).exit_code, 13);
  EXPECT_EQ(OneCall("forget")["driver"], "d") << "nothing more was forgotten";
}

TEST_F(Verbs, RecoverTellsStrangersFromOurOwn) {
  script_["recover"]["answer"] = {{"reported", {"/x"}},
                                  {"notes", {"volume \"v\" could not be released in 7 attempts"}}};
  EXPECT_EQ(Dvdi({"recover", "--owner", "run"}).out,
            "not ours, left alone: /x\nnote: volume \"v\" could not be released in 7 attempts\n");
}

TEST_F(Verbs, StatusSaysWhatIsPending) {
  script_["status"]["summary"]["answer"] = {
      {"node", "n1"},
      {"version", "1"},
      {"ledger", {{"ok", false}, {"note", "rebuilt"}}},
      {"policy",
       {{"name", "stock"}, {"version", "1.0"}, {"sha256", "0123456789abcdef"}, {"source", "built-in"}}},
      {"volumes", 3},
      {"drivers", {{"d", "open"}}},
      {"pending", {{{"driver", "d"}, {"name", "v"}, {"attempts", 4}, {"next_ms", 1500}, {"error", "down"}}}},
      {"reported", {"/x"}}};
  auto done = Dvdi({"status"});
  for (const char* part : {"n1", "not ok: rebuilt", "stock 1.0 (built-in, sha256 0123456789ab)", "d: open",
                           "release of v (driver d), tried 4 times, next now; down", "Not ours:       /x"})
    EXPECT_NE(done.out.find(part), std::string::npos) << part << "\n" << done.out;
}

TEST_F(Verbs, StatusSaysThatTheStateFolderIsFull) {
  Json& summary = script_["status"]["summary"]["answer"];
  summary = {{"state_dir", "/s"}, {"state_free_bytes", 512}};
  EXPECT_NE(Dvdi({"status"}).out.find("/s: full, 512"), std::string::npos) << Dvdi({"status"}).out;
  EXPECT_EQ(*ParseJson(Dvdi({"status", "--json"}).out, "out"), summary) << "shown as the engine tells it";
  summary["state_free_bytes"] = (2 << 20) - 1;
  EXPECT_NE(Dvdi({"status"}).out.find("full"), std::string::npos) << "too little to make the reserve";
  summary["state_reserve"] = true;
  EXPECT_EQ(Dvdi({"status"}).out.find("full"), std::string::npos);
  summary["state_free_bytes"] = int64_t{1} << 40;
  EXPECT_EQ(Dvdi({"status"}).out.find("full"), std::string::npos);
  summary.erase("state_free_bytes");
  EXPECT_EQ(Dvdi({"status"}).out.find("full"), std::string::npos) << "nobody has told";
}

TEST_F(Verbs, RecoverNamesNoVolumeForWhatIsOfNone) {
  script_["recover"]["answer"] = {
      {"pending", {{{"driver", ""}, {"name", ""}, {"why", "cannot remove the folder /t: Device busy"}}}}};
  EXPECT_EQ(Dvdi({"recover", "--owner", "run"}).out,
            "still to be released: cannot remove the folder /t: Device busy\n");
}

TEST_F(Verbs, RecoverDoesAllOwnersOfTheCommand) {
  script_["recover"]["answer"] = {{"undone", {"op1"}},
                                  {"ended", Json::array()},
                                  {"pending", {{{"driver", "d"}, {"name", "v"}, {"why", "down"}}}}};
  auto done = Dvdi({"recover", "--wait", "--timeout", "600s"});
  EXPECT_EQ(done.exit_code, 18);
  EXPECT_EQ(done.err.find("dvdi: not all volumes were released in time. "), 0u) << done.err;
  auto calls = Calls("recover");
  ASSERT_EQ(calls.size(), 4u);
  std::vector<std::string> owners;
  for (int64_t before = 600'000; const Json& call : calls) {
    owners.push_back(GetString(call, "owner"));
    // All of them together wait that long.
    EXPECT_LE(GetInt(call, "wait_ms"), before);
    EXPECT_GT(GetInt(call, "wait_ms"), 300'000);
    before = GetInt(call, "wait_ms");
  }
  EXPECT_EQ(owners, (std::vector<std::string>{"run", "manual", "oci", "dvdcli"}));
  EXPECT_EQ(done.out, "undid the unfinished operation op1\nstill to be released: v (driver d): down\n");
  EXPECT_EQ(Dvdi({"recover", "--wait", "--json"}).exit_code, 18);
  EXPECT_EQ(Dvdi({"recover"}).exit_code, 0) << "whoever does not wait has asked for no more";
  script_["recover"]["answer"] = Json::object();
  EXPECT_EQ(Dvdi({"recover", "--owner", "x"}).out, "nothing to do\n");
  EXPECT_EQ(Dvdi({"recover", "--wait"}).exit_code, 0);
}

TEST_F(Verbs, PolicyInstallGivesAbsolutePaths) {
  script_["policy"]["answer"] = *ParseJson(R"({"name": "p", "version": "2", "sha256": "ff", "active": true,
    "signed_by": "ABCD", "comment": "by\nme", "canary": {"checks": 3, "operations": 4, "same": 3, "different": 1,
    "examples": [{"operation": "op1", "why": "it decides otherwise", "was": {"ok": {}}, "now": null}]}})",
                                           "it");
  EXPECT_EQ(Dvdi({"policy", "install", "x.wasm", "--allow-downgrade", "--allow-differences", "--signature",
                  "s", "--sha256", "aa"})
                .out,
            "active policy: p 2 (sha256 ff)\n"
            "signed by: ABCD (by me)\n"
            "canary: 3 checks; recorded operations decided once more: 3 same, 1 different\n"
            "  op1: it decides otherwise; was {\"ok\":{}}\n");
  Json request = OneCall("policy");
  EXPECT_EQ(request["verb"], "install");
  EXPECT_EQ(request["path"].get<std::string>()[0], '/');
  EXPECT_EQ(request["signature"].get<std::string>()[0], '/');
  EXPECT_EQ(request["sha256"], "aa");
  EXPECT_EQ(request["allow_downgrade"], true);
  EXPECT_EQ(request["allow_differences"], true);
}

TEST_F(Verbs, PoliciesAreShownAsTables) {
  script_["policy"]["answer"] = *ParseJson(R"({"policies": [
    {"sha256": "0123456789abcdef", "name": "p", "version": "1.0.0", "state": "active", "kept_ms": 0, "signed_by": "AB"},
    {"sha256": "1123456789abcdef", "name": "q", "version": "1.0.0", "state": "barred", "kept_ms": 0}],
    "barred": ["ff"], "history": [{"at_ms": 0, "event": "taken-back", "name": "p", "version": "1.0.0",
    "sha256": "0123456789abcdef", "why": "it\ntraps"}]})",
                                           "it");
  const std::string list = Dvdi({"policy", "ls"}).out;
  EXPECT_NE(list.find("0123456789ab  p     1.0.0    active  AB"), std::string::npos) << list;
  EXPECT_NE(list.find("barred, not kept: ff\n"), std::string::npos) << list;
  const std::string history = Dvdi({"policy", "history"}).out;
  EXPECT_NE(history.find("taken-back"), std::string::npos) << history;
  EXPECT_NE(history.find("it traps"), std::string::npos) << history;
}

TEST_F(Verbs, PolicyVerbsSayWhatTheyAreToldTo) {
  script_["policy"]["answer"] = {{"sha256", "ff"}, {"barred", true}};
  EXPECT_EQ(Dvdi({"policy", "bar", "p@1.0.0", "--why", "it traps"}).out, "barred: ff\n");
  Dvdi({"policy", "shadow", "p", "--for", "10m", "--operations", "5"});
  Dvdi({"policy", "shadow", "--stop"});
  Dvdi({"policy", "rollback", "--bar"});
  Dvdi({"policy", "inspect", "--file", "x.wasm"});
  auto calls = Calls("policy");
  ASSERT_EQ(calls.size(), 5u);
  EXPECT_EQ(calls[0], Json({{"verb", "bar"}, {"policy", "p@1.0.0"}, {"why", "it traps"}}));
  EXPECT_EQ(calls[1], Json({{"verb", "shadow"}, {"policy", "p"}, {"for_ms", 600'000}, {"operations", 5}}));
  EXPECT_EQ(calls[2], Json({{"verb", "shadow"}, {"stop", true}}));
  EXPECT_EQ(calls[3], Json({{"verb", "rollback"}, {"bar", true}}));
  EXPECT_EQ(calls[4]["path"].get<std::string>()[0], '/');
  EXPECT_EQ(Dvdi({"policy", "shadow", "p", "--stop"}).exit_code, 2);
  EXPECT_EQ(Dvdi({"policy", "shadow", "p", "--for", "soon"}).exit_code, 11);
  EXPECT_EQ(Dvdi({"policy", "shadow", "p", "--operations", "0"}).exit_code, 2);
}

TEST_F(Verbs, DoctorFailsOnWhatIsRequired) {
  script_["status"]["summary"]["answer"] = {{"state_dir", Path("state")}};
  script_["status"]["doctor"]["answer"] = {
      {"checks",
       {{{"name", "socket x"}, {"ok", false}, {"required", true}, {"found", "down"}, {"fix", "start it"}}}}};
  auto done = Dvdi({"doctor"});
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_NE(done.out.find("MISSING"), std::string::npos);
  EXPECT_NE(done.out.find("down. To get it: start it"), std::string::npos) << done.out;
  EXPECT_NE(done.out.find(Path("state")), std::string::npos);
  auto json = Dvdi({"doctor", "--json"});
  EXPECT_EQ((*ParseJson(json.out, "out"))["ok"], false);
}

TEST_F(Verbs, DoctorSpeaksWithoutAnEngine) {
  script_["open"] = ErrorAnswer(7, "not root");
  auto done = Dvdi({"doctor"});
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_NE(done.out.find("not root. Do this"), std::string::npos);
  EXPECT_NE(done.out.find("CAP_SYS_ADMIN"), std::string::npos);
  // Which folder the settings name is not known without the engine: none is called sound.
  done = Dvdi({"doctor", "--config", "/c.yaml"});
  EXPECT_EQ(done.out.find("/var/lib/dvdi"), std::string::npos) << done.out;
  done = Dvdi({"doctor", "--config", "/c.yaml", "--state-dir", Path("not/yet")});
  EXPECT_NE(done.out.find(Path("not/yet") + " (made at the first use)"), std::string::npos) << done.out;
}

TEST_F(Verbs, StateFolderOfOthersIsRefused) {
  std::string folder = MakeFolder("state");
  ASSERT_EQ(::chmod(folder.c_str(), 0700), 0);
  EXPECT_TRUE(CheckStateFolder(folder).ok);
  ASSERT_EQ(::chmod(folder.c_str(), 0777), 0);
  DoctorCheck check = CheckStateFolder(folder);
  EXPECT_FALSE(check.ok);
  EXPECT_NE(check.found.find("mode 0777"), std::string::npos);
  EXPECT_NE(check.fix.find("chmod"), std::string::npos);
  EXPECT_TRUE(CheckStateFolder(Path("not/yet")).ok);
  EXPECT_FALSE(CheckStateFolder(WriteFile("file", "")).ok);
}

TEST_F(Verbs, VersionIsTheEngines) {
  EXPECT_EQ(Dvdi({"version"}).out, "dvdi 9.8.7 (abi 1)\n");
  EXPECT_EQ(Dvdi({"version", "--json"}).out, "{\"version\":\"9.8.7 (abi 1)\"}\n");
  EXPECT_EQ(Dvdi({"--version"}).out, "dvdi 9.8.7 (abi 1)\n");
}

}  // namespace
}  // namespace dvdi::cli
