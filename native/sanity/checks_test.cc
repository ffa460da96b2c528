// The checks against a plugin that can be told to be wrong: a good one has no finding, and each fault is
// found.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <set>

#include "base/json.h"
#include "base/text.h"
#include "plugin/scripted_server.h"
#include "sanity/context.h"

namespace dvdi::sanity {
namespace {

// Volumes are folders; a mounted one is seen through a link, which goes with the last ID.
class Model {
 public:
  explicit Model(std::string fault = "") : fault_(std::move(fault)) {
    server_.SetHandler([this](const SeenRequest& request) { return Handle(request); });
  }
  PluginAddress address() const { return server_.address(); }
  int held() const { return held_; }
  void End() { server_.Stop(); }

 private:
  struct Volume {
    std::multiset<std::string> ids;
  };
  bool Has(const char* fault) const { return fault_ == fault; }
  static Turn Ok(const ::dvdi::Json& body) { return Turn::Json(Dump(body) + "\n"); }
  static Turn Error(const std::string& text) { return Turn::Json(Dump({{"Err", text}}), 500); }
  std::string Store(const std::string& name) const {
    return dir_ / ("store/" + (Has("shared") ? "all" : File(name)));
  }
  std::string Place(const std::string& name) const { return dir_ / ("mnt/" + File(name)); }
  // Names that are taken as they are need not be those of files.
  std::string File(const std::string& name) const {
    if (!Has("joins-folders")) return Sha256Hex(name);
    return std::filesystem::path("/" + name).lexically_normal().string().substr(1);
  }
  std::string Mountpoint(const std::string& name) const {
    auto it = volumes_.find(name);
    return it == volumes_.end() || it->second.ids.empty() ? "" : Place(name);
  }
  void Release(const std::string& name) { std::filesystem::remove(Place(name)); }

  Turn Handle(const SeenRequest& request);
  Turn Volumes(const std::string& method, const std::string& name, const std::string& id);
  Turn Mount(const std::string& name, const std::string& id);
  Turn Unmount(const std::string& name, const std::string& id);
  Turn Create(const std::string& name);

