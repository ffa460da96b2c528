// What hides a secret in texts that others wrote: a driver's words, requests that are refused (promise 10).
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "engine/testing/secrets.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

TEST_F(SecretsTest, TextThatIsNoneHidesItsValuesAllTheSame) {
  const struct {
    const char *form, *text, *value;  // null: there is none in it
  } kTexts[] = {
      {"statement", R"({"password":-57.25})", "-57.25"},
      {"statement", R"({"password":12)", "12"},
      {"statement", R"({"password":"hunter2)", "\"hunter2"},
      {"statement", R"({"password":"a\)", "\"a\\"},
      {"statement", R"({"password":null})", nullptr},
      {"statement", R"("password":"bare")", "bare"},
      {"statement", R"(}} "key":"password","value":"out of any group")", nullptr},
      {"mesos", R"({"key":"password","value":"breaks off")", "breaks off"},
      {"mesos", R"({"key":"password"})", nullptr},
      {"mount", R"("a""b=password=quoted",src=x)", "quoted"},
      {"mount", R"(src=a,"password=never ends)", "never ends"},
  };
  for (const auto& t : kTexts) {
    std::string out = Take(t.form, t.text);
    if (t.value == nullptr) {
      EXPECT_EQ(out, t.text);
      EXPECT_TRUE(taken_.empty()) << t.text;
      continue;
    }
    EXPECT_EQ(Values(), std::vector<std::string>{t.value}) << t.text;
    ASSERT_NE(out.find(taken_[0].first), std::string::npos) << out;
    // The handle's random digits may be the value's.
    out.replace(out.find(taken_[0].first), taken_[0].first.size(), "HANDLE");
    EXPECT_EQ(out.find(t.value), std::string::npos) << out;
  }
  std::string quoted = Take("mount", R"("a""b=password=quoted",src=x)");
  EXPECT_EQ(quoted, "\"a\"\"b=password=" + taken_[0].first + "\",src=x") << "it stays one field";
}

// Nobody who releases a volume or removes it knows what its driver was told when it was made.
TEST_F(SecretsTest, WhatADriverRepeatsWhenAVolumeIsReleasedIsNotKept) {
  const std::string words = "logout of hunter2 failed";
  std::string says;  // the method whose answer repeats it
  int status = 500;
  bool json = true;
  const auto answer = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method != says) return false;
    *reply = Says(json ? Dump({{"Err", words}}) : words, status);
    return true;
  };
  transport_.hook = answer;
  // Where its words are to be found, after a release that failed.
  auto told = [&](bool kept, const std::string& when) {
    const std::string row = GetString(Known("red", "a"), "error");
    ASSERT_FALSE(row.empty()) << when;
    EXPECT_EQ(row.find("hunter2") != std::string::npos, kept) << when << ": " << row;
    EXPECT_EQ(LedgerBytes().find("hunter2") != std::string::npos, kept) << when;
    EXPECT_EQ(row.find("see the driver's log") == std::string::npos, kept) << row;
  };
  auto release = [&](const std::string& when) {
    says.clear();
    ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok")) << when;
    says = "Unmount";
    Json ended = Call(engine(), &Engine::Cleanup, {{"owner", "run"}, {"scope", "one"}, {"release_ms", 1000}});
    EXPECT_EQ(ended["ok"]["pending"].size(), 1u) << ended;
  };
  release("an option is listed");
  told(false, "an option is listed");
  // Its words count all the same.
  json = false;
  Recover({{"wait_ms", 1000}});
  told(false, "no JSON");
  json = true;
  // An answer without an error that the protocol has not, which is shown to say so.
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    *reply = Says(Dump({{"why", words}}), 500);
    return method == "Unmount";
  };
  Recover({{"wait_ms", 1000}});
  told(false, "not of the protocol");
  transport_.hook = answer;
  // Another process, whose settings list none: the attachment's file knows, also of one that took it over.
  Close();
  settings_.secret_options.clear();
  Recover({{"wait_ms", 1000}});
  told(false, "another process");
  release("taken over by one that knows no secret");
  told(false, "taken over");
  says = "Unmount";
  Json removed = Call(engine(), &Engine::Remove, {{"driver", "red"}, {"name", "a"}});
  EXPECT_HAS_NOT(Dump(removed), "hunter2");
  // After a reboot the driver is asked first.
  Close();
  world_.sys.Reboot();
  says = "Get", json = false;
  Recover({{"wait_ms", 1000}});
  told(false, "after a reboot");
  // Where a file can be referred to, the node has secrets.
  says.clear(), json = true;
  Settle();
  ASSERT_TRUE(Known("red", "a").is_null() || GetString(Known("red", "a"), "state") != "releasing");
  WriteSecret("db", "hunter2");
  release("a file of secrets");
  told(false, "a file of secrets");
  // An operator is shown the words, and the record has none.
  says.clear();
  Settle();
  says = "Remove";
  removed = Call(engine(), &Engine::Remove, {{"driver", "red"}, {"name", "a"}});
  EXPECT_HAS(MessageOf(removed), words);
  EXPECT_HAS_NOT(LedgerBytes(), "hunter2");
  EXPECT_HAS(LedgerBytes(), "driver red: Remove was refused");
  // Without any, they are what an operator wants to know.
  std::filesystem::remove_all(settings_.secrets_dir);
  release("no secrets");
  told(true, "no secrets");
}

