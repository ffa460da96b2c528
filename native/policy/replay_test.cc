// The vectors of test/replay, which the workstation's replay runs too: a scripted candidate makes the calls
// that each case lists, and the result is compared.
#include "policy/replay.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "policy/test_blobs.h"

namespace dvdi {
namespace {

// A policy that does what a case says, and keeps what it met.
struct Script {
  Json exports;
  std::string wrong;
  std::set<std::string> called;
};

class Candidate : public PolicyModule, public PolicyInstance {
 public:
  explicit Candidate(Script* script) : script_(script) {}
  const std::string& sha256() const override { return sha256_; }
  const PolicyManifest& manifest() const override { return manifest_; }
  std::unique_ptr<PolicyInstance> Begin() const override { return std::make_unique<Candidate>(script_); }

  Result<std::string> Call(const std::string& name, std::string_view input, const HostFunction& host,
                           CallStats*) override {
    const Json& what = GetMember(script_->exports, name.c_str());
    script_->called.insert(name);
    if (what.is_null()) return Wrong(name + " was called");
    if (const Json& wanted = GetMember(what, "input"); !wanted.is_null() && Json::parse(input) != wanted)
      return Wrong(name + " got " + std::string(input));
    for (const Json& call : GetMember(what, "calls")) {
      auto answer = host(GetString(call, "call"), Dump(GetMember(call, "request")));
      const Json& wanted = GetMember(call, "answer");
      if (wanted.is_null()) return answer.ok() ? Wrong("answered: " + *answer) : answer.status();
      if (!answer.ok()) return Wrong("not answered: " + Dump(call));
      if (Json::parse(*answer) != wanted) return Wrong("answered: " + *answer);
    }
    if (what.contains("fails")) return Status(Code::kPolicy, GetString(what, "fails"));
    const Json& answer = GetMember(what, "answer");
    return answer.is_string() ? answer.get<std::string>() : Dump(answer);
  }

 private:
  Status Wrong(std::string what) {
    script_->wrong = what;
    return Status(Code::kInternal, what);
  }

