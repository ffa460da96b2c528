// dvdi.h as another program uses it: through libdvdi.so alone, with the shipped policy and a plugin behind a
// socket.
#include "dvdi/dvdi.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "base/json.h"
#include "engine/testing/tmpfs_plugins.h"
#include "mount/test_world.h"
#include "plugin/scripted_server.h"

namespace dvdi {
namespace {

class DvdiTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    plugins_ = std::make_unique<TmpfsPlugins>(MakeDir("volumes"));
    MakeDir("sockets");
    server_ = std::make_unique<ScriptedServer>(Path("sockets/red.sock"));
    server_->SetHandler([this](const SeenRequest& r) {
      int status = 200;
      std::string body = plugins_->Act("red", r.path.substr(r.path.rfind('.') + 1), r.body, &status);
      return Turn::Json(body, status);
    });
  }
  void TearDown() override {
    for (dvdi_engine* e : open_) dvdi_close(e, 1000);
    server_.reset();
    MountTest::TearDown();
  }

  std::string Options() const {
    Json settings = {{"state_dir", Path("state")},
                     {"runtime_dir", Path("run")},
                     {"policy_dir", DVDI_TEST_POLICY_DIR},
                     {"node", "test"},
                     {"plugins", {{"sockets", {Path("sockets")}}, {"specs", Json::array()}}}};
    std::ofstream(Path("config.yaml")) << "{}\n";
    ::chmod(Path("config.yaml").c_str(), 0600);
    return Dump({{"config", Path("config.yaml")}, {"settings", settings}});
  }
  dvdi_engine* Open() {
    dvdi_engine* engine = nullptr;
    char* error = nullptr;
    EXPECT_EQ(dvdi_open(Options().c_str(), &engine, &error), DVDI_OK) << (error != nullptr ? error : "");
    EXPECT_EQ(error, nullptr);
    dvdi_free(error);
    if (engine != nullptr) open_.push_back(engine);
    return engine;
  }
  void Close(dvdi_engine* engine) {
    open_.erase(std::find(open_.begin(), open_.end(), engine));
    dvdi_close(engine, 1000);
  }

  struct Answer {
    dvdi_code code = DVDI_INTERNAL;
    Json json;
    int times = 0;
  };
  using Verb = dvdi_code (*)(dvdi_engine*, const char*, dvdi_done, void*);
  // The callback's answer; it has been called exactly once.
  static Answer Call(Verb verb, dvdi_engine* engine, const char* request) {
    struct Box {
      Answer answer;
      std::promise<void> done;
      std::atomic<int> times = 0;
    } box;
    dvdi_code accepted = verb(
        engine, request,
        [](void* user, dvdi_code code, const char* json, size_t length) {
          auto b = static_cast<Box*>(user);
          if (++b->times > 1) return;
          b->answer.code = code;
          b->answer.json = Json::parse(std::string(json, length), nullptr, false);
          b->done.set_value();
        },
        &box);
    EXPECT_EQ(accepted, DVDI_OK);
    if (accepted != DVDI_OK) return box.answer;
    box.done.get_future().get();
    box.answer.times = box.times;
    EXPECT_EQ(box.answer.times, 1);
    return box.answer;
  }
  using Question = dvdi_code (*)(dvdi_engine*, const char*, char**);
  static Answer Ask(Question question, dvdi_engine* engine, const char* request) {
    char* text = nullptr;
    Answer answer;
    answer.code = question(engine, request, &text);
    EXPECT_NE(text, nullptr);
    answer.json = Json::parse(text == nullptr ? "" : text, nullptr, false);
    EXPECT_FALSE(answer.json.is_discarded());
    dvdi_free(text);
    return answer;
  }
  static constexpr char kPrepare[] =
      R"({"owner":"manual","scope":"one","sources":[{"form":"volume","text":"data:/srv/data"}],"default_driver":"red"})";
  static constexpr char kScope[] = R"({"owner":"manual","scope":"one"})";

  std::unique_ptr<TmpfsPlugins> plugins_;
  std::unique_ptr<ScriptedServer> server_;
  std::vector<dvdi_engine*> open_;
};

TEST(DvdiNamesTest, VersionAndCodes) {
  EXPECT_NE(std::string(dvdi_version()).find("(abi 1)"), std::string::npos);
  EXPECT_STREQ(dvdi_code_name(DVDI_OK), "ok");
  EXPECT_STREQ(dvdi_code_name(DVDI_NOT_FOUND), "not-found");
  EXPECT_NE(dvdi_code_name(4711), nullptr);
}

