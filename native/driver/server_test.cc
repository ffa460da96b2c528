#include "driver/server.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <future>

#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::Is200;
using testing::PostText;
using testing::RawClient;
using testing::TempDir;

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override { options_.socket = dir_ / "s.sock"; }
  void Start(Server::Handler handler = nullptr) {
    if (handler == nullptr)
      handler = [](const HttpRequest& r) {
        return HttpReply{200, r.method + " " + r.target + " " + r.body + "\n"};
      };
    auto server = Server::Start(options_, std::move(handler));
    ASSERT_TRUE(server.ok()) << server.status().message();
    server_ = std::move(*server);
  }
  std::string SendAndReadAll(const std::string& text) {
    RawClient client(options_.socket);
    EXPECT_TRUE(client.connected());
    client.Send(text);
    ::shutdown(client.fd(), SHUT_WR);
    return client.ReadAll();
  }
  static std::string BodyOf(const std::string& response) {
    size_t at = response.find("\r\n\r\n");
    return at == std::string::npos ? "" : response.substr(at + 4);
  }

  TempDir dir_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, KeepAliveAndTheHeadersOfTheProtocol) {
  Start();
  RawClient client(options_.socket);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Send(PostText("/a", std::to_string(i) + "\n")));
    std::string r = client.ReadResponse();
    EXPECT_TRUE(Is200(r)) << r;
    EXPECT_NE(r.find("Content-Type: application/vnd.docker.plugins.v1.2+json\r\n"), std::string::npos);
    EXPECT_EQ(BodyOf(r), "POST /a " + std::to_string(i) + "\n\n");
  }
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  RawClient client(options_.socket);
  ASSERT_TRUE(client.Send(PostText("/1", "a") + PostText("/2", "b") + PostText("/3", "")));
  EXPECT_EQ(BodyOf(client.ReadResponse()), "POST /1 a\n");
  EXPECT_EQ(BodyOf(client.ReadResponse()), "POST /2 b\n");
  EXPECT_EQ(BodyOf(client.ReadResponse()), "POST /3 \n");
}

TEST_F(ServerTest, ChunkedBodiesByteByByte) {
  Start();
  RawClient client(options_.socket);
  std::string text =
      "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
  for (char c : text) ASSERT_TRUE(client.Send(std::string(1, c)));
  EXPECT_EQ(BodyOf(client.ReadResponse()), "POST /c abcde\n");
  for (char c : std::string("POST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")) {
    ASSERT_TRUE(client.Send(std::string(1, c)));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // each byte is to come alone
  }
  EXPECT_EQ(BodyOf(client.ReadResponse()), "POST /e \n");
}

