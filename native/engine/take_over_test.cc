// What the original Mesos module has mounted becomes ours, or stays as it is.
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "engine/testing/sim_engine.h"
#include "ledger/testing/faulty_vfs.h"

namespace dvdi {
namespace {

class TakeOverTest : public SimEngineTest {
 protected:
  TakeOverTest() : path_(root_ + "/dvdimounts.pb") {}
  // Adds a mount to the file; the driver has the volume.
  void Add(const std::string& container, const std::string& name, const std::string& mountpoint) {
    auto field = [](int number, const std::string& text) {
      return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(text.size())} + text;
    };
    std::ofstream(path_, std::ios::binary | std::ios::app)
        << field(1, field(1, container) + field(2, "red") + field(3, name) + field(4, mountpoint));
    ::chmod(path_.c_str(), 0644);
    MakeVolume("red", name);
  }
  // As the original did: the driver has it mounted for somebody without an ID.
  void AddMounted(const std::string& container, const std::string& name) {
    const std::string mountpoint = root_ + "/red-" + name;
    Add(container, name, mountpoint);
    ::mkdir(mountpoint.c_str(), 0755);
    world_.sys.AddMount(mountpoint, "ext4", "9:" + std::to_string(++device_));
    auto& volume = world_.transport.plugins["red"].volumes[name];
    volume.mountpoint = mountpoint, volume.ids = {""};
  }
  // What became of each, sorted.
  std::vector<std::string> TakeOver(const Json& live) {
    Json request = {{"owner", "mesos:/w"}, {"original", path_}};
    if (!live.is_null()) request["live"] = live;
    Json answer = Recover(request);
    EXPECT_TRUE(answer.contains("ok")) << answer;
    std::vector<std::string> lines = answer["ok"]["taken"];
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  static void ExpectLine(const std::vector<std::string>& lines, const std::string& name,
                         const std::string& what) {
    for (const auto& line : lines) {
      if (line.find("volume \"" + name + "\"") == std::string::npos) continue;
      EXPECT_HAS(line, what);
      return;
    }
    ADD_FAILURE() << "nothing is said of " << name;
  }
  // The Mount of `name` acts, and is not answered.
  void LoseAnswer(const std::string& name) {
    transport_.hook = [this, name](const std::string& method, const PluginRequest& request,
                                   PluginReply* reply) {
      if (method != "Mount" || GetString(Json::parse(request.body), "Name") != name) return false;
      world_.transport.Exchange({request});
      reply->outcome = PluginReply::Outcome::kTimeout, reply->sent = true;
      return true;
    };
  }
  const std::string path_;
  int device_ = 0;
};

TEST_F(TakeOverTest, WhoIsAliveHasItsVolumeWhateverMountinfoSays) {
  Add("alive", "plain", root_ + "/pool/plain/_data");
  Add("gone", "other", root_ + "/pool/other/_data");
  const auto lines = TakeOver(Json::array({"alive"}));
  ASSERT_EQ(lines.size(), 2u);
  ExpectLine(lines, "plain", ", was taken over");
  ExpectLine(lines, "other", "is left out (that container is not alive, and nothing of the volume");
  EXPECT_EQ(Count("red Mount"), 1);
  // It is somebody's: another writer has to say so, and the last one gives it back.
  const Json held = Known("red", "plain");
  ASSERT_EQ(GetMember(held, "users").size(), 1u) << held;
  EXPECT_EQ(held["users"][0]["scope"], "alive");
  EXPECT_EQ(Count("red Unmount"), 0);
}

TEST_F(TakeOverTest, AMountOfTheVolumesOwnAroundItsFolderCounts) {
  world_.sys.AddMount("/var", "ext4", "8:2");
  world_.sys.AddMount("/srv/pool", "ext4", "8:3");
  world_.sys.AddMount("/var/lib/rexray/volumes/inside", "ext4", "8:4");
  world_.sys.AddMount("/srv/red-named", "ext4", "8:5");
  AddMounted("a", "itself");
  Add("b", "inside", "/var/lib/rexray/volumes/inside/data");
  Add("c", "named", "/srv/red-named/data/");
  // As after a reboot: the folder's filesystem is there, and is not the volume.
  Add("d", "unmounted", "/var/lib/rexray/volumes/unmounted/data");
  Add("e", "pooled", "/srv/pool/pooled");
  Add("f", "rooted", "/opt/rooted/data");
  Add("g", "ar", "/var/lib/ar/data");
  Add("h", "odd", "relative/../odd");
  const auto lines = TakeOver(nullptr);
  ASSERT_EQ(lines.size(), 8u) << Dump(Json(lines));
  for (const char* name : {"itself", "inside", "named"}) ExpectLine(lines, name, ", was taken over");
  for (const char* name : {"unmounted", "pooled", "rooted", "ar", "odd"})
    ExpectLine(lines, name, ", is left out (nothing of the volume is mounted there)");
  EXPECT_EQ(Count("red Mount"), 3) << "a volume that may be another node's is not asked for";
}

TEST_F(TakeOverTest, WhoIsGoneGivesItsVolumeBack) {
  AddMounted("gone", "a");
  const auto lines = TakeOver(Json::array());
  ASSERT_EQ(lines.size(), 1u);
  ExpectLine(lines, "a", ", was taken over");
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1);
  EXPECT_EQ(Ask("scopes")["scopes"], Json::array());
}

TEST_F(TakeOverTest, WhatCannotBeTakenOverStaysMounted) {
  AddMounted("alive", "a");
  AddMounted("alive", "b");
  LoseAnswer("b");
  const auto lines = TakeOver(Json::array({"alive"}));
  ASSERT_EQ(lines.size(), 2u);
  for (const char* name : {"a", "b"}) ExpectLine(lines, name, ", cannot be taken over (");
  for (const char* name : {"a", "b"}) ExpectLine(lines, name, "): drain this node");
  EXPECT_EQ(Count("red Mount"), 2);
  transport_.hook = nullptr;
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0) << "most drivers would take it away under the container";
  for (const char* name : {"a", "b"}) EXPECT_TRUE(Attached("red", name));
  EXPECT_EQ(Ask("scopes")["scopes"], Json::array()) << "and nobody's";
  EXPECT_EQ(Ask("summary")["pending"], Json::array());
  EXPECT_EQ(Ask("summary")["reported"], Json::array());
}

