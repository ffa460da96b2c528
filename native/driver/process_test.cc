// The program itself: options, signals, kill -9, two nodes in two mount namespaces.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/json.h"
#include "driver/hanging_test.h"
#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::HangingMount;
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
  // With other arguments than those of one pool; `listener` is passed as systemd does it.
  Process(const TempDir& dir, const std::string& socket, std::vector<std::string> arguments,
          int listener = -1)
      : socket_(socket), log_(dir / "log") {
    Start(std::move(arguments), false, listener);
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
  void Start(std::vector<std::string> arguments, bool own_namespace, int listener = -1) {
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
    if (listener >= 0 && (::dup2(listener, 3) < 0 || ::fcntl(3, F_SETFD, 0) < 0 ||
                          ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1) < 0 ||
                          ::setenv("LISTEN_FDS", "1", 1) < 0))
      ::_exit(96);
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
      {{"--pool", dir_ / "p", "--config", dir_ / "c", "--node-id", "A"},
       2,
       "--pool is not taken beside --config"},
      {{"--config", dir_ / "c", "--node-id", "A", "--default-size", "9g"},
       2,
       "--default-size is not taken beside --config"},
      {{"--config", dir_ / "c", "--node-id", "A", "--default-fs", "xfs"}, 2, "--default-fs is not taken"},
      {{"--config", dir_ / "c", "--node-id", "A", "--overcommit", "2"}, 2, "--overcommit is not taken"},
      {{"--node-id", "A"}, 2, "one of --pool and --config is needed"},
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

// A request cannot be ended where its pool hangs: the driver is, before its service manager kills it, and the
// next one goes on.
TEST_F(ProcessTest, ARequestThatHangsDoesNotHoldUpItsEnd) {
  {
    Process a(dir_, "A");
    ASSERT_TRUE(a.Serves()) << a.log();
    ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"v"})")));
    ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"w"})")));
    ASSERT_TRUE(Is200(a.Do("Mount", R"({"Name":"w","ID":"1"})")));
    HangingMount hangs(dir_ / "pool/v");
    if (!hangs.ok()) GTEST_SKIP() << "needs FUSE";
    RawClient client(a.socket()), other(a.socket());
    ASSERT_TRUE(client.Send(testing::PostText("/VolumeDriver.Mount", R"({"Name":"v","ID":"1"})")));
    ASSERT_TRUE(hangs.WaitForUser());
    EXPECT_EQ(a.Kill(SIGTERM), 0) << a.log();
    EXPECT_EQ(client.ReadAll(), "");
    EXPECT_NE(a.log().find("ends although 1 request has not ended (Mount of volume v)"), std::string::npos)
        << a.log();
  }
  Process a(dir_, "A");
  ASSERT_TRUE(a.Serves()) << a.log();
  EXPECT_TRUE(Is200(a.Do("Mount", R"({"Name":"v","ID":"1"})"))) << a.log();
  for (const char* name : {"v", "w"})
    EXPECT_TRUE(Is200(a.Do("Unmount", std::string(R"({"Name":")") + name + R"(","ID":"1"})"))) << a.log();
}

