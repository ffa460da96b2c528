// Volumes that an operator mounts and unmounts by hand.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cli/bind.h"
#include "cli/print.h"
#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

using Verbs = CommandTest;
using Held = MountTest;  // volumes that an operator holds

TEST_F(Verbs, MountOfANamePrintsTheStage) {
  script_["prepare"]["answer"] = {
      {"volumes", {{{"name", "da.ta"}, {"stage", "/st/1"}, {"message", "re-attached da.ta"}}}}};
  auto done = Dvdi({"mount", "d/da.ta"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "/st/1\n");
  EXPECT_EQ(done.err, "dvdi: re-attached da.ta\n");
  Json request = OneCall("prepare");
  EXPECT_EQ(request["owner"], "manual");
  EXPECT_EQ(request["scope"], "manual:d/da.ta");
  EXPECT_EQ(request["targets"], "ignore");
  EXPECT_EQ(request["sources"],
            Json::array({{{"form", "mount"},
                          {"text", "type=volume,source=da.ta,target=/mnt/da-ta,volume-driver=d"}}}));
  Dvdi({"mount", "--driver", "d", "da.ta"});
  EXPECT_EQ(Calls("prepare").back(), request) << "written in the other way, it is the same";
}

TEST_F(Held, AMountThatFailsEndsOnlyAScopeOfItsOwn) {
  const std::string one = MakeStage("one"), two = MakeStage("two");
  const std::string m1 = MakeFolder("m1"), m2 = Path("m2");
  ScriptVolumes({{"one", one, m1}, {"two", two, m2}});
  const std::vector<std::string> mount = {"mount", "-v", "one:" + m1, "-v", "two:" + m2};
  auto done = Dvdi(mount);
  EXPECT_EQ(done.exit_code, 17) << "there is no folder for the second";
  EXPECT_FALSE(IsMount(m1)) << "all or none";
  EXPECT_EQ(OneCall("cleanup")["scope"], "manual:one");

  MakeFolder("m2");
  ASSERT_EQ(Dvdi(mount).exit_code, 0);
  ASSERT_EQ(::umount(m2.c_str()), 0);
  ASSERT_EQ(::rmdir(m2.c_str()), 0);
  script_["prepare"]["answer"]["stored"] = true;
  done = Dvdi(mount);
  EXPECT_EQ(done.exit_code, 17);
  EXPECT_NE(
      done.err.find("The earlier mount is left as it is: put this right and mount again, or end it with "
                    "`dvdi unmount --name manual:one`"),
      std::string::npos)
      << done.err;
  EXPECT_TRUE(IsMount(m1)) << "it was there before";
  EXPECT_EQ(Calls("cleanup").size(), 1u) << "the scope was there before";
  ASSERT_EQ(::umount(m1.c_str()), 0);
  EXPECT_EQ(Dvdi(mount).exit_code, 17);
  EXPECT_FALSE(IsMount(m1)) << "what this call has bound is taken away again";
  EXPECT_EQ(Calls("cleanup").size(), 1u);
}

TEST_F(Held, UnmountTakesAllOrNothing) {
  const std::string one = MakeStage("one"), two = MakeStage("two");
  // The second is in the first.
  const std::string m1 = MakeFolder("m1"), m2 = m1 + "/inner", m3 = MakeFolder("m3");
  MakeFolder("stage-one/inner");
  script_["status"]["scopes"]["answer"] = {{"scopes", {{{"owner", "manual"}, {"scope", "s"}}}}};
  Json& volumes = script_["status"]["scopes"]["answer"]["scopes"][0]["volumes"];
  std::vector<std::string> mounted = {one, two};
  for (const auto& [stage, target] : {std::pair(one, m1), {two, m2}, {two, m3}}) {
    volumes.push_back({{"driver", "d"}, {"name", "v"}, {"target", target}, {"stage", stage}});
    auto tree = CloneStage(stage, false);
    ASSERT_TRUE(tree.ok());
    ASSERT_TRUE(BindStage(*tree, stage, target).ok());
    mounted.push_back(target);
  }
  for (const std::string& used : {one, two, m2, m3, one}) {
    UniqueFd user(::open(used.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(user.valid());
    auto done = Dvdi({"unmount", "--name", "s"});
    EXPECT_EQ(done.exit_code, 12);
    EXPECT_EQ(done.err, "dvdi: " + used +
                            " is in use, and stays mounted (volume v, driver d). End the processes that use "
                            "it (see `fuser -m " +
                            used + "`) and try again\n");
    for (const auto& path : mounted) EXPECT_TRUE(IsMount(path)) << path << ", when " << used << " is used";
  }
  EXPECT_TRUE(Calls("cleanup").empty());
  EXPECT_EQ(Dvdi({"unmount", "--name", "s"}).exit_code, 0);
  EXPECT_EQ(OneCall("cleanup")["scope"], "s");
  for (const auto& path : mounted) EXPECT_FALSE(IsMount(path)) << path;
}

TEST_F(Held, ANameThatIsMountedNoMoreIsNotAnsweredWithItsFolder) {
  const std::string stage = MakeStage("a");
  script_["prepare"]["answer"] = {{"stored", true},
                                  {"volumes", {{{"name", "v"}, {"driver", "d"}, {"stage", stage}}}}};
  EXPECT_EQ(Dvdi({"mount", "d/v"}).out, stage + "\n");
  ASSERT_EQ(::umount(stage.c_str()), 0);
  auto done = Dvdi({"mount", "d/v"});
  EXPECT_EQ(done.exit_code, 17);
  EXPECT_EQ(done.out, "");
  EXPECT_NE(
      done.err.find("is not mounted here (volume v, driver d). `dvdi unmount --name manual:d/v` ends what"),
      std::string::npos)
      << done.err;
  EXPECT_TRUE(Calls("cleanup").empty());
}

TEST_F(Verbs, UnmountNeedsOneScope) {
  auto scope = [](const char* owner, const char* name, const char* driver) -> Json {
    return {
        {"owner", owner},
        {"scope", name},
        {"volumes", {{{"driver", driver}, {"name", "data"}, {"target", "/nowhere"}, {"stage", "/none"}}}}};
  };
  script_["status"]["scopes"]["answer"] = {
      {"scopes", {scope("run", "r", "d"), scope("manual", "m1", "d"), scope("manual", "m2", "e")}}};
  auto both = Dvdi({"unmount", "data"});
  EXPECT_EQ(both.exit_code, 11);
  EXPECT_NE(both.err.find("--name m1 or --name m2"), std::string::npos) << both.err;
  EXPECT_EQ(Dvdi({"unmount", "other"}).exit_code, 13);
  EXPECT_EQ(Dvdi({"unmount", "--name", "r"}).exit_code, 13);  // not a manual one
  EXPECT_TRUE(Calls("cleanup").empty());
  EXPECT_EQ(Dvdi({"unmount", "e/data"}).exit_code, 0);
  EXPECT_EQ(OneCall("cleanup"),
            Json({{"owner", "manual"}, {"scope", "m2"}, {"deadline_ms", 0}, {"held_ms", 5000}}));
}

class ManualMount : public MountTest {
 protected:
  void ScriptScope(const std::string& stage, const std::string& target) {
    script_["status"]["scopes"]["answer"] = {
        {"scopes",
         {{{"owner", "manual"},
           {"scope", "manual:data"},
           {"volumes", {{{"driver", "d"}, {"name", "data"}, {"target", target}, {"stage", stage}}}}}}}};
  }
};

TEST_F(ManualMount, BindsAtTheTargetAndBack) {
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  ScriptVolumes({{"data", stage, target}});
  auto done = Dvdi({"mount", "-v", "data:" + target});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, target + "\n");
  EXPECT_EQ(ReadFile(target + "/is-a"), "a");
  EXPECT_EQ(OneCall("prepare")["scope"], "manual:data");
  EXPECT_EQ(OneCall("prepare")["targets"], "make");
  // Asked for again, it is not laid over itself: one unmount is enough.
  EXPECT_EQ(Dvdi({"mount", "-v", "data:" + target}).exit_code, 0);
  ScriptScope(stage, target);
  done = Dvdi({"unmount", "data"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_FALSE(IsMount(target));
  EXPECT_EQ(OneCall("cleanup")["scope"], "manual:data");
}

TEST_F(ManualMount, ATargetInUseKeepsTheScope) {
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  ScriptVolumes({{"data", stage, target}});
  ASSERT_EQ(Dvdi({"mount", "-v", "data:" + target}).exit_code, 0);
  ScriptScope(stage, target);
  UniqueFd user(::open((target + "/is-a").c_str(), O_RDONLY | O_CLOEXEC));
  auto done = Dvdi({"unmount", "data"});
  EXPECT_EQ(done.exit_code, 12) << done.err;
  EXPECT_TRUE(IsMount(target));
  EXPECT_TRUE(Calls("cleanup").empty());
}

TEST_F(ManualMount, AllOrNothing) {
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  ScriptVolumes({{"data", stage, target}, {"more", MakeStage("b"), Path("absent")}});
  auto done = Dvdi({"mount", "-v", "data:" + target, "-v", "more:" + Path("absent"), "--name", "both"});
  EXPECT_EQ(done.exit_code, 17) << done.err;
  EXPECT_NE(done.err.find("volume more"), std::string::npos) << done.err;
  EXPECT_FALSE(IsMount(target));
  EXPECT_EQ(OneCall("cleanup")["scope"], "both");
}

TEST_F(ManualMount, LsShowsWhereItIsReallyUsed) {
  std::string stage = MakeStage("a"), target = MakeFolder("target");
  script_["status"]["volumes"]["answer"] = {
      {"volumes",
       {{{"driver", "d"},
         {"name", "data"},
         {"state", "attached"},
         {"users", {{{"owner", "manual"}, {"target", target}, {"stage", stage}}}}}}}};
  EXPECT_NE(Dvdi({"ls"}).out.find(" " + stage + " "), std::string::npos);
  ASSERT_EQ(::mount(stage.c_str(), target.c_str(), nullptr, MS_BIND, nullptr), 0);
  EXPECT_NE(Dvdi({"ls"}).out.find(" " + target + " "), std::string::npos);
}

}  // namespace
}  // namespace dvdi::cli
