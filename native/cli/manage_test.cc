// Volumes as people know them from docker and podman: create, rm, prune, ls, inspect; plugins, pools, fence.
#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

#include <cstring>

#include "cli/testing/harness.h"
#include "cli/view.h"

namespace dvdi::cli {
namespace {

Json Volume(const std::string& name, const Json& more = Json::object()) {
  Json v = {{"driver", "d"}, {"name", name}, {"state", "known"}, {"users", Json::array()}, {"unused", false}};
  v.update(more);
  return v;
}

Json Error(int code, const char* message) {
  return {{"code", code}, {"answer", {{"error", {{"code", "x"}, {"message", message}}}}}};
}

class Manage : public CommandTest {
 protected:
  Json Declared() {
    Json request = Calls("prepare").back();
    return (*ParseJson(request["sources"][0]["text"].get<std::string>(), "it"))["volumes"][0];
  }
  void ScriptList() {
    script_["status"]["volumes"]["answer"]["volumes"] = {
        Volume("data",
               {{"state", "attached"},
                {"last_used_ms", 1000},
                {"users", {{{"owner", "run"}, {"scope", "s"}, {"target", "/data"}, {"stage", "/st"}}}}}),
        Volume("old"), Volume("fresh", {{"unused", true}, {"state", "created"}, {"created_ms", 5000}}),
        Volume("other", {{"driver", "e"}, {"unused", true}, {"created_ms", 6000}})};
  }
};

TEST_F(Manage, CreateAsksForAVolumeThatIsToExist) {
  script_["prepare"]["answer"] = {
      {"volumes", {{{"name", "data"}, {"what", "created"}, {"message", "created it"}}}}};
  auto done = Dvdi({"create", "-d", "nfs", "-o", "share=a,b", "-o", "url=x=y", "--size", "5GB", "data"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "data\n");
  EXPECT_EQ(done.err, "dvdi: created it\n");
  EXPECT_EQ(OneCall("prepare")["goal"], "create");
  EXPECT_EQ(OneCall("prepare")["owner"], "manual");
  Json declared = Declared();
  EXPECT_EQ(declared["driver"], "nfs");
  EXPECT_EQ(declared["create"], "if-missing");
  EXPECT_EQ(declared["size"], "5GB");
  EXPECT_EQ(declared["options"], Json({{"share", "a,b"}, {"url", "x=y"}}));
}

TEST_F(Manage, AnErrorOfCreateSpeaksOfTheVolumeAndNotOfAStatement) {
  script_["prepare"] = {
      {"code", 1},
      {"answer",
       {{"error",
         {{"code", "invalid"}, {"message", "volumes[0].name \"a/b\" is none"}, {"hint", "Mend it"}}}}}};
  auto done = Dvdi({"create", "-d", "nfs", "a/b"});
  EXPECT_EQ(done.exit_code, 11);
  EXPECT_EQ(done.err, "dvdi: the volume's name \"a/b\" is none. Mend it\n");
}

TEST_F(Manage, CreateByClassAndWithoutAName) {
  auto done = Dvdi({"create", "--class", "media=ssd", "--class", "iops=3000", "--class", "fast=true"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(Declared()["class"], Json({{"media", "ssd"}, {"iops", 3000}, {"fast", true}}));
  EXPECT_FALSE(Declared().contains("driver"));
  EXPECT_EQ(done.out.size(), 65u);
  EXPECT_EQ(Declared()["name"].get<std::string>() + "\n", done.out);
  EXPECT_EQ(Dvdi({"create", "x", "-o", "size"}).exit_code, 11);
  EXPECT_EQ(Dvdi({"create", "x", "--class", "a=b", "--driver", "d"}).exit_code, 2);
}

TEST_F(Manage, RmFindsTheDriver) {
  script_["status"]["volume"]["answer"] = Volume("data");
  script_["remove"]["answer"] = {{"existed", true}};
  auto done = Dvdi({"rm", "data", "e/more", "--timeout", "5s"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "data\ne/more\n");
  auto calls = Calls("remove");
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0], Json({{"driver", "d"}, {"name", "data"}, {"deadline_ms", 5000}}));
  EXPECT_EQ(calls[1], Json({{"driver", "e"}, {"name", "more"}, {"deadline_ms", 5000}}));
}

TEST_F(Manage, RmGoesOnAndSaysWhatFailed) {
  script_["remove"] = Error(2, "in use");
  auto done = Dvdi({"rm", "d/a", "d/b"});
  EXPECT_EQ(done.exit_code, 12);
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err, "dvdi: in use\ndvdi: in use\n");
  // What is not there is an error unless it is forced.
  script_["remove"] = {{"answer", {{"existed", false}}}};
  EXPECT_EQ(Dvdi({"rm", "d/a"}).exit_code, 13);
  EXPECT_EQ(Dvdi({"rm", "-f", "d/a"}).exit_code, 0);
  script_["status"]["volume"] = Error(3, "none");
  done = Dvdi({"rm", "a"});
  EXPECT_EQ(done.exit_code, 13);
  EXPECT_NE(done.err.find("Name its driver, as in DRIVER/a"), std::string::npos) << done.err;
  done = Dvdi({"rm", "--force", "a"});
  EXPECT_EQ(done.exit_code, 13) << "no driver was asked";
  EXPECT_NE(done.err.find("Name its driver, as in DRIVER/a"), std::string::npos) << done.err;
}

TEST_F(Manage, PruneAsksFirst) {
  ScriptList();
  auto done = Dvdi({"prune"});
  EXPECT_EQ(done.exit_code, 11);
  EXPECT_NE(done.err.find("nobody to ask"), std::string::npos) << done.err;
  EXPECT_TRUE(Calls("remove").empty());
  EXPECT_EQ(Dvdi({"prune", "--json"}).exit_code, 2);
  done = Dvdi({"prune", "--force"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "fresh\nother\n");
  auto calls = Calls("remove");
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0]["unused_only"], true);
  EXPECT_FALSE(calls[0].contains("global"));
  Dvdi({"prune", "-f", "--global", "--filter", "driver=e"});
  ASSERT_EQ(Calls("remove").size(), 3u);
  EXPECT_EQ(Calls("remove")[2]["name"], "other");
  EXPECT_EQ(Calls("remove")[2]["global"], true);
}

TEST_F(Manage, PruneTakesYesAtATerminalAndNothingElse) {
  ScriptList();
  for (const char* answer : {"\n", "n\n", "yesterday\n", "Yes\n"}) {
    int terminal = -1, other = -1;
    ASSERT_EQ(::openpty(&terminal, &other, nullptr, nullptr, nullptr), 0);
    UniqueFd master(terminal), slave(other);
    ASSERT_EQ(::fcntl(master.get(), F_SETFD, FD_CLOEXEC), 0);
    input_from_ = slave.get();
    ASSERT_EQ(::write(master.get(), answer, ::strlen(answer)), static_cast<ssize_t>(::strlen(answer)));
    auto done = Dvdi({"prune"});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    EXPECT_NE(done.err.find("  fresh (driver d)\n"), std::string::npos) << done.err;
    EXPECT_NE(done.err.find("Remove 2 volumes? [y/N] "), std::string::npos) << done.err;
    bool yes = answer[0] == 'Y';
    EXPECT_EQ(done.out, yes ? "fresh\nother\n" : "");
    EXPECT_EQ(Calls("remove").size(), yes ? 2u : 0u) << answer;
  }
}

TEST_F(Manage, PruneLeavesWhatItMayNotTake) {
  ScriptList();
  script_["remove"] = Error(2, "another node may have used it");
  auto done = Dvdi({"prune", "-f"});
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_NE(done.err.find("left: another node"), std::string::npos) << done.err;
  script_["remove"] = Error(4, "the driver is down");
  EXPECT_EQ(Dvdi({"prune", "-f"}).exit_code, 14);
  script_["status"]["volumes"]["answer"]["volumes"] = Json::array();
  EXPECT_EQ(Dvdi({"prune"}).err, "dvdi: there is nothing to remove\n");
}

TEST_F(Manage, LsFilters) {
  ScriptList();
  auto names = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"ls", "-q"});
    auto done = Dvdi(arguments);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    return done.out;
  };
  EXPECT_EQ(names({}), "data\nold\nfresh\nother\n");
  EXPECT_EQ(names({"--filter", "driver=e"}), "other\n");
  EXPECT_EQ(names({"-f", "name=ol", "-f", "name=res"}), "old\nfresh\n");
  EXPECT_EQ(names({"-f", "dangling=true", "-f", "driver=d"}), "old\nfresh\n");
  EXPECT_EQ(names({"-f", "dangling=false"}), "data\n");
  EXPECT_EQ(names({"-f", "state=created"}), "fresh\n");
  EXPECT_EQ(names({"-f", "unused=1"}), "fresh\nother\n");
  EXPECT_EQ(names({"-f", "owner=run"}), "data\n");
  EXPECT_EQ(names({"-f", "scope=t"}), "");
  for (const char* wrong : {"label=x", "size=1", "name", "dangling=perhaps"})
    EXPECT_EQ(Dvdi({"ls", "-f", wrong}).exit_code, 11) << wrong;
  EXPECT_NE(Dvdi({"ls", "-f", "label=x"}).err.find("have no labels"), std::string::npos);
  EXPECT_EQ((*ParseJson(Dvdi({"ls", "-f", "driver=e", "--json"}).out, "it"))["volumes"].size(), 1u);
}