// The one pool that there is: clients are told, and none waits on a socket where nobody is.
TEST_F(ProcessTest, APoolThatHangsAtTheStartIsSaidByADriverThatServes) {
  {
    Process a(dir_, "A");
    ASSERT_TRUE(a.Serves()) << a.log();
    ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"v"})")));
  }
  HangingMount hangs(dir_ / "pool/v");
  if (!hangs.ok()) GTEST_SKIP() << "needs FUSE";
  Process a(dir_, "A");
  ASSERT_TRUE(a.Serves()) << a.log();
  const std::string why =
      "tier default cannot be used (pool " + dir_ / "pool" + "): its pool does not answer; see whether its";
  for (const char* method : {"Get", "Mount", "Create", "Unmount", "Remove", "List"}) {
    const std::string said = a.Do(method, R"({"Name":"v","ID":"1"})");
    EXPECT_NE(said.find(why), std::string::npos) << method << ": " << said;
  }
  EXPECT_NE(a.log().find("node A serves no pool yet on "), std::string::npos) << a.log();
  hangs.End();
  while (!Is200(a.Do("Get", R"({"Name":"v"})"))) ::usleep(10'000);
  EXPECT_TRUE(Is200(a.Do("Mount", R"({"Name":"v","ID":"1"})"))) << a.log();
  EXPECT_TRUE(Is200(a.Do("Unmount", R"({"Name":"v","ID":"1"})"))) << a.log();
  EXPECT_EQ(a.Kill(SIGTERM), 0);
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

TEST_F(ProcessTest, TiersFromAFile) {
  WriteFile(dir_ / "driver.yaml",
            "tiers:\n"
            "  - { name: fast, pool: " +
                dir_ / "fast" +
                ", label: the quick one, attributes: { media: ssd }, capacity: 40m, "
                "default_size: 16m }\n"
                "  - { name: big, pool: " +
                dir_ / "big" + ", attributes: { media: hdd }, default_size: 16m }\n");
  ASSERT_EQ(::chmod((dir_ / "driver.yaml").c_str(), 0600), 0);
  std::vector<std::string> arguments = {"--config", dir_ / "driver.yaml", "--node-id",    "A",
                                        "--socket", dir_ / "A.sock",      "--mount-root", dir_ / "mnt-A"};
  Process a(dir_, dir_ / "A.sock", arguments);
  ASSERT_TRUE(a.Serves()) << a.log();
  ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"one","Opts":{"media":"ssd"}})"))) << a.log();
  ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"two","Opts":{"size":"32m"}})"))) << a.log();
  EXPECT_TRUE(Exists(dir_ / "fast/one/image"));
  EXPECT_TRUE(Exists(dir_ / "big/two/image")) << "the first tier has 24 MiB left";
  std::string refused = a.Do("Create", R"({"Name":"three","Opts":{"media":"ssd","size":"32m"}})");
  EXPECT_NE(refused.find("fast has no room: 32 MiB asked for, 24 MiB of 40 MiB not promised yet; big has "
                         "media hdd, not ssd"),
            std::string::npos)
      << refused;
  std::string got = a.Do("Get", R"({"Name":"one"})");
  EXPECT_NE(got.find("\"tier\":\"fast\""), std::string::npos) << got;
  EXPECT_NE(got.find("\"label\":\"the quick one\""), std::string::npos) << got;
  std::string tiers = Post(a.socket(), "/DvdiDriver.Tiers", "{}");
  auto json = ParseJson(tiers.substr(tiers.find("\r\n\r\n") + 4), "tiers");
  ASSERT_TRUE(json.ok()) << tiers;
  const Json& fast = (*json)["Tiers"][0];
  EXPECT_EQ(fast["Name"], "fast");
  EXPECT_EQ(fast["Path"], dir_ / "fast");
  EXPECT_EQ(fast["Label"], "the quick one");
  EXPECT_EQ(fast["Filesystem"], "ext4");
  EXPECT_EQ(fast["CapacityBytes"], 40 << 20);
  EXPECT_EQ(fast["PromisedBytes"], 16 << 20);
  EXPECT_GT(fast["FreeBytes"], 0);
  EXPECT_EQ(fast["Attributes"]["media"], "ssd");
  ASSERT_TRUE(Is200(a.Do("Mount", R"({"Name":"two","ID":"1"})"))) << a.log();
  ASSERT_TRUE(Is200(a.Do("Unmount", R"({"Name":"two","ID":"1"})"))) << a.log();
  arguments[1] = dir_ / "none.yaml";
  Process b(dir_, arguments);
  EXPECT_EQ(b.Wait(), 2);
}

TEST_F(ProcessTest, FenceFromTheCommandLineBesideADriver) {
  Process a(dir_, "A");
  ASSERT_TRUE(a.Serves()) << a.log();
  ASSERT_TRUE(Is200(a.Do("Create", R"({"Name":"v"})")));
  // Of another machine, which renews nothing.
  WriteFile(
      dir_ / "pool/v/lease.1",
      R"({"format":1,"node":"dead","generation":1,"since":"2026-01-01T00:00:00Z","boot_id":"b","machine":"m",)"
      R"("pid":1,"start_time":1,"session":"dead.0123456789abcdef","lease_ms":2000})");
  EXPECT_NE(a.Do("Mount", R"({"Name":"v","ID":"1"})").find("in use on node dead"), std::string::npos);
  std::vector<std::string> fence = {"fence", "--pool", dir_ / "pool", "--node-id", "A"};
  Process nothing(dir_, fence);
  EXPECT_EQ(nothing.Wait(), 2) << nothing.log();
  fence.push_back("v");
  Process done(dir_, fence);
  EXPECT_EQ(done.Wait(), 0) << done.log();
  EXPECT_NE(done.log().find("volume v was taken from node dead (lease 2, waited "), std::string::npos)
      << done.log();
  Process again(dir_, fence);
  EXPECT_EQ(again.Wait(), 0);
  EXPECT_NE(again.log().find("no node has volume v"), std::string::npos) << again.log();
  fence.back() = "none";
  Process missing(dir_, fence);
  EXPECT_EQ(missing.Wait(), 1);
  EXPECT_TRUE(Is200(a.Do("Mount", R"({"Name":"v","ID":"1"})"))) << a.log();
  EXPECT_TRUE(Is200(a.Do("Unmount", R"({"Name":"v","ID":"1"})"))) << a.log();
}