  Script* script_;
  std::string sha256_;
  PolicyManifest manifest_;
};

// What the record holds, as the texts that a recorder keeps.
DecisionTexts TextsOf(const Json& record) {
  DecisionTexts texts;
  for (auto [member, to] : {std::pair("input", &texts.inputs), {"answer", &texts.answers}})
    for (const auto& [name, text] : GetMember(record, member).items())
      if (text.is_string()) (*to)[name] = text.get<std::string>();
  for (const Json& call : GetMember(record, "calls"))
    texts.calls.push_back(
        {GetString(call, "call"), Dump(GetMember(call, "request")), Dump(GetMember(call, "answer"))});
  return texts;
}

bool Alike(Json exports, const DecisionTexts& texts) {
  Script script{std::move(exports), "", {}};
  return DecidesAlike(Candidate(&script), texts);
}

TEST(Replay, DecidesAlikeWhereAllTextsAreTheSame) {
  const Json ask = {{"call", "query"}, {"request", {{"node", "n"}}}, {"answer", {{"ok", 1}}}};
  const Json log = {{"call", "log"}, {"request", {{"message", "m"}}}, {"answer", {{"ok", Json::object()}}}};
  const Json make = {{"call", "stage"}, {"request", {{"volume", 0}}}, {"answer", {{"ok", 2}}}};
  DecisionTexts texts;
  texts.inputs = {{"parse", "{}"}, {"prepare", "{}"}};
  texts.answers = {{"parse", R"({"ok":1})"}, {"prepare", R"({"ok":2})"}};
  for (const Json& call : {log, ask, make})
    texts.calls.push_back({call["call"], Dump(call["request"]), Dump(call["answer"])});
  auto exports = [](std::vector<Json> calls, int answer = 2) {
    return Json{{"parse", {{"answer", {{"ok", 1}}}}},
                {"prepare", {{"calls", std::move(calls)}, {"answer", {{"ok", answer}}}}}};
  };
  EXPECT_TRUE(Alike(exports({log, ask, make}), texts));
  EXPECT_TRUE(Alike(exports({ask, log, log, make, log}), texts)) << "what is logged does not count";
  EXPECT_FALSE(Alike(exports({ask, make}, 3), texts)) << "another answer";
  EXPECT_FALSE(Alike(exports({ask}), texts)) << "a call less";
  EXPECT_FALSE(Alike(exports({make, ask}), texts)) << "another order";
  EXPECT_FALSE(Alike(exports({ask, make, ask}), texts)) << "a call more";
  Json other = ask;
  other["request"]["node"] = "m";
  EXPECT_FALSE(Alike(exports({other, make}), texts)) << "another request";
  EXPECT_FALSE(Alike({{"parse", {{"answer", {{"ok", 1}}}}}, {"prepare", {{"fails", "trapped"}}}}, texts));
  Json parses = exports({ask, make});
  parses["parse"]["calls"] = {ask};
  EXPECT_FALSE(Alike(parses, texts)) << "parse may ask nothing";
  texts.answers.erase("prepare");
  EXPECT_FALSE(Alike(exports({ask, make}), texts)) << "there was no answer";
  EXPECT_FALSE(Alike(exports({}), DecisionTexts())) << "nothing was asked";
}

TEST(Replay, SharedVectors) {
  int cases = 0;
  for (const auto& file : std::filesystem::directory_iterator(DVDI_REPLAY_VECTORS)) {
    if (file.path().extension() != ".json") continue;
    const Json vectors = Json::parse(FileBytes(file.path()));
    for (const Json& c : vectors["cases"]) {
      ++cases;
      SCOPED_TRACE(file.path().filename().string() + ": " + GetString(c, "name"));
      const Json& record =
          c["record"].is_string() ? vectors["records"][c["record"].get<std::string>()] : c["record"];
      Script script{c["candidate"], "", {}};
      ReplayResult result = Replay(Candidate(&script), GetMember(c, "config"), record);
      EXPECT_EQ(script.wrong, "");
      Json got = result.ToJson();
      got.erase("why");
      EXPECT_EQ(Dump(got), Dump(c["expect"]));
      const bool same = result.outcome == ReplayResult::Outcome::kSame;
      if (GetMember(c, "config").is_null()) EXPECT_TRUE(same || !Alike(c["candidate"], TextsOf(record)));
      if (!same) continue;
      for (const auto& item : c["candidate"].items()) EXPECT_TRUE(script.called.contains(item.key()));
    }
  }
  EXPECT_GT(cases, 40);
}

TEST(Replay, SaysWhyWhereItIsNotTheSame) {
  Script script{{{"parse", {{"calls", Json::array()}, {"fails", "parse ran out of fuel"}}}}, "", {}};
  const Json record = {{"input", {{"parse", "{}"}}}, {"answer", {{"parse", R"({"ok":{}})"}}}};
  ReplayResult result = Replay(Candidate(&script), Json(), record);
  EXPECT_EQ(result.outcome, ReplayResult::Outcome::kFailed);
  EXPECT_EQ(result.why, "parse ran out of fuel");
  EXPECT_EQ(GetString(Replay(Candidate(&script), Json(), Json::object()).ToJson(), "why"),
            "no policy had a part in that operation");
}

// An engine that cannot run the policy says nothing about the policy.
TEST(Replay, TheEnginesOwnTroubleIsNotThePolicys) {
  auto runtime = PolicyRuntime::Create(SystemEnv(), PolicyLimits(), "").value();
  auto blob = runtime->Load(BlobBuilder().Build());
  ASSERT_TRUE(blob.ok()) << blob.status().message();
  Json record = {{"input", {{"parse", Dump({{"text", std::string(5u << 20, 'x')}})}}}};
  EXPECT_EQ(Replay(**blob, Json(), record).outcome, ReplayResult::Outcome::kSkipped);
  record["input"]["parse"] = "{}";
  EXPECT_EQ(Replay(**blob, Json(), record).outcome, ReplayResult::Outcome::kUndecidable);
  record["answer"]["parse"] = R"({"ok":{}})";
  EXPECT_EQ(Replay(**blob, Json(), record).outcome, ReplayResult::Outcome::kSame);
}

}  // namespace
}  // namespace dvdi