  const std::string fault_;
  ScopedDir dir_;
  std::mutex mu_;
  std::map<std::string, Volume> volumes_;
  bool stuck_ = false;
  std::atomic<int> held_{0};
  ScriptedServer server_{dir_ / "p.sock"};
};

Turn Model::Handle(const SeenRequest& request) {
  std::lock_guard<std::mutex> lock(mu_);
  if (stuck_) return ++held_, Turn::Hold();
  if (request.path == "/Plugin.Activate") {
    if (Has("not-a-volume-driver")) return Ok({{"Implements", {"NetworkDriver"}}});
    if (Has("text-plain")) return Turn::Typed("{\"Implements\":[\"VolumeDriver\"]}", "text/plain");
    return Ok({{"Implements", {"VolumeDriver"}}});
  }
  constexpr std::string_view kPrefix = "/VolumeDriver.";
  std::string method = request.path.substr(std::min(kPrefix.size(), request.path.size()));
  if (method == "NoSuchMethod" && Has("yes-to-all")) return Ok(::dvdi::Json::object());
  if (method == "Capabilities")
    return Ok({{"Capabilities", {{"Scope", Has("odd-scope") ? "galaxy" : "local"}}}});
  if (method == "List") {
    ::dvdi::Json list = ::dvdi::Json::array();
    for (const auto& [name, volume] : volumes_)
      if (!Has("list-nothing")) list.push_back({{"Name", name}});
    return Ok({{"Volumes", list}});
  }
  auto body = ParseJson(request.body, "request");
  if (Has("believes-anything") && method == "Get" && (!body.ok() || GetString(*body, "Name").empty()))
    return Ok({{"Volume", {{"Name", ""}}}});
  if (!body.ok() || !body->is_object()) return Error("no JSON");
  if (Has("strict") && body->contains("Tomorrow")) return Error("unknown member");
  if (GetString(*body, "Name").empty()) return Error("no Name");
  return Volumes(method, GetString(*body, "Name"), GetString(*body, "ID"));
}

Turn Model::Volumes(const std::string& method, const std::string& name, const std::string& id) {
  if (method == "Create") return Create(name);
  std::string key = name;
  if (Has("path-joins") && !volumes_.contains(name))
    key = std::filesystem::path("/" + name).lexically_normal().string().substr(1);
  if (!volumes_.contains(key)) {
    if (Has("html-errors")) return Turn::Typed("<h1>Error</h1>", "text/html", 500);
    if (Has("get-finds-all") && method == "Get") return Ok({{"Volume", {{"Name", key}}}});
    if (Has("empty-mountpoint") && method == "Mount") return Ok({{"Mountpoint", ""}, {"Err", ""}});
    if (!(Has("mount-creates") && method == "Mount")) return Error("no such volume: " + key);
    Create(key);
  }
  if (method == "Get") {
    ::dvdi::Json volume = {{"Name", key}};
    if (!Mountpoint(key).empty() && !Has("no-tell")) volume["Mountpoint"] = Mountpoint(key);
    volume["CreatedAt"] = Has("odd-time") ? "yesterday" : "2024-01-02T03:04:05.6+01:00";
    return Ok({{"Volume", volume}});
  }
  if (method == "Path") return Ok({{"Mountpoint", Mountpoint(key)}});
  if (method == "Mount") return Mount(key, id);
  if (method == "Unmount") return Unmount(key, id);
  if (method != "Remove") return Turn::Json("{\"Err\": \"no such method\"}", 404);
  Volume& volume = volumes_[key];
  if (!volume.ids.empty() && !Has("removes-mounted")) return Error("it is mounted");
  if (!volume.ids.empty()) Release(key);
  if (Has("remove-fails")) return Error("cannot");
  if (!Has("shared") && !Has("keeps-data")) std::filesystem::remove_all(Store(key));
  volumes_.erase(key);
  return Ok({{"Err", ""}});
}

Turn Model::Create(const std::string& name) {
  // Docker's own rule, more or less.
  bool plain = name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               std::string::npos;
  if (!plain && Has("half-done")) return Ok({{"Err", ""}});
  if ((!plain || name.size() > 200) && !Has("any-name") && !Has("joins-folders"))
    return Error("a name of letters and digits only");
  if (Has("create-wipes")) std::filesystem::remove_all(Store(name));
  if (Has("create-resets") && volumes_.contains(name)) volumes_[name].ids.clear();
  volumes_[name];
  std::filesystem::create_directories(Store(name));
  std::filesystem::create_directories(dir_ / "mnt");
  return Ok({{"Err", ""}});
}

Turn Model::Mount(const std::string& name, const std::string& id) {
  Volume& volume = volumes_[name];
  if (id.empty() && Has("no-id-no-mount")) return Ok({{"Mountpoint", ""}, {"Err", ""}});
  if (Has("one-user") && !volume.ids.empty() && !volume.ids.contains(id)) return Error("in use");
  if (Has("sticks")) stuck_ = true;
  if (Has("elsewhere")) return volume.ids.insert(id), Ok({{"Mountpoint", "/no/such/folder"}});
  if (volume.ids.empty()) {
    std::filesystem::remove(Place(name));
    std::filesystem::create_directory_symlink(Store(name), Place(name));
  }
  // As where calls at once read one count, and each writes what it read plus one.
  if (Has("loses-count") && volume.ids.size() == 2) return Ok({{"Mountpoint", Place(name)}});
  if (Has("counts") || !volume.ids.contains(id)) volume.ids.insert(id);
  return Ok({{"Mountpoint", Place(name)}});
}

Turn Model::Unmount(const std::string& name, const std::string& id) {
  Volume& volume = volumes_[name];
  auto mine = volume.ids.find(id);
  if ((Has("any-id") || Has("loses-count")) && mine == volume.ids.end()) mine = volume.ids.begin();
  if (mine != volume.ids.end()) volume.ids.erase(mine);
  if (Has("one-unmount")) volume.ids.clear();
  if (Has("forgets-data") && volume.ids.empty()) {
    std::filesystem::remove_all(Store(name));
    std::filesystem::create_directories(Store(name));
  }
  if (volume.ids.empty()) Release(name);
  return Ok({{"Err", ""}});
}

// The ids of the checks that found something.
std::set<std::string> Found(const std::string& fault, const std::string& only = "") {
  Model model(fault);
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  std::set<std::string> out;
  for (const Check& check : AllChecks()) {
    if (!only.empty() && check.id != only) continue;
    Outcome outcome;
    outcome.check = &check;
    {
      Context context(setup, plugin, &outcome);
      check.run(context);
    }
    if (outcome.found.empty()) continue;
    out.insert(check.id);
  }
  return out;
}

class GoodTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GoodTest, HasNoFinding) {
  // The server of these tests does not read chunked requests; that this is found is the test of that check.
  Model model(GetParam());
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  for (const Check& check : AllChecks()) {
    Outcome outcome;
    outcome.check = &check;
    {
      Context context(setup, plugin, &outcome);
      check.run(context);
    }
    bool chunked = check.id == "transport.chunked";
    EXPECT_EQ(outcome.found.empty(), !chunked)
        << check.id << ": " << (outcome.found.empty() ? "nothing" : outcome.found[0]);
    EXPECT_EQ(!outcome.skipped.empty(), check.id.starts_with("restart."))
        << check.id << ": " << outcome.skipped;
  }
}

// One that refuses odd names, and one to which every name is a name.
INSTANTIATE_TEST_SUITE_P(Sanity, GoodTest, ::testing::Values("", "any-name"));

// What each check comes to where no folder can be looked into.
std::map<std::string, Outcome::Kind> WithoutFiles(const std::string& fault) {
  Model model(fault);
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  setup.look_inside = false;
  std::map<std::string, Outcome::Kind> out;
  for (const Check& check : AllChecks()) {
    if (!check.id.starts_with("mount.") && !check.id.starts_with("volume.") && !check.id.starts_with("load."))
      continue;
    Outcome outcome;
    outcome.check = &check;
    {
      Context context(setup, plugin, &outcome);
      check.run(context);
    }
    out[check.id] = outcome.kind();
  }
  return out;
}

TEST(SanityChecksTest, WhereNoFileIsLookedIntoNoCheckSaysThatItHas) {
  using Kind = Outcome::Kind;
  auto good = WithoutFiles("");
  for (const char* looks :
       {"volume.create-keeps-data", "volume.remove-data", "mount.mount", "mount.two-volumes",
        "load.mounts-of-one", "load.mounts-of-many", "mount.data", "mount.one-id-twice", "mount.two-ids",
        "mount.unknown-id", "mount.unmount-twice", "mount.remove-mounted", "mount.create-mounted"})
    EXPECT_EQ(good[looks], Kind::kSkipped) << looks;
  for (const char* asks : {"volume.create", "volume.remove", "mount.tell", "mount.no-id",
                           "mount.never-mounted", "load.creates", "load.one-name"})
    EXPECT_EQ(good[asks], Kind::kPassed) << asks;
  EXPECT_EQ(WithoutFiles("counts")["mount.one-id-twice"], Kind::kFound) << "answers tell it";
}

struct Fault {
  const char* fault;
  const char* check;
};

class FaultTest : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultTest, IsFound) {
  EXPECT_TRUE(Found(GetParam().fault, GetParam().check).contains(GetParam().check));
}