TEST_F(ProcessTest, ASocketOfSystemdIsTakenAndLeft) {
  std::string path = dir_ / "systemd.sock";
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  ::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address), 0);
  std::vector<std::string> arguments = {"--pool", dir_ / "pool",  "--node-id",
                                        "A",      "--mount-root", dir_ / "mnt-A"};
  {
    Process deaf(dir_, path, arguments, listener.get());
    EXPECT_EQ(deaf.Wait(), 1);
    EXPECT_NE(deaf.log().find("something else than one listening Unix socket"), std::string::npos)
        << deaf.log();
  }
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  for (int round = 0; round < 2; ++round) {
    // A client that comes before the driver waits.
    RawClient early(path);
    ASSERT_TRUE(early.connected());
    ASSERT_TRUE(early.Send(testing::PostText("/Plugin.Activate", "")));
    Process a(dir_, path, arguments, listener.get());
    EXPECT_TRUE(Is200(early.ReadResponse())) << a.log();
    ASSERT_TRUE(a.Serves()) << a.log();
    EXPECT_EQ(a.Kill(SIGTERM), 0);
    EXPECT_TRUE(Exists(path)) << "it is systemd's";
  }
}

// What clients of the protocol do, one connection kept alive for all of it.
TEST_F(ProcessTest, EveryClientHabit) {
  Process a(dir_, "A");
  ASSERT_TRUE(a.Serves()) << a.log();
  RawClient client(a.socket());
  ASSERT_TRUE(client.connected());
  auto ask = [&](const std::string& path, const std::string& body, const std::string& more = "") {
    std::string text = "POST " + path +
                       " HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nAccept: "
                       "application/vnd.docker.plugins.v1.2+json\r\n" +
                       more + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    return client.Send(text) ? client.ReadResponse() : std::string();
  };
  const std::string id(64, 'a'), other(64, 'b');
  std::string mount = "{\"Name\":\"v\",\"ID\":\"" + id + "\"}\n";
  // The reference client's order: Activate, Capabilities, Get, Create only when that failed.
  EXPECT_NE(ask("/Plugin.Activate", "").find("VolumeDriver"), std::string::npos);
  EXPECT_NE(ask("/VolumeDriver.Capabilities", "{}\n").find("\"Scope\":\"global\""), std::string::npos);
  std::string missing = ask("/VolumeDriver.Get", "{\"Name\":\"v\"}\n");
  EXPECT_FALSE(Is200(missing));
  EXPECT_NE(missing.find("\"Err\":\"there is no volume v"), std::string::npos) << missing;
  EXPECT_NE(ask("/VolumeDriver.List", "null\n").find("\"Volumes\":[]"), std::string::npos);
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Create", "{\"Name\":\"v\",\"Opts\":null}\n")));
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Create", "{\"Name\":\"v\",\"Opts\":{}}\n")))
      << "a second one does no harm";
  // No Mountpoint before it is mounted, the protocol's field names in any case, fields that it does not have.
  EXPECT_EQ(ask("/VolumeDriver.Get", "{\"name\":\"v\",\"Future\":[1]}").find("Mountpoint"),
            std::string::npos);
  EXPECT_NE(ask("/VolumeDriver.Mount", mount).find("\"Mountpoint\":\"" + dir_ / "mnt-A/v" + "\""),
            std::string::npos);
  EXPECT_NE(ask("/VolumeDriver.Get", mount).find("\"Mountpoint\":\"" + dir_ / "mnt-A/v" + "\""),
            std::string::npos);
  EXPECT_NE(ask("/VolumeDriver.Path", "{\"Name\":\"v\"}").find("mnt-A/v"), std::string::npos);
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Create", "{\"Name\":\"v\",\"Opts\":{}}\n")))
      << "nor under a live mount";
  // A Remove under a live mount is refused; another ID's Unmount takes nothing away.
  EXPECT_FALSE(Is200(ask("/VolumeDriver.Remove", "{\"Name\":\"v\"}")));
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Unmount", "{\"Name\":\"v\",\"ID\":\"" + other + "\"}\n")));
  EXPECT_TRUE(Exists(dir_ / "mnt-A/v"));
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Unmount", mount)));
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Unmount", mount))) << "a repeated one is no error";
  EXPECT_FALSE(Exists(dir_ / "mnt-A/v"));
  EXPECT_FALSE(Is200(ask("/VolumeDriver.Path", "{\"Name\":\"v\"}")));
  // A client that sends no ID; an answer is asked for before a long body; chunks.
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Mount", "{\"Name\":\"v\"}")));
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Unmount", "{\"Name\":\"v\"}")));
  ASSERT_TRUE(
      client.Send("POST /VolumeDriver.Get HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "5\r\n{\"Nam\r\n7\r\ne\":\"v\"}\r\n0\r\n\r\n"));
  EXPECT_TRUE(Is200(client.ReadResponse()));
  EXPECT_TRUE(Is200(ask("/VolumeDriver.Remove", "{\"Name\":\"v\"}\n")));
  EXPECT_FALSE(Is200(ask("/VolumeDriver.Unmount", "not json")));
  EXPECT_TRUE(Is200(ask("/VolumeDriver.List", ""))) << "the connection lives through all of it";
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
