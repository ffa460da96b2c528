// A secret's value reaches the driver, and neither the policy nor a record nor the ledger (promise 10).
#include "engine/secrets.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "engine/testing/sim_engine.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

// Found nowhere by chance, and escaped where it is put into JSON.
constexpr char kValue[] = "hunter2\\\"\xC3\xA9-q";

class SecretsTest : public SimEngineTest {
 protected:
  SecretsTest() { settings_.secret_options = {"password", "access_key"}; }

  // What a policy would see of the text; the values go to taken_.
  std::string Take(const std::string& form, const std::string& text) {
    taken_.clear();
    return TakeSecrets(Random::Real(), settings_, form, text, &taken_);
  }
  std::vector<std::string> Values() const {
    std::vector<std::string> out;
    for (const auto& t : taken_) out.push_back(t.second);
    return out;
  }
  void WriteSecret(const std::string& name, const std::string& value, mode_t mode = 0600) {
    std::filesystem::create_directory(settings_.secrets_dir);
    ASSERT_EQ(::chmod(settings_.secrets_dir.c_str(), 0700), 0);
    std::string path = settings_.secrets_dir + "/" + name;
    std::ofstream(path, std::ios::binary) << value;
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }
  // The value, plain and as it stands in JSON, once and twice over.
  static std::vector<std::string> Guises(const std::string& value) {
    std::vector<std::string> out = {value};
    for (int i = 0; i < 2; ++i) {
      std::string quoted = Dump(Json(out.back()));
      out.push_back(quoted.substr(1, quoted.size() - 2));
    }
    return out;
  }
  // After a prepare: where the value must be, and where it must not be.
  void ExpectOnlyTheDriverSaw(const std::string& value, const std::string& what) {
    bool sent = false;
    for (const auto& r : transport_.requests) {
      if (r.path.find("Create") == std::string::npos) continue;
      Json body = Json::parse(r.body);
      for (const auto& [name, v] : body["Opts"].items()) sent |= v == value;
    }
    EXPECT_TRUE(sent) << what << ": the driver gets the value";
    std::string ledger = LedgerBytes();
    EXPECT_HAS(ledger, "scope-of-a-test") << "the ledger is what is looked at";
    std::string seen = Dump(seen_);
    std::string explained = Dump(engine().Explain({{"last", 1000}}).value());
    for (const auto& guise : Guises(value)) {
      EXPECT_EQ(ledger.find(guise), std::string::npos) << what << ": in the ledger";
      EXPECT_EQ(seen.find(guise), std::string::npos) << what << ": the policy saw it";
      EXPECT_EQ(explained.find(guise), std::string::npos) << what << ": in a record";
    }
  }
  SecretList taken_;
  Json seen_ = Json::array();  // all that the policy got
};

// A policy compares declarations: two that say the same must not seem to contradict each other.
TEST_F(SecretsTest, AValueHasOneHandleInARequest) {
  settings_.secret_options = {"token"};
  auto taken = [&](const std::string& one, const std::string& two) {
    taken_.clear();
    const std::string first =
        TakeSecrets(Random::Real(), settings_, "mount", "src=v,volume-opt=token=" + one, &taken_);
    return first == TakeSecrets(Random::Real(), settings_, "mount", "src=v,volume-opt=token=" + two, &taken_);
  };
  EXPECT_TRUE(taken("abc", "abc"));
  EXPECT_EQ(Values(), std::vector<std::string>{"abc"});
  EXPECT_FALSE(taken("abc", "abd"));
  EXPECT_EQ(Values(), (std::vector<std::string>{"abc", "abd"}));
}

