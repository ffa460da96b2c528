// A secret's value reaches the driver, and neither the policy nor a record nor the ledger (promise 10).
#include "engine/secrets.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "engine/testing/secrets.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

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
  std::string json = Dump({{"options", {{"password", kSecretValue}}}});
  EXPECT_TRUE(Json::accept(Take("statement", json)));
  EXPECT_EQ(Values(), std::vector<std::string>{kSecretValue});
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
  std::filesystem::create_symlink("db", settings_.secrets_dir + "/link");
  EXPECT_FALSE(ResolveSecret(env(), settings_, {}, "red", "link").ok());
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
  WriteSecret("db", std::string(kSecretValue) + "\n");
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
  Json listed = {{"options", {{"password", kSecretValue}}}},
       referred = {{"options", {{"key", {{"secret", "db"}}}}}};
  for (const Json& options : {listed, referred}) {
    seen_ = Json::array();
    transport_.requests.clear();
    Json answer = Prepare("scope-of-a-test", {Volume("red", "a", options)});
    EXPECT_EQ(CodeOf(answer), "refused");
    EXPECT_HAS_NOT(Dump(answer), "hunter2");
    EXPECT_HAS(Dump(seen_), "these options are wrong");
    ExpectOnlyTheDriverSaw(kSecretValue, Dump(options));
  }
}

// A pool of the settings with a password: the policy asks for it by its handle, the same one each time.
TEST_F(SecretsTest, OnesOfTheSettingsReachTheirDriverAlone) {
  settings_.policy = {
      {"pools", {{{"name", "p"}, {"driver", "red"}, {"options", {{"Pass_Word", kSecretValue}}}}}}};
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
  ExpectOnlyTheDriverSaw(kSecretValue, "as a password");
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

}  // namespace
}  // namespace dvdi