INSTANTIATE_TEST_SUITE_P(
    Sanity, FaultTest,
    ::testing::Values(
        Fault{"not-a-volume-driver", "protocol.activate"}, Fault{"text-plain", "protocol.content-type"},
        Fault{"odd-scope", "protocol.capabilities"}, Fault{"yes-to-all", "protocol.unknown-method"},
        Fault{"believes-anything", "protocol.not-json"}, Fault{"believes-anything", "protocol.wrong-types"},
        Fault{"believes-anything", "protocol.empty-name"}, Fault{"strict", "protocol.unknown-field"},
        Fault{"html-errors", "protocol.err-in-json"}, Fault{"odd-time", "protocol.field-types"},
        Fault{"get-finds-all", "unknown.get"}, Fault{"empty-mountpoint", "unknown.mount"},
        Fault{"mount-creates", "unknown.mount"}, Fault{"html-errors", "unknown.unmount"},
        Fault{"html-errors", "unknown.remove"}, Fault{"list-nothing", "volume.create"},
        Fault{"create-wipes", "volume.create-keeps-data"}, Fault{"remove-fails", "volume.remove"},
        Fault{"keeps-data", "volume.remove-data"}, Fault{"shared", "mount.two-volumes"},
        Fault{"shared", "load.mounts-of-many"}, Fault{"loses-count", "load.mounts-of-one"},
        Fault{"elsewhere", "mount.mount"}, Fault{"no-tell", "mount.tell"},
        Fault{"forgets-data", "mount.data"}, Fault{"counts", "mount.one-id-twice"},
        Fault{"one-user", "mount.two-ids"}, Fault{"one-unmount", "mount.two-ids"},
        Fault{"any-id", "mount.unknown-id"}, Fault{"no-id-no-mount", "mount.no-id"},
        Fault{"removes-mounted", "mount.remove-mounted"}, Fault{"create-resets", "mount.create-mounted"},
        Fault{"path-joins", "name.dot-dot"}, Fault{"joins-folders", "name.dot-dot"},
        Fault{"half-done", "name.slash"}, Fault{"half-done", "name.newline"},
        Fault{"one-user", "load.mounts-of-one"}, Fault{"list-nothing", "load.creates"},
        Fault{"list-nothing", "load.one-name"}, Fault{"elsewhere", "load.mounts-of-many"}),
    [](const auto& info) {
      std::string name = std::string(info.param.fault) + "_" + info.param.check;
      for (char& c : name)
        if (c == '-' || c == '.') c = '_';
      return name;
    });

