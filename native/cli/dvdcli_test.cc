// The old client's command lines. What they do on a real node is in test/e2e/dvdcli.test.ts.
#include "cli/dvdcli.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "cli/elsewhere.h"
#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

using Options = std::map<std::string, std::string>;

Options OptionsOf(const std::vector<std::string>& values) {
  std::vector<std::string> arguments = {"mount", "--volumedriver=d", "--volumename=v"};
  for (const auto& value : values) arguments.push_back("--volumeopts=" + value);
  auto call = ParseDvdcli(arguments);
  EXPECT_TRUE(call.ok()) << call.status().message();
  return call.ok() ? call->options : Options();
}

Status Wrong(const std::vector<std::string>& arguments) { return ParseDvdcli(arguments).status(); }

TEST(DvdcliLine, FlagsStandAnywhereAndInBothForms) {
  for (auto arguments :
       {std::vector<std::string>{"mount", "--volumedriver=d", "--volumename=v", "--explicitcreate=true"},
        std::vector<std::string>{"--volumename", "v", "mount", "--explicitcreate", "--volumedriver", "d"}}) {
    auto call = ParseDvdcli(arguments);
    ASSERT_TRUE(call.ok()) << call.status().message();
    EXPECT_EQ(call->verb, "mount");
    EXPECT_EQ(call->driver, "d");
    EXPECT_EQ(call->volume, "v");
    EXPECT_TRUE(call->explicit_create);
  }
  EXPECT_FALSE(ParseDvdcli({"mount", "--volumedriver=d", "--volumename=v", "--explicitcreate=false"})
                   ->explicit_create);
}

TEST(DvdcliLine, OptionsAsMesosGivesThem) {
  // One flag an option, whatever is in its value.
  EXPECT_EQ(OptionsOf({"size=5", "label=two words", "mountopts=ro,noatime", "url=a=b"}),
            (Options{{"size", "5"}, {"label", "two words"}, {"mountopts", "ro,noatime"}, {"url", "a=b"}}));
  EXPECT_EQ(OptionsOf({"x=", "y=,", "z= , "}), (Options{{"x", ""}, {"y", ","}, {"z", " , "}}));
}

TEST(DvdcliLine, OptionsAsPeopleGiveThem) {
  EXPECT_EQ(OptionsOf({"size=5,iops=150", "volumetype=io1"}),
            (Options{{"size", "5"}, {"iops", "150"}, {"volumetype", "io1"}}));
  EXPECT_EQ(OptionsOf({"\"mountopts=vers=4,sec=sys\",size=5"}),
            (Options{{"mountopts", "vers=4,sec=sys"}, {"size", "5"}}));
  EXPECT_EQ(OptionsOf({"\"a=say \"\"hi\"\"\""}), (Options{{"a", "say \"hi\""}}));
  EXPECT_EQ(OptionsOf({""}), Options());
}

TEST(DvdcliLine, WhatIsWrongIsSaid) {
  EXPECT_EQ(Wrong({"frobnicate"}).message(), "there is no verb \"frobnicate\"");
  EXPECT_EQ(Wrong({"mount", "--volumedriver=d"}).message(), "dvdcli mount wants --volumename");
  EXPECT_EQ(Wrong({"list"}).message(), "dvdcli list wants --volumedriver");
  EXPECT_EQ(Wrong({"mount", "--volumedriver=d", "--volumename=v", "--volumeopts=size"}).message(),
            "--volumeopts size is no KEY=VALUE");
  EXPECT_EQ(Wrong({"mount", "--volumename"}).message(), "--volumename has no value");
  EXPECT_EQ(Wrong({"mount", "--frob=1"}).message(), "there is no flag --frob");
  EXPECT_FALSE(Wrong({"mount", "x"}).ok());
  EXPECT_FALSE(Wrong({"unmount", "--volumedriver=d", "--volumename=v", "--volumeopts=a=b"}).ok());
  EXPECT_FALSE(Wrong({"mount", "--volumedriver=d", "--volumename=v", "--explicitcreate=perhaps"}).ok());
  EXPECT_FALSE(Wrong({"mount", "--volumedriver=d", "--volumename=v", "--volumeopts=\"a=b"}).ok());
}

// A stage that is mounted in another mount namespace alone: that of a process, or of one of its threads.
class Elsewhere {
 public:
  Elsewhere(const std::string& stage, bool thread) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    child_ = ::fork();
    if (child_ == 0) {
      auto mount = [&] {
        if (::unshare(CLONE_NEWNS) == 0 && ::mount("x", stage.c_str(), "tmpfs", 0, nullptr) == 0)
          (void)!::write(ready[1], "x", 1);
        ::pause();
      };
      if (thread) std::thread(mount).detach();
      thread ? static_cast<void>(::pause()) : mount();
    }
    char byte;
    EXPECT_EQ(::close(ready[1]), 0);
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
  }
  ~Elsewhere() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

 private:
  pid_t child_;
};

