#include "cli/run.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cli/testing/run_fixture.h"

namespace dvdi::cli {
namespace {

TEST_F(Run, TheVolumeIsThereForTheCommandAndForNobodyElse) {
  auto done = Shell("cat " + target_ + "/is-data && echo new > " + target_ + "/written");
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "data");
  EXPECT_EQ(ReadFile(stage_ + "/written"), "new\n");
  EXPECT_EQ(ReadFile(target_ + "/written"), "");
  EXPECT_FALSE(IsMount(target_));
  EXPECT_EQ(done.err.rfind("dvdi: created new volume data\n", 0), 0u) << done.err;
}

TEST_F(Run, AsksForWhatWasTyped) {
  Shell("true", {"--mount", "m", "--volume-driver", "d", "--timeout", "7s", "--user", "nobody"});
  Json request = OneCall("prepare");
  EXPECT_EQ(request["owner"], "run");
  EXPECT_EQ(request["scope"].get<std::string>().size(), 32u);
  EXPECT_EQ(request["targets"], "make");
  EXPECT_EQ(request["deadline_ms"], 7000);
  EXPECT_EQ(request["default_driver"], "d");
  EXPECT_EQ(request["user"]["uid"], 65534);
  EXPECT_EQ(request["sources"], Json::array({{{"form", "volume"}, {"text", "data:" + target_}},
                                             {{"form", "mount"}, {"text", "m"}}}));
  bool own_namespace = false;
  for (const auto& line : Log()) own_namespace |= GetBool(line, "own_namespace");
  EXPECT_TRUE(own_namespace);
  Json cleanup = OneCall("cleanup");
  EXPECT_EQ(cleanup["scope"], request["scope"]);
  EXPECT_EQ(cleanup["owner"], "run");
  EXPECT_EQ(Calls("recover").size(), 1u);
  EXPECT_EQ(Log().back()["wait_ms"], 7000);
}

TEST_F(Run, ExitCodesAreTheCommands) {
  EXPECT_EQ(Shell("exit 7").exit_code, 7);
  EXPECT_EQ(Shell("kill -KILL $$").exit_code, 128 + 9);
  EXPECT_EQ(Dvdi({"run", "-v", "x:/x", "--", "/no/such/command"}).exit_code, 127);
  EXPECT_EQ(Dvdi({"run", "-v", "x:/x", "--", "no-such-command"}).exit_code, 127);
  auto cannot = Dvdi({"run", "-v", "x:/x", "--", WriteFile("plain", "text")});
  EXPECT_EQ(cannot.exit_code, 126);
  EXPECT_NE(cannot.err.find("cannot run " + Path("plain")), std::string::npos) << cannot.err;
  EXPECT_EQ(Calls("cleanup").size(), 5u);
}

TEST_F(Run, NoFileIsHandedToAShell) {
  const std::string script = WriteFile("script", "touch " + Path("ran") + "\n");
  ASSERT_EQ(::chmod(script.c_str(), 0755), 0);
  auto by_path = Dvdi({"run", "-v", "x:/x", "--", script});
  EXPECT_EQ(by_path.exit_code, 126);
  EXPECT_NE(by_path.err.find("cannot run " + script), std::string::npos) << by_path.err;
  EXPECT_NE(by_path.err.find("#!"), std::string::npos) << by_path.err;
  EXPECT_NE(::access(Path("ran").c_str(), F_OK), 0);
  WriteFile("script", "#!/bin/sh\ntouch " + Path("ran") + "\n");
  EXPECT_EQ(Dvdi({"run", "-v", "x:/x", "--", script}).exit_code, 0);
  EXPECT_EQ(::access(Path("ran").c_str(), F_OK), 0);
}

TEST_F(Run, ARefusalStartsNothing) {
  script_["prepare"] = {{"code", 2},
                        {"answer",
                         {{"error",
                           {{"code", "refused"},
                            {"message", "node B\nholds it"},
                            {"volume", "data"},
                            {"driver", "d"},
                            {"hint", "Stop it there"}}}}}};
  auto done = Shell("touch " + Path("ran"));
  EXPECT_EQ(done.exit_code, 125);
  EXPECT_EQ(done.err, "dvdi: node B holds it (volume data, driver d). Stop it there\n");
  EXPECT_EQ(done.out, "");
  EXPECT_NE(::access(Path("ran").c_str(), F_OK), 0);
  EXPECT_TRUE(Calls("cleanup").empty());
  auto json = Shell("true", {"--json"});
  EXPECT_EQ(json.out, "");
  EXPECT_EQ((*ParseJson(json.err, "err"))["error"]["volume"], "data");
  Shell("true", {"--timeout", "7s"});
  EXPECT_EQ(Log().back()["wait_ms"], 7000) << "what was begun is waited for as long as the user said";
}

TEST_F(Run, ANameIsForOneRunAtATime) {
  script_["status"]["scopes"]["answer"] = {{"scopes", {{{"owner", "manual"}, {"scope", "x"}}}}};
  EXPECT_EQ(Shell("true", {"--name", "x"}).exit_code, 0);
  EXPECT_EQ(OneCall("prepare")["scope"], "x");
  script_["status"]["scopes"]["answer"]["scopes"].push_back({{"owner", "run"}, {"scope", "x"}});
  auto done = Shell("true", {"--name", "x"});
  EXPECT_EQ(done.exit_code, 125);
  EXPECT_NE(done.err.find("a run with the name x is there already"), std::string::npos) << done.err;
  OneCall("prepare");
}

TEST_F(Run, AnEngineThatDoesNotOpenStartsNothing) {
  script_["open"] = {{"code", 7}, {"answer", {{"error", {{"message", "no state folder"}}}}}};
  auto done = Shell("touch " + Path("ran"));
  EXPECT_EQ(done.exit_code, 125);
  EXPECT_EQ(done.err, "dvdi: no state folder\n");
  EXPECT_NE(::access(Path("ran").c_str(), F_OK), 0);
}

TEST_F(Run, OtherVolumesAreHidden) {
  std::string other = MakeStage("other");
  script_["prepare"]["answer"]["hide"] = {other, Path("absent"), MakeFolder("no-mount")};
  auto done = Shell("test ! -e " + other + "/is-other");
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_TRUE(IsMount(other));
}

TEST_F(Run, TargetsInsideTargetsComeAfterThem) {
  MakeFolder("stage-data/inner");
  std::string inner = MakeStage("inner");
  ScriptVolumes({{"inner", inner, target_ + "/inner"}, {"data", stage_, target_}});
  auto done = Shell("cat " + target_ + "/is-data " + target_ + "/inner/is-inner");
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "datainner");
}