// A volume that is there is mounted and not created: nobody reads its secret then, but its driver knows it.
TEST_F(SecretsTest, WhatADriverRepeatsOfAVolumeThatIsThereIsHidden) {
  WriteSecret("db", kSecretValue);
  MakeVolume("red", "a");
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method != "Mount") return false;
    *reply = Says(Dump({{"Err", std::string("login with ") + kSecretValue + " failed"}}), 500);
    return true;
  };
  for (const Json& options : {Json{{"options", {{"key", {{"secret", "db"}}}}}}, Json::object()}) {
    Json answer = Prepare("scope-of-a-test", {Volume("red", "a", options)});
    EXPECT_EQ(CodeOf(answer), "driver") << answer;
    EXPECT_HAS_NOT(Dump(answer), "hunter2");
    EXPECT_HAS_NOT(Dump(Record("scope-of-a-test")), "hunter2");
    EXPECT_HAS_NOT(LedgerBytes(), "hunter2");
    std::ifstream audit(settings_.state_dir + "/audit.log");
    EXPECT_HAS_NOT(std::string(std::istreambuf_iterator<char>(audit), {}), "hunter2");
  }
}

// A driver's words are made one line of some length before anybody sees them: of a key of several lines that
// it repeats nothing is left either, nor of what was cut.
TEST_F(SecretsTest, ValuesOfSeveralLinesAreHiddenInOneLine) {
  std::string key = "-----BEGIN KEY-----\n";
  for (char c = 'a'; c < 'z'; ++c) key += std::string(1, c) + "hunter2" + std::string(40, c) + "\r\n\t ";
  transport_.hook = [&](const std::string& method, const PluginRequest& r, PluginReply* reply) {
    if (method != "Create") return false;
    const std::string told = GetString(Json::parse(r.body)["Opts"], "key");
    const bool as_json = told.size() % 2 == 0;
    *reply = Says(as_json ? "not a key: " + told : Dump({{"Err", "not a key: " + told + " (end)"}}), 500);
    return true;
  };
  policy_->scripts["prepare"] = [&](const Json& input, ScriptHost& host) -> Result<std::string> {
    host.Plugin({{"method", "Get"}, {"volume", 0}});
    host.Plugin({{"method", "List"}, {"driver", "red"}});
    Json create =
        host.Plugin({{"method", "Create"}, {"volume", 0}, {"options", input["volumes"][0]["options"]}});
    return SaysError("refused", "the driver says: " + GetString(create, "error") + " - so it is");
  };
  const Json options = {{"options", {{"key", {{"secret", "key"}}}}}};
  for (const size_t size : {key.size(), key.size() - 1, size_t{300}, size_t{301}, size_t{30}, size_t{31}}) {
    WriteSecret("key", key.substr(0, size) + "z");
    Json answer = Prepare("scope-of-a-test", {Volume("red", "a", options)});
    EXPECT_HAS(MessageOf(answer), "[secret]") << size;
    for (const char* part : {"BEGIN", "hunter2", "aaaa"}) {
      EXPECT_HAS_NOT(Dump(answer), part) << size;
      EXPECT_HAS_NOT(Dump(Record("scope-of-a-test")), part) << size;
    }
  }
  EXPECT_HAS_NOT(LedgerBytes(), "hunter2");
}

// What is so short that it stands everywhere.
TEST_F(SecretsTest, AShortValueBreaksNothing) {
  stock_ = true;
  settings_.policy_dir = DVDI_TEST_POLICY_DIR;  // compiled once for all tests
  for (const char* value : {"1", "0", "\"", "ok", "e", "true", ":", "kind", "data", "a"}) {
    const std::string scope = "scope-" + Sha256Hex(value).substr(0, 6);
    const Json text = {{"volumes",
                        {{{"driver", "red"},
                          {"name", "new-" + scope},
                          {"container_path", "/a"},
                          {"options", {{"password", value}}}}}}};
    Json request = {{"sources", {{{"form", "statement"}, {"text", Dump(text)}}}}};
    Json answer = Prepare(scope, {}, request);
    EXPECT_TRUE(answer.contains("ok")) << value << ": " << answer;
    EXPECT_FALSE(Record(scope).is_null()) << value << Record(scope);
    request["dry_run"] = true;
    Json tried = Prepare(scope + "x", {}, request);
    EXPECT_TRUE(tried.contains("ok") && tried["ok"].is_object()) << value << tried;
  }
}

