#include "settings/settings.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/yaml.h"
#include "settings/fields.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest() {
    const char* base = std::getenv("TMPDIR");
    std::string name = std::string(base != nullptr ? base : "/tmp") + "/dvdi-settings-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    dir_ = name;
    path_ = dir_ + "/config.yaml";
  }
  ~SettingsTest() override { std::filesystem::remove_all(dir_); }

  Result<Settings> Load(const std::string& text, const Json& overrides = nullptr, mode_t mode = 0600) {
    std::ofstream(path_, std::ios::binary) << text;
    if (::chmod(path_.c_str(), mode) != 0) std::abort();
    return LoadSettings(path_, true, overrides);
  }
  std::string Error(const std::string& text, const Json& overrides = nullptr) {
    auto s = Load(text, overrides);
    if (s.ok()) return "accepted";
    return CodeName(s.status().code()) + (": " + s.status().message());
  }

  std::string dir_, path_;
};

TEST_F(SettingsTest, DefaultsWithoutAFile) {
  auto s = LoadSettings(path_, false, nullptr);
  ASSERT_TRUE(s.ok()) << s.status().message();
  EXPECT_EQ(s->state_dir, "/var/lib/dvdi");
  EXPECT_EQ(s->runtime_dir, "/run/dvdi");
  EXPECT_EQ(s->policy_dir, "/var/lib/dvdi/policy");
  EXPECT_FALSE(s->node.empty());
  EXPECT_TRUE(s->AllowsDriver("anything"));
  EXPECT_EQ(s->MaxInFlight("anything"), 32);
  EXPECT_EQ(s->policy, Json::object());
  auto must = LoadSettings(path_, true, nullptr);
  EXPECT_EQ(must.status().code(), Code::kNotFound);
  EXPECT_NE(must.status().message().find(path_), std::string::npos);
}

TEST_F(SettingsTest, EmptyFiles) {
  for (const char* text : {"", "# nothing\n", "---\n", "{}", "node:\nplugins:\n"})
    EXPECT_TRUE(Load(text).ok()) << text;
}

