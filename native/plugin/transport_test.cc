#include "plugin/transport.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "plugin/http_transport.h"
#include "plugin/scripted_server.h"

namespace dvdi {
namespace {

using Outcome = PluginReply::Outcome;
constexpr int64_t kLong = 60'000;  // a deadline that no test reaches
const char kGet[] = "/VolumeDriver.Get";
const char kMount[] = "/VolumeDriver.Mount";

class ShiftedClock : public Clock {
 public:
  int64_t MonotonicMs() override { return Clock::Real()->MonotonicMs() + shift_ms; }
  int64_t MonotonicNs() override { return Clock::Real()->MonotonicNs() + shift_ms * 1'000'000; }
  int64_t WallMs() override { return Clock::Real()->WallMs(); }
  std::atomic<int64_t> shift_ms{0};
};

class TransportTest : public ::testing::Test {
 protected:
  PluginRequest To(const PluginAddress& address, const std::string& path, int64_t in_ms = kLong) {
    PluginRequest r;
    r.address = address;
    r.path = path;
    r.body = "{\"Name\":\"v\"}\n";
    r.deadline_ms = clock_.MonotonicMs() + in_ms;
    r.max_body = 1000;
    return r;
  }
  PluginReply Ask(const PluginAddress& address, const std::string& path, int64_t in_ms = kLong) {
    return transport_->Exchange({To(address, path, in_ms)})[0];
  }

  ScopedDir dir_;
  ShiftedClock clock_;
  std::unique_ptr<PluginTransport> transport_ = MakeHttpTransport(&clock_);
};

TEST_F(TransportTest, SendsTheRequestAndReadsTheAnswer) {
  ScriptedServer server(dir_ / "p.sock");
  server.Set(kGet, Turn::Json("{\"Err\":\"no\"}", 500));
  PluginReply reply = Ask(server.address(), kGet);
  EXPECT_EQ(reply.outcome, Outcome::kAnswer);
  EXPECT_TRUE(reply.sent);
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.body, "{\"Err\":\"no\"}");
  EXPECT_EQ(reply.peer_pid, ::getpid());
  auto seen = server.requests();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].body, "{\"Name\":\"v\"}\n");
  EXPECT_NE(seen[0].head.find("POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\n"), std::string::npos)
      << seen[0].head;
  EXPECT_NE(seen[0].head.find("Accept: application/vnd.docker.plugins.v1.2+json\r\n"), std::string::npos);
}

TEST_F(TransportTest, Tcp) {
  ScriptedServer server;
  server.Set(kGet, Turn::Json("{}"));
  PluginReply reply = Ask(server.address(), kGet);
  EXPECT_EQ(reply.outcome, Outcome::kAnswer);
  EXPECT_EQ(reply.peer_pid, 0);
  EXPECT_NE(server.requests()[0].head.find("Host: 127.0.0.1:"), std::string::npos);
  PluginAddress local = server.address();
  local.host = "localhost";
  EXPECT_EQ(Ask(local, kGet).outcome, Outcome::kAnswer);
}

TEST_F(TransportTest, EveryFraming) {
  ScriptedServer server(dir_ / "p.sock");
  const std::string body(900, 'x');
  for (bool one_by_one : {false, true}) {
    for (Turn turn : {Turn::Json(body), Turn::Chunked(body), Turn::UntilClose(body)}) {
      turn.one_by_one = one_by_one;
      server.Push(kMount, turn);
      PluginReply reply = Ask(server.address(), kMount);
      EXPECT_EQ(reply.outcome, Outcome::kAnswer) << reply.detail;
      EXPECT_EQ(reply.body, body);
    }
  }
}