// No value of an option, and so refused: the record of that has nothing of it.
TEST_F(SecretsTest, AListOrAnObjectUnderAListedNameIsHiddenAsAWhole) {
  const struct {
    const char *form, *text;
    std::vector<std::string> values;
  } kTexts[] = {
      {"statement",
       R"({"options":{"password":["hunter3","hunter4"],"size":"5"}})",
       {R"(["hunter3","hunter4"])"}},
      {"statement", R"({"options":{"password" : {"value":"hunter3"} }})", {R"({"value":"hunter3"})"}},
      {"statement",
       R"({"password":[["]hunter3\"]",{"a":[]}],"hunter4"]})",
       {R"([["]hunter3\"]",{"a":[]}],"hunter4"])"}},
      {"statement",
       R"({"password":[{"password":"hunter3"}],"access_key":"hunter4"})",
       {R"([{"password":"hunter3"}])", "hunter4"}},
      {"statement", R"({"password":["hunter3","hunter4")", {R"(["hunter3","hunter4")"}},
      {"statement", R"({"password":["hunter3"},"hunter4"],"a":"b"})", {R"(["hunter3"},"hunter4"])"}},
      {"statement", R"({"password":{"a":["hunter3"},"b":"hunter4"})", {R"({"a":["hunter3"},"b":"hunter4"})"}},
      {"statement", R"({"password":{"secret":"db","b":"hunter3"}})", {R"({"secret":"db","b":"hunter3"})"}},
      {"statement",
       R"({"password":{"secret":"hunter3","secret":"db"}})",
       {R"({"secret":"hunter3","secret":"db"})"}},
      {"statement", R"({"password":{"secret":["hunter3"]}})", {R"({"secret":["hunter3"]})"}},
      {"statement", R"({"password":["secret"]})", {R"(["secret"])"}},
      {"statement", "{password: [hunter3], size: 5}", {"[hunter3]"}},
      {"statement", "options:\n  password: hunter3 'hunter4'\n  size: 5\n", {"hunter3 'hunter4'"}},
      {"statement", R"({"password":'hunter3 hunter4' })", {"'hunter3 hunter4'"}},
      {"marathon", R"({"dvdi/password":{"a":"hunter3"}})", {R"({"a":"hunter3"})"}},
      {"mesos", R"({"parameter":[{"key":"password","value":["hunter3"]}]})", {R"(["hunter3"])"}},
      {"mesos",
       R"({"parameter":[{"value":{"value":"hunter3"},"key":"password"}]})",
       {R"({"value":"hunter3"})"}},
      {"mesos", R"({"key":"password","value":"hunter3","value":"hunter4"})", {"hunter3", "hunter4"}},
      {"mesos", R"({"key":"size","value":{"key":"password","value":"hunter3"}})", {"hunter3"}},
      {"env", "password=[hunter3,hunter4],size=5", {"[hunter3", "hunter4]"}},
      {"env", "password={a=hunter3,b=hunter4, [c]},size=5", {"{a=hunter3", "b=hunter4, [c]}"}},
      {"env", "size=5,password=hunter3,hunter4, =hunter5,", {"hunter3", "hunter4, =hunter5"}},
      {"mount", "src=a,volume-opt=password=[hunter3,hunter4],dst=/a", {"[hunter3", "hunter4]"}},
      {"mount", "volume-opt=password=hunter3,hunter4,ro", {"hunter3", "hunter4"}},
  };
  for (const auto& t : kTexts) {
    std::string out = Take(t.form, t.text);
    EXPECT_HAS_NOT(out, "hunter");
    EXPECT_EQ(Values(), t.values) << t.text;
    if (!Json::accept(t.text)) continue;
    // Whatever was a list or an object is no text now, for which a policy could take it.
    const Json password = Json::parse(out).value("password", Json::array());
    EXPECT_TRUE(password.is_array()) << out;
  }
  // What goes on behind it is as it was.
  EXPECT_EQ(Json::parse(Take("statement", kTexts[0].text))["options"]["size"], "5");
  EXPECT_TRUE(Take("env", kTexts[19].text).ends_with(",size=5"));
  EXPECT_TRUE(Take("mount", kTexts[23].text).ends_with(",ro"));
  for (const char* text : {"password=[x,size=5", "password={,size=[5]", "password=x,,size=5"})
    EXPECT_HAS(Take("env", text), ",size=");
  EXPECT_HAS(Take("mount", "volume-opt=password=x,\"ro\""), "\"ro\"") << "a flag, whatever its quotes";
  for (const char* text : {R"({"password":{ "secret" : "db" },"size":[1,{"a":"b"}]})",
                           R"({"key":"password","value":{"secret":"db"}})", R"({"size":["password","x"]})"})
    EXPECT_EQ(Take("statement", text), text);
}

