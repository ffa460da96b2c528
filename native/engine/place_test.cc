// Where a driver's volume may be, on the real kernel: where the folder that it names really is decides,
// whatever links lead there, and whoever moves them meanwhile.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "engine/testing/mount_engine.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kUser = 4711;

class PlaceTest : public EngineMountTest {
 protected:
  // With a policy that sets owners, and calls `between` between Mount and stage.
  std::shared_ptr<Engine> OpenWith(
      std::function<void()> between = [] {}, const std::string& ownership = "recursive") {
    auto engine = Open();
    auto policy = std::make_shared<ScriptedPolicy>();
    policy->scripts["prepare"] = [between, ownership](const Json& input,
                                                      ScriptHost& host) -> Result<std::string> {
      for (const Json& v : input["volumes"]) {
        const int64_t i = GetInt(v, "index");
        host.Plugin({{"method", "Get"}, {"volume", i}});
        host.Plugin({{"method", "List"}, {"driver", v["driver"]}});
        host.Plugin({{"method", "Create"}, {"volume", i}});
        const Json mount = host.Plugin({{"method", "Mount"}, {"volume", i}});
        if (GetString(mount, "kind") != "ok") return SaysError("driver", Dump(mount));
        between();
        const Json stage = host.Stage({{"volume", i}, {"ownership", ownership}});
        if (!GetBool(stage, "ok")) return SaysError("driver", Dump(stage));
      }
      return AllIsWell();
    };
    Core& core = engine->core();
    core.policy = std::make_unique<ScriptedSelector>(core.env, core.runtime.get(), policy);
    return engine;
  }
  Json Attempt(Engine& engine, const std::string& scope, const std::string& driver, const std::string& name,
               const Json& more = Json::object()) {
    Json request = Request(scope, {name}, {{"user", {{"uid", kUser}, {"gid", kUser}}}});
    Json statement = Json::parse(GetString(request["sources"][0], "text"));
    statement["volumes"][0]["driver"] = driver;
    request["sources"][0]["text"] = Dump(statement);
    request.update(more);
    return Call(engine, &Engine::Prepare, request);
  }
  static uid_t OwnerOf(const std::string& path) {
    struct stat st = {};
    EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
    return st.st_uid;
  }
  // Refused for that, and nothing of ours was given away.
  void ExpectRefused(const Json& answer, const std::string& why) {
    ASSERT_FALSE(answer.contains("ok")) << answer;
    EXPECT_NE(answer.dump().find(why), std::string::npos) << answer;
    EXPECT_EQ(OwnerOf(Path("state")), ::geteuid());
    EXPECT_EQ(OwnerOf(Path("state/ledger.db")), ::geteuid());
  }
};