// A new mount namespace, made on that processor, that the file holds, and no process. False where the kernel
// wants no file of ours to hold it.
bool HoldNamespaceOf(int processor, const std::string& file) {
  int ready[2];
  EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    (void)::sched_setaffinity(0, sizeof one, &one);
    if (::unshare(CLONE_NEWNS) == 0) (void)!::write(ready[1], "x", 1);
    ::pause();
  }
  char byte;
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string source = "/proc/" + std::to_string(child) + "/ns/mnt";
  const bool held = ::mount(source.c_str(), file.c_str(), nullptr, MS_BIND, nullptr) == 0;
  if (!held) {
    EXPECT_EQ(errno, EINVAL) << ::strerror(errno);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]), ::close(ready[1]);
  return held;
}

// A namespace may be held in an older one only (mnt_ns_loop of the kernel), and the numbers by which newer
// kernels (6.18) tell are given out to each processor by the batch: that of the one that made ours is sure.
bool HoldNamespace(const std::string& file) {
  for (int processor = 0; processor < ::get_nprocs_conf(); ++processor)
    if (HoldNamespaceOf(processor, file)) return true;
  return false;
}

class DvdcliTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    program_ = "dvdcli";
    script_["status"]["volume"] = {{"code", 3},
                                   {"answer", {{"error", {{"code", "not-found"}, {"message", "none"}}}}}};
  }
  Finished On(const std::string& verb, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {verb, "--volumedriver=d", "--volumename=v"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Dvdi(arguments);
  }
  void ScriptHeld(const std::string& stage) {
    script_["status"]["volume"] = {
        {"answer",
         {{"driver", "d"},
          {"name", "v"},
          {"state", "attached"},
          {"users", {{{"owner", "dvdcli"}, {"scope", "d/v"}, {"stage", stage}}}}}}};
  }
};

TEST_F(DvdcliTest, MountAsksForOneVolumeInOneScope) {
  std::string stage = MakeStage("a");
  ScriptVolumes({{"v", stage, "/mnt/volume"}});
  auto done = On("mount", {"--volumeopts=size=5", "--volumeopts=label=a, b"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, stage + "\n");
  Json request = OneCall("prepare");
  EXPECT_EQ(request["owner"], "dvdcli");
  EXPECT_EQ(request["scope"], "d/v");
  EXPECT_EQ(request["targets"], "ignore");
  Json statement = *ParseJson(request["sources"][0]["text"].get<std::string>(), "it");
  EXPECT_EQ(statement["volumes"][0]["options"], Json({{"size", "5"}, {"label", "a, b"}}));
  EXPECT_EQ(statement["volumes"][0]["create"], "if-missing");
  EXPECT_EQ(OneCall("open")["keeper"], false);
  On("mount", {"--explicitcreate"});
  statement = *ParseJson(Calls("prepare").back()["sources"][0]["text"].get<std::string>(), "it");
  EXPECT_EQ(statement["volumes"][0]["create"], "never");
}

TEST_F(DvdcliTest, AMountedVolumeIsAnsweredAtOnce) {
  std::string stage = MakeStage("a");
  ScriptHeld(stage);
  auto done = On("mount", {"--volumeopts=size=7"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, stage + "\n");
  EXPECT_TRUE(Calls("prepare").empty());
}

TEST_F(DvdcliTest, AStageThatIsGoneIsMadeAnew) {
  ScriptHeld(Path("not-mounted"));
  script_["status"]["scopes"]["answer"] = {{"scopes",
                                            {{{"owner", "dvdcli"},
                                              {"scope", "d/v"},
                                              {"state", "committed"},
                                              {"same_mount_namespace", true},
                                              {"volumes", {{{"stage", Path("not-mounted")}}}}}}}};
  ScriptVolumes({{"v", Path("not-mounted"), "/mnt/volume"}});
  script_["prepare"]["answer"]["stored"] = true;
  // The scripted engine answers what was for ever: once is tried.
  auto done = On("mount");
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_EQ(OneCall("cleanup")["scope"], "d/v");
  EXPECT_EQ(Calls("prepare").size(), 2u);
  EXPECT_NE(done.err.find("is not mounted here"), std::string::npos) << done.err;
}

// Whether it is found by the answer to the same request, or by the refusal of another one.
TEST_F(DvdcliTest, AStageThatAnotherNamespaceHasIsLeftAlone) {
  const std::string stage = MakeFolder("id/stage");
  ScriptHeld(stage);
  Json& scope = script_["status"]["scopes"]["answer"]["scopes"][0];
  scope = {{"owner", "dvdcli"},
           {"scope", "d/v"},
           {"state", "committed"},
           {"same_mount_namespace", true},
           {"volumes", {{{"stage", stage}}}}};
  ScriptVolumes({{"v", stage, "/mnt/volume"}});
  script_["prepare"]["answer"]["stored"] = true;
  const Json stored = script_["prepare"];
  const Json taken = {{"code", 2}, {"answer", {{"error", {{"code", "refused"}, {"message", "taken"}}}}}};
  for (const Json& answer : {stored, taken}) {
    script_["prepare"] = answer;
    for (bool thread : {false, true}) {
      Elsewhere other(stage, thread);
      auto done = On("mount");
      EXPECT_EQ(done.exit_code, 1);
      EXPECT_NE(done.err.find("is not mounted here (volume v, driver d). Run dvdcli in the mount namespace"),
                std::string::npos)
          << done.err;
      EXPECT_TRUE(Calls("cleanup").empty());
    }
  }
  script_["prepare"] = stored;
  On("mount");
  EXPECT_EQ(Calls("cleanup").size(), 1u) << "its processes have ended, and its mounts with them";
}

TEST_F(DvdcliTest, ANamespaceWithoutAProcessCannotBeAsked) {
  ASSERT_TRUE(HoldNamespace(WriteFile("held", "")));
  EXPECT_FALSE(MountedNowhere("/state/stage/id/none", false));
  EXPECT_TRUE(MountedNowhere("/state/stage/id/none", true)) << "it was ours";
}

TEST_F(DvdcliTest, AFailureIsOneLineAndOne) {
  script_["prepare"] = {{"code", 5},
                        {"answer",
                         {{"error",
                           {{"code", "driver"},
                            {"message", "no space left"},
                            {"volume", "v"},
                            {"driver", "d"},
                            {"hint", "buy more"}}}}}};
  auto done = On("mount");
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err, "dvdcli: no space left (volume v, driver d). Buy more\n");
}

TEST_F(DvdcliTest, UnmountWaitsForTheRelease) {
  auto done = On("unmount");
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out + done.err, "");
  Json request = OneCall("cleanup");
  EXPECT_EQ(request["owner"], "dvdcli");
  EXPECT_EQ(request["scope"], "d/v");
  EXPECT_GT(request["release_ms"].get<int64_t>(), 0);
  EXPECT_EQ(request["volumes"], Json({{{"driver", "d"}, {"name", "v"}}}));
  script_["cleanup"]["answer"] = {
      {"pending", {{{"driver", "d"}, {"name", "v"}, {"why", "still detaching"}}}}};
  done = On("unmount");
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_NE(done.err.find("not unmounted: still detaching (volume v, driver d)"), std::string::npos)
      << done.err;
}

