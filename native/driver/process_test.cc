// The program itself: options, signals, kill -9, two nodes in two mount namespaces.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/json.h"
#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::Is200;
using testing::Names;
using testing::NeedVolumes;
using testing::Post;
using testing::RawClient;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

// A running dvdi-driver, ended with the test.
class Process {
 public:
  // With `own_namespace` the process gets a mount namespace of its own.
  Process(const TempDir& dir, const std::string& node, bool own_namespace = false)
      : socket_(dir / (node + ".sock")), log_(dir / (node + ".log")) {
    Start({"--pool", dir / "pool", "--node-id", node, "--socket", socket_, "--mount-root",
           dir / ("mnt-" + node), "--default-size", "16m"},
          own_namespace);
  }
  Process(const TempDir& dir, std::vector<std::string> arguments) : log_(dir / "log") {
    Start(std::move(arguments), false);
  }
  ~Process() { Kill(SIGKILL); }

  // Waits until it answers, or has ended (false).
  bool Serves() {
    for (;;) {
      if (Is200(Post(socket_, "/Plugin.Activate", ""))) return true;
      if (::waitpid(pid_, &state_, WNOHANG) == pid_) {
        pid_ = 0;
        return false;
      }
      ::usleep(2000);
    }
  }
  int Kill(int signal) {
    if (pid_ > 0) ::kill(pid_, signal);
    return Wait();
  }
  // The exit status, or minus the signal.
  int Wait() {
    if (pid_ > 0 && ::waitpid(pid_, &state_, 0) == pid_) pid_ = 0;
    return WIFEXITED(state_) ? WEXITSTATUS(state_) : -WTERMSIG(state_);
  }
  pid_t pid() const { return pid_; }
  const std::string& socket() const { return socket_; }
  std::string log() const { return ReadFile(log_); }
  std::string Do(const std::string& method, const std::string& body) {
    return Post(socket_, "/VolumeDriver." + method, body);
  }
  // The mountpoint, as the process sees it, reached from this mount namespace.
  std::string Reach(const std::string& path) const {
    return "/proc/" + std::to_string(pid_) + "/root" + path;
  }

 private:
  void Start(std::vector<std::string> arguments, bool own_namespace) {
    arguments.insert(arguments.begin(), DVDI_DRIVER_BINARY);
    std::vector<char*> argv;
    for (auto& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (::getppid() != parent || log < 0 || ::dup2(log, 1) < 0 || ::dup2(log, 2) < 0) ::_exit(99);
    if (own_namespace &&
        (::unshare(CLONE_NEWNS) < 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0))
      ::_exit(98);
    ::execv(argv[0], argv.data());
    ::_exit(97);
  }

  std::string socket_, log_;
  pid_t pid_ = 0;
  int state_ = 0;
};

class ProcessTest : public ::testing::Test {
 protected:
  void SetUp() override { DVDI_SKIP_UNLESS(NeedVolumes("ext4")); }
  TempDir dir_;
};

TEST_F(ProcessTest, OptionsThatAreWrongAreSaid) {
  struct {
    std::vector<std::string> arguments;
    int status;
    const char* text;
  } cases[] = {
      {{}, 2, "--node-id"},
      {{"--pool", dir_ / "p"}, 2, "--node-id"},
      {{"--pool", dir_ / "p", "--node-id", "A", "--color", "red"}, 2, "--color"},
      {{"--pool", dir_ / "p", "--node-id", "a/b"}, 2, "node id"},
      {{"--pool", dir_ / "p", "--node-id", "A", "--default-size", "big"}, 2, "--default-size"},
      {{"--pool", dir_ / "p", "--node-id", "A", "--default-fs", "ntfs"}, 2, "--default-fs"},
      {{"--pool", "relative", "--node-id", "A", "--mount-root", dir_ / "m"}, 1, "absolute"},
      {{"--pool", dir_ / "p", "--node-id", "A", "--mount-root", "m"}, 1, "absolute"},
      {{"--version"}, 0, "dvdi-driver 0"},
      {{"--help"}, 0, "--mount-root"},
  };
  for (auto& c : cases) {
    ::unlink((dir_ / "log").c_str());
    Process p(dir_, c.arguments);
    EXPECT_EQ(p.Wait(), c.status) << c.text;
    EXPECT_NE(p.log().find(c.text), std::string::npos) << p.log();
    if (c.status != 0) {
      EXPECT_EQ(p.log().find('\n'), p.log().size() - 1) << "one line: " << p.log();
    }
  }
}

TEST_F(ProcessTest, SigtermLeavesVolumesMountedAndARestartGoesOn) {
  std::string at = dir_ / "mnt-A/v";
  {
    Process a(dir_, "A");
    ASSERT_TRUE(a.Serves()) << a.log();
    ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"v"})")));
    ASSERT_TRUE(Is200(a.Do("Mount", R"({"Name":"v","ID":"1"})")));
    WriteFile(at + "/file", "data");
    EXPECT_EQ(a.Kill(SIGTERM), 0) << a.log();
    EXPECT_FALSE(Exists(a.socket()));
  }
  EXPECT_EQ(ReadFile(at + "/file"), "data");
  Process a(dir_, "A");
  ASSERT_TRUE(a.Serves()) << a.log();
  std::string got = a.Do("Get", R"({"Name":"v"})");
  EXPECT_NE(got.find("\"Mountpoint\":\"" + at + "\""), std::string::npos) << got;
  ASSERT_TRUE(Is200(a.Do("Unmount", R"({"Name":"v","ID":"1"})"))) << a.log();
  EXPECT_FALSE(Exists(at));
  EXPECT_EQ(a.Kill(SIGINT), 0);
}

