// A helper that cannot be started, was killed, or answers nothing: the caller learns which, by its deadline.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "helper/helper.h"
#include "helper/process.h"
#include "helper/protocol.h"
#include "mount/test_world.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

class ProcessFaultsTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
    volume_ = MakeTmpfs("vol", "size=1m");
    SetHelperPath(DVDI_TEST_HELPER);  // none waits from another test
  }
  Status Ask() {
    HelperRequest request;
    request.mountpoint = volume_;
    request.op = HelperRequest::Op::kStatfs;
    request.deadline_ms = In(30'000);
    auto reply = HelperRunner::Real()->Run(env_, request);
    if (reply.ok()) {
      EXPECT_EQ(1 << 20, reply->usage.total_bytes);
    }
    return reply.status();
  }
  Env env_ = TestEnv();
  std::string volume_;
};

TEST_F(ProcessFaultsTest, AHelperThatCannotBeStartedSaysWhy) {
  struct Case {
    std::vector<long> calls;
    int err;
    const char* message;
  };
  const Case kCases[] = {
      {{SYS_socketpair}, EMFILE, "cannot make a socket pair for dvdi-helper: Too many open files"},
      {{SYS_clone, SYS_clone3, SYS_vfork},
       EAGAIN,
       "cannot start dvdi-helper: Resource temporarily unavailable"},
  };
  for (const Case& c : kCases) {
    Status status;
    EXPECT_TRUE(WithCallFaults({{c.calls, c.err, 0}}, [&] { status = Ask(); }));
    EXPECT_EQ(c.message, status.message());
    EXPECT_TRUE(Ask().ok());
    SetHelperPath(DVDI_TEST_HELPER);
  }
  for (long call : {SYS_openat, SYS_newfstatat, SYS_fcntl}) {
    Status status;
    EXPECT_TRUE(WithCallFaults({{{call}, EIO, 1}},
                               [&] { status = OpenHelperExecutable(DVDI_TEST_HELPER).status(); }));
    EXPECT_EQ(EIO, status.error_number()) << status.message();
    EXPECT_NE(std::string::npos, status.message().find("the helper")) << status.message();
  }
  // Without a path: the places beside this program.
  EXPECT_TRUE(OpenHelperExecutable("").ok());
  EXPECT_TRUE(WithCallFaults({{{SYS_openat}, ENOENT, 0}}, [&] {
    Status status = OpenHelperExecutable("").status();
    EXPECT_NE(std::string::npos, status.message().find("dvdi-helper is not installed (looked at "));
  }));
  EXPECT_TRUE(WithCallFaults({{{SYS_openat}, EACCES, 1}}, [&] {
    EXPECT_EQ(EACCES, OpenHelperExecutable("").status().error_number()) << "what is there is not passed over";
  }));
}

TEST_F(ProcessFaultsTest, AHelperWithoutADescriptorOfItsProcessIsKilledByItsNumber) {
  auto executable = OpenHelperExecutable(DVDI_TEST_HELPER);
  ASSERT_TRUE(executable.ok());
  HelperProcess process;
  EXPECT_TRUE(WithCallFaults({{{SYS_pidfd_open}, ENOSYS, 1}}, [&] {
    auto started = StartHelper(executable->get());
    ASSERT_TRUE(started.ok());
    process = std::move(*started);
    // The thread's calls are answered for as long as it is there: the helper has them too, and goes first.
    EXPECT_FALSE(process.pidfd.valid());
    EXPECT_FALSE(process.Reap());
    process.Kill();
    EXPECT_TRUE(Eventually([&] { return process.Reap(); }));
  }));
  EXPECT_TRUE(process.Reap()) << "reaped is reaped";
  process.Kill();  // nobody's number any more
  EXPECT_EQ(0, process.pid);
}

TEST_F(ProcessFaultsTest, AWaitingHelperThatIsOfNoUseIsReplaced) {
  ASSERT_TRUE(Ask().ok());
  EXPECT_TRUE(WithCallFaults({{{SYS_recvfrom}, ECONNRESET, 1}}, [&] { EXPECT_TRUE(Ask().ok()); }));
  SetHelperPath(DVDI_TEST_HELPER);
  // It dies after it was looked at, before it is asked or before it has answered.
  for (int err : {EPIPE, ECONNRESET}) {
    ASSERT_TRUE(Ask().ok());
    EXPECT_TRUE(WithCallFaults({{{SYS_sendmsg}, err, 1}}, [&] { EXPECT_TRUE(Ask().ok()); }));
    SetHelperPath(DVDI_TEST_HELPER);
  }
  ASSERT_TRUE(Ask().ok());
  EXPECT_TRUE(WithCallFaults({{{SYS_recvmsg}, ECONNRESET, 1}}, [&] { EXPECT_TRUE(Ask().ok()); }));
  SetHelperPath(DVDI_TEST_HELPER);
}

