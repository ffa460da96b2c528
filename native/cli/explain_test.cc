// `dvdi explain`: as text, and exported.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/print.h"
#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

using Explained = CommandTest;

TEST_F(Explained, ExplainTellsTheCallsInOrder) {
  Json input =
      *ParseJson(R"({"volumes": [{"index": 0, "driver": "d", "name": "data", "container_path": "/data",
    "mode": "rw", "class": {"pool": "fast", "passed_over": [{"pool": "slow", "reason": "too slow"}]}}]})",
                 "it");
  script_["explain"]["answer"] = *ParseJson(R"({"operations": [{
    "operation": "op1", "kind": "prepare", "owner": "run", "scope": "s", "started_ms": 1000,
    "duration_ms": 12.3,
    "policy": {"name": "stock", "version": "1", "sha256": "0123456789abcdef"},
    "calls": [
      {"call": "plugin_call", "ms": 3.04,
       "request": {"calls": [{"method": "Get", "volume": 0}, {"method": "List", "driver": "d"}]},
       "answer": {"ok": {"answers": [{"kind": "error", "error": "no such\nvolume"},
                                     {"kind": "ok", "volumes": []}]}}},
      {"call": "plugin_call", "ms": 400, "request": {"calls": [{"method": "Mount", "volume": 0}]},
       "answer": {"ok": {"answers": [{"kind": "unknown", "reason": "timeout", "sent": true,
                                      "error": "late"}]}}},
      {"call": "stage", "ms": 1,
       "request": {"stages": [{"volume": 0, "read_only": true, "subpath": "x"}]},
       "answer": {"ok": {"stages": [{"error": {"message": "no such folder"}}]}}}],
    "outcome": "driver", "error": {"message": "it failed", "hint": "try"}, "notes": ["a note"],
    "undone": ["Mount of data"]}]})",
                                            "it");
  Json& record = script_["explain"]["answer"]["operations"][0];
  record["input"] = {{"parse", "{}"}, {"prepare", Dump(input)}};
  record["answer"] = {
      {"prepare", R"({"ok": {"volumes": [{"index": 0, "message": "created new volume data"}]}})"}};
  auto done = Dvdi({"explain", "data", "--last", "3"});
  EXPECT_EQ(OneCall("explain"), Json({{"name", "data"}, {"last", 3}}));
  std::string time = done.out.substr(
      done.out.find("started"), done.out.find('\n', done.out.find("started")) - done.out.find("started"));
  EXPECT_NE(time.find("took 12 ms"), std::string::npos);
  std::string rest = done.out;
  rest.erase(rest.find("  " + time), time.size() + 3);
  EXPECT_EQ(rest,
            "prepare for run s (operation op1)\n"
            "  policy      stock 1 (sha256 0123456789ab)\n"
            "  volume      data of driver d at /data (rw)\n"
            "              pool fast for its class\n"
            "              not pool slow: too slow\n"
            "  3.0 ms      Get data -> error: no such volume\n"
            "              List of driver d -> ok, names 0 of our volumes\n"
            "  400 ms      Mount data -> unknown (timeout, it may have acted): late\n"
            "  1.0 ms      stage data read-only, subpath x -> error: no such folder\n"
            "  decided     created new volume data\n"
            "  note        a note\n"
            "  outcome     driver: it failed. Try\n"
            "  undone      Mount of data\n");
  Dvdi({"explain"});
  EXPECT_EQ(Calls("explain").back(), Json({{"last", 1}}));
  // None of a volume's may be recorded; one that was named is there, or that fails.
  script_["explain"]["answer"] = *ParseJson(R"({"operations": []})", "it");
  EXPECT_EQ(Dvdi({"explain", "data"}).exit_code, 0);
  for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--json"}}) {
    std::vector<std::string> args = {"explain", "--operation", "none"};
    args.insert(args.end(), more.begin(), more.end());
    auto none = Dvdi(args);
    EXPECT_EQ(none.exit_code, 13);
    EXPECT_NE((none.out + none.err).find("no operation none is recorded"), std::string::npos) << none.err;
  }
}