TEST_F(DvdcliTest, PathGetListCreateRemove) {
  script_["status"]["volume"] = {{"answer",
                                  {{"driver", "d"},
                                   {"name", "v"},
                                   {"state", "known"},
                                   {"plugin", {{"kind", "ok"}, {"mountpoint", "/m"}}}}}};
  EXPECT_EQ(On("path").out, "/m\n");
  EXPECT_EQ(On("get").out, "v\n");
  script_["status"]["volume"]["answer"]["plugin"] = {{"kind", "ok"}};
  auto done = On("path");
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_EQ(done.out, "");
  script_["status"]["volume"]["answer"]["plugin"] = {{"kind", "error"}, {"error", "no such volume"}};
  for (const char* verb : {"path", "get"}) {
    done = On(verb);
    EXPECT_EQ(done.exit_code, 1) << verb;
    EXPECT_EQ(done.err, "dvdcli: no such volume (volume v, driver d)\n");
  }
  script_["status"]["listed"]["answer"] = {{"volumes", {{{"name", "a"}}, {{"name", "b"}}}}};
  EXPECT_EQ(Dvdi({"list", "--volumedriver=d"}).out, "a\nb\n");
  EXPECT_EQ(On("create", {"--volumeopts=size=5"}).out, "");
  EXPECT_EQ(Calls("prepare").back()["goal"], "create");
  EXPECT_EQ(On("remove").out, "");
  EXPECT_EQ(OneCall("remove")["name"], "v");
  script_["remove"]["answer"] = {{"existed", false}};
  EXPECT_EQ(On("remove").exit_code, 1);
}

TEST_F(DvdcliTest, UsageAndVersion) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, {"help"}, {"mount", "--help"}}) {
    auto done = Dvdi(arguments);
    EXPECT_EQ(done.exit_code, 0);
    EXPECT_NE(done.out.find("--volumedriver=DRIVER"), std::string::npos);
  }
  EXPECT_NE(Dvdi({"version"}).out.find("SemVer: 9.8.7\n"), std::string::npos);
  auto done = Dvdi({"frobnicate"});
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_EQ(done.out, "");
}

}  // namespace
}  // namespace dvdi::cli