TEST_F(TransportTest, KeepsOneConnection) {
  ScriptedServer server(dir_ / "p.sock");
  server.SetHandler([](const SeenRequest&) { return Turn::Json("{}"); });
  for (const char* path : {kGet, kMount, kGet})
    EXPECT_EQ(Ask(server.address(), path).outcome, Outcome::kAnswer);
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(Ask(server.address(), kGet).peer_pid, ::getpid()) << "known on a reused connection too";
  transport_->CloseIdle();
  EXPECT_EQ(Ask(server.address(), kGet).outcome, Outcome::kAnswer);
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(TransportTest, IdleConnectionsEnd) {
  transport_ = MakeHttpTransport(&clock_, {.idle_ms = 1'000'000});
  ScriptedServer server(dir_ / "p.sock");
  server.Set(kGet, Turn::Json("{}"));
  Ask(server.address(), kGet);
  clock_.shift_ms += 500'000;
  Ask(server.address(), kGet);
  EXPECT_EQ(server.connections(), 1);
  clock_.shift_ms += 1'000'000;
  Ask(server.address(), kGet);
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(TransportTest, IdleConnectionsAreBounded) {
  transport_ = MakeHttpTransport(&clock_, {.max_idle = 1});
  ScriptedServer one(dir_ / "1.sock"), two(dir_ / "2.sock");
  for (ScriptedServer* server : {&one, &two}) server->Set(kGet, Turn::Json("{}"));
  for (int i = 0; i < 2; ++i)
    for (ScriptedServer* server : {&one, &two})
      EXPECT_EQ(Ask(server->address(), kGet).outcome, Outcome::kAnswer);
  EXPECT_EQ(one.connections(), 1);
  EXPECT_EQ(two.connections(), 2);
}

TEST_F(TransportTest, DoesNotReuseWhatThePluginCloses) {
  ScriptedServer server(dir_ / "p.sock");
  server.Push(kMount, Turn::Raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
                                Turn::Then::kKeep));
  server.Push(kMount,
              Turn::Raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}left over", Turn::Then::kKeep));
  server.Push(kMount, Turn::Json("{}"));
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(Ask(server.address(), kMount).outcome, Outcome::kAnswer);
    EXPECT_EQ(server.connections(), i);
  }
}

TEST_F(TransportTest, ConnectionClosedWhileIdleCostsNothing) {
  ScriptedServer server(dir_ / "p.sock");
  server.SetHandler([](const SeenRequest&) { return Turn::Json("{}"); });
  Ask(server.address(), kGet);
  server.CloseConnections();
  EXPECT_EQ(Ask(server.address(), kMount).outcome, Outcome::kAnswer);
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(server.paths(), (std::vector<std::string>{kGet, kMount}));
}

TEST_F(TransportTest, QuestionIsAskedAgainWhereAReusedConnectionBreaks) {
  ScriptedServer server(dir_ / "p.sock");
  server.Push(kGet, Turn::Json("{}"));
  server.Push(kGet, Turn::Raw("", Turn::Then::kClose));
  server.Push(kGet, Turn::Json("{\"a\":1}"));
  Ask(server.address(), kGet);
  PluginReply reply = Ask(server.address(), kGet);
  EXPECT_EQ(reply.outcome, Outcome::kAnswer);
  EXPECT_EQ(reply.body, "{\"a\":1}");
  EXPECT_EQ(server.requests().size(), 3u);
}

TEST_F(TransportTest, DeedIsNeverSentTwice) {
  for (const char* path : {"/VolumeDriver.Create", kMount, "/VolumeDriver.Unmount", "/VolumeDriver.Remove"}) {
    ScriptedServer server(dir_ / "p.sock");
    server.Push(path, Turn::Json("{}"));
    server.Push(path, Turn::Raw("", Turn::Then::kClose));
    Ask(server.address(), path);
    PluginReply reply = Ask(server.address(), path);
    EXPECT_EQ(reply.outcome, Outcome::kLost) << path;
    EXPECT_TRUE(reply.sent);
    EXPECT_EQ(server.requests().size(), 2u);
  }
}