TEST_F(ProcessFaultsTest, AHelperThatDiesBeforeItHasAnsweredIsTold) {
  Status status;
  for (long call : {SYS_sendmsg, SYS_poll, SYS_recvmsg}) {
    SetHelperPath(DVDI_TEST_HELPER);
    ASSERT_TRUE(Ask().ok());
    EXPECT_TRUE(WithCallFaults({{{call}, EIO, 1}}, [&] { status = Ask(); }));
    EXPECT_EQ(EIO, status.error_number()) << status.message();
    EXPECT_NE(std::string::npos, status.message().find(volume_)) << status.message();
    EXPECT_TRUE(Eventually([] { return StuckHelpers().empty(); }));
    EXPECT_TRUE(Ask().ok()) << "another one is asked";
  }
}

TEST_F(ProcessFaultsTest, InterruptedCallsAreMadeAgain) {
  ASSERT_TRUE(Ask().ok());
  EXPECT_GE(FailEachCall({SYS_poll, SYS_sendmsg, SYS_recvmsg, SYS_wait4}, EINTR,
                         [&] {
                           Status status = Ask();
                           EXPECT_TRUE(status.ok()) << status.message();
                         }),
            3);
  EXPECT_TRUE(WithCallFaults({{{SYS_recvmsg}, EAGAIN, 1}}, [&] { EXPECT_TRUE(Ask().ok()); }));
}

TEST_F(ProcessFaultsTest, PathsThatAreNoTextAreRefused) {
  HelperRequest request;
  request.mountpoint = "/v\xff";
  EXPECT_EQ(Code::kInvalid, HelperRunner::Real()->Run(env_, request).status().code());
  request.mountpoint = volume_;
  request.subpath = "\xc3";
  EXPECT_EQ(Code::kInvalid, HelperRunner::Real()->Run(env_, request).status().code());
}

// The program itself, as somebody might talk to it.
TEST_F(ProcessFaultsTest, TheProgramAnswersWhateverItIsAsked) {
  EXPECT_EQ(2, RunProgram({DVDI_TEST_HELPER})) << "by hand it does nothing";
  auto executable = OpenHelperExecutable(DVDI_TEST_HELPER);
  ASSERT_TRUE(executable.ok());
  auto started = StartHelper(executable->get());
  ASSERT_TRUE(started.ok());
  int socket = started->socket.get();
  auto ask = [&](const std::string& text) {
    std::string reply;
    std::vector<UniqueFd> fds;
    EXPECT_EQ(0, SendPacket(socket, text, {}));
    EXPECT_EQ(1, ReceivePacket(socket, true, &reply, &fds));
    auto json = ParseJson(reply, "the reply");
    EXPECT_TRUE(json.ok()) << reply;
    if (!json.ok() || !json->contains("error")) return std::string("ok");
    return GetString((*json)["error"], "code") + ": " + GetString((*json)["error"], "message");
  };
  const std::string folder = R"({"v":)" + std::to_string(kHelperProtocol) + R"(,"op":"folder","path":")" +
                             volume_ + R"(","left_ms":60000,"uid":0,"gid":)";
  EXPECT_EQ("ok", ask(folder + R"(0,"ownership":0})"));
  EXPECT_EQ("internal: unknown ownership", ask(folder + R"(0,"ownership":99})"));
  EXPECT_EQ("internal: dvdi-helper is of another version than the program that started it",
            ask(R"({"v":999,"op":"statfs"})"));
  EXPECT_EQ("internal: dvdi-helper does not know what it was asked",
            ask(R"({"v":)" + std::to_string(kHelperProtocol) + R"(,"op":"dance"})"));
  EXPECT_EQ(0u, ask("no JSON").find("invalid: "));
  EXPECT_EQ("ok",
            ask(folder + R"(5,"ownership":)" + std::to_string(static_cast<int>(Ownership::kIdmap)) + "}"))
      << "the group alone differs";
  // What is more than a request may have ends it.
  std::string big(kMaxHelperPacket + 1, 'x');
  ASSERT_GT(::send(socket, big.data(), big.size(), 0), 0);
  int status = 0;
  ASSERT_EQ(started->pid, ::waitpid(started->pid, &status, 0));
  EXPECT_EQ(3, WEXITSTATUS(status));
  started->pid = 0;
}

}  // namespace
}  // namespace dvdi