TEST_F(SecretsTest, EveryFormOfWritingIt) {
  const struct {
    const char *form, *text;
  } kForms[] = {
      {"statement", R"({"volumes":[{"name":"a","options":{"size":"1","password":"VALUE"}}]})"},
      {"statement", R"({ "volumes" : [ { "options" : { "Pass-Word" : "VALUE" } , "name" : "a" } ] })"},
      {"statement", R"({"volumes":[{"options":{"\u0070assword":"VALUE"}}]})"},
      {"marathon", R"({"container":{"volumes":[{"external":{"options":{"dvdi/password":"VALUE"}}}]}})"},
      {"mesos",
       R"({"driver_options":{"parameter":[{"key":"size","value":"1"},{"key":"password","value":"VALUE"}]}})"},
      {"mesos",
       R"({"driver_options":{"parameter":[{"value":"VALUE","key":"password"},{"value":"1","key":"size"}]}})"},
      {"mount", "src=a,dst=/a,volume-driver=red,volume-opt=password=VALUE,volume-opt=size=1"},
      {"mount", "src=a,dst=/a,\"volume-opt=password=VALUE\""},
      {"mount", "password=VALUE"},
      {"env", "size=5,password=VALUE,iops=100"},
      {"env", " password = VALUE"},
      {"env", "access_key=VALUE"},
      {"env", "\"x,password=VALUE"},
      {"env", "size=5,\n  password=VALUE"},
      {"env", "size=5,\t\rpassword\t=VALUE"},
      {"env", "size=5,\xC2\xA0password\xE3\x80\x80=VALUE"},
      {"mount", "src=a,dst=/a,volume-opt=\xE2\x80\x8Apassword\xEF\xBB\xBF=VALUE"},
      {"statement", R"({"volumes":[{"options":{" password\u00a0":"VALUE"}}]})"},
      {"marathon", R"({"env":{"DVDI_VOLUME_NAME":"a","DVDI_VOLUME_OPTS":"size=5,password=VALUE,iops=1"}})"},
      {"marathon", R"({"env":{"DVDI_VOLUME_OPTS7":"size=5,\npassword=VALUE"},"cmd":"DVDI_VOLUME_OPTS"})"},
  };
  for (const auto& f : kForms) {
    std::string text = f.text;
    text.replace(text.find("VALUE"), 5, "hunter2");
    std::string out = Take(f.form, text);
    EXPECT_EQ(out.find("hunter2"), std::string::npos) << f.form << ": " << out;
    ASSERT_EQ(taken_.size(), 1u) << f.form << ": " << f.text;
    std::string value = taken_[0].second;
    EXPECT_EQ(value.substr(value.find_first_not_of(' ')), "hunter2") << f.text;
    std::string handle = taken_[0].first, expected = text;
    expected.replace(expected.find(value), value.size(), handle);
    if (f.form != std::string("mount")) EXPECT_EQ(out, expected);
    EXPECT_EQ(handle.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string::npos) << handle;
  }
}

TEST_F(SecretsTest, ValuesWithEveryKindOfCharacter) {
  std::string json = Dump({{"options", {{"password", kValue}}}});
  EXPECT_TRUE(Json::accept(Take("statement", json)));
  EXPECT_EQ(Values(), std::vector<std::string>{kValue});
  Take("mount", "src=a,\"volume-opt=password=x,\"\"y\"\",z\",dst=/a");
  EXPECT_EQ(Values(), std::vector<std::string>{"x,\"y\",z"});
  EXPECT_EQ(Take("mount", "src=a,\"volume-opt=size=x,\"\"y\"\",z\",dst=/a"),
            "src=a,\"volume-opt=size=x,\"\"y\"\",z\",dst=/a");
  Take("env", "password=a=b=c");
  EXPECT_EQ(Values(), std::vector<std::string>{"a=b=c"});
  std::string numbers = Take("statement", R"({"options":{"password":12345,"size":5,"access_key":true}})");
  EXPECT_EQ(Values(), (std::vector<std::string>{"12345", "true"}));
  EXPECT_EQ(Json::parse(numbers)["options"]["size"], 5);
  // A variable in which nothing is listed stays as it was written; one that nobody can read is hidden.
  std::string variable = R"({"env":{"DVDI_VOLUME_OPTS":"o=a\/b\u00e9,size=5"}})";
  EXPECT_EQ(Take("marathon", variable), variable);
  Take("marathon", R"({"env":{"DVDI_VOLUME_OPTS":"password=\ud800"}})");
  EXPECT_EQ(Values(), std::vector<std::string>{R"("password=\ud800")"});
  // A reference is no value.
  std::string reference = R"({"options":{"password":{"secret":"db"}}})";
  EXPECT_EQ(Take("statement", reference), reference);
}