TEST(DvdiNamesTest, NullIsSaidOrAllowed) {
  dvdi_free(nullptr);
  dvdi_close(nullptr, 0);
  auto done = [](void*, dvdi_code, const char*, size_t) { FAIL() << "nothing was accepted"; };
  EXPECT_EQ(dvdi_prepare(nullptr, "{}", done, nullptr), DVDI_INVALID);
  EXPECT_EQ(dvdi_cleanup(nullptr, "{}", done, nullptr), DVDI_INVALID);
  EXPECT_EQ(dvdi_recover(nullptr, "{}", done, nullptr), DVDI_INVALID);
  char* answer = nullptr;
  EXPECT_EQ(dvdi_ask(nullptr, "{}", done, nullptr), DVDI_INVALID);
  EXPECT_EQ(dvdi_status(nullptr, "{}", &answer), DVDI_INVALID);
  EXPECT_EQ(dvdi_explain(nullptr, "{}", &answer), DVDI_INVALID);
  EXPECT_EQ(dvdi_forget(nullptr, "{}", &answer), DVDI_INVALID);
  EXPECT_EQ(dvdi_policy(nullptr, "{}", &answer), DVDI_INVALID);
  EXPECT_EQ(dvdi_open("{}", nullptr, nullptr), DVDI_INVALID);
}

TEST(DvdiNamesTest, OptionsThatAreWrongSayWhatIs) {
  for (const char* options :
       {"{", "[]", "7", R"({"settings":{"no_such":1}})", R"({"settings":{"state_dir":"relative"}})",
        R"({"config":"/no/such/file.yaml"})", R"({"settings":7})"}) {
    auto engine = reinterpret_cast<dvdi_engine*>(1);
    char* error = nullptr;
    EXPECT_NE(dvdi_open(options, &engine, &error), DVDI_OK) << options;
    EXPECT_EQ(engine, nullptr);
    ASSERT_NE(error, nullptr) << options;
    Json json = Json::parse(error, nullptr, false);
    EXPECT_FALSE(GetString(GetMember(json, "error"), "message").empty()) << error;
    dvdi_free(error);
    EXPECT_NE(dvdi_open(options, &engine, nullptr), DVDI_OK) << "without a place for the error";
  }
}