TEST_F(Run, AVolumeThatCannotBeBoundEndsTheScope) {
  ASSERT_EQ(::symlink(target_.c_str(), Path("link").c_str()), 0);
  ScriptVolumes({{"data", stage_, Path("link")}});
  auto done = Shell("touch " + Path("ran"));
  EXPECT_EQ(done.exit_code, 125);
  EXPECT_NE(done.err.find("symlink"), std::string::npos) << done.err;
  EXPECT_NE(done.err.find("(volume data, driver d)"), std::string::npos) << done.err;
  EXPECT_NE(::access(Path("ran").c_str(), F_OK), 0);
  OneCall("cleanup");
}

TEST_F(Run, AStageThatIsGoneEndsTheScope) {
  ScriptVolumes({{"data", MakeFolder("not-mounted"), target_}});
  auto done = Shell("true");
  EXPECT_EQ(done.exit_code, 125);
  EXPECT_NE(done.err.find("is not mounted (volume data, driver d)"), std::string::npos) << done.err;
  OneCall("cleanup");
}

TEST_F(Run, TheUserIsTheCommandsAlone) {
  ASSERT_EQ(::chmod(Path("").c_str(), 0755), 0);
  auto done = Shell("id -u; id -g; id -G; echo $HOME $USER", {"--user", "nobody"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "65534\n65534\n65534\n/nonexistent nobody\n");
  EXPECT_EQ(Shell("id -u; id -g; id -G", {"--user", "12345:54321"}).out, "12345\n54321\n54321\n");
  auto unknown = Shell("true", {"--user", "no-such-user"});
  EXPECT_EQ(unknown.exit_code, 125);
  EXPECT_NE(unknown.err.find("no user"), std::string::npos);
}

TEST_F(Run, OnlyAnotherUserIsKeptFromTheInputOfTheTerminal) {
  const std::string filters = "grep -E '^(Seccomp_filters|NoNewPrivs)' /proc/self/status";
  auto count = [](const std::string& status) {
    int n = -1;
    std::sscanf(status.c_str(), "NoNewPrivs: 0 Seccomp_filters: %d", &n);
    return n;
  };
  const int before = count(Shell(filters).out);
  if (before < 0) GTEST_SKIP() << "this kernel does not tell how many filters a process has";
  EXPECT_EQ(count(Shell(filters, {"--user", "root"}).out), before);
  EXPECT_EQ(count(Shell(filters, {"--user", "nobody"}).out), before + 1);
}

TEST_F(Run, TheWorkdirMayBeInTheVolume) {
  EXPECT_EQ(Shell("cat is-data", {"--workdir", target_}).out, "data");
  auto done = Shell("true", {"--workdir", Path("absent")});
  EXPECT_EQ(done.exit_code, 125);
  EXPECT_NE(done.err.find(Path("absent")), std::string::npos);
  EXPECT_NE(done.err.find("--workdir"), std::string::npos) << done.err;
}

TEST_F(Run, AWorkdirThatIsNotThereIsToBeInAVolume) {
  auto covers = [&](const std::string& workdir) {
    Shell("true", {"--workdir", workdir});
    return GetString(Calls("prepare").back(), "covers");
  };
  EXPECT_EQ(covers(Path("absent/./x/../y")), Path("absent/y"));
  EXPECT_EQ(covers(target_ + "/in-the-volume"), target_ + "/in-the-volume");
  EXPECT_EQ(covers(target_), "");
  EXPECT_EQ(covers("/"), "");
  EXPECT_EQ(covers(WriteFile("file", "")), Path("file"));
  ASSERT_EQ(::symlink((target_ + "/x").c_str(), Path("link").c_str()), 0);
  EXPECT_EQ(covers(Path("link")), "") << "where it leads is known when the volumes are there";
  EXPECT_EQ(covers(Path("link/y")), "");
}

TEST_F(Run, TheCurrentFolderIsSeenThroughTheVolume) {
  char* before = ::getcwd(nullptr, 0);
  ASSERT_EQ(::chdir(target_.c_str()), 0);
  auto done = Shell("cat is-data");
  EXPECT_EQ(::chdir(before), 0);
  ::free(before);
  EXPECT_EQ(done.out, "data") << done.err;
}

TEST_F(Run, NothingOfOursReachesTheCommand) {
  int inherited = ::fcntl(0, F_DUPFD, 57);
  ASSERT_GE(inherited, 57);
  ::signal(SIGUSR2, SIG_IGN);
  // The mask is read without a fork: a shell that is making a process has other signals blocked.
  auto done = Shell(
      "ls /proc/$$/fd; while read l; do case $l in SigBlk*|SigIgn*) echo \"$l\";; esac; done "
      "< /proc/$$/status");
  ::close(inherited);
  // What is ignored is inherited (nohup), and nothing else is. The two signals above 31 are glibc's own.
  auto ignored = [](const std::string& status) {
    size_t at = status.find("SigIgn:\t");
    return at == std::string::npos ? ~0UL : ::strtoul(status.c_str() + at + 8, nullptr, 16) & 0x7fffffff;
  };
  EXPECT_EQ(done.out.rfind("0\n1\n2\nSigBlk:\t0000000000000000\n", 0), 0u) << done.out;
  EXPECT_EQ(ignored(done.out), ignored(ReadFile("/proc/self/status")));
  ::signal(SIGUSR2, SIG_DFL);
}

TEST_F(Run, SignalsArePassedOn) {
  auto running =
      StartDvdi(Arguments("trap 'exit 9' TERM; trap 'echo usr1' USR1; echo ready; "
                          "while :; do sleep 0.02; done"));
  ASSERT_TRUE(running.WaitForOut("ready"));
  running.Kill(SIGUSR1);
  ASSERT_TRUE(running.WaitForOut("usr1"));
  running.Kill(SIGTERM);
  EXPECT_EQ(running.Finish().exit_code, 9);
  OneCall("cleanup");
}

// A program that leads a session on a terminal of its own.
class OnTerminal : public Run {
 protected:
  void TearDown() override {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    Run::TearDown();
  }
  void Start(std::vector<std::string> words) {
    WriteFile("script.json", Dump(script_));
    int master = -1;
    pid_ = ::forkpty(&master, nullptr, nullptr, nullptr);
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      ::setenv("DVDI_FAKE_SCRIPT", Path("script.json").c_str(), 1);
      std::vector<char*> argv;
      for (auto& w : words) argv.push_back(w.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(99);
    }
    master_.reset(master);
  }
  void StartDvdiHere(const std::string& shell, std::vector<std::string> options = {}) {
    auto words = Arguments(shell, std::move(options));
    words.insert(words.begin(), DVDI_FAKE_BINARY);
    Start(std::move(words));
  }
  void Type(const char* text) { ASSERT_EQ(::write(master_.get(), text, 1), 1); }
  bool WaitFor(const std::string& text) {
    char buffer[256];
    while (seen_.find(text) == std::string::npos) {
      ssize_t n = ::read(master_.get(), buffer, sizeof buffer);
      if (n <= 0) return false;
      seen_.append(buffer, static_cast<size_t>(n));
    }
    return true;
  }
  int ExitCode() {
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  pid_t pid_ = -1;
  UniqueFd master_;
  std::string seen_;
};

TEST_F(OnTerminal, AnInterruptIsTheCommandsToHandle) {
  StartDvdiHere("trap 'echo int' INT; trap 'exit 3' USR1; echo ready; while :; do sleep 0.02; done");
  ASSERT_TRUE(WaitFor("ready")) << seen_;
  Type("\x03");
  ASSERT_TRUE(WaitFor("int\r\n")) << seen_;
  ASSERT_EQ(::kill(pid_, SIGUSR1), 0);
  EXPECT_EQ(ExitCode(), 3);
}

// The terminal has told the whole group: the command is not told twice, and does not take it for a second ^C.
TEST_F(OnTerminal, AnInterruptComesOnce) {
  StartDvdiHere(
      "sleep 1000 > /dev/null & n=0; trap 'n=$((n+1)); echo int' INT; trap 'kill $!; exit $n' USR1; echo "
      "ready; "
      "while :; do wait; done");
  ASSERT_TRUE(WaitFor("ready")) << seen_;
  // Until the command has taken it, dvdi does not get to it: two that are pending at once would be one.
  ASSERT_EQ(::kill(pid_, SIGSTOP), 0);
  Type("\x03");
  ASSERT_TRUE(WaitFor("int\r\n")) << seen_;
  ASSERT_EQ(::kill(pid_, SIGCONT), 0);
  // Taken behind what is pending already, in the order of the numbers.
  ASSERT_EQ(::kill(pid_, SIGUSR1), 0);
  EXPECT_EQ(ExitCode(), 1);
}

TEST_F(OnTerminal, AHangUpReachesTheCommand) {
  StartDvdiHere("trap 'echo hup > " + Path("hup") +
                "; exit 5' HUP; echo ready; while :; do sleep 0.02; done");
  ASSERT_TRUE(WaitFor("ready")) << seen_;
  master_.reset();
  EXPECT_EQ(ExitCode(), 5);
  EXPECT_EQ(ReadFile(Path("hup")), "hup\n");
}

TEST_F(OnTerminal, AnotherUserTypesNothingIntoIt) {
  if (::access("/usr/bin/perl", X_OK) != 0) GTEST_SKIP() << "no /usr/bin/perl, whose ioctl is needed";
  // 0x5412: TIOCSTI.
  const std::string type =
      "perl -e 'open T, q(+<), q(/dev/tty) or die; $c = q(x); print ioctl(T, 0x5412, $c) ? q(typed.) : "
      "qq(no: $!.)'";
  StartDvdiHere(type, {"--user", "nobody"});
  EXPECT_TRUE(WaitFor("no: Operation not permitted.")) << seen_;
  EXPECT_EQ(ExitCode(), 0);
  // Root could as well write to the terminal's processes.
  seen_.clear();
  StartDvdiHere(type);
  EXPECT_TRUE(WaitFor("typed.")) << seen_;
}

TEST_F(OnTerminal, AJobStopsAndGoesOn) {
  if (::access("/bin/bash", X_OK) != 0) GTEST_SKIP() << "no /bin/bash, whose job control is needed";
  std::vector<std::string> words = {"/bin/bash", "-c",
                                    "set -m; \"$@\"; echo stopped=$?.; fg > /dev/null; echo end=$?.", "bash",
                                    DVDI_FAKE_BINARY};
  // `wait`, and no loop of commands: a ^Z between fork and exec would leave the shell waiting, not stopped.
  for (auto& w : Arguments("sleep 1000 > /dev/null & trap 'kill $!; exit 6' CONT; echo ready; wait"))
    words.push_back(w);
  Start(std::move(words));
  ASSERT_TRUE(WaitFor("ready")) << seen_;
  Type("\x1a");
  EXPECT_TRUE(WaitFor("stopped=" + std::to_string(128 + SIGSTOP) + ".")) << seen_;
  EXPECT_TRUE(WaitFor("end=6.")) << seen_;
  EXPECT_EQ(ExitCode(), 0);
}

TEST_F(Run, AnInterruptWhilePreparingUndoesIt) {
  Hold("prepare");
  auto running = StartDvdi(Arguments("touch " + Path("ran")));
  WaitUntilBegun();
  running.Kill(SIGTERM);
  ASSERT_TRUE(running.WaitForErr("interrupted"));
  Release();
  EXPECT_EQ(running.Finish().exit_code, 128 + SIGTERM);
  EXPECT_NE(::access(Path("ran").c_str(), F_OK), 0);
  OneCall("cleanup");
}

TEST_F(Run, ASecondInterruptLeavesItToRecover) {
  Hold("prepare");
  auto running = StartDvdi(Arguments("touch " + Path("ran")));
  WaitUntilBegun();
  running.Kill(SIGINT);
  ASSERT_TRUE(running.WaitForErr("interrupted"));
  running.Kill(SIGINT);
  EXPECT_EQ(running.Finish().exit_code, 128 + SIGINT);
  EXPECT_NE(::access(Path("ran").c_str(), F_OK), 0);
  EXPECT_TRUE(Calls("cleanup").empty());
}

TEST_F(Run, ProcessesLeftBehindKeepTheVolumes) {
  auto done = Shell("sleep 1000 > /dev/null 2>&1 & echo $!; exit 4");
  pid_t left = static_cast<pid_t>(::atoi(done.out.c_str()));
  ASSERT_GT(left, 1);
  EXPECT_EQ(::kill(left, SIGKILL), 0);
  EXPECT_EQ(done.exit_code, 4);
  EXPECT_NE(done.err.find("left 1 process behind"), std::string::npos) << done.err;
  EXPECT_TRUE(Calls("cleanup").empty());
}

TEST_F(Run, TheCommandOutlivesAKilledDvdi) {
  ASSERT_EQ(::mkfifo(Path("go").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo(Path("end").c_str(), 0600), 0);
  auto running = StartDvdi(
      Arguments("echo ready; cat " + Path("go") + "; cat " + target_ + "/is-data > " + Path("end")));
  ASSERT_TRUE(running.WaitForOut("ready"));
  running.Kill(SIGKILL);
  UniqueFd(::open(Path("go").c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(ReadFile(Path("end")), "data");
  EXPECT_EQ(running.Finish().exit_code, 128 + SIGKILL);
  EXPECT_TRUE(Calls("cleanup").empty());
}

TEST_F(Run, ADryRunOnlyAsks) {
  script_["prepare"]["answer"] = *ParseJson(
      R"({"dry_run": true, "volumes": [{"driver": "d", "name": "data", "container_path": "/t", "mode": "ro",
        "access": "multi-reader", "create": "never", "options": {"size": "1"}, "state": "attached",
        "users": [{"owner": "run", "scope": "x"}]}], "notes": ["a note"]})",
      "it");
  auto done = Shell("touch " + Path("ran"), {"--dry-run"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out,
            "data of driver d at /t (ro, multi-reader, create never), options {\"size\":\"1\"}; "
            "attached on this node, used by run x\nnote: a note\n");
  EXPECT_EQ(OneCall("prepare")["dry_run"], true);
  EXPECT_TRUE(OneCall("prepare")["process"].is_null());
  EXPECT_NE(::access(Path("ran").c_str(), F_OK), 0);
}

TEST_F(Run, AStatementComesFromStandardInput) {
  auto done = Dvdi({"run", "--statement", "-", "--", "true"}, "{\"volumes\": []}\n");
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(OneCall("prepare")["sources"][0]["text"], "{\"volumes\": []}\n");
  EXPECT_EQ(OneCall("prepare")["sources"][0]["origin"], "standard input");
}

TEST_F(Run, AStatementThatDoesNotComeIsGivenUpByASignal) {
  const std::string fifo = Path("fifo.json");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (int signal : {SIGINT, SIGTERM}) {
    auto running = StartDvdi({"run", "--statement", fifo, "--", "true"});
    // Waits until it is open on the other side, too: then it is being read.
    UniqueFd writer(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
    running.Kill(signal);
    siginfo_t ended = {};
    for (int i = 0; i < 500 && ended.si_pid == 0; ++i) {
      ::usleep(10'000);
      ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(running.pid()), &ended, WEXITED | WNOHANG | WNOWAIT), 0);
    }
    EXPECT_EQ(ended.si_pid, running.pid()) << "signal " << signal;
    writer.reset();
    EXPECT_EQ(running.Finish().exit_code, 128 + signal);
  }
  EXPECT_TRUE(Log().empty());
}

TEST_F(Run, WrongUsageIsDvdisOwnFailure) {
  EXPECT_EQ(Dvdi({"run", "--frobnicate", "--", "true"}).exit_code, 125);
  EXPECT_EQ(Dvdi({"run", "--", "true"}).exit_code, 125);
}

}  // namespace
}  // namespace dvdi::cli