TEST_F(TakeOverTest, ADeathOnTheWayTakesNothingAway) {
  AddMounted("alive", "a");
  transport_.hook = [this](const std::string& method, const PluginRequest& request, PluginReply* reply) {
    if (method != "Mount") return false;
    *reply = world_.transport.Exchange({request})[0];
    world_.sys.CrashAfter(1);
    return true;
  };
  (void)Recover({{"owner", "mesos:/w"}, {"original", path_}, {"live", Json::array({"alive"})}});
  Kill();
  transport_.hook = nullptr;
  ASSERT_EQ(Count("red Mount"), 1);
  ASSERT_EQ(Ask("scopes")["scopes"].size(), 1u) << "it was under way";
  engine().Tick();  // the keeper may come first
  world_.scheduler.RunAll();
  EXPECT_EQ(Count("red Unmount"), 0);
  const auto lines = TakeOver(Json::array({"alive"}));
  ASSERT_EQ(lines.size(), 1u);
  ExpectLine(lines, "a", ", was taken over");
  Settle();
  EXPECT_EQ(Count("red Unmount"), 0);
  EXPECT_EQ(Known("red", "a")["users"].size(), 1u);
  // From here on it is as any other.
  EXPECT_TRUE(Call(engine(), &Engine::Cleanup, {{"owner", "mesos:/w"}, {"scope", "alive"}}).contains("ok"));
  Settle();
  EXPECT_EQ(Count("red Unmount"), 1);
}

