// Policies that want out of their volume, as real Wasm on the real kernel: what they stage is a folder of the
// volume or nothing, whatever links lie in it, and whoever moves them meanwhile.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "engine/testing/mount_engine.h"
#include "policy/test_blobs.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kUser = 4711;

// Red's volume "a" is held by a workload, and full of links. Beside it lies a folder of the node's.
class EscapeTest : public EngineMountTest {
 protected:
  EscapeTest() { stock_ = true; }

  void SetUp() override {
    EngineMountTest::SetUp();
    if (IsSkipped()) return;
    settings_.return_after = 0;  // each policy gets its turn
    MakeDir("outside");
    MakeDir("outside/inner");
    MakeFile("outside/secret");
    MakeFile("outside/inner/secret");
    engine_ = Open();
    ASSERT_NO_FATAL_FAILURE(Install("", "none"));
    Json held = Call(*engine_, &Engine::Prepare, Request("holder", {"a"}));
    ASSERT_TRUE(held.contains("ok")) << held;
    volume_ = plugins_->Mountpoint("red", "a");
    held_ = Stages();
    ASSERT_EQ(held_.size(), 1u);
    fs::create_directories(volume_ + "/deep/real");
    std::ofstream(volume_ + "/deep/real/mine") << "data";
  }
  void TearDown() override {
    if (engine_) {
      EXPECT_TRUE(Cleanup(*engine_, "holder").contains("ok"));
      EXPECT_TRUE(Released(*engine_));
      engine_->Close(1000);
      EXPECT_EQ(plugins_->violations(), std::vector<std::string>());
    }
    EngineMountTest::TearDown();
  }

  void Link(const std::string& name, const std::string& to) {
    fs::create_directory_symlink(to, volume_ + "/" + name);
  }

  // The active policy from now on: it has the volume, or makes it, stages this part of it and says that all
  // is well, whatever it was answered.
  void Install(const std::string& subpath, const std::string& ownership = "recursive") {
    auto call = [](Json one) { return std::pair('c', Dump({{"calls", {std::move(one)}}})); };
    auto ok = [](const Json& volumes) {
      return std::pair('a', Dump({{"ok", {{"volumes", volumes}, {"notes", Json::array()}}}}));
    };
    const Json statement = Json::parse(GetString(Request("hostile", {"a"})["sources"][0], "text"));
    const ScriptSteps prepare = {
        call({{"method", "Get"}, {"volume", 0}}),
        call({{"method", "List"}, {"driver", "red"}}),
        call({{"method", "Create"}, {"volume", 0}}),
        call({{"method", "Mount"}, {"volume", 0}}),
        {'s', Dump({{"stages", {{{"volume", 0}, {"subpath", subpath}, {"ownership", ownership}}}}})},
        ok({{{"index", 0}, {"what", "re-attached"}, {"message", "here"}}})};
    MakeFile("policy.wasm",
             ScriptBlob({ok(statement["volumes"])}, prepare, "1.0." + std::to_string(version_++)));
    auto done =
        engine_->Policy({{"verb", "install"}, {"path", Path("policy.wasm")}, {"allow_differences", true}});
    ASSERT_TRUE(done.ok()) << done.status().message();
  }

  // Paths of what is mounted for workloads now.
  std::vector<std::string> Stages() const {
    std::vector<std::string> found;
    for (const MountEntry& m : Mounts())
      if (m.mountpoint.starts_with(Path("state/stage") + "/")) found.push_back(m.mountpoint);
    return found;
  }
  static dev_t DeviceOf(const std::string& path) {
    struct stat st = {};
    EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
    return st.st_dev;
  }

  // A workload under the active policy, begun and ended; what it was answered. `inside`: what to look at
  // while it is there.
  Json Attempt(
      const std::string& what, const std::function<void(const std::string& stage)>& inside = [](auto&) {}) {
    Json answer = Call(*engine_, &Engine::Prepare,
                       Request("hostile", {"a"}, {{"user", {{"uid", kUser}, {"gid", kUser}}}}));
    if (answer.contains("ok")) {
      const std::string stage = answer["ok"]["volumes"][0]["stage"];
      EXPECT_EQ(DeviceOf(stage), DeviceOf(volume_)) << what << ": it is not of the volume";
      EXPECT_FALSE(fs::exists(stage + "/secret") || fs::exists(stage + "/inner/secret")) << what;
      inside(stage);
      EXPECT_TRUE(Cleanup(*engine_, "hostile").contains("ok")) << what;
    }
    EXPECT_EQ(Stages(), held_) << what << ": it is not undone";
    for (const char* name : {"outside", "outside/secret", "outside/inner", "outside/inner/secret"}) {
      struct stat st = {};
      EXPECT_EQ(::lstat(Path(name).c_str(), &st), 0) << what;
      EXPECT_EQ(st.st_uid, 0u) << what << ": the owner of " << name << " was changed";
    }
    return answer;
  }

  std::shared_ptr<Engine> engine_;
  std::string volume_;  // where the driver has it
  std::vector<std::string> held_;

 private:
  int version_ = 0;
};