TEST_F(PlaceTest, ALinkToAFolderOfOurOwnIsNobodysVolume) {
  auto engine = OpenWith();
  fs::create_directory_symlink("state", Path("link"));
  fs::create_directory_symlink("../link", Path("volumes/link"));
  for (const std::string& named : {Path("link"), Path("volumes/link"), Path("link/stage")}) {
    plugins_->named["a"] = named;
    ExpectRefused(Attempt(*engine, "one", "red", "a"), "keeps its own in " + Path("state"));
  }
  plugins_->named.clear();
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

TEST_F(PlaceTest, WhereTheSettingsReallyLeadIsOurOwnToo) {
  MakeDir("real");
  fs::create_directory_symlink("real", Path("link"));
  settings_.policy_dir = Path("link/policy");
  auto engine = OpenWith();
  plugins_->named["a"] = Path("real/policy");
  ExpectRefused(Attempt(*engine, "one", "red", "a"), "keeps its own in " + Path("real/policy"));
  plugins_->named["a"] = Path("volumes/../other");
  ExpectRefused(Attempt(*engine, "one", "red", "a"), "no absolute path without");
  plugins_->named.clear();
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

TEST_F(PlaceTest, AFolderThatLeadsElsewhereMeanwhileIsRefused) {
  MakeDir("good");
  MakeDir("good/stage");
  auto engine = OpenWith([this] {
    fs::rename(Path("good"), Path("aside"));
    fs::create_directory_symlink("state", Path("good"));
  });
  plugins_->named["a"] = Path("good/stage");
  ExpectRefused(Attempt(*engine, "one", "red", "a"), "keeps its own in " + Path("state"));
  EXPECT_EQ(OwnerOf(Path("state/stage")), ::geteuid());
  plugins_->named.clear();
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

TEST_F(PlaceTest, AVolumeNamedThroughALinkIsKnownByWhereItIs) {
  auto engine = OpenWith();
  const std::string real = plugins_->Mountpoint("red", "a");
  fs::create_directory_symlink("volumes", Path("link"));
  plugins_->named["a"] = Path("link/red-a/");
  Json one = Attempt(*engine, "one", "red", "a", {{"process", {{"pid", ::getpid()}}}});
  ASSERT_TRUE(one.contains("ok")) << one;
  EXPECT_EQ(one["ok"]["hide"], Json::array({real})) << "so that it can be hidden from others";
  EXPECT_EQ(one["ok"]["hide_last"], Path("state/stage"));
  // What is mounted there is held against what was, when it is shared.
  Json two = Attempt(*engine, "two", "red", "a");
  ASSERT_TRUE(two.contains("ok")) << two;
  EXPECT_EQ(two["ok"]["volumes"][0]["what"], "shared");
  for (const char* scope : {"one", "two"}) EXPECT_TRUE(Cleanup(*engine, scope).contains("ok"));
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

TEST_F(PlaceTest, WhereAnotherDriverHasAVolumeIsNoPlaceForOne) {
  auto engine = OpenWith();
  const std::string of_red = plugins_->Mountpoint("red", "a");
  ASSERT_TRUE(Attempt(*engine, "one", "red", "a").contains("ok"));
  fs::create_directory(of_red + "/inner");
  fs::create_directory_symlink("volumes/red-a", Path("link"));
  for (const std::string& named : {of_red, of_red + "/inner", Path("volumes"), Path("link")}) {
    plugins_->named["b"] = named;
    ExpectRefused(Attempt(*engine, "two", "blue", "b"), "driver red has its volume a at " + of_red);
    EXPECT_EQ(OwnerOf(of_red + "/inner"), ::geteuid()) << named;
  }
  // What another volume of its own has to do with it is the driver's to know.
  plugins_->named["b"] = of_red + "/inner";
  Json own = Attempt(*engine, "three", "red", "b");
  EXPECT_TRUE(own.contains("ok")) << own;
  for (const char* scope : {"one", "three"}) EXPECT_TRUE(Cleanup(*engine, scope).contains("ok"));
  plugins_->named.clear();
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

// Of the volumes of one workload no ledger says yet where they are, unless their owners take long to set.
TEST_F(PlaceTest, WhereAnotherDriversVolumeOfTheSameWorkloadIsIsNoPlaceForOne) {
  auto engine = OpenWith([] {}, "none");
  const std::string of_red = plugins_->Mountpoint("red", "a"), of_blue = plugins_->Mountpoint("blue", "b");
  Json both = Request("one", {"a", "b"}, {{"user", {{"uid", kUser}, {"gid", kUser}}}});
  Json statement = Json::parse(GetString(both["sources"][0], "text"));
  statement["volumes"][0]["driver"] = "red", statement["volumes"][1]["driver"] = "blue";
  both["sources"][0]["text"] = Dump(statement);
  plugins_->named["b"] = of_red;
  ExpectRefused(Call(*engine, &Engine::Prepare, both), "driver red has its volume a at " + of_red);
  plugins_->named.clear();
  EXPECT_TRUE(Released(*engine));
  const Json each = Call(*engine, &Engine::Prepare, both);
  ASSERT_TRUE(each.contains("ok")) << each;
  EXPECT_TRUE(IsMounted(of_red) && IsMounted(of_blue));
  EXPECT_TRUE(Cleanup(*engine, "one").contains("ok"));
  EXPECT_TRUE(Released(*engine));
  engine->Close(1000);
}

// The kernel knows the mount by the path that a symlink leads to.
TEST_F(PlaceTest, WhatIsMountedBehindASymlinkIsNotRemoved) {
  fs::create_directory_symlink("volumes", Path("link"));
  plugins_ = std::make_unique<TmpfsPlugins>(Path("link"));
  auto engine = OpenWith();
  // By another client of the driver.
  int status = 200;
  plugins_->Act("red", "Create", R"({"Name":"a"})", &status);
  plugins_->Act("red", "Mount", R"({"Name":"a","ID":"other"})", &status);
  ASSERT_EQ(status, 200);
  ASSERT_TRUE(IsMounted(Path("volumes/red-a")));
  Json answer = Call(*engine, &Engine::Remove, {{"driver", "red"}, {"name", "a"}});
  ExpectRefused(answer, "is mounted at " + Path("link/red-a"));
  EXPECT_EQ(plugins_->calls("Remove"), 0);
  plugins_->Act("red", "Unmount", R"({"Name":"a","ID":"other"})", &status);
  engine->Close(1000);
}

}  // namespace
}  // namespace dvdi