TEST_F(ServerTest, OldAndOddClients) {
  Start();
  // HTTP/1.0, no Host, no length: answered, and closed.
  std::string old = SendAndReadAll("GET /Plugin.Activate HTTP/1.0\r\n\r\n");
  EXPECT_EQ(BodyOf(old), "GET /Plugin.Activate \n");
  // An empty Host, lower-case names, Connection: close.
  std::string odd =
      SendAndReadAll("POST /x HTTP/1.1\r\nhost:\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
  EXPECT_EQ(BodyOf(odd), "POST /x hi\n");
  EXPECT_NE(odd.find("Connection: close"), std::string::npos);
}

TEST_F(ServerTest, ExpectContinueIsAnswered) {
  Start();
  RawClient client(options_.socket);
  ASSERT_TRUE(
      client.Send("POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_EQ(client.ReadResponse().rfind("HTTP/1.1 100 ", 0), 0u);
  ASSERT_TRUE(client.Send("ok"));
  EXPECT_EQ(BodyOf(client.ReadResponse()), "POST /e ok\n");
}

TEST_F(ServerTest, BodiesAndHeadersAreBounded) {
  options_.max_body = 1000;
  Start([](const HttpRequest& r) { return HttpReply{200, std::to_string(r.body.size())}; });
  EXPECT_EQ(BodyOf(SendAndReadAll(PostText("/", std::string(1000, 'x')))), "1000");
  std::string large = SendAndReadAll(PostText("/", std::string(1001, 'x')));
  EXPECT_EQ(large.rfind("HTTP/1.1 413 ", 0), 0u) << large;
  EXPECT_NE(large.find("{\"Err\":"), std::string::npos);
  std::string lie = SendAndReadAll("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n");
  EXPECT_EQ(lie.rfind("HTTP/1.1 413 ", 0), 0u) << lie;
  std::string chunks = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunks += "64\r\n" + std::string(100, 'y') + "\r\n";
  EXPECT_EQ(SendAndReadAll(chunks + "0\r\n\r\n").rfind("HTTP/1.1 413 ", 0), 0u);
  std::string header = SendAndReadAll("POST / HTTP/1.1\r\nX: " + std::string(40'000, 'h') + "\r\n\r\n");
  EXPECT_EQ(header.rfind("HTTP/1.1 431 ", 0), 0u) << header;
}

TEST_F(ServerTest, WhatIsNotHttpGetsA400AndHarmsNobody) {
  Start();
  for (std::string text :
       {std::string("hello\r\n\r\n"), std::string("\x16\x03\x01\x02\x00\x01\x00", 7) + "\r\n\r\n",
        std::string("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), std::string("POST / HTTP/9.9\r\n\r\n"),
        std::string("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")}) {
    std::string r = SendAndReadAll(text);
    EXPECT_EQ(r.rfind("HTTP/1.1 400 ", 0), 0u) << text << " -> " << r;
  }
  EXPECT_EQ(SendAndReadAll("POST / HT"), "");
  EXPECT_EQ(SendAndReadAll(""), "");
  EXPECT_TRUE(Is200(testing::Post(options_.socket, "/", "")));
}

TEST_F(ServerTest, ASlowClientIsGivenUp) {
  options_.request_ms = 50;
  Start();
  RawClient client(options_.socket);
  ASSERT_TRUE(client.Send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"));
  std::string r = client.ReadAll();  // ends because the server ends it
  EXPECT_EQ(r.rfind("HTTP/1.1 408 ", 0), 0u) << r;
}

TEST_F(ServerTest, AnIdleClientIsGivenUp) {
  options_.idle_ms = 50;
  Start();
  RawClient client(options_.socket);
  EXPECT_EQ(client.ReadAll(), "");
}

TEST_F(ServerTest, AClientThatDoesNotReadIsGivenUp) {
  options_.reply_ms = 50;
  std::promise<void> sent;
  Start([&](const HttpRequest& r) {
    return HttpReply{200, r.target == "/big" ? std::string(8 << 20, 'z') : std::string("ok")};
  });
  RawClient client(options_.socket);
  ASSERT_TRUE(client.Send(PostText("/big", "")));
  struct pollfd p = {client.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, -1), 1);
  // Stop waits for every connection, so it returns only when this one was given up.
  EXPECT_TRUE(server_->Stop().empty());
  EXPECT_LT(client.ReadAll().size(), size_t{8 << 20});
}

TEST_F(ServerTest, ConnectionsAreBoundedAndIdleOnesMakeRoom) {
  options_.max_connections = 2;
  Start();
  RawClient first(options_.socket), second(options_.socket);
  ASSERT_TRUE(first.Send(PostText("/1", "")));
  ASSERT_TRUE(Is200(first.ReadResponse()));
  ASSERT_TRUE(second.Send(PostText("/2", "")));
  ASSERT_TRUE(Is200(second.ReadResponse()));
  RawClient third(options_.socket);
  ASSERT_TRUE(third.Send(PostText("/3", "")));
  EXPECT_TRUE(Is200(third.ReadResponse()));
  // One of the two made room: the first, unless its thread was slower to become idle again than the second's.
  struct pollfd closed[2] = {{first.fd(), POLLIN, 0}, {second.fd(), POLLIN, 0}};
  ASSERT_EQ(::poll(closed, 2, 30'000), 1);
  EXPECT_EQ((closed[0].revents != 0 ? first : second).ReadAll(), "");
}

TEST_F(ServerTest, ARequestThatIsThereWhenRoomIsMadeIsAnswered) {
  options_.max_connections = 1;
  Start();
  for (int i = 0; i < 200; ++i) {
    RawClient first(options_.socket), second(options_.socket);
    ASSERT_TRUE(first.Send(PostText("/1", "")));
    ASSERT_TRUE(second.Send(PostText("/2", "")));
    ASSERT_TRUE(Is200(first.ReadResponse())) << i;
    ASSERT_TRUE(Is200(second.ReadResponse())) << i;
  }
}

TEST_F(ServerTest, RequestsRunSideBySide) {
  std::promise<void> second_came;
  auto came = second_came.get_future().share();
  Start([&](const HttpRequest& r) {
    if (r.target == "/2") second_came.set_value();
    if (r.target == "/1") came.wait();
    return HttpReply{200, "x"};
  });
  RawClient first(options_.socket);
  ASSERT_TRUE(first.Send(PostText("/1", "")));
  EXPECT_TRUE(Is200(testing::Post(options_.socket, "/2", "")));
  EXPECT_TRUE(Is200(first.ReadResponse()));
}

TEST_F(ServerTest, StopLetsTheRunningRequestEndAndRemovesTheSocket) {
  std::promise<void> entered, leave;
  auto may_leave = leave.get_future().share();
  Start([&](const HttpRequest&) {
    entered.set_value();
    may_leave.wait();
    return HttpReply{200, "done"};
  });
  RawClient client(options_.socket), idle(options_.socket);
  ASSERT_TRUE(client.Send(PostText("/", "")));
  entered.get_future().wait();
  std::thread stopper([&] { EXPECT_TRUE(server_->Stop().empty()); });
  EXPECT_EQ(idle.ReadAll(), "");
  leave.set_value();
  std::string r = client.ReadAll();
  stopper.join();
  EXPECT_TRUE(Is200(r)) << r;
  EXPECT_NE(r.find("Connection: close"), std::string::npos);
  EXPECT_FALSE(Exists(options_.socket));
}

TEST_F(ServerTest, StopWaitsNoLongerThanItIsToldAndSaysWhatItLeaves) {
  std::promise<void> entered, leave;
  auto may_leave = leave.get_future().share();
  Start([&](const HttpRequest& r) {
    if (r.target == "/big") return HttpReply{200, std::string(8 << 20, 'z')};
    entered.set_value();
    may_leave.wait();
    return HttpReply{200, "done"};
  });
  RawClient hangs(options_.socket), deaf(options_.socket), idle(options_.socket);
  ASSERT_TRUE(deaf.Send(PostText("/big", "")));
  struct pollfd p = {deaf.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, -1), 1);
  ASSERT_TRUE(hangs.Send(PostText("/hangs", "body")));
  entered.get_future().wait();
  const auto left = server_->Stop(100);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].target, "/hangs");
  EXPECT_EQ(left[0].body, "body");
  EXPECT_LT(deaf.ReadAll().size(), size_t{8 << 20}) << "it was waited for, or goes on";
  EXPECT_EQ(idle.ReadAll(), "");
  EXPECT_FALSE(Exists(options_.socket));
  leave.set_value();
  server_.reset();  // waits for the handler, which uses what is declared here
}

TEST_F(ServerTest, AStaleSocketIsReplacedALiveOneAndOtherFilesAreNot) {
  Start();
  EXPECT_EQ(Server::Start(options_, [](const HttpRequest&) { return HttpReply{}; }).status().code(),
            Code::kRefused);
  EXPECT_TRUE(Is200(testing::Post(options_.socket, "/", "")));
  EXPECT_TRUE(server_->Stop().empty());

  UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  ::strncpy(address.sun_path, options_.socket.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(stale.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address), 0);
  stale.reset();
  Start();
  EXPECT_TRUE(Is200(testing::Post(options_.socket, "/", "")));

  ServerOptions other = options_;
  other.socket = dir_ / "file";
  testing::WriteFile(other.socket, "data");
  EXPECT_EQ(Server::Start(other, [](const HttpRequest&) { return HttpReply{}; }).status().code(),
            Code::kRefused);
  EXPECT_EQ(testing::ReadFile(other.socket), "data");
}

TEST_F(ServerTest, TheSocketOfASuccessorStays) {
  Start();
  ASSERT_EQ(::unlink(options_.socket.c_str()), 0);
  auto next = Server::Start(options_, [](const HttpRequest&) { return HttpReply{200, "next"}; });
  ASSERT_TRUE(next.ok());
  EXPECT_TRUE(server_->Stop().empty());
  EXPECT_EQ(BodyOf(testing::Post(options_.socket, "/", "")), "next");
}

TEST_F(ServerTest, OtherUsersCannotConnect) {
  if (::geteuid() != 0) GTEST_SKIP() << "becoming another user needs root";
  const mode_t before = ::umask(0);
  Start();
  ::umask(before);
  // The folders on the way keep nobody out.
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  auto connects_as = [&](uid_t uid) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (::setgroups(0, nullptr) < 0 || ::setresgid(uid, uid, uid) < 0 || ::setresuid(uid, uid, uid) < 0)
        ::_exit(2);
      struct sockaddr_un address = {};
      address.sun_family = AF_UNIX;
      options_.socket.copy(address.sun_path, sizeof address.sun_path - 1);
      const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (::connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof address) == 0) ::_exit(0);
      ::_exit(errno == EACCES ? 1 : 2);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(connects_as(0), 0);
  EXPECT_EQ(connects_as(65534), 1);
}

TEST_F(ServerTest, PathsThatNoSocketCanHave) {
  options_.socket = dir_ / std::string(120, 'x');
  EXPECT_EQ(Server::Start(options_, nullptr).status().code(), Code::kInvalid);
  options_.socket = "relative.sock";
  EXPECT_EQ(Server::Start(options_, nullptr).status().code(), Code::kInvalid);
}

}  // namespace
}  // namespace dvdi