TEST_F(SecretsTest, WhatIsNoSecretStaysAsItIs) {
  for (const char* text : {R"({"options":{"size":"password"}})", R"(["password","x"])",
                           R"({"key":"size","value":"password"})", "", "{", "\"", "{\"a\":[{\"b\":", "\\"})
    EXPECT_EQ(Take("statement", text), text);
  for (const char* text : {"size=5", "passwords=x", "", ",", "=", "password", "a,,b"})
    EXPECT_EQ(Take("env", text), text);
  for (const char* text : {"", "src=a", "\"", "\"src=a", ",\"\",", "volume-opt=o=password=x"})
    EXPECT_EQ(Take("mount", text), text);
  EXPECT_EQ(Take("volume", "password:/x"), "password:/x");
}

TEST_F(SecretsTest, TextsThatBreakOffKeepTheirSecretsToo) {
  for (const char* text : {R"({"options":{"password":"hunter2)", R"({"options":{"password":"hunter2"})",
                           R"({"key":"password","value":"hunter2")", R"({"options":{"password":"hunter2\)",
                           R"({"options":{"password":"hunter2\u12")"})
    EXPECT_HAS_NOT(Take("statement", text), "hunter2");
}

TEST_F(SecretsTest, NamesOfFilesArePlain) {
  WriteSecret("db", "value\r\n\n");
  WriteSecret("open", "value", 0604);
  WriteSecret("group", "value", 0640);
  WriteSecret("large", std::string((64 << 10) + 1, 'x'));
  std::ofstream(root_ + "/outside") << "outside";
  std::filesystem::create_symlink(root_ + "/outside", settings_.secrets_dir + "/link");
  auto resolve = [&](const std::string& name) { return ResolveSecret(env(), settings_, {}, "red", name); };
  EXPECT_EQ(resolve("db").value(), "value");
  for (const char* name : {"", ".", "..", "../outside", "/etc/passwd", "a/b", ".hidden", "a b", "a\nb",
                           "none", "open", "group", "large", "link"}) {
    auto r = resolve(name);
    EXPECT_FALSE(r.ok()) << name;
    if (!r.ok()) {
      EXPECT_FALSE(r.status().message().empty());
    }
  }
  EXPECT_EQ(ResolveSecret(env(), settings_, {{"handle", "inline"}}, "red", "handle").value(), "inline");
}

TEST_F(SecretsTest, AFolderThatOthersCanLookIntoOrThatIsASymlinkServesNobody) {
  WriteSecret("db", "value");
  ASSERT_EQ(::chmod(settings_.secrets_dir.c_str(), 0711), 0);
  auto r = ResolveSecret(env(), settings_, {}, "red", "db");
  EXPECT_EQ(r.status().code(), Code::kRefused);
  EXPECT_HAS(r.status().hint(), "chmod go= " + settings_.secrets_dir);
  ASSERT_EQ(::chmod(settings_.secrets_dir.c_str(), 0700), 0);
  EXPECT_TRUE(ResolveSecret(env(), settings_, {}, "red", "db").ok());
  std::filesystem::rename(settings_.secrets_dir, root_ + "/moved");
  std::filesystem::create_directory_symlink(root_ + "/moved", settings_.secrets_dir);
  EXPECT_FALSE(ResolveSecret(env(), settings_, {}, "red", "db").ok());
}

TEST_F(SecretsTest, CredentialsOfSystemdServeWhereTheFolderHasNoneOfThatName) {
  WriteSecret("both", "of the folder");
  settings_.credentials_dir = root_ + "/credentials";
  std::filesystem::create_directory(settings_.credentials_dir);
  for (const char* name : {"both", "one", "open"})
    std::ofstream(settings_.credentials_dir + "/" + name) << "of systemd\n";
  // As systemd leaves them: an ACL for the service's user shows as rights of the group.
  ASSERT_EQ(::chmod((settings_.credentials_dir + "/one").c_str(), 0440), 0);
  ASSERT_EQ(::chmod((settings_.credentials_dir + "/open").c_str(), 0444), 0);
  ASSERT_EQ(::chmod(settings_.credentials_dir.c_str(), 0550), 0);
  auto resolve = [&](const std::string& name) { return ResolveSecret(env(), settings_, {}, "red", name); };
  EXPECT_EQ(resolve("both").value(), "of the folder");
  EXPECT_EQ(resolve("one").value(), "of systemd");
  EXPECT_EQ(resolve("open").status().code(), Code::kRefused);
  EXPECT_EQ(resolve("none").status().code(), Code::kNotFound);
  EXPECT_HAS(resolve("none").status().hint(), "LoadCredential=");
}