TEST(SanityChecksTest, IdsAreUniqueAndEachSaysWhatItIsAbout) {
  std::set<std::string> ids;
  for (const Check& check : AllChecks()) {
    EXPECT_TRUE(ids.insert(check.id).second) << check.id;
    EXPECT_NE(check.id.find('.'), std::string::npos) << check.id;
    EXPECT_FALSE(check.title.empty() || check.protocol.empty() || check.clients.empty()) << check.id;
  }
}

TEST(SanityChecksTest, NothingIsLeftOfAVolumeThatIsStillMounted) {
  Model model;
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  Check check;
  Outcome outcome;
  outcome.check = &check;
  std::string name;
  {
    Context context(setup, plugin, &outcome);
    auto given = context.GivenMounted(context.NewId());
    ASSERT_TRUE(given);
    name = given->first;
  }
  EXPECT_TRUE(outcome.found.empty());
  EXPECT_TRUE(plugin.Ask(Method::kGet, name).refused());
}

TEST(SanityChecksTest, APluginThatAnswersNoMoreIsWaitedForOnceOrRestarted) {
  Model model("sticks");
  Plugin plugin(model.address(), 200);
  RunSetup setup;
  setup.prefix = "check";
  Check check;
  for (bool restart : {false, true}) {
    if (restart) setup.restart = {"/bin/false"};
    Outcome outcome;
    outcome.check = &check;
    const int before = model.held();
    {
      Context context(setup, plugin, &outcome);
      context.Remember(context.Name());
      context.Remember(context.Name());
      if (!restart) {
        std::string name = context.Given().value_or("");
        EXPECT_TRUE(context.Mount(name, context.NewId()).ok());
      }
    }
    EXPECT_TRUE(outcome.stuck) << "there is nothing that restarts it";
    EXPECT_EQ(model.held() - before, 1) << "one call has shown it";
    ASSERT_EQ(outcome.found.size(), 1u);
    EXPECT_NE(outcome.found[0].find("answers no more"), std::string::npos) << outcome.found[0];
  }
}

// What a check that `made` volumes and then ended the plugin comes to, with a command that restarts it or
// none.
Outcome AfterItEnded(int made, const std::vector<std::string>& restart) {
  Model model;
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  setup.restart = restart;
  Outcome outcome;
  {
    Context context(setup, plugin, &outcome);
    for (int n = 0; n < made; ++n) EXPECT_TRUE(context.Given());
    EXPECT_TRUE(plugin.Post("/Plugin.Activate", "{}", Method::kActivate).ok());
    model.End();
  }
  return outcome;
}

TEST(SanityChecksTest, APluginThatHasEndedAnswersNoMoreWhateverTheCheckMade) {
  for (int made : {0, 1, 2})
    for (const std::vector<std::string>& restart : {std::vector<std::string>{}, {"/bin/false"}}) {
      Outcome outcome = AfterItEnded(made, restart);
      EXPECT_TRUE(outcome.stuck) << made;
      ASSERT_EQ(outcome.found.size(), 1u) << made;
      EXPECT_NE(outcome.found[0].find("answers no more"), std::string::npos) << outcome.found[0];
    }
}

TEST(SanityChecksTest, APluginThatHasEndedIsRestartedAndTheNextCheckGoesOn) {
  Model model, again;
  // What stands in for a plugin that is started anew: its socket comes to where the first one's was.
  const std::string from = again.address().path, to = model.address().path;
  for (bool made : {false, true}) {
    Plugin plugin(model.address(), 30'000);
    RunSetup setup;
    setup.prefix = "check";
    setup.restart = {"/bin/ln", "-sf", from, to};
    Outcome outcome;
    {
      Context context(setup, plugin, &outcome);
      if (made) context.Remember(context.Name());
      model.End();
      std::filesystem::remove(to);
    }
    EXPECT_FALSE(outcome.stuck) << made;
    ASSERT_EQ(outcome.found.size(), 1u) << made;
    EXPECT_NE(outcome.found[0].find("answers no more"), std::string::npos) << outcome.found[0];
    Said said = plugin.Post("/Plugin.Activate", "{}", Method::kActivate);
    EXPECT_TRUE(said.ok()) << said.Text();
  }
}

}  // namespace
}  // namespace dvdi::sanity