TEST_F(Explained, TheEndOfAUseIsExplainedWithWhatWasDecidedForIt) {
  const auto record = [](int seq, const char* kind, const char* owner) {
    return Json{{"seq", seq},   {"operation", "op" + std::to_string(seq)},
                {"kind", kind}, {"owner", owner},
                {"scope", "s"}, {"outcome", "ok"}};
  };
  script_["explain"]["answer"] = {{"operations", Json::array({record(7, "cleanup", "run")})}};
  script_["explain_scope"]["s"]["answer"] = {
      {"operations",
       Json::array({record(9, "prepare", "run"), record(7, "cleanup", "run"), record(6, "prepare", "oci"),
                    record(5, "prepare", "run"), record(4, "prepare", "run")})}};
  const std::string both = Dvdi({"explain", "data"}).out;
  EXPECT_LT(both.find("(operation op7)"), both.find("(operation op5)")) << both;
  for (const char* other : {"op4", "op6", "op9"}) EXPECT_EQ(both.find(other), std::string::npos) << both;
  EXPECT_NE(both.find("prepare for run s (operation op5)"), std::string::npos) << both;
  // Who says how many, or which, or reads it by a program, gets that.
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--last", "1"}, {"--json"}}) {
    std::vector<std::string> args = {"explain", "data"};
    args.insert(args.end(), more.begin(), more.end());
    EXPECT_EQ(Dvdi(args).out.find("op5"), std::string::npos);
  }
  script_["explain"]["answer"]["operations"][0]["kind"] = "prepare";
  EXPECT_EQ(Dvdi({"explain", "data"}).out.find("op5"), std::string::npos);
}

TEST_F(Explained, ExplainExportsEachRecordAsALine) {
  auto page = [](int from, int count) {
    Json operations = Json::array();
    for (int i = 0; i < count; ++i) operations.push_back({{"seq", from + i}, {"notes", {"two\nlines\x7f"}}});
    return Json{{"operations", std::move(operations)}, {"head", {{"dvdi", "records"}}}};
  };
  script_["explain"]["answer"] = page(101, 1);
  script_["explain_after"]["0"]["answer"] = page(1, 100);
  script_["explain_after"]["100"]["answer"] = page(101, 100);
  script_["explain_after"]["101"]["answer"] = page(102, 99);
  script_["explain_after"]["200"]["answer"] = page(201, 50);
  for (const char* later : {"100", "101", "200"}) script_["explain_after"][later]["answer"].erase("head");
  auto lines = [](const std::string& text) { return std::count(text.begin(), text.end(), '\n'); };
  auto all = Dvdi({"explain", "--export"});
  EXPECT_EQ(all.exit_code, 0);
  EXPECT_EQ(lines(all.out), 1 + 250);
  EXPECT_EQ(all.out.substr(0, all.out.find('\n')), R"({"dvdi":"records"})");
  EXPECT_EQ(all.out.find('\x7f'), std::string::npos);
  EXPECT_EQ(Calls("explain").back(), Json({{"last", 100}, {"after", 200}}));
  EXPECT_EQ(lines(Dvdi({"explain", "data", "--export", "--last", "99"}).out), 99);
  EXPECT_EQ(Calls("explain").back(), Json({{"last", 100}, {"after", 101}, {"head", true}, {"name", "data"}}));
  const std::string file = Path("records");
  EXPECT_EQ(Dvdi({"explain", "--export", "--output", file}).out, "");
  EXPECT_EQ(ReadFile(file), all.out);
  struct stat st = {};
  ASSERT_EQ(::stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  auto there = Dvdi({"explain", "--export", "--output", file});
  EXPECT_NE(there.exit_code, 0);
  EXPECT_NE(there.err.find("No file is written over"), std::string::npos) << there.err;
  EXPECT_EQ(ReadFile(file), all.out);
  Dvdi({"explain", "--export", "--since", "10m"});
  const int64_t since = GetInt(Calls("explain").back(), "since_ms");
  EXPECT_NEAR(static_cast<double>(since), static_cast<double>(NowMs() - 600'000), 60'000);
  EXPECT_EQ(Dvdi({"explain", "--output", Path("other")}).exit_code, 2);
  script_["explain_after"]["100"] = {{"code", 3}, {"answer", {{"error", {{"message", "gone"}}}}}};
  EXPECT_NE(Dvdi({"explain", "--export"}).exit_code, 0) << "what is not whole is no success";
  EXPECT_NE(Dvdi({"explain", "--export", "--output", Path("half")}).exit_code, 0);
  EXPECT_NE(::access(Path("half").c_str(), F_OK), 0) << "and not left behind";
  auto full = Dvdi({"explain", "--export", "--output", "/dev/full"});
  EXPECT_NE(full.exit_code, 0) << "a device is no new file";
}

}  // namespace
}  // namespace dvdi::cli