TEST_F(ProcessTest, TwoNodesInTwoMountNamespaces) {
  Process a(dir_, "A", true), b(dir_, "B", true);
  ASSERT_TRUE(a.Serves()) << a.log();
  ASSERT_TRUE(b.Serves()) << b.log();
  ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"v"})")));
  ASSERT_TRUE(Is200(a.Do("Mount", R"({"Name":"v","ID":"1"})")));
  WriteFile(a.Reach(dir_ / "mnt-A/v/file"), "from A");
  std::string refused = b.Do("Mount", R"({"Name":"v","ID":"2"})");
  EXPECT_EQ(refused.rfind("HTTP/1.1 500 ", 0), 0u) << refused;
  EXPECT_NE(refused.find("in use on node A since"), std::string::npos) << refused;
  ASSERT_TRUE(Is200(a.Do("Unmount", R"({"Name":"v","ID":"1"})"))) << a.log();
  ASSERT_TRUE(Is200(b.Do("Mount", R"({"Name":"v","ID":"2"})"))) << b.log();
  EXPECT_EQ(ReadFile(b.Reach(dir_ / "mnt-B/v/file")), "from A");
  ASSERT_TRUE(Is200(b.Do("Unmount", R"({"Name":"v","ID":"2"})"))) << b.log();
}

TEST_F(ProcessTest, ASecondDriverIsRefusedAndHarmsNothing) {
  Process a(dir_, "A");
  ASSERT_TRUE(a.Serves()) << a.log();
  std::vector<std::string> start = {"--pool", dir_ / "pool", "--node-id", "A", "--socket"};
  auto same_root = start, same_socket = start;
  same_root.insert(same_root.end(), {dir_ / "other.sock", "--mount-root", dir_ / "mnt-A"});
  same_socket.insert(same_socket.end(), {a.socket(), "--mount-root", dir_ / "other"});
  Process second(dir_, same_root);
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_NE(second.log().find("another dvdi-driver uses the mount root"), std::string::npos) << second.log();
  Process third(dir_, same_socket);
  EXPECT_EQ(third.Wait(), 1);
  EXPECT_NE(third.log().find("another plugin answers on"), std::string::npos) << third.log();
  EXPECT_TRUE(Is200(a.Do("List", "{}")));
}

// kill -9 at moments that nobody chose, over and over: no volume is lost, none stays leased without a mount.
TEST_F(ProcessTest, KillNineAtAnyMoment) {
  std::string data;
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    {
      Process a(dir_, "A");
      ASSERT_TRUE(a.Serves()) << a.log();
      pid_t killer = ::fork();
      if (killer == 0) {
        ::usleep(static_cast<useconds_t>(round) * 3000);
        ::kill(a.pid(), SIGKILL);
        ::_exit(0);
      }
      for (int i = 0; i < 1000; ++i) {
        if (a.Do("Create", R"({"Name":"v"})").empty()) break;
        if (a.Do("Mount", R"({"Name":"v","ID":"1"})").empty()) break;
        if (a.Do("Unmount", R"({"Name":"v","ID":"1"})").empty()) break;
      }
      ASSERT_EQ(::waitpid(killer, nullptr, 0), killer);
      EXPECT_EQ(a.Wait(), -SIGKILL) << a.log();
    }
    Process a(dir_, "A");
    ASSERT_TRUE(a.Serves()) << a.log();
    for (const auto& name : Names(dir_ / "pool")) EXPECT_EQ(name, "v");
    ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"v"})"))) << a.log();
    std::string mounted = a.Do("Mount", R"({"Name":"v","ID":"1"})");
    ASSERT_TRUE(Is200(mounted)) << mounted;
    std::string file = dir_ / "mnt-A/v/file";
    EXPECT_EQ(ReadFile(file), data);
    data = "round " + std::to_string(round);
    WriteFile(file, data);
    std::string unmounted = a.Do("Unmount", R"({"Name":"v","ID":"1"})");
    ASSERT_TRUE(Is200(unmounted)) << unmounted;
    EXPECT_TRUE(Is200(a.Do("Get", R"({"Name":"v"})")) &&
                a.Do("Get", R"({"Name":"v"})").find("\"lease\":null") != std::string::npos);
    EXPECT_EQ(a.Kill(SIGTERM), 0);
  }
}

}  // namespace
}  // namespace dvdi