// A ledger that is rebuilt goes by what the stage folder says of what is owed to whom.
TEST_F(TakeOverTest, WhatCannotBeTakenOverStaysMountedThoughTheLedgerIsLost) {
  FaultyVfs disk;
  store_ = &disk;
  auto umounts = [](const char* call) { return std::string(call) == "umount" ? EPERM : 0; };
  for (const std::string why : {"untold", "stuck", "undone", "dies"}) {
    SCOPED_TRACE(why);
    AddMounted("alive", why);
    MakeVolume("red", "shared");
    Add("alive", "shared", root_ + "/pool/shared/_data");
    policy_->scripts["prepare"] = [&](const Json& input, ScriptHost& host) -> Result<std::string> {
      if (why == "dies") {
        transport_.hook = [this](const std::string& method, const PluginRequest& request,
                                 PluginReply* reply) {
          if (method != "Mount") return false;
          *reply = world_.transport.Exchange({request})[0];
          world_.sys.CrashAfter(1);
          return true;
        };
      }
      auto answer = Honest(input, host);
      if (why == "stuck") world_.sys.fault = umounts;
      if (why == "untold") disk.FailAt(FaultyVfs::kWrite, 1, true, SQLITE_IOERR_WRITE);
      if (why == "undone") {
        world_.sys.fault = [&](const char* call) {
          if (std::string(call) == "umount") disk.FailAt(FaultyVfs::kWrite, 1, true, SQLITE_IOERR_WRITE);
          return 0;
        };
      }
      return why == "untold" ? answer : SaysError("refused", "no");
    };
    (void)Recover({{"owner", "mesos:/w"}, {"original", path_}, {"live", Json::array({"alive"})}});
    policy_->scripts["prepare"] = Honest;
    Kill();
    transport_.hook = nullptr, world_.sys.fault = nullptr;
    for (const char* end : {"", "-wal", "-shm"})
      std::filesystem::remove(settings_.state_dir + "/ledger.db" + end);
    disk.Heal();
    for (int i = 0; i < 2; ++i) {
      Settle();
      EXPECT_EQ(Count("red Unmount"), 0) << "most drivers would take it away under the container";
      EXPECT_EQ(Ask("scopes")["scopes"], Json::array());
      Recover({{"owner", "mesos:/w"}, {"live", Json::array({"alive"})}});
    }
    EXPECT_TRUE(world_.sys.MountsBelow(settings_.state_dir + "/stage").empty());
    EXPECT_EQ(Ask("summary")["pending"], Json::array());
    EXPECT_EQ(Ask("summary")["reported"], Json::array());
    std::filesystem::remove(path_);
  }
  Close();
  store_ = nullptr;
}

TEST_F(TakeOverTest, WhatWasTakenOverIsGivenBackThoughTheLedgerIsLost) {
  for (const bool stuck : {false, true}) {
    const std::string volume = stuck ? "b" : "a";
    AddMounted("alive", volume);
    ExpectLine(TakeOver(Json::array({"alive"})), volume, ", was taken over");
    // It is in use, or its end is under way.
    if (stuck) {
      world_.sys.fault = [](const char* call) { return std::string(call) == "umount" ? EPERM : 0; };
      Recover({{"owner", "mesos:/w"}, {"live", Json::array()}});
    }
    Kill();
    world_.sys.fault = nullptr;
    for (const char* end : {"", "-wal", "-shm"})
      std::filesystem::remove(settings_.state_dir + "/ledger.db" + end);
    Settle();
    EXPECT_EQ(Count("red Unmount"), stuck ? 2 : 0);
    Recover({{"owner", "mesos:/w"}, {"live", Json::array()}});
    Settle();
    EXPECT_EQ(Count("red Unmount"), stuck ? 2 : 1);
    EXPECT_EQ(Ask("scopes")["scopes"], Json::array());
    std::filesystem::remove(path_);
  }
}

}  // namespace
}  // namespace dvdi