TEST(Filter, UntilIsAnAge) {
  auto filters = Filters::Parse({"until=1h"}, true);
  ASSERT_TRUE(filters.ok());
  Json volume = {{"created_ms", 10'000'000}};
  EXPECT_FALSE(filters->Matches(volume, 10'000'000 + 3'599'999));
  EXPECT_TRUE(filters->Matches(volume, 10'000'000 + 3'600'000));
}

TEST_F(Manage, LsFormats) {
  ScriptList();
  EXPECT_EQ(Dvdi({"ls", "--format", "{{.Driver}}/{{.Name}} {{.State}} {{.Links}}", "-f", "name=data"}).out,
            "d/data attached 1\n");
  EXPECT_EQ(Dvdi({"ls", "--format", "table {{.Name}}\\t{{.Used}}", "-f", "driver=e"}).out,
            "NAME   USED\nother  never\n");
  auto line = ParseJson(Dvdi({"ls", "--format", "json", "-f", "name=data"}).out, "it");
  ASSERT_TRUE(line.ok());
  EXPECT_EQ((*line)["Targets"], Json({"/data"}));
  EXPECT_EQ((*line)["LastUsed"], "1970-01-01T00:00:01Z");
  EXPECT_EQ(Dvdi({"ls", "--format", "{{.Nope}}"}).exit_code, 11);
  EXPECT_EQ(Dvdi({"ls", "--format", "{{range}}"}).exit_code, 11);
  EXPECT_EQ(Dvdi({"ls", "--format", "{{.Name}}", "--json"}).exit_code, 2);
}