TEST_F(DvdiTest, WhoIsNotRootIsToldSoOnANodeThatWasUsedBefore) {
  Close(Open());
  ASSERT_EQ(::chmod(Path("").c_str(), 0755), 0);
  // The state folder alone is closed to others, then the settings too.
  for (mode_t mode : {0644, 0600}) {
    const std::string options = Options();
    ASSERT_EQ(::chmod(Path("config.yaml").c_str(), mode), 0);
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      if (::setuid(65534) != 0) ::_exit(9);
      dvdi_engine* engine = nullptr;
      char* error = nullptr;
      if (dvdi_open(options.c_str(), &engine, &error) == DVDI_OK || error == nullptr) ::_exit(8);
      const std::string text = error;
      ::_exit(text.find("Permission denied") == std::string::npos ? 7
              : text.find("needs root") == std::string::npos      ? 1
                                                                  : 0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(WEXITSTATUS(status), 0) << mode;
  }
}

TEST_F(DvdiTest, PrepareStatusExplainCleanup) {
  dvdi_engine* engine = Open();
  ASSERT_NE(engine, nullptr);
  Answer prepared = Call(dvdi_prepare, engine, kPrepare);
  ASSERT_EQ(prepared.code, DVDI_OK) << prepared.json;
  ASSERT_EQ(prepared.json["volumes"].size(), 1u);
  std::string stage = prepared.json["volumes"][0]["stage"];
  EXPECT_EQ(prepared.json["volumes"][0]["what"], "created");
  EXPECT_NE(FindMount(Mounts(), stage), nullptr);
  std::ofstream(stage + "/file") << "data";

  Answer summary = Ask(dvdi_status, engine, "{}");
  EXPECT_EQ(summary.code, DVDI_OK);
  EXPECT_EQ(summary.json["scopes"], 1);
  const Json scope = Ask(dvdi_status, engine, R"({"what":"scopes"})").json["scopes"][0];
  EXPECT_EQ(scope["same_mount_namespace"], true) << scope;
  const Json again = Call(dvdi_prepare, engine, kPrepare).json;
  EXPECT_EQ(again["stored"], true) << again;
  EXPECT_FALSE(again.contains("mount_namespace")) << again;
  Answer volume = Ask(dvdi_status, engine, R"({"what":"volume","name":"data","ask_plugin":true})");
  EXPECT_EQ(volume.json["state"], "attached") << volume.json;
  EXPECT_EQ(volume.json["plugin"]["kind"], "ok");
  Answer explained = Ask(dvdi_explain, engine, R"({"scope":"one"})");
  EXPECT_EQ(explained.json["operations"][0]["outcome"], "ok");
  Answer forbidden = Ask(dvdi_forget, engine, R"({"driver":"red","name":"data"})");
  EXPECT_EQ(forbidden.code, DVDI_REFUSED);
  EXPECT_EQ(forbidden.json["error"]["volume"], "data");

  EXPECT_EQ(Call(dvdi_cleanup, engine, kScope).code, DVDI_OK);
  EXPECT_EQ(FindMount(Mounts(), stage), nullptr);
  Answer recovered = Call(dvdi_recover, engine, R"({"owner":"manual","wait_ms":5000})");
  EXPECT_EQ(recovered.json["pending"], Json::array()) << recovered.json;
  EXPECT_EQ(plugins_->mounted(), 0);
  EXPECT_EQ(Ask(dvdi_forget, engine, R"({"driver":"red","name":"data"})").code, DVDI_NOT_FOUND);
  EXPECT_EQ(plugins_->violations(), std::vector<std::string>());
}

// A workload that sees the node's folders by other names gives the folders that its own are beneath.
TEST_F(DvdiTest, ContainerPathsLieBeneathTheWorkloadsFolders) {
  dvdi_engine* engine = Open();
  std::string box = MakeDir("box"), root = MakeDir("root");
  Json request = {
      {"owner", "mesos:/w"},
      {"scope", "c1"},
      {"default_driver", "red"},
      {"targets", "make"},
      {"target_base", {{"relative", box}, {"absolute", root}}},
      {"user", {{"name", "root"}}},
      {"sources",
       {{{"form", "mesos"},
         {"text", R"({"volumes":[{"container_path":"a/b","source":{"type":"DOCKER_VOLUME","docker_volume":
                              {"name":"one"}}},{"container_path":"/etc/in","source":{"type":"DOCKER_VOLUME",
                              "docker_volume":{"name":"two"}}}]})"}}}}};
  Answer prepared = Call(dvdi_prepare, engine, Dump(request).c_str());
  ASSERT_EQ(prepared.code, DVDI_OK) << prepared.json;
  EXPECT_EQ(prepared.json["volumes"][0]["target"], box + "/a/b");
  EXPECT_EQ(prepared.json["volumes"][1]["target"], root + "/etc/in");
  EXPECT_TRUE(std::filesystem::is_directory(box + "/a/b"));
  EXPECT_TRUE(std::filesystem::is_directory(root + "/etc/in"));
  EXPECT_EQ(Call(dvdi_cleanup, engine, R"({"owner":"mesos:/w","scope":"c1"})").code, DVDI_OK);
  EXPECT_FALSE(std::filesystem::exists(box + "/a"));
  EXPECT_FALSE(std::filesystem::exists(root + "/etc"));

  // What a workload puts there leads nowhere else.
  std::filesystem::create_directory_symlink("/etc", box + "/a");
  Answer refused = Call(dvdi_prepare, engine, Dump(request).c_str());
  EXPECT_EQ(refused.code, DVDI_REFUSED) << refused.json;
  EXPECT_NE(GetString(refused.json["error"], "message").find("is a symbolic link"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists("/etc/b"));
  request["user"] = {{"name", "no-such-user-here"}};
  EXPECT_EQ(Call(dvdi_prepare, engine, Dump(request).c_str()).code, DVDI_NOT_FOUND);
  request["target_base"] = {{"relative", "box"}};
  EXPECT_EQ(Call(dvdi_prepare, engine, Dump(request).c_str()).code, DVDI_INVALID);
  // Releases go on behind the answers.
  for (int i = 0; i < 500 && plugins_->mounted() > 0; ++i) ::usleep(10'000);
  EXPECT_EQ(plugins_->mounted(), 0);
}

TEST_F(DvdiTest, UsageIsAskedForWithoutWaiting) {
  dvdi_engine* engine = Open();
  Answer none = Call(dvdi_ask, engine, R"({"what":"usage"})");
  EXPECT_EQ(none.code, DVDI_OK);
  EXPECT_EQ(none.json["volumes"], Json::array());
  Answer prepared = Call(dvdi_prepare, engine, kPrepare);
  ASSERT_EQ(prepared.code, DVDI_OK) << prepared.json;
  Answer usage = Call(dvdi_ask, engine, R"({"what":"usage","owner":"manual"})");
  ASSERT_EQ(usage.json["volumes"].size(), 1u) << usage.json;
  EXPECT_EQ(usage.json["volumes"][0]["state"], "ok") << usage.json;
  EXPECT_GT(usage.json["volumes"][0]["total_bytes"], 0);
  EXPECT_EQ(usage.json["volumes"][0]["users"][0]["scope"], "one");
  EXPECT_EQ(usage.json["values"]["volume/red/data/lost"], 0);
  EXPECT_EQ(Call(dvdi_ask, engine, R"({"what":"usage","owner":"another"})").json["volumes"], Json::array());
  Answer metrics = Call(dvdi_ask, engine, R"({"what":"metrics"})");
  EXPECT_EQ(metrics.json["values"]["scopes/manual"], 1) << metrics.json["values"];
  EXPECT_EQ(metrics.json["values"]["policy_ok"], 1);
  EXPECT_EQ(Call(dvdi_ask, engine, R"({"what":"nothing"})").code, DVDI_INVALID);

  std::string stage = prepared.json["volumes"][0]["stage"];
  ASSERT_EQ(::umount2(stage.c_str(), MNT_DETACH), 0);
  usage = Call(dvdi_ask, engine, R"({"what":"usage"})");
  EXPECT_EQ(usage.json["volumes"][0]["state"], "lost") << usage.json;
  EXPECT_EQ(usage.json["values"]["volume/red/data/lost"], 1);
  EXPECT_EQ(Call(dvdi_cleanup, engine, kScope).code, DVDI_OK);
}

std::string Field(int number, const std::string& value) {
  return std::string({static_cast<char>(number << 3 | 2), static_cast<char>(value.size())}) + value;
}

TEST_F(DvdiTest, TheOriginalModulesMountsAreTakenOverOnce) {
  // Mounted as it did, without an ID.
  int status = 0;
  plugins_->Act("red", "Create", R"({"Name":"old"})", &status);
  plugins_->Act("red", "Mount", R"({"Name":"old"})", &status);
  ASSERT_EQ(plugins_->mounted(), 1);
  auto mount = [&](const std::string& container, const std::string& name, const std::string& at) {
    return Field(
        1, Field(1, container) + Field(2, "red") + Field(3, name) + Field(4, at) + Field(6, "/srv/old"));
  };
  std::string path = Path("dvdimounts.pb");
  std::ofstream(path, std::ios::binary)
      << mount("live", "old", plugins_->Mountpoint("red", "old")) << mount("gone", "other", "/not/mounted");
  ::chmod(path.c_str(), 0644);
  dvdi_engine* engine = Open();
  Json request = {{"owner", "mesos:/w"}, {"live", {"live"}}, {"original", path}};
  Answer recovered = Call(dvdi_recover, engine, Dump(request).c_str());
  ASSERT_EQ(recovered.code, DVDI_OK) << recovered.json;
  ASSERT_EQ(recovered.json["taken"].size(), 2u) << recovered.json;
  EXPECT_NE(recovered.json["taken"][0].get<std::string>().find("is left out"), std::string::npos);
  EXPECT_NE(recovered.json["taken"][1].get<std::string>().find("was taken over"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::exists(path + ".read"));
  EXPECT_EQ(Ask(dvdi_status, engine, R"({"what":"scopes"})").json["scopes"].size(), 1u);
  EXPECT_EQ(Call(dvdi_recover, engine, Dump(request).c_str()).json["taken"], Json::array());

  std::ofstream(path) << "no list";
  ::chmod(path.c_str(), 0644);
  recovered = Call(dvdi_recover, engine, Dump(request).c_str());
  EXPECT_NE(Dump(recovered.json["taken"]).find("drain this node"), std::string::npos) << recovered.json;
  EXPECT_EQ(Call(dvdi_cleanup, engine, R"({"owner":"mesos:/w","scope":"live","release_ms":5000})").code,
            DVDI_OK);
}

TEST_F(DvdiTest, ASecondEngineKnowsWhatTheFirstDid) {
  dvdi_engine* engine = Open();
  ASSERT_EQ(Call(dvdi_prepare, engine, kPrepare).code, DVDI_OK);
  Close(engine);
  engine = Open();
  EXPECT_EQ(Ask(dvdi_status, engine, R"({"what":"scopes"})").json["scopes"].size(), 1u);
  EXPECT_EQ(Call(dvdi_cleanup, engine, kScope).code, DVDI_OK);
  Close(engine);
  EXPECT_EQ(plugins_->mounted(), 0) << "closing waits for what is under way";
}

TEST_F(DvdiTest, WrongRequestsAreAnsweredOnceByTheCallback) {
  dvdi_engine* engine = Open();
  const std::string deep(200, '[');
  for (const char* request : {"{", "[]", "7", "\"\"", "{}", "", static_cast<const char*>(nullptr), "\xff",
                              deep.c_str(), R"({"owner":7,"scope":[]})", R"({"owner":"run"})"}) {
    for (Verb verb : {&dvdi_prepare, &dvdi_cleanup, &dvdi_recover}) {
      if (verb == &dvdi_recover && request != nullptr && std::string(request) == R"({"owner":"run"})")
        continue;  // enough
      Answer answer = Call(verb, engine, request);
      EXPECT_EQ(answer.code, DVDI_INVALID) << (request != nullptr ? request : "null") << answer.json;
      EXPECT_EQ(answer.json["error"]["code"], "invalid");
    }
  }
  EXPECT_EQ(dvdi_prepare(engine, "{}", nullptr, nullptr), DVDI_INVALID) << "nobody to answer";
  for (Question question : {&dvdi_forget, &dvdi_policy})
    EXPECT_EQ(Ask(question, engine, "{}").code, DVDI_INVALID);
  for (Question question : {&dvdi_status, &dvdi_explain, &dvdi_forget, &dvdi_policy}) {
    EXPECT_EQ(Ask(question, engine, "{").code, DVDI_INVALID);
    EXPECT_EQ(Ask(question, engine, "[]").code, DVDI_INVALID);
    EXPECT_EQ(question(engine, "{", nullptr), DVDI_INVALID) << "without a place for the answer";
  }
  EXPECT_EQ(plugins_->calls("Get"), 0);
}

TEST_F(DvdiTest, ACallbackMayCallOtherFunctions) {
  dvdi_engine* engine = Open();
  struct Box {
    dvdi_engine* engine;
    std::promise<int> done;
  } box{engine, {}};
  ASSERT_EQ(dvdi_prepare(
                engine, kPrepare,
                [](void* user, dvdi_code code, const char*, size_t) {
                  auto b = static_cast<Box*>(user);
                  EXPECT_EQ(code, DVDI_OK);
                  char* text = nullptr;
                  EXPECT_EQ(dvdi_status(b->engine, "{}", &text), DVDI_OK);
                  dvdi_free(text);
                  // One after the other, from callback to callback.
                  dvdi_cleanup(
                      b->engine, kScope,
                      [](void* inner, dvdi_code ended, const char*, size_t) {
                        static_cast<Box*>(inner)->done.set_value(ended);
                      },
                      user);
                },
                &box),
            DVDI_OK);
  EXPECT_EQ(box.done.get_future().get(), DVDI_OK);
}

TEST_F(DvdiTest, EveryThreadGetsItsAnswer) {
  dvdi_engine* engine = Open();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      Json request = Json::parse(kPrepare);
      request["scope"] = "t" + std::to_string(t);
      request["sources"][0] = {
          {"form", "statement"},
          {"text", R"({"volumes":[{"name":"data","container_path":"/d","access":"multi-writer"}]})"}};
      Answer prepared = Call(dvdi_prepare, engine, Dump(request).c_str());
      Answer ended =
          Call(dvdi_cleanup, engine, Dump({{"owner", "manual"}, {"scope", request["scope"]}}).c_str());
      if (prepared.code == DVDI_OK && ended.code == DVDI_OK) ++good;
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, 6);
}

}  // namespace
}  // namespace dvdi
