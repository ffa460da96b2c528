#include "engine/recorder.h"

#include "base/text.h"
#include "engine/testing/sim_engine.h"

namespace dvdi {
namespace {

class RecorderTest : public SimEngineTest {
 protected:
  static Json Body(const Recorder& r, const Status& status = Status()) {
    auto body = ParseJson(r.Finish(OperationRow(), "ok", status).body, "a record");
    EXPECT_TRUE(body.ok()) << body.status().message();
    return body.ok() ? *body : Json();
  }
};

TEST_F(RecorderTest, KeepsWhatCameAndWent) {
  Recorder r(env(), "prepare", 10'000);
  r.Policy("house", "1.2.3", "abc");
  r.Input("prepare", R"({"volumes":[]})");
  r.HostCall("now", "{}", R"({"ok":{"left_ms":1}})", 2'500'000);
  r.HostCall("random", "{}", R"({"ok":{"u32":7}})", 0);
  r.Answer("prepare", R"({"ok":{}})");
  r.Undone("stage /x");
  r.Note("a note");
  Json body = Body(r, Status(Code::kRefused, "no"));
  EXPECT_EQ(body["policy"]["version"], "1.2.3");
  EXPECT_EQ(body["input"]["prepare"], R"({"volumes":[]})");
  EXPECT_EQ(body["answer"]["prepare"], R"({"ok":{}})");
  ASSERT_EQ(body["calls"].size(), 2u);
  EXPECT_EQ(body["calls"][0]["answer"]["ok"]["left_ms"], 1);
  EXPECT_EQ(body["calls"][0]["us"], 2500);
  EXPECT_EQ(body["undone"], Json::parse(R"(["stage /x"])"));
  EXPECT_EQ(body["error"]["code"], "refused");
  EXPECT_FALSE(body.contains("cut"));
}

TEST_F(RecorderTest, WhatIsTooLongIsCutAndSaysSo) {
  for (size_t most : {0u, 1u, 50u, 200u, 1000u}) {
    Recorder r(env(), "prepare", most);
    r.Input("prepare", R"({"in":1})");
    for (int i = 0; i < 100; ++i)
      r.HostCall("log", R"({"message":"twenty bytes or more"})", R"({"ok":{}})", 1);
    r.Answer("prepare", R"({"ok":{}})");
    Json body = Body(r);
    EXPECT_EQ(body["cut"], true);
    EXPECT_LT(Dump(body).size(), most + 400);
  }
}

TEST_F(RecorderTest, LeavesNothingOfASecret) {
  Recorder r(env(), "prepare", 10'000);
  for (const char* value : {"abc", "abcdef", "a\"b", ""}) r.HideSecret(value);
  EXPECT_EQ(r.Redact("abcdef abc a\"b a\\\"b ab"), "[secret] [secret] [secret] [secret] ab");
  r.HostCall("log", R"({"message":"abcdef"})", R"({"error":"a\"b"})", 1);
  r.Input("prepare", R"("abcabcdef")");
  Json body = Body(r, Status(Code::kDriver, "the driver says abcdef"));
  EXPECT_HAS_NOT(Dump(body), "abc");
  EXPECT_HAS_NOT(Dump(body), "a\\\"b");
  EXPECT_EQ(body["calls"][0]["answer"]["error"], "[secret]");
}

// A value may be a letter of an escape, a number, a word of the ABI.
TEST_F(RecorderTest, JsonStaysJsonWhateverIsHidden) {
  const std::string text = R"({"ok":{"answers":[{"kind":"ok","error":"a\nb\u0001 1 \"true\""}],"u32":11}})";
  for (const char* value : {"n", "u", "1", "0", "\"", "\\", "true", "ok", "kind", ":", "{", "a\nb"}) {
    Recorder r(env(), "prepare", 10'000);
    r.HideSecret(value);
    const Json hidden = Json::parse(r.RedactJson(text), nullptr, false);
    ASSERT_TRUE(hidden.is_object()) << value << ": " << r.RedactJson(text);
    EXPECT_EQ(hidden["ok"]["answers"][0]["kind"], "ok") << value;
    EXPECT_EQ(hidden["ok"]["u32"], 11) << value;
    r.HostCall("log", text, text, 1);
    EXPECT_EQ(Body(r, Status(Code::kDriver, "1 {true}"))["calls"][0]["answer"], hidden) << value;
  }
}