TEST_F(SettingsTest, ReadsEachKind) {
  auto s = Load(R"(
state_dir: /srv/dvdi
node: rack3
target_roots: [/data]
plugins: {sockets: [/a, /b], allowed_drivers: [rexray], max_in_flight: 5, max_body: 64KiB}
breaker: {failures: 0, open_ms: 1500}
drivers:
  rexray: {max_in_flight: 2, overwrite_options: [overwriteFS]}
deadlines: {prepare_ms: 15m, call_max_ms: "90s", cleanup_ms: 250ms}
limits: {fuel: 1000000, memory_bytes: 1GiB}
records: {keep: 0}
secrets: {dir: /etc/secrets, options: [password]}
policy: {pools: [{name: a}]}
)");
  ASSERT_TRUE(s.ok()) << s.status().message();
  EXPECT_EQ(s->policy_dir, "/srv/dvdi/policy");
  EXPECT_EQ(s->node, "rack3");
  EXPECT_EQ(s->target_roots, std::vector<std::string>{"/data"});
  EXPECT_EQ(s->plugin_paths.sockets, (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(s->plugin_paths.specs.size(), 2u) << "the default stays";
  EXPECT_TRUE(s->AllowsDriver("rexray"));
  EXPECT_FALSE(s->AllowsDriver("nfs"));
  EXPECT_EQ(s->MaxInFlight("rexray"), 2);
  EXPECT_EQ(s->MaxInFlight("nfs"), 5);
  EXPECT_EQ(s->max_body, 65536u);
  EXPECT_EQ(s->breaker.failures, 0);
  EXPECT_EQ(s->breaker.open_ms, 1500);
  EXPECT_EQ(s->prepare_ms, 900'000);
  EXPECT_EQ(s->call_max_ms, 90'000);
  EXPECT_EQ(s->cleanup_ms, 250);
  EXPECT_EQ(s->limits.fuel, 1'000'000u);
  EXPECT_EQ(s->limits.memory_bytes, 1u << 30);
  EXPECT_EQ(s->records_keep, 0);
  EXPECT_EQ(s->secrets_dir, "/etc/secrets");
  EXPECT_EQ(s->secret_options, std::vector<std::string>{"password"});
  EXPECT_EQ(Dump(s->policy), R"({"pools":[{"name":"a"}]})");
}

TEST_F(SettingsTest, OverridesWinMemberByMember) {
  Json overrides = {{"node", "b"},
                    {"plugins", {{"sockets", {"/c"}}}},
                    {"drivers", {{"x", {{"max_in_flight", 1}}}}},
                    {"deadlines", {{"prepare_ms", 7}}},
                    {"policy", {{"q", 2}}}};
  auto s = Load(
      "node: a\nplugins: {sockets: [/a, /b], max_in_flight: 9}\ndrivers: {x: {overwrite_options: [wipe]}}\n"
      "policy: {p: 1}\n",
      overrides);
  ASSERT_TRUE(s.ok()) << s.status().message();
  EXPECT_EQ(s->node, "b");
  EXPECT_EQ(s->plugin_paths.sockets, std::vector<std::string>{"/c"});
  EXPECT_EQ(s->max_in_flight, 9);
  EXPECT_EQ(s->MaxInFlight("x"), 1);
  EXPECT_TRUE(s->OverwriteAllowed("x", "wipe"));
  EXPECT_EQ(s->prepare_ms, 7);
  EXPECT_EQ(Dump(s->policy), R"({"p":1,"q":2})");
  EXPECT_EQ(Error("", {{"nod", 1}}),
            "invalid: settings given by the caller: there is no setting nod; did you mean node?");
  EXPECT_EQ(Error("", "text").find("invalid: settings given by the caller must be a group"), 0u);
}

TEST_F(SettingsTest, AllowedDrivers) {
  EXPECT_FALSE(Load("plugins: {allowed_drivers: []}")->AllowsDriver("a"));
  EXPECT_TRUE(Load("plugins: {allowed_drivers: all}")->AllowsDriver("a"));
  EXPECT_TRUE(Load("")->CheckDriver("a").ok());
  const Status refused = Load("plugins: {allowed_drivers: [b]}")->CheckDriver("a", "v");
  EXPECT_EQ(refused.code(), Code::kRefused);
  EXPECT_EQ(refused.driver() + "/" + refused.volume(), "a/v");
  EXPECT_NE(refused.hint().find("plugins.allowed_drivers"), std::string::npos);
  EXPECT_TRUE(Load("plugins: {allowed_drivers: [a]}", {{"plugins", {{"allowed_drivers", "all"}}}})
                  ->AllowsDriver("b"));
  EXPECT_NE(Error("plugins: {allowed_drivers: some}"), "accepted");
}

TEST_F(SettingsTest, SecretsOfADriver) {
  auto s = Load("drivers: {a: {secrets: [db, x.y-z_1]}, b: {max_in_flight: 1}, c: {secrets: []}}");
  ASSERT_TRUE(s.ok()) << s.status().message();
  EXPECT_TRUE(s->SecretAllowed("a", "x.y-z_1"));
  EXPECT_FALSE(s->SecretAllowed("b", "db"));
  EXPECT_TRUE(s->SecretAllowed("b", "other"));
  EXPECT_FALSE(s->SecretAllowed("c", "other"));
  for (const char* text : {"db", "[1]", "['']", "[a/b]", "[.hidden]", "[\"a b\"]"})
    EXPECT_NE(Error("drivers: {a: {secrets: " + std::string(text) + "}}").find("names of secrets"),
              std::string::npos)
        << text;
}

TEST_F(SettingsTest, OverwriteOptions) {
  auto s = Load("drivers: {a: {overwrite_options: [overwritefs]}}");
  ASSERT_TRUE(s.ok());
  for (const char* name : {"overwritefs", "overwriteFS", "OVERWRITE_FS", "ebs.overwriteFS",
                           "dvdi/overwrite-fs", " overwritefs\t",
                           "\xC2\xA0overwrite\xE2\x80\x82"
                           "FS"}) {
    EXPECT_TRUE(s->IsOverwriteOption(name)) << name;
    EXPECT_TRUE(s->OverwriteAllowed("a", name)) << name;
    EXPECT_FALSE(s->OverwriteAllowed("b", name)) << name;
  }
  EXPECT_TRUE(s->IsOverwriteOption("force-format"));
  EXPECT_FALSE(s->OverwriteAllowed("a", "force-format"));
  for (const char* name : {"size", "newfstype", "", "overwritefsx", "overwritefs\xC3\xA0"})
    EXPECT_FALSE(s->IsOverwriteOption(name)) << name;
  EXPECT_FALSE(Load("overwrite_options: [zap]")->IsOverwriteOption("overwritefs"));
  EXPECT_NE(Error("drivers: {a: {overwrite_options: [overwritesf]}}").find("overwritesf"), std::string::npos);
}

TEST_F(SettingsTest, UnknownMembersAreNamedWithLineAndSuggestion) {
  EXPECT_EQ(
      Error("node: a\nstat_dir: /x\n"),
      "invalid: settings file " + path_ + ", line 2: there is no setting stat_dir; did you mean state_dir?");
  EXPECT_EQ(Error("plugins:\n  # a\n  socket: []\n"),
            "invalid: settings file " + path_ +
                ", line 3: there is no setting plugins.socket; did you mean sockets?");
  EXPECT_EQ(Error("prepare_ms: 5"),
            "invalid: settings file " + path_ +
                ", line 1: there is no setting prepare_ms; did you mean deadlines.prepare_ms?");
  EXPECT_EQ(Error("breaker: {colour: red}"),
            "invalid: settings file " + path_ +
                ", line 1: there is no setting breaker.colour; there are failures, open_ms");
  EXPECT_NE(Error("drivers: {a: {max_inflight: 1}}").find("did you mean max_in_flight?"), std::string::npos);
  EXPECT_NE(Error("drivers: {'*': {max_in_flight: 1}}"), "accepted");
  EXPECT_NE(Error("drivers: {'a/b': {max_in_flight: 1}}"), "accepted");
  for (const char* text : {"drivers.*.max_in_flight: 1", "plugins.sockets: [/a]", "drivers: {a: {max.x: 1}}"})
    EXPECT_NE(Error(text).find("nested groups"), std::string::npos) << text;
  EXPECT_NE(Error("\"" + std::string(5000, 'x') + "\": 1"), "accepted");
}

TEST_F(SettingsTest, WrongValuesSayWhatIsAccepted) {
  EXPECT_EQ(Error("plugins:\n  max_in_flight: many"),
            "invalid: settings file " + path_ +
                ", line 2: plugins.max_in_flight must be a whole number from 1 to 10000, not \"many\"");
  for (const char* text : {"state_dir: var/lib",
                           "state_dir: /a/../b",
                           "state_dir: /a/",
                           "state_dir: 7",
                           "state_dir: /",
                           "node: ''",
                           "node: 5",
                           "node: a b",
                           "node: \"a\\nb\"",
                           "plugins: 7",
                           "plugins: [a]",
                           "plugins: {sockets: /run}",
                           "plugins: {sockets: [run]}",
                           "plugins: {max_in_flight: 0}",
                           "plugins: {max_in_flight: 1.5}",
                           "plugins: {max_in_flight: -1}",
                           "plugins: {max_in_flight: 18446744073709551615}",
                           "plugins: {max_in_flight: '7'}",
                           "deadlines: {prepare_ms: 5 m}",
                           "deadlines: {prepare_ms: 5min}",
                           "deadlines: {prepare_ms: -5s}",
                           "deadlines: {prepare_ms: 0}",
                           "deadlines: {prepare_ms: 99999999999999999999h}",
                           "deadlines: {prepare_ms: 9223372036854775807h}",
                           "deadlines: {prepare_ms: true}",
                           "plugins: {max_body: 64MB}",
                           "plugins: {max_body: 1}",
                           "plugins: {max_body: 64GiB}",
                           "policy: [1]",
                           "policy: text",
                           "secrets: {options: [1]}",
                           "release: {base_ms: 2s, max_ms: 1s}",
                           "runtime_dir: /var/lib/dvdi",
                           "- a",
                           "text",
                           "7",
                           "a: {",
                           "node: &x a",
                           "node: a\nnode: b"})
    EXPECT_EQ(Error(text).substr(0, 9), "invalid: ") << text;
}

TEST_F(SettingsTest, FilesThatOthersCouldHaveWritten) {
  for (mode_t mode : {0620, 0602, 0666, 0664}) {
    auto s = Load("node: a", nullptr, mode);
    ASSERT_FALSE(s.ok());
    EXPECT_EQ(s.status().code(), Code::kRefused);
    EXPECT_EQ(s.status().hint(), "run: chmod go-w " + path_);
  }
  EXPECT_TRUE(Load("node: a", nullptr, 0644).ok());
}

TEST_F(SettingsTest, FilesOfOtherUsers) {
  if (::geteuid() != 0) GTEST_SKIP() << "giving a file to another user needs root";
  ASSERT_TRUE(Load("node: a").ok());
  ASSERT_EQ(::chown(path_.c_str(), 12345, 0), 0);
  auto s = LoadSettings(path_, false, nullptr);
  EXPECT_EQ(s.status().code(), Code::kRefused);
  EXPECT_EQ(s.status().hint(), "run: chown root " + path_);
}

TEST_F(SettingsTest, WhatIsNoFile) {
  EXPECT_EQ(LoadSettings(dir_, false, nullptr).status().code(), Code::kInvalid);
  ASSERT_EQ(::mkfifo((dir_ + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(LoadSettings(dir_ + "/fifo", false, nullptr).status().code(), Code::kInvalid);
  EXPECT_EQ(Error(std::string((1 << 20) + 1, '#')).substr(0, 9), "invalid: ");
  EXPECT_EQ(Error("node: \"\xff\"").substr(0, 9), "invalid: ");
}

// docs/settings.md: the tables' first columns are the settings, no more and no fewer, and the defaults and
// the example are what the code has.
class DocumentTest : public SettingsTest {
 protected:
  void SetUp() override {
    std::ifstream in(DVDI_SOURCE_DIR "/docs/settings.md");
    text_.assign(std::istreambuf_iterator<char>(in), {});
    ASSERT_FALSE(text_.empty());
    for (size_t at = 0; (at = text_.find("\n| `", at)) != std::string::npos; ++at) {
      size_t end = text_.find('`', at + 4);
      size_t bar = text_.find(" | ", end);
      rows_.push_back(
          {text_.substr(at + 4, end - at - 4), text_.substr(bar + 3, text_.find(" | ", bar + 3) - bar - 3)});
    }
  }
  std::string text_;
  std::vector<std::pair<std::string, std::string>> rows_;  // setting, default as it is written
};

TEST_F(DocumentTest, HasEverySettingOnce) {
  std::vector<std::string> documented, known = SettingNames();
  for (const auto& [name, value] : rows_) documented.push_back(name);
  std::sort(documented.begin(), documented.end());
  std::sort(known.begin(), known.end());
  EXPECT_EQ(documented, known);
}

TEST_F(DocumentTest, DefaultsAreAcceptedAndChangeNothing) {
  for (const auto& [name, written] : rows_) {
    if (written.front() != '`' || written.find("STATE_DIR/") == 1) continue;  // in words
    Json value = ParseYaml(written.substr(1, written.size() - 2), name).value();
    Settings fresh, set;
    for (const SettingField& f : SettingFields()) {
      EXPECT_TRUE(f.name != name || f.set(value, "d", &set)) << name << " = " << written;
    }
    EXPECT_EQ(fresh.state_dir, set.state_dir);
    EXPECT_EQ(fresh.runtime_dir, set.runtime_dir);
    EXPECT_EQ(fresh.target_roots, set.target_roots);
    EXPECT_EQ(fresh.plugin_paths.sockets, set.plugin_paths.sockets);
    EXPECT_EQ(fresh.plugin_paths.specs, set.plugin_paths.specs);
    EXPECT_EQ(fresh.all_drivers, set.all_drivers);
    EXPECT_EQ(fresh.max_in_flight, set.max_in_flight);
    EXPECT_EQ(fresh.max_body, set.max_body);
    EXPECT_EQ(fresh.breaker.failures, set.breaker.failures);
    EXPECT_EQ(fresh.breaker.open_ms, set.breaker.open_ms);
    EXPECT_EQ(fresh.prepare_ms, set.prepare_ms);
    EXPECT_EQ(fresh.cleanup_ms, set.cleanup_ms);
    EXPECT_EQ(fresh.call_max_ms, set.call_max_ms);
    EXPECT_EQ(fresh.lock_wait_ms, set.lock_wait_ms);
    EXPECT_EQ(fresh.release_base_ms, set.release_base_ms);
    EXPECT_EQ(fresh.release_max_ms, set.release_max_ms);
    EXPECT_EQ(fresh.limits.fuel, set.limits.fuel);
    EXPECT_EQ(fresh.limits.memory_bytes, set.limits.memory_bytes);
    EXPECT_EQ(fresh.limits.stack_bytes, set.limits.stack_bytes);
    EXPECT_EQ(fresh.limits.blob_bytes, set.limits.blob_bytes);
    EXPECT_EQ(fresh.limits.host_calls, set.limits.host_calls);
    EXPECT_EQ(fresh.limits.host_bytes, set.limits.host_bytes);
    EXPECT_EQ(fresh.limits.reply_bytes, set.limits.reply_bytes);
    EXPECT_EQ(fresh.limits.input_bytes, set.limits.input_bytes);
    EXPECT_EQ(fresh.records_keep, set.records_keep);
    EXPECT_EQ(fresh.record_bytes, set.record_bytes);
    EXPECT_EQ(fresh.secrets_dir, set.secrets_dir);
    EXPECT_EQ(fresh.secret_options, set.secret_options);
    EXPECT_EQ(fresh.policy, set.policy);
  }
  size_t at = text_.find("    overwrite_options: [");
  ASSERT_NE(at, std::string::npos);
  auto list = ParseYaml(text_.substr(at, text_.find('\n', at) - at), "list");
  ASSERT_TRUE(list.ok());
  EXPECT_EQ((*list)["overwrite_options"].get<std::vector<std::string>>(), Settings().overwrite_options);
}

TEST_F(DocumentTest, ExampleIsAccepted) {
  size_t from = text_.find("```yaml\n");
  ASSERT_NE(from, std::string::npos);
  auto s = Load(text_.substr(from + 8, text_.find("```", from + 8) - from - 8));
  ASSERT_TRUE(s.ok()) << s.status().message();
  EXPECT_EQ(s->node, "rack3-17");
  EXPECT_TRUE(s->OverwriteAllowed("rexray", "overwritefs"));
}

TEST(SettingFieldsTest, EveryFieldRefusesWhatItIsNot) {
  for (const SettingField& f : SettingFields()) {
    Settings s;
    for (const Json& wrong : {Json(true), Json(-1), Json("\x01"), Json(1.5), Json::array({Json::array()})})
      EXPECT_FALSE(f.set(wrong, "d", &s)) << f.name << " takes " << Dump(wrong);
    EXPECT_FALSE(f.accepts.empty());
  }
}

// Whatever the kernel answers, there are the settings of the file, or an error that names it.
TEST_F(SettingsTest, AFileThatCannotBeReadIsNotPassedOver) {
  if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  ASSERT_TRUE(Load("node: here").ok());
  EXPECT_EQ(FailEachCall({SYS_openat, SYS_newfstatat, SYS_read}, EIO,
                         [&] {
                           auto s = LoadSettings(path_, false, nullptr);
                           if (s.ok()) {
                             EXPECT_EQ("here", s->node);
                           }
                           if (!s.ok()) {
                             EXPECT_EQ(EIO, s.status().error_number()) << s.status().message();
                           }
                           if (!s.ok()) {
                             EXPECT_NE(std::string::npos, s.status().message().find(path_));
                           }
                         }),
            4);
  EXPECT_EQ(
      FailEachCall({SYS_read}, EINTR, [&] { EXPECT_EQ("here", LoadSettings(path_, true, nullptr)->node); }),
      2);
  EXPECT_EQ(Code::kNotFound, LoadSettings(path_ + "/x", true, nullptr).status().code());
  // A node without a name of its own.
  ASSERT_TRUE(Load("").ok());
  EXPECT_TRUE(WithCallFaults({{{SYS_uname}, EFAULT, 1}},
                             [&] { EXPECT_EQ("localhost", LoadSettings(path_, true, nullptr)->node); }));
}

TEST_F(SettingsTest, TheLimitsOfEachKind) {
  const char* const kWrong[] = {
      "runtime_dir: /",
      "policy_dir: /",
      "node: \"a\\x7fb\"",
      "policies: {max_differences: -1}",
      "policies: {max_differences: 10001}",
      "policies: {max_differences: some}",
      "policies: {return_after: 1001}",
      "policies: {return_after: 2}",
      "policies: {unsigned: perhaps}",
      "audit: {max_bytes: 18446744073709551615}",
      "drivers: {\"\": {max_in_flight: 1}}",
  };
  for (const char* text : kWrong) EXPECT_NE(std::string::npos, Error(text).find("invalid: ")) << text;
  EXPECT_NE("accepted", Error("node: " + std::string(256, 'n')));
  EXPECT_NE("accepted", Error("drivers: {" + std::string(129, 'd') + ": {max_in_flight: 1}}"));
  EXPECT_NE("accepted", Error(std::string(61, 'k') + ": 1"));
  std::string many = "secrets: {options: [";
  for (int i = 0; i < 10'001; ++i) many += "a,";
  EXPECT_NE("accepted", Error(many + "a]}"));
  for (const char* text :
       {"policies: {return_after: 0}", "policies: {return_after: 1000}", "policies: {max_differences: 10000}",
        "policies: {max_differences: any}", "policies: {unsigned: allow}", "policies: {unsigned: refuse}"})
    EXPECT_EQ("accepted", Error(text));
  auto s = Load("drivers: {d: {overwrite_options: []}}");
  ASSERT_TRUE(s.ok()) << s.status().message();
  EXPECT_EQ(32, s->MaxInFlight("d")) << "what a driver's group leaves out is as for all";
  // Where systemd says that credentials are: only where it is a path that may be one of settings.
  ASSERT_EQ(0, ::setenv("CREDENTIALS_DIRECTORY", "not/absolute", 1));
  EXPECT_EQ("", Load("")->credentials_dir);
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

}  // namespace
}  // namespace dvdi