TEST_F(SecretsTest, TheRecordOfARefusedListHasNothingOfIt) {
  stock_ = true;
  settings_.policy_dir = DVDI_TEST_POLICY_DIR;
  const std::string begin =
      R"({"volumes":[{"driver":"red","name":"a","container_path":"/a","options":{"password":)";
  for (const char* value : {R"(["hunter33"])", R"({"value":"hunter33"})"}) {
    Json answer = Prepare("scope-of-a-test", {},
                          {{"sources", {{{"form", "statement"}, {"text", begin + value + "}}]}"}}}}});
    EXPECT_EQ(CodeOf(answer), "invalid") << answer;
    EXPECT_HAS(MessageOf(answer), "password");
    EXPECT_HAS_NOT(Dump(answer), "hunter33");
    EXPECT_HAS(Dump(Record("scope-of-a-test")), "dvdi-secret-");
    EXPECT_HAS_NOT(LedgerBytes(), "hunter33");
  }
}

TEST_F(SecretsTest, LongTextsAreReadOnce) {
  constexpr size_t kLong = 256 << 10;
  const auto many = [](const std::string& begin, const std::string& part, const std::string& end = "") {
    std::string text = begin;
    while (text.size() < kLong) text += part;
    return text + end;
  };
  const std::string json = R"({"password":)", env = "password=[";
  for (const std::string& text : {many(json, "["), many(json, R"({"value":)"), many(json, R"(["]",{)"),
                                  many(json, "[}"), many(json, R"({"secret":)"), many(json, "'"),
                                  many("\"", ":'"), many(R"({"a)", "a", "\":" + std::string(kLong, '\''))})
    EXPECT_LT(Take("statement", text).size(), text.size() + 128);
  for (const std::string& text :
       {many(env, "["), many(env, "[,"), many(env, "x,", "]"), many(env, "[,", "]")})
    EXPECT_LT(Take("env", text).size(), text.size() + 128);
  // Each of these is a value.
  EXPECT_EQ(Take("env", many("", "password=[x,")).find("[x"), std::string::npos);
  EXPECT_EQ(Take("statement", many("", "password:[x],")).find("[x"), std::string::npos);
}

TEST_F(SecretsTest, AFileThatCannotBeReadIsNoEmptySecret) {
  if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  settings_.secrets_dir =
      std::filesystem::temp_directory_path() / ("dvdi-secrets-" + std::to_string(::getpid()));
  WriteSecret("good", "hunter2\r\n");
  WriteSecret("none", "\n");
  WriteSecret("open", "x", 0640);
  Env env;
  env.sys = Sys::Real();
  auto resolve = [&](const std::string& name) {
    return ResolveSecret(env, settings_, {{"first", "1"}, {"second", "2"}}, "red", name);
  };
  EXPECT_EQ(*resolve("second"), "2") << "of the request's own text";
  EXPECT_EQ(*resolve("good"), "hunter2");
  EXPECT_EQ(*resolve("none"), "");
  EXPECT_EQ(FailEachCall({SYS_openat, SYS_newfstatat, SYS_read}, EIO,
                         [&] {
                           auto value = resolve("good");
                           if (value.ok()) {
                             EXPECT_EQ(*value, "hunter2");
                           } else {
                             EXPECT_HAS(value.status().message(), "secret good: cannot ");
                             EXPECT_HAS(value.status().message(), settings_.secrets_dir);
                           }
                         }),
            6);
  EXPECT_EQ(FailEachCall({SYS_read}, EINTR, [&] { EXPECT_EQ(*resolve("good"), "hunter2"); }), 2);
  EXPECT_EQ(resolve("open").status().code(), Code::kRefused);
  EXPECT_EQ(resolve(std::string(129, 'n')).status().code(), Code::kInvalid);
  EXPECT_EQ(resolve("absent").status().code(), Code::kNotFound);
  ASSERT_EQ(::mkfifo((settings_.secrets_dir + "/pipe").c_str(), 0600), 0);
  EXPECT_HAS(resolve("pipe").status().message(), "is not a regular file");
  if (::chown(settings_.secrets_dir.c_str(), 1234, 0) == 0) {
    EXPECT_EQ(resolve("good").status().code(), Code::kRefused) << "its folder is another user's";
  }
  std::filesystem::remove_all(settings_.secrets_dir);
}

}  // namespace
}  // namespace dvdi