TEST_F(Manage, InspectFormatsAndTakesSeveral) {
  script_["status"]["volume"]["answer"] = Volume("data", {{"plugin",
                                                           {{"kind", "ok"},
                                                            {"mountpoint", "/m"},
                                                            {"created_at", "2024-05-01T10:00:00Z"},
                                                            {"status", {{"size", "5g"}}}}}});
  EXPECT_EQ(Dvdi({"inspect", "data", "--format", "{{.Mountpoint}} {{.Status.size}} {{.CreatedAt}}"}).out,
            "/m 5g 2024-05-01T10:00:00Z\n");
  EXPECT_EQ(Dvdi({"inspect", "a", "b", "-f", "{{.Name}}"}).out, "data\ndata\n");
  EXPECT_TRUE(ParseJson(Dvdi({"inspect", "a", "--json"}).out, "it")->is_object());
  EXPECT_EQ(ParseJson(Dvdi({"inspect", "a", "b", "--json"}).out, "it")->size(), 2u);
  Dvdi({"inspect", "a", "--timeout", "3s"});
  EXPECT_EQ(Calls("status").back()["timeout_ms"], 3000);
}

TEST_F(Manage, PluginsSayWhetherTheyAnswer) {
  script_["status"]["drivers"]["answer"]["drivers"] = {
      {{"name", "red"},
       {"address", "unix:///r"},
       {"reachable", true},
       {"volume_driver", true},
       {"scope", "global"}},
      {{"name", "blue"}, {"address", "unix:///b"}, {"reachable", false}, {"error", "connection refused"}}};
  auto done = Dvdi({"plugins"});
  EXPECT_EQ(done.out,
            "PLUGIN  STATE      SCOPE   ADDRESS    WHY\n"
            "red     answers    global  unix:///r  -\n"
            "blue    no answer  -       unix:///b  connection refused\n");
  EXPECT_EQ(OneCall("status")["ask"], true);
  EXPECT_EQ(Dvdi({"plugins", "--format", "{{.Name}}:{{.Answers}}:{{.Scope}}"}).out,
            "red:true:global\nblue:false:\n");
  EXPECT_EQ(Dvdi({"plugins", "-q"}).out, "red\nblue\n");
  EXPECT_EQ(Calls("status").back()["ask"], false);
  // Where there is none: the folder that this node's settings name, not the usual one.
  script_["status"]["drivers"]["answer"]["drivers"] = Json::array();
  script_["status"]["doctor"]["answer"]["checks"] = Json::array(
      {Json{{"name", "drivers"}, {"ok", false}, {"fix", "start one; its socket belongs in /srv/plugins"}}});
  done = Dvdi({"plugins"});
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_EQ(done.err, "dvdi: no plugin was found; start one; its socket belongs in /srv/plugins\n");
}