TEST_F(EscapeTest, NoPathAndNoLinkLeadsOut) {
  Link("absolute", Path("outside"));
  Link("up", "../../../../../../../.." + Path("outside"));
  Link("beside", "../../outside");
  Link("magic", "/proc/self/root" + Path("outside"));
  Link("cwd", "/proc/self/cwd");
  Link("root", "/");
  Link("home", volume_ + "/deep");
  Link("twice", "deep/../up");
  Link("loop", "loop");
  fs::create_directory(volume_ + "/mounted");
  ASSERT_EQ(::mount(Path("outside").c_str(), (volume_ + "/mounted").c_str(), nullptr, MS_BIND, nullptr), 0);
  const char* leaves = "leaves the volume, through a symbolic link or into another mount";
  const char* no_path = "is no path inside a volume";
  struct Way {
    std::string subpath;
    const char* says;
    const char* ownership = "recursive";
  };
  // What leads to the node's own files changes nothing there, should it get so far.
  const std::vector<Way> ways = {
      {"absolute", leaves},
      {"absolute/inner", leaves},
      {"deep/../absolute", no_path},
      {"up", leaves},
      {"beside", leaves},
      {"magic", leaves},
      {"magic/inner", leaves},
      {"cwd", leaves, "none"},
      {"root", leaves, "none"},
      {"root" + Path("outside"), leaves},
      // Where an absolute link ends is not looked at: in the workload's namespace it would end elsewhere.
      {"home", leaves},
      {"twice", leaves},
      {"loop", leaves},
      {"mounted", leaves},
      {"mounted/inner", leaves},
      {"../outside", no_path},
      {"deep/../../outside", no_path},
      {Path("outside"), no_path},
      {"/proc/self/root", no_path, "none"},
      {std::string("deep\0/../../outside", 19), no_path},
      {"deep/real/mine", "is not a folder in the volume"},
      {"none", "the volume has no folder none"},
  };
  size_t operations = 0;
  for (const auto& [way, says, ownership] : ways) {
    SCOPED_TRACE(way);
    ASSERT_NO_FATAL_FAILURE(Install(way, ownership));
    Json answer = Attempt(way);
    ASSERT_TRUE(answer.contains("error")) << answer;
    EXPECT_EQ(answer["error"]["code"], "policy");
    const std::string message = answer["error"]["message"];
    EXPECT_TRUE(message.find(says) != std::string::npos) << message;
    EXPECT_TRUE(message.find("made no stage for volume a: ") != std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    // One operation, which has ended.
    auto scopes = engine_->StatusOf({{"what", "scopes"}});
    ASSERT_TRUE(scopes.ok()) << scopes.status().message();
    EXPECT_EQ((*scopes)["scopes"].size(), 1u) << *scopes;
    auto records = engine_->Explain({{"scope", "hostile"}, {"last", 100}});
    ASSERT_TRUE(records.ok()) << records.status().message();
    EXPECT_EQ((*records)["operations"].size(), ++operations);
    EXPECT_EQ((*records)["operations"][0]["outcome"], "policy");
  }
  EXPECT_EQ(::umount2((volume_ + "/mounted").c_str(), 0), 0);
}

TEST_F(EscapeTest, LinksWithinTheVolumeAreFollowed) {
  Link("turn", "deep/real");
  Link("deep/up", "../deep/real");
  Link("deep/real/out", Path("outside"));
  Link("out", "../../outside");
  // A change of all owners that the volume's links do not lead astray.
  for (const char* way : {"deep/real", "turn", "deep/up", "turn/.", "deep//real/"}) {
    SCOPED_TRACE(way);
    ASSERT_NO_FATAL_FAILURE(Install(way));
    Json answer = Attempt(way, [](const std::string& stage) {
      struct stat st = {};
      ASSERT_EQ(::stat((stage + "/mine").c_str(), &st), 0);
      EXPECT_EQ(st.st_uid, kUser);
    });
    EXPECT_TRUE(answer.contains("ok")) << answer;
  }
  ASSERT_NO_FATAL_FAILURE(Install(""));
  Json whole = Attempt("all of it", [](const std::string& stage) {
    struct stat st = {};
    ASSERT_EQ(::lstat((stage + "/deep/real/out").c_str(), &st), 0);
    EXPECT_TRUE(S_ISLNK(st.st_mode));
    EXPECT_EQ(st.st_uid, kUser);
  });
  EXPECT_TRUE(whole.contains("ok")) << whole;
}

// Which of the two it gets is chance, and both are right.
TEST_F(EscapeTest, AFolderThatBecomesAWayOutMeanwhileLeadsNowhere) {
  fs::create_directories(volume_ + "/swap/inner");
  Link("other", Path("outside"));
  Link("through", "swap/inner");
  std::atomic<int64_t> swaps = 0;
  std::jthread swapper([&](const std::stop_token& stop) {
    const std::string one = volume_ + "/swap", two = volume_ + "/other";
    while (!stop.stop_requested())
      if (::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, two.c_str(), RENAME_EXCHANGE) == 0) ++swaps;
  });
  EXPECT_TRUE(Eventually([&] { return swaps > 0; }));
  for (const char* way : {"swap", "swap/inner", "through"}) {
    SCOPED_TRACE(way);
    Install(way);
    int staged = 0, refused = 0;
    for (int i = 0; i < 60 && !HasFailure() && (staged < 10 || refused < 10); ++i) {
      Json answer = Attempt(way);
      ++(answer.contains("ok") ? staged : refused);
    }
    std::cout << way << ": " << staged << " staged, " << refused << " refused\n";
  }
}

}  // namespace
}  // namespace dvdi