// JSON has many ways to write a string.
TEST_F(RecorderTest, ASecretIsHiddenHoweverItIsEscaped) {
  Recorder r(env(), "prepare", 10'000);
  r.HideSecret("ab/c");
  for (const char* text : {R"(["ab/c"])", R"(["ab\/c"])", R"(["\u0061b/c"])", R"(["a\u0062\u002fc"])"})
    EXPECT_EQ(Json::parse(r.RedactJson(text))[0], "[secret]") << text;
  EXPECT_EQ(r.RedactJson(R"({ "a" : "\u0061b" })"), R"({ "a" : "\u0061b" })");
}

TEST_F(RecorderTest, NothingIsLeftOfAValueThatBeginsWithinAnother) {
  Recorder r(env(), "prepare", 10'000);
  for (const char* value : {"abc", "cde-secret", "aaa"}) r.HideSecret(value);
  EXPECT_EQ(r.Redact("x abcde-secret y"), "x [secret] y");
  EXPECT_EQ(r.Redact("aaaa."), "[secret].");
  // What is put in their place is not looked at again.
  r.HideSecret("secret");
  EXPECT_EQ(r.Redact("abc"), "[secret]");
}

TEST_F(RecorderTest, RecordsAreJsonWhateverAPolicyLogs) {
  std::string deep = std::string(63, '[') + std::string(63, ']');
  std::vector<std::string> odd = {R"({"level":"info","message":"plain"})",
                                  R"({"level":"\u0000\u001b[2J","message":"\ud800 \"],\"calls\":[{"})",
                                  R"("just text")",
                                  "7",
                                  "not JSON at all \"}]}",
                                  std::string("\xff\xfe\x00 }", 5),
                                  "{\"a\":1}{\"b\":2}",
                                  "",
                                  deep,
                                  "1e999",
                                  "{\"a\":1,\"a\":2}",
                                  std::string(2000, 'x')};
  Json answer = Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    for (const auto& text : odd) host.Do("log", text);
    host.Do("no_such_call", Json("{}"));
    return SaysError("refused", "that was all");
  });
  EXPECT_EQ(CodeOf(answer), "refused");
  std::vector<RecordRow> rows;
  ASSERT_TRUE(engine()
                  .core()
                  .ledger
                  ->Read([&](LedgerTx& tx) -> Status {
                    DVDI_ASSIGN_OR_RETURN(rows, tx.Records("", "hostile", "", "", 1));
                    return Status();
                  })
                  .ok());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_TRUE(IsValidUtf8(rows[0].body));
  EXPECT_TRUE(Json::accept(rows[0].body)) << rows[0].body;
  Json record = Record("hostile");
  ASSERT_EQ(record["calls"].size(), odd.size() + 1) << record;
  EXPECT_EQ(record["calls"][0]["request"]["message"], "plain");
  EXPECT_EQ(record["calls"][odd.size()]["answer"]["error"]["code"], "internal");
}

TEST_F(RecorderTest, AnExportIsReadInPartsOldestFirst) {
  settings_.node = "n1";
  settings_.policy = {{"default_driver", "red"}};
  policy_->scripts["prepare"] = [](const Json&, ScriptHost&) -> Result<std::string> {
    return SaysError("refused", "no");
  };
  for (const char* scope : {"w1", "w2", "w3"}) {
    Prepare(scope, {Volume("red", "a")});
    world_.clock.Advance(1'000);
  }
  Json first = *engine().Explain({{"after", 0}, {"last", 2}, {"head", true}});
  EXPECT_EQ(first["head"],
            Json({{"dvdi", "records"}, {"version", 1}, {"node", "n1"}, {"settings", settings_.policy}}));
  ASSERT_EQ(first["operations"].size(), 2u);
  EXPECT_EQ(first["operations"][0]["scope"], "w1");
  Json rest = *engine().Explain({{"after", first["operations"][1]["seq"]}, {"last", 2}});
  ASSERT_EQ(rest["operations"].size(), 1u);
  EXPECT_EQ(rest["operations"][0]["scope"], "w3");
  EXPECT_FALSE(rest.contains("head"));
  const int64_t since = GetInt(first["operations"][1], "started_ms");
  EXPECT_EQ((*engine().Explain({{"after", 0}, {"last", 9}, {"since_ms", since}}))["operations"].size(), 2u);
}

TEST_F(RecorderTest, WhatIsLeftOfADamagedRecordIsShown) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  for (const char* body : {"", "{", "7", "[7]", R"({"calls":7})", R"({"calls":[7,{"us":5},"x"]})"}) {
    RecordRow row;
    row.operation = "damaged", row.kind = "prepare", row.scope = "s", row.body = body;
    ASSERT_TRUE(
        engine()
            .core()
            .ledger->Apply(Commit::recorded, false, [&](LedgerTx& tx) { return tx.PutRecord(row, {}, 9); })
            .ok());
    auto answer = engine().Explain({{"operation", "damaged"}});
    ASSERT_TRUE(answer.ok()) << body;
    EXPECT_EQ((*answer)["operations"][0]["scope"], "s") << body;
  }
}

TEST_F(RecorderTest, ADamagedAnswerIsNotGivenAgain) {
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok")) << "the same request, the same answer";
  for (const char* damaged : {"7", "[]", "null", "{"}) {
    ASSERT_TRUE(engine()
                    .core()
                    .ledger
                    ->Apply(Commit::recorded, false,
                            [&](LedgerTx& tx) -> Status {
                              DVDI_ASSIGN_OR_RETURN(auto o, tx.FindOperation("run", "one"));
                              o->answer = damaged;
                              return tx.PutOperation(*o);
                            })
                    .ok());
    EXPECT_HAS(MessageOf(Prepare("one", {Volume("red", "a")})), "has volumes already");
  }
  Cleanup("one");
  Settle();
  ExpectNothingLeft();
}

TEST_F(RecorderTest, OldRecordsGo) {
  settings_.records_keep = 3;
  for (int i = 0; i < 6; ++i)
    Prepare("scope " + std::to_string(i), {Volume("red", "a", {{"create", "never"}})});
  auto all = engine().Explain({{"last", 100}});
  ASSERT_EQ((*all)["operations"].size(), 3u);
  EXPECT_EQ((*all)["operations"][0]["scope"], "scope 5") << "newest first";
  auto by_name = engine().Explain({{"driver", "red"}, {"name", "a"}, {"last", 100}});
  EXPECT_EQ((*by_name)["operations"].size(), 3u);
  EXPECT_EQ((*engine().Explain({{"driver", "blue"}, {"name", "a"}}))["operations"], Json::array());
}

}  // namespace
}  // namespace dvdi