TEST_F(TransportTest, FreshConnectionIsNotRetried) {
  ScriptedServer server(dir_ / "p.sock");
  server.Set(kGet, Turn::Raw("", Turn::Then::kClose));
  PluginReply reply = Ask(server.address(), kGet);
  EXPECT_EQ(reply.outcome, Outcome::kLost);
  EXPECT_TRUE(reply.sent);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST_F(TransportTest, PluginRestartsBetweenCalls) {
  ScriptedServer server(dir_ / "p.sock");
  server.SetHandler([](const SeenRequest&) { return Turn::Json("{}"); });
  Ask(server.address(), kGet);
  server.Stop();
  PluginReply down = Ask(server.address(), kGet);
  EXPECT_EQ(down.outcome, Outcome::kUnreachable);
  EXPECT_FALSE(down.sent);
  server.Start();
  EXPECT_EQ(Ask(server.address(), kMount).outcome, Outcome::kAnswer);
}

TEST_F(TransportTest, FollowsTheSocketFileToANewPlugin) {
  ScriptedServer before(dir_ / "p.sock");
  before.Set(kGet, Turn::Json("{\"old\":1}"));
  Ask(before.address(), kGet);
  ScriptedServer after(dir_ / "p.sock");  // the old one still runs, its connection is still open
  after.Set(kGet, Turn::Json("{\"new\":1}"));
  EXPECT_EQ(Ask(after.address(), kGet).body, "{\"new\":1}");
}

TEST_F(TransportTest, NobodyThere) {
  PluginAddress missing;
  missing.path = dir_ / "missing.sock";
  PluginAddress stale;
  stale.path = dir_ / "stale.sock";
  {
    int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    std::strcpy(a.sun_path, stale.path.c_str());
    ASSERT_EQ(::bind(fd, reinterpret_cast<struct sockaddr*>(&a), sizeof a), 0);
    ::close(fd);
  }
  PluginAddress too_long;
  too_long.path = "/" + std::string(200, 'x');
  PluginAddress named;
  named.kind = PluginAddress::Kind::kTcp;
  named.host = "plugin.example";
  named.port = 1;
  for (const PluginAddress& address : {missing, stale, too_long, named}) {
    PluginReply reply = Ask(address, kMount);
    EXPECT_EQ(reply.outcome, Outcome::kUnreachable) << address.ToString();
    EXPECT_FALSE(reply.sent);
    EXPECT_FALSE(reply.detail.empty());
  }
}

TEST_F(TransportTest, SilencePastTheDeadline) {
  ScriptedServer server(dir_ / "p.sock");
  server.Set(kMount, Turn::Hold());
  int64_t start = clock_.MonotonicMs();
  PluginReply reply = Ask(server.address(), kMount, 40);
  EXPECT_EQ(reply.outcome, Outcome::kTimeout);
  EXPECT_GE(clock_.MonotonicMs(), start + 40);
  EXPECT_LT(clock_.MonotonicMs(), start + kLong / 2);
  server.PushAccept(Turn::Then::kHold);
  EXPECT_EQ(Ask(server.address(), kMount, 40).outcome, Outcome::kTimeout);
}

// The deadline passes while half of the answer is there.
TEST_F(TransportTest, HalfAnAnswerInTimeIsNone) {
  ScriptedServer server(dir_ / "p.sock");
  server.SetHandler([&](const SeenRequest&) {
    clock_.shift_ms += 2 * kLong;
    return Turn::Raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Turn::Then::kHold);
  });
  PluginReply reply = Ask(server.address(), kMount);
  EXPECT_EQ(reply.outcome, Outcome::kTimeout);
  EXPECT_TRUE(reply.sent) << "it may have acted";
}

TEST_F(TransportTest, DeadlineThatPassedSendsNothing) {
  ScriptedServer server(dir_ / "p.sock");
  PluginReply reply = Ask(server.address(), kMount, 0);
  EXPECT_EQ(reply.outcome, Outcome::kTimeout);
  EXPECT_FALSE(reply.sent);
  EXPECT_EQ(server.connections(), 0);
}

