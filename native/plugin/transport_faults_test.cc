// A plugin's connection fails at a call of ours: the caller learns whether the plugin may have acted, and a
// connection that had been kept is tried anew where that harms nothing.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "plugin/http_transport.h"
#include "plugin/scripted_server.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

using Outcome = PluginReply::Outcome;
const char kGet[] = "/VolumeDriver.Get";
const char kMount[] = "/VolumeDriver.Mount";

class TransportFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
    server_.Set(kGet, Turn::Json("{}"));
    server_.Set(kMount, Turn::Json("{}"));
  }
  PluginReply Ask(const PluginAddress& address, const std::string& path) {
    PluginRequest r;
    r.address = address;
    r.path = path;
    r.body = "{\"Name\":\"v\"}\n";
    r.deadline_ms = Clock::Real()->MonotonicMs() + 60'000;
    r.max_body = 1000;
    return transport_->Exchange({r})[0];
  }
  ScopedDir dir_;
  ScriptedServer server_{dir_ / "p.sock"};
  std::unique_ptr<PluginTransport> transport_ = MakeHttpTransport(Clock::Real());
};

TEST_F(TransportFaultsTest, AnInterruptedCallIsMadeAgain) {
  EXPECT_GE(FailEachCall({SYS_sendto, SYS_recvfrom, SYS_poll}, EINTR,
                         [&] {
                           for (const char* path : {kGet, kMount}) {
                             PluginReply reply = Ask(server_.address(), path);
                             EXPECT_EQ(Outcome::kAnswer, reply.outcome) << reply.detail;
                             EXPECT_EQ("{}", reply.body);
                           }
                         }),
            5);
  PluginReply reply;
  EXPECT_TRUE(WithCallFaults({{{SYS_sendto}, EAGAIN, 1}, {{SYS_recvfrom}, EAGAIN, 2}},
                             [&] { reply = Ask(server_.address(), kGet); }));
  EXPECT_EQ(Outcome::kAnswer, reply.outcome) << reply.detail;
}

TEST_F(TransportFaultsTest, WhatFailedIsToldAndWhetherThePluginMayHaveActed) {
  struct Case {
    const char* path;
    bool kept;  // on a connection of an earlier request
    std::vector<CallFault> faults;
    Outcome outcome;
    bool sent;
    const char* detail;
  };
  const Case kCases[] = {
      {kGet, false, {{{SYS_socket}, EMFILE, 1}}, Outcome::kUnreachable, false, "Too many open files"},
      {kGet,
       false,
       {{{SYS_sendto}, EIO, 1}},
       Outcome::kUnreachable,
       false,
       "the connection was closed: Input/output error"},
      {kGet,
       false,
       {{{SYS_recvfrom}, ECONNRESET, 1}},
       Outcome::kLost,
       true,
       "the connection was lost: Connection reset by peer"},
      {kMount, false, {{{SYS_poll}, EINVAL, 1}}, Outcome::kLost, true, "poll: Invalid argument"},
      {kGet, false, {{{SYS_connect}, EAGAIN, 1}}, Outcome::kAnswer, true, ""},
      {kGet,
       false,
       {{{SYS_connect}, ECONNREFUSED, 1}},
       Outcome::kUnreachable,
       false,
       "connection refused (nothing listens there)"},
      // Nothing was sent: it may be sent anew, whatever it is.
      {kMount, true, {{{SYS_sendto}, EPIPE, 1}}, Outcome::kAnswer, true, ""},
      // It was sent: only a question may be asked again.
      {kGet, true, {{{SYS_recvfrom}, ECONNRESET, 2}}, Outcome::kAnswer, true, ""},
      {kMount,
       true,
       {{{SYS_recvfrom}, ECONNRESET, 2}},
       Outcome::kLost,
       true,
       "the connection was lost: Connection reset by peer"},
      {kGet,
       true,
       {{{SYS_recvfrom}, ECONNRESET, 2}, {{SYS_connect}, ECONNREFUSED, 1}},
       Outcome::kLost,
       true,
       "the connection was closed, and then: connection refused (nothing listens there)"},
      {kGet,
       true,
       {{{SYS_recvfrom}, ECONNRESET, 2}, {{SYS_sendto}, EPIPE, 2}},
       Outcome::kLost,
       true,
       "the connection was lost: Broken pipe"},
  };
  for (const Case& c : kCases) {
    transport_ = MakeHttpTransport(Clock::Real());
    if (c.kept) {
      ASSERT_EQ(Outcome::kAnswer, Ask(server_.address(), kGet).outcome);
    }
    PluginReply reply;
    EXPECT_TRUE(WithCallFaults(c.faults, [&] { reply = Ask(server_.address(), c.path); })) << c.detail;
    EXPECT_EQ(c.outcome, reply.outcome) << c.path << ": " << c.detail << ": " << reply.detail;
    EXPECT_EQ(c.sent, reply.sent) << c.path << ": " << c.detail;
    EXPECT_EQ(c.detail, reply.detail);
    EXPECT_EQ(Outcome::kAnswer, Ask(server_.address(), c.path).outcome) << "and then it works";
  }
}

TEST_F(TransportFaultsTest, WhoseSocketItIsMayBeUnknown) {
  PluginReply reply;
  EXPECT_TRUE(
      WithCallFaults({{{SYS_getsockopt}, ENOPROTOOPT, 1}}, [&] { reply = Ask(server_.address(), kGet); }));
  EXPECT_EQ(Outcome::kAnswer, reply.outcome);
  EXPECT_EQ(0, reply.peer_pid);
}

TEST_F(TransportFaultsTest, LocalhostIsTriedByBothItsAddresses) {
  ScriptedServer tcp;
  PluginAddress local = tcp.address();
  local.host = "localhost";
  tcp.Stop();
  PluginReply reply = Ask(local, kGet);
  EXPECT_EQ(Outcome::kUnreachable, reply.outcome);
  EXPECT_FALSE(reply.sent);
  EXPECT_NE("", reply.detail);
  // What connect(2) has begun is only known when it is asked for.
  tcp.Start();
  tcp.Set(kGet, Turn::Json("{}"));
  EXPECT_TRUE(WithCallFaults({{{SYS_getsockopt}, ENOMEM, 1}}, [&] { reply = Ask(tcp.address(), kGet); }));
  EXPECT_EQ(Outcome::kUnreachable, reply.outcome);
  EXPECT_EQ("Cannot allocate memory", reply.detail);
}

}  // namespace
}  // namespace dvdi