TEST_F(Manage, PoolsAndTiers) {
  script_["status"]["pools"]["answer"] = {{"pools",
                                           {{{"name", "fast"},
                                             {"driver", "d"},
                                             {"attributes", {{"media", "ssd"}}},
                                             {"options", {{"t", "io1"}}}}}},
                                          {"tiers",
                                           {{{"driver", "d"},
                                             {"name", "hdd"},
                                             {"filesystem", "ext4"},
                                             {"capacity_bytes", 10737418240},
                                             {"free_bytes", 512},
                                             {"path", "/p"},
                                             {"attributes", {{"iops", 100}}}}}}};
  EXPECT_EQ(Dvdi({"pools", "--driver", "d"}).out,
            "POOL  DRIVER  ATTRIBUTES  OPTIONS\n"
            "fast  d       media=ssd   t=io1\n"
            "\n"
            "TIER  DRIVER  FILESYSTEM  CAPACITY  PROMISED  FREE   ATTRIBUTES  FOLDER\n"
            "hdd   d       ext4        10.0 GiB  -         512 B  iops=100    /p\n");
  EXPECT_EQ(OneCall("status"), Json({{"what", "pools"}, {"driver", "d"}}));
}

TEST_F(Manage, FenceNeedsADriver) {
  script_["fence"]["answer"] = {{"generation", 7}, {"waited_ms", 1500}, {"from", "node-a"}};
  auto done = Dvdi({"fence", "d/data", "--node-is-dead"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "fenced data, which node-a had; generation 7, waited 1.5 s\n");
  EXPECT_EQ(OneCall("fence"),
            Json({{"driver", "d"}, {"name", "data"}, {"deadline_ms", 0}, {"node_is_dead", true}}));
  Dvdi({"fence", "data", "--driver", "d"});
  EXPECT_FALSE(Calls("fence")[1].contains("node_is_dead"));
  EXPECT_EQ(Dvdi({"fence", "data"}).exit_code, 11);
}

TEST_F(Manage, NamesForCompletionHaveNoOtherEffect) {
  ScriptList();
  EXPECT_EQ(Dvdi({"names", "volumes"}).out, "data\nfresh\nold\nother\n");
  EXPECT_TRUE(Calls("recover").empty());
  script_["status"]["drivers"]["answer"]["drivers"] = {{{"name", "red"}}};
  EXPECT_EQ(Dvdi({"names", "drivers"}).out, "red\n");
  EXPECT_EQ(Calls("status").back()["ask"], false);
}

}  // namespace
}  // namespace dvdi::cli