TEST_F(SecretsTest, OnlyTheDriverSeesThem) {
  WriteSecret("db", std::string(kValue) + "\n");
  policy_->scripts["prepare"] = [&](const Json& input, ScriptHost& host) -> Result<std::string> {
    seen_.push_back(input);
    for (const Json& v : input["volumes"]) {
      host.Plugin({{"method", "Get"}, {"volume", v["index"]}});
      host.Plugin({{"method", "List"}, {"driver", v["driver"]}});
      Json create = host.Plugin({{"method", "Create"}, {"volume", v["index"]}, {"options", v["options"]}});
      seen_.push_back(create);
      host.Do("log", {{"level", "info"}, {"message", "created with " + Dump(v["options"]) + Dump(create)}});
    }
    return SaysError("refused", "with " + Dump(seen_));
  };
  // A driver that repeats what it was told.
  transport_.hook = [&](const std::string& method, const PluginRequest& r, PluginReply* reply) {
    if (method != "Create") return false;
    *reply = Says(Dump({{"Err", "these options are wrong: " + Dump(Json::parse(r.body)["Opts"])}}), 500);
    return true;
  };
  Json listed = {{"options", {{"password", kValue}}}},
       referred = {{"options", {{"key", {{"secret", "db"}}}}}};
  for (const Json& options : {listed, referred}) {
    seen_ = Json::array();
    transport_.requests.clear();
    Json answer = Prepare("scope-of-a-test", {Volume("red", "a", options)});
    EXPECT_EQ(CodeOf(answer), "refused");
    EXPECT_HAS_NOT(Dump(answer), "hunter2");
    EXPECT_HAS(Dump(seen_), "these options are wrong");
    ExpectOnlyTheDriverSaw(kValue, Dump(options));
  }
}

// A pool of the settings with a password: the policy asks for it by its handle, the same one each time.
TEST_F(SecretsTest, OnesOfTheSettingsReachTheirDriverAlone) {
  settings_.policy = {{"pools", {{{"name", "p"}, {"driver", "red"}, {"options", {{"Pass_Word", kValue}}}}}}};
  int creates = 0;
  const std::string handle = "dvdi-setting-1";
  auto with = [&](const Json& options) {
    Json create;
    policy_->scripts["prepare"] = [&](const Json& input, ScriptHost& host) -> Result<std::string> {
      seen_.push_back(input);
      host.Plugin({{"method", "Get"}, {"volume", 0}});
      host.Plugin({{"method", "List"}, {"driver", "red"}});
      create = host.Plugin({{"method", "Create"}, {"volume", 0}, {"options", options}});
      return SaysError("refused", Dump(create));
    };
    EXPECT_HAS_NOT(Dump(Prepare("scope-of-a-test", {Volume("red", "a")})), "hunter2");
    return create;
  };
  const Json known = engine().core().settings.policy;
  EXPECT_EQ(known["pools"][0]["options"]["Pass_Word"], handle) << known;
  EXPECT_EQ((*engine().Explain({{"head", true}}))["head"]["settings"], known);
  EXPECT_EQ((*engine().StatusOf({{"what", "pools"}}))["pools"][0]["options"]["Pass_Word"], "[secret]");
  // A driver that repeats what it was told.
  transport_.hook = [&](const std::string& method, const PluginRequest& r, PluginReply* reply) {
    if (method != "Create") return false;
    ++creates;
    *reply = Says(Dump({{"Err", "these options are wrong: " + Dump(Json::parse(r.body)["Opts"])}}), 500);
    return true;
  };
  EXPECT_EQ(with({{"password", handle}})["kind"], "error");
  EXPECT_EQ(creates, 1);
  ExpectOnlyTheDriverSaw(kValue, "as a password");
  // Somebody who writes the handle himself, as an option that shows.
  Json refused = with({{"label", handle}});
  EXPECT_EQ(refused["kind"], "refused") << refused;
  EXPECT_HAS(GetString(refused, "error"), "option label has a secret of the settings as its value");
  EXPECT_EQ(creates, 1);
}