// A Unix socket whose queue is full refuses a non-blocking connect with EAGAIN: wait for room.
TEST_F(TransportTest, FullQueueIsWaitedFor) {
  std::string path = dir_ / "p.sock";
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un a = {};
  a.sun_family = AF_UNIX;
  std::strcpy(a.sun_path, path.c_str());
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<struct sockaddr*>(&a), sizeof a), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  UniqueFd filler(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(filler.get(), reinterpret_cast<struct sockaddr*>(&a), sizeof a), 0);

  PluginAddress address;
  address.path = path;
  PluginReply reply = Ask(address, kMount, 40);
  EXPECT_EQ(reply.outcome, Outcome::kTimeout);
  EXPECT_FALSE(reply.sent);

  std::thread plugin([&] {
    UniqueFd first(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    UniqueFd second(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char buffer[4096];
    EXPECT_GT(::recv(second.get(), buffer, sizeof buffer, 0), 0);
    const std::string text = Turn::Json("{}").bytes;
    EXPECT_EQ(::send(second.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  });
  EXPECT_EQ(Ask(address, kMount).outcome, Outcome::kAnswer);
  plugin.join();
}

TEST_F(TransportTest, ConnectionLostOnTheWay) {
  ScriptedServer server(dir_ / "p.sock");
  for (const char* part : {"HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"}) {
    server.Push(kGet, Turn::Raw(part));
    PluginReply reply = Ask(server.address(), kGet);
    EXPECT_EQ(reply.outcome, Outcome::kLost) << part;
    EXPECT_TRUE(reply.sent);
  }
  ScriptedServer tcp;
  tcp.Set(kMount, Turn::Raw("", Turn::Then::kReset));
  EXPECT_EQ(Ask(tcp.address(), kMount).outcome, Outcome::kLost);
}

TEST_F(TransportTest, TooLargeAndMalformed) {
  ScriptedServer server(dir_ / "p.sock");
  for (const Turn& turn : {Turn::Json(std::string(1001, 'x')), Turn::Chunked(std::string(5000, 'x'), 100),
                           Turn::UntilClose(std::string(1 << 20, 'x'))}) {
    server.Push(kGet, turn);
    EXPECT_EQ(Ask(server.address(), kGet).outcome, Outcome::kTooLarge);
  }
  server.Push(kGet, Turn::Raw("SSH-2.0-x\r\n\r\n", Turn::Then::kHold));
  PluginReply reply = Ask(server.address(), kGet);
  EXPECT_EQ(reply.outcome, Outcome::kMalformed);
  EXPECT_TRUE(reply.sent);
}

TEST_F(TransportTest, AnswerThatComesBeforeTheRequestIsRead) {
  std::string path = dir_ / "p.sock";
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un a = {};
  a.sun_family = AF_UNIX;
  std::strcpy(a.sun_path, path.c_str());
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<struct sockaddr*>(&a), sizeof a), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  std::promise<void> answered;
  std::thread plugin([&] {
    auto answer = [](int fd, const std::string& text) {
      EXPECT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    };
    UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char byte;
    EXPECT_EQ(::recv(fd.get(), &byte, 1, 0), 1);
    answer(fd.get(), Turn::Json("{\"Err\":\"too much\"}", 413).bytes);
    // Read any earlier, the request might have gone out whole before its answer was seen.
    answered.get_future().wait();
    // What comes behind the rest of that request would be taken for more of it.
    std::string end;
    std::vector<char> buffer(1 << 20);
    for (ssize_t n; end.find(kGet) == std::string::npos &&
                    (n = ::recv(fd.get(), buffer.data(), buffer.size(), 0)) > 0;) {
      end.append(buffer.data(), static_cast<size_t>(n));
      end.erase(0, end.size() - std::min<size_t>(end.size(), 500));
    }
    EXPECT_EQ(end.find(kGet), std::string::npos);
    fd.reset();
    fd.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_EQ(::recv(fd.get(), &byte, 1, 0), 1);
    answer(fd.get(), Turn::Json("{}").bytes);
  });
  PluginRequest request = To({.path = path}, "/VolumeDriver.Create");
  request.body = std::string(8 << 20, 'x');
  PluginReply reply = transport_->Exchange({request})[0];
  answered.set_value();
  EXPECT_EQ(Ask({.path = path}, kGet).outcome, Outcome::kAnswer);
  plugin.join();
  EXPECT_EQ(reply.outcome, Outcome::kAnswer) << reply.detail;
  EXPECT_EQ(reply.status, 413);
}

TEST_F(TransportTest, LargeRequest) {
  ScriptedServer server(dir_ / "p.sock");
  server.Set(kMount, Turn::Json("{}"));
  PluginRequest request = To(server.address(), kMount);
  request.body = std::string(4 << 20, 'x');
  EXPECT_EQ(transport_->Exchange({request})[0].outcome, Outcome::kAnswer);
  EXPECT_EQ(server.requests()[0].body.size(), size_t{4 << 20});
}

TEST_F(TransportTest, SideBySideInOrder) {
  constexpr int kCalls = 12;
  ScriptedServer server(dir_ / "p.sock");
  // Nobody is answered before all have asked.
  server.SetHandler([&](const SeenRequest& r) {
    server.WaitForRequests(kCalls);
    return Turn::Json(r.body);
  });
  std::vector<PluginRequest> requests;
  for (int i = 0; i < kCalls; ++i) {
    requests.push_back(To(server.address(), kGet));
    requests.back().body = "{\"n\":" + std::to_string(i) + "}\n";
  }
  auto replies = transport_->Exchange(requests);
  ASSERT_EQ(replies.size(), requests.size());
  for (int i = 0; i < kCalls; ++i) EXPECT_EQ(replies[i].body, requests[i].body);
}

TEST_F(TransportTest, OneSlowPluginHoldsBackOnlyItself) {
  ScriptedServer slow(dir_ / "slow.sock"), quick(dir_ / "quick.sock");
  slow.Set(kGet, Turn::Hold());
  quick.Set(kGet, Turn::Json("{}"));
  auto replies = transport_->Exchange({To(slow.address(), kGet, 40), To(quick.address(), kGet, 40'000)});
  EXPECT_EQ(replies[0].outcome, Outcome::kTimeout);
  EXPECT_EQ(replies[1].outcome, Outcome::kAnswer);
}

TEST_F(TransportTest, ParallelConnectionsAreBounded) {
  transport_ = MakeHttpTransport(&clock_, {.max_parallel = 2});
  ScriptedServer server(dir_ / "p.sock");
  std::atomic<int> now{0}, most{0};
  server.SetHandler([&](const SeenRequest&) {
    int n = ++now;
    for (int seen = most; n > seen && !most.compare_exchange_weak(seen, n);) {
    }
    std::this_thread::yield();
    --now;
    return Turn::Json("{}");
  });
  auto replies = transport_->Exchange(std::vector<PluginRequest>(20, To(server.address(), kGet)));
  for (const auto& r : replies) EXPECT_EQ(r.outcome, Outcome::kAnswer);
  EXPECT_LE(most, 2);
  EXPECT_EQ(server.requests().size(), 20u);
}

// A plugin with one thread and keep-alive serves nobody else while it waits on an idle connection.
TEST_F(TransportTest, PluginThatServesOneConnectionAtATime) {
  ScriptedServer server(dir_ / "p.sock");
  server.SetOneAtATime(true);
  server.SetHandler([](const SeenRequest&) { return Turn::Json("{}"); });
  auto replies = transport_->Exchange(std::vector<PluginRequest>(8, To(server.address(), kMount, 20'000)));
  for (const auto& r : replies) EXPECT_EQ(r.outcome, Outcome::kAnswer) << r.detail;

  std::atomic<int> answers{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i)
        if (Ask(server.address(), kMount, 20'000).outcome == Outcome::kAnswer) ++answers;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(answers, 80);

  // Another process: it gets its turn when our operation is over.
  transport_->CloseIdle();
  ShiftedClock clock;
  auto other = MakeHttpTransport(&clock);
  EXPECT_EQ(other->Exchange({To(server.address(), kGet, 20'000)})[0].outcome, Outcome::kAnswer);
}

TEST_F(TransportTest, NothingToDo) { EXPECT_TRUE(transport_->Exchange({}).empty()); }

TEST(PluginAddressTest, ToString) {
  EXPECT_EQ((PluginAddress{.path = "/a/b"}).ToString(), "unix:///a/b");
  PluginAddress tcp{.kind = PluginAddress::Kind::kTcp, .host = "::1", .port = 80};
  EXPECT_EQ(tcp.ToString(), "tcp://[::1]:80");
  tcp.host = "10.0.0.1";
  EXPECT_EQ(tcp.ToString(), "tcp://10.0.0.1:80");
}

TEST(RealEnvTest, IsComplete) {
  const Env& env = RealEnv();
  EXPECT_NE(env.sys, nullptr);
  EXPECT_EQ(env.transport, PluginTransport::Real());
  EXPECT_EQ(env.clock, Clock::Real());
  EXPECT_NE(env.random, nullptr);
  EXPECT_NE(env.scheduler, nullptr);
  EXPECT_NE(env.store, nullptr);
}

}  // namespace
}  // namespace dvdi
