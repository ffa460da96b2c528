#include "sanity/plugin.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/text.h"
#include "plugin/http.h"
#include "plugin/protocol.h"
#include "plugin/socket.h"
#include "sys/env.h"

namespace dvdi::sanity {
namespace {

constexpr size_t kMaxBody = 4 << 20;

int64_t Now() { return Clock::Real()->MonotonicMs(); }

// False when `until_ms` has passed first.
bool Ready(int fd, short events, int64_t until_ms) {
  for (;;) {
    int64_t left = until_ms - Now();
    if (left <= 0) return false;
    struct pollfd p = {fd, events, 0};
    int r = ::poll(&p, 1, static_cast<int>(std::min<int64_t>(left, 1 << 20)));
    if (r > 0) return true;
    if (r < 0 && errno != EINTR) return false;
  }
}

Said Read(Method method, const std::string& name, PluginReply reply) {
  Call call;
  call.driver = "under test";
  call.method = method;
  call.volume = name;
  Said said;
  if (reply.outcome == PluginReply::Outcome::kAnswer) {
    said.answer = ReadAnswer(call, reply);
    if (auto body = ParseJson(reply.body, "answer"); body.ok()) {
      const Json& err = GetMemberNoCase(*body, "Err");
      said.err = err.is_null() ? "" : err.is_string() ? err.get<std::string>() : Dump(err);
    }
  } else {
    said.answer.kind = Answer::Kind::kUnknown;
    said.answer.error = reply.detail;
  }
  said.reply = std::move(reply);
  return said;
}

}  // namespace

std::string Said::Text() const {
  switch (reply.outcome) {
    case PluginReply::Outcome::kAnswer: break;
    case PluginReply::Outcome::kTimeout: return "no answer in time";
    case PluginReply::Outcome::kLost: return "the connection was closed without an answer";
    default: return OneLine(reply.detail, 200);
  }
  std::string status = "status " + std::to_string(reply.status);
  if (ok()) return status + ", " + OneLine(reply.body, 200);
  return status + ", " + (err.empty() ? "" : "Err: ") + OneLine(answer.error, 200);
}

bool Connection::Send(std::string_view bytes, int64_t timeout_ms) {
  for (int64_t until = Now() + timeout_ms; !bytes.empty();) {
    ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
      return false;
    } else if (!Ready(fd_.get(), POLLOUT, until)) {
      return false;
    }
  }
  return true;
}

RawResponse Connection::Receive(int64_t timeout_ms) {
  HttpResponse response(kMaxBody);
  HttpResponse::State state = HttpResponse::State::kMore;
  RawResponse out;
  char buffer[16 * 1024];
  for (int64_t until = Now() + timeout_ms; state == HttpResponse::State::kMore;) {
    if (!Ready(fd_.get(), POLLIN, until)) {
      out.problem = "no answer in time";
      return out;
    }
    ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n > 0) {
      state = response.Feed(std::string_view(buffer, static_cast<size_t>(n)));
      continue;
    }
    state = n == 0 ? response.Eof() : state;
    if (state != HttpResponse::State::kDone) {
      out.problem = "the connection was closed without a whole answer";
      return out;
    }
  }
  if (state != HttpResponse::State::kDone) {
    out.problem = state == HttpResponse::State::kTooLarge ? "an answer of more than 4 MiB"
                                                          : "no HTTP: " + response.error();
    return out;
  }
  out.complete = true;
  out.status = response.status();
  out.content_type = response.header("Content-Type");
  out.keep_alive = response.keep_alive();
  out.body = response.TakeBody();
  return out;
}

Plugin::Plugin(PluginAddress address, int64_t timeout_ms)
    : address_(std::move(address)), timeout_ms_(timeout_ms) {}

Json Plugin::Body(const std::string& name, const std::string& id) {
  Json body = {{"Name", name}};
  if (!id.empty()) body["ID"] = id;
  return body;
}

Said Plugin::Ask(Method method, const Json& body) { return AskAll({{method, body}})[0]; }

std::vector<Said> Plugin::AskAll(const std::vector<Request>& requests) {
  std::vector<PluginRequest> sent;
  for (const Request& request : requests)
    sent.push_back(
        {address_, MethodPath(request.method), Dump(request.body) + "\n", Now() + timeout_ms_, kMaxBody});
  std::vector<PluginReply> replies = RealEnv().transport->Exchange(sent);
  std::vector<Said> out;
  for (size_t i = 0; i < requests.size(); ++i)
    out.push_back(Read(requests[i].method, GetString(requests[i].body, "Name"), std::move(replies[i])));
  return out;
}

Said Plugin::Post(const std::string& path, const std::string& body, Method method, int64_t timeout_ms) {
  int64_t until = Now() + (timeout_ms > 0 ? timeout_ms : timeout_ms_);
  return Read(method, "", RealEnv().transport->Exchange({{address_, path, body, until, kMaxBody}})[0]);
}

Result<Connection> Plugin::Connect() {
  DVDI_ASSIGN_OR_RETURN(std::vector<SocketTarget> targets, SocketTargets(address_));
  int error = ENOENT;
  for (const SocketTarget& target : targets) {
    UniqueFd fd;
    int64_t until = Now() + timeout_ms_;
    // EAGAIN is a full queue, of which nothing tells when it has room.
    while ((error = StartConnect(target, &fd)) == EAGAIN && Now() < until)
      Scheduler::Real()->SleepUntil(Now() + 5);
    if (error == EINPROGRESS) error = Ready(fd.get(), POLLOUT, until) ? ConnectOutcome(fd.get()) : ETIMEDOUT;
    if (error == 0) return Connection(std::move(fd));
  }
  return Status::FromErrno(error, "cannot connect to " + address_.ToString());
}

void Plugin::CloseIdle() { RealEnv().transport->CloseIdle(); }

bool Plugin::WaitUntilItAnswers(int64_t ms) {
  for (int64_t until = Now() + ms; Now() < until; Scheduler::Real()->SleepUntil(Now() + 50)) {
    CloseIdle();
    if (Post(MethodPath(Method::kActivate), "{}\n", Method::kActivate, 1000).ok()) return true;
  }
  return false;
}

}  // namespace dvdi::sanity