TEST_F(SecretsTest, ASecretThatIsMissingStopsTheCreate) {
  Json create;
  Json answer = Hostile({Volume("red", "a")}, [&](const Json&, ScriptHost& host) -> Result<std::string> {
    host.Plugin({{"method", "Get"}, {"volume", 0}});
    host.Plugin({{"method", "List"}, {"driver", "red"}});
    create =
        host.Plugin({{"method", "Create"}, {"volume", 0}, {"options", {{"password", {{"secret", "none"}}}}}});
    return SaysError("refused", "enough");
  });
  EXPECT_EQ(create["kind"], "refused") << create;
  EXPECT_HAS(create["error"].get<std::string>(), "none");
  EXPECT_EQ(Count("red Create"), 0);
}

// The shipped policy, and each form that a user can write.
TEST_F(SecretsTest, TheStockPolicyPassesHandlesOn) {
  stock_ = true;
  settings_.policy_dir = DVDI_TEST_POLICY_DIR;  // compiled once for all tests
  const char kPlain[] = "hunter2-hunter2";
  auto source = [](const std::string& form, const std::string& text) {
    return Json{{"form", form}, {"text", text}};
  };
  std::vector<Json> sources = {
      source(
          "statement",
          R"({"volumes":[{"driver":"red","name":"v0","container_path":"/a","options":{"password":"hunter2-hunter2"}}]})"),
      source(
          "marathon",
          R"({"id":"/x","container":{"type":"MESOS","volumes":[{"containerPath":"/a","mode":"RW","external":{"name":"v1",)"
          R"("provider":"dvdi","options":{"dvdi/driver":"red","dvdi/password":"hunter2-hunter2"}}}]}})"),
      source(
          "mesos",
          R"({"type":"MESOS","volumes":[{"container_path":"/a","mode":"RW","source":{"type":"DOCKER_VOLUME","docker_volume":)"
          R"({"driver":"red","name":"v2","driver_options":{"parameter":[{"key":"password","value":"hunter2-hunter2"}]}}}}]})"),
      source("mount", "type=volume,src=v3,dst=/a,volume-driver=red,volume-opt=password=hunter2-hunter2"),
      Json{{"form", "env"},
           {"env",
            {{"DVDI_VOLUME_NAME", "v4"},
             {"DVDI_VOLUME_DRIVER", "red"},
             {"DVDI_VOLUME_CONTAINERPATH", "/a"},
             {"DVDI_VOLUME_OPTS", "password=hunter2-hunter2,fs=ext4"}}}}};
  for (size_t i = 0; i < sources.size(); ++i) {
    transport_.requests.clear();
    std::string scope = "scope-of-a-test-" + std::to_string(i);
    Json answer = Prepare(scope, {}, {{"sources", {sources[i]}}});
    ASSERT_TRUE(answer.contains("ok")) << sources[i] << answer;
    ASSERT_EQ(answer["ok"]["volumes"].size(), 1u) << sources[i] << answer;
    seen_ = Record(scope)["calls"];
    EXPECT_HAS(Dump(seen_), "Create");
    ExpectOnlyTheDriverSaw(kPlain, Dump(sources[i]["form"]));
  }
}

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
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method != says) return false;
    *reply = Says(json ? Dump({{"Err", words}}) : words, status);
    return true;
  };
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
    Json answer =
        Call(engine(), &Engine::Cleanup, {{"owner", "run"}, {"scope", "one"}, {"release_ms", 1000}});
    EXPECT_EQ(answer["ok"]["pending"].size(), 1u) << answer;
  };
  release("an option is listed");
  told(false, "an option is listed");
  // Its words count all the same.
  json = false;
  Recover({{"wait_ms", 1000}});
  told(false, "no JSON");
  json = true;
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
  WriteSecret("db", kValue);
  MakeVolume("red", "a");
  transport_.hook = [&](const std::string& method, const PluginRequest&, PluginReply* reply) {
    if (method != "Mount") return false;
    *reply = Says(Dump({{"Err", std::string("login with ") + kValue + " failed"}}), 500);
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
