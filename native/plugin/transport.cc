#include "plugin/transport.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "base/secret.h"
#include "base/text.h"
#include "plugin/connection_pool.h"
#include "plugin/http.h"
#include "plugin/http_transport.h"
#include "plugin/socket.h"

namespace dvdi {
namespace {

using Outcome = PluginReply::Outcome;

std::string ErrnoText(int err) {
  char buffer[128];
  return ::strerror_r(err, buffer, sizeof buffer);
}

// Whether asking twice is the same as asking once. Anything else may have been acted upon when a
// connection breaks, and is never sent again by the transport.
bool OnlyAsks(const std::string& path) {
  static constexpr const char* kPaths[] = {"/Plugin.Activate", "/VolumeDriver.Capabilities",
                                           "/VolumeDriver.Get", "/VolumeDriver.List", "/VolumeDriver.Path"};
  return std::find(std::begin(kPaths), std::end(kPaths), path) != std::end(kPaths);
}

// One request on its way.
struct Flight {
  enum class Stage {
    kQueued,      // too many connections to that address already
    kBacklog,     // the socket's queue is full: connect again at retry_ms
    kConnecting,  // poll for writing
    kSending,     // poll for both: an answer may come before all is sent
    kReceiving,   // poll for reading
    kDone,
  };
  Flight(const PluginRequest& r, PluginReply* answer)
      : request(&r), reply(answer), key(r.address.ToString()), response(r.max_body) {}

  const PluginRequest* request;
  PluginReply* reply;
  std::string key;
  Stage stage = Stage::kQueued;
  std::string text;
  size_t written = 0;
  bool began = false;        // counted in the pool
  bool reused = false;       // on a connection that carried another exchange
  bool sent_before = false;  // bytes went into a connection that turned out to be dead
  PooledConnection connection;
  std::vector<SocketTarget> targets;
  size_t target = 0;
  int64_t retry_ms = 0, backoff_ms = 1;
  HttpResponse response;
};

class Batch {
 public:
  Batch(Clock* clock, ConnectionPool* pool, size_t max_parallel)
      : clock_(clock), pool_(pool), max_(max_parallel) {}
  ~Batch() {
    for (Flight& f : flights_) Wipe(&f.text);  // a Create may carry a secret
  }
  std::vector<PluginReply> Run(const std::vector<PluginRequest>& requests);

 private:
  using Stage = Flight::Stage;
  void Start(Flight& f);
  void StartQueued();
  void Adopt(Flight& f, PooledConnection connection);
  void Connect(Flight& f);
  void ConnectFailed(Flight& f, int err);
  void Connected(Flight& f);
  void Send(Flight& f);
  void Receive(Flight& f);
  void Read(Flight& f, HttpResponse::State state);
  void Broken(Flight& f, const std::string& why);
  void Finish(Flight& f, Outcome outcome, std::string detail);
  void OnEvents(Flight& f, short events);
  void CheckDeadlines();
  Clock* clock_;
  ConnectionPool* pool_;
  const size_t max_;
  std::vector<Flight> flights_;
  std::map<std::string, size_t> open_;  // connections of this batch, by address
};

void Batch::Start(Flight& f) {
  if (open_[f.key] >= max_) return;
  auto targets = SocketTargets(f.request->address);
  if (!targets.ok()) return Finish(f, Outcome::kUnreachable, targets.status().message());
  f.targets = std::move(targets).value();
  // The identity is taken before connecting: a socket file replaced meanwhile then only costs the
  // connection its reuse.
  f.connection.identity = IdentifySocket(Sys::Real(), f.request->address);
  PooledConnection found;
  f.began = true;
  ++open_[f.key];
  if (pool_->Begin(f.key, f.connection.identity, clock_->MonotonicMs(), &found))
    Adopt(f, std::move(found));
  else
    Connect(f);
}

void Batch::StartQueued() {
  for (Flight& f : flights_)
    if (f.stage == Stage::kQueued) Start(f);
}

void Batch::Adopt(Flight& f, PooledConnection connection) {
  f.connection = std::move(connection);
  f.reused = true;
  f.stage = Stage::kSending;
  Send(f);
}

void Batch::Connect(Flight& f) {
  f.connection.fd.reset();
  int err = StartConnect(f.targets[f.target], &f.connection.fd);
  if (err == 0) return Connected(f);
  if (err == EINPROGRESS) {
    f.stage = Stage::kConnecting;
    return;
  }
  if (err == EAGAIN) {
    f.stage = Stage::kBacklog;
    f.retry_ms = clock_->MonotonicMs() + f.backoff_ms;
    f.backoff_ms = std::min<int64_t>(2 * f.backoff_ms, 50);
    return;
  }
  ConnectFailed(f, err);
}

void Batch::ConnectFailed(Flight& f, int err) {
  if (f.target + 1 < f.targets.size()) {
    ++f.target;
    return Connect(f);
  }
  std::string why = ErrnoText(err);
  if (err == ENOENT) why = "no such socket";
  if (err == ECONNREFUSED) why = "connection refused (nothing listens there)";
  if (f.sent_before) return Finish(f, Outcome::kLost, "the connection was closed, and then: " + why);
  Finish(f, Outcome::kUnreachable, why);
}

void Batch::Connected(Flight& f) {
  if (f.request->address.kind == PluginAddress::Kind::kUnix)
    f.connection.peer_pid = PeerPid(f.connection.fd.get());
  f.stage = Stage::kSending;
  Send(f);
}

void Batch::Send(Flight& f) {
  while (f.written < f.text.size()) {
    ssize_t n = ::send(f.connection.fd.get(), f.text.data() + f.written, f.text.size() - f.written,
                       MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      if (f.written == 0) return Broken(f, ErrnoText(errno));
      break;  // a plugin may answer and close without reading all of the request: its answer counts
    }
    f.written += static_cast<size_t>(n);
  }
  f.stage = Stage::kReceiving;
}

void Batch::Receive(Flight& f) {
  char buffer[16 * 1024];
  ssize_t n;
  do {
    n = ::recv(f.connection.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) return Read(f, f.response.Feed({buffer, static_cast<size_t>(n)}));
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) return Broken(f, ErrnoText(errno));
  HttpResponse::State state = f.response.Eof();
  if (state == HttpResponse::State::kMore)
    return Broken(f,
                  f.response.started() ? "closed in the middle of the answer" : "closed without an answer");
  Read(f, state);
}

void Batch::Read(Flight& f, HttpResponse::State state) {
  switch (state) {
    case HttpResponse::State::kMore: return;
    case HttpResponse::State::kMalformed:
      return Finish(f, Outcome::kMalformed, "the answer is not HTTP: " + f.response.error());
    case HttpResponse::State::kTooLarge:
      return Finish(f, Outcome::kTooLarge,
                    "the answer is longer than " + std::to_string(f.request->max_body) + " bytes");
    case HttpResponse::State::kDone:
      f.reply->status = f.response.status();
      f.reply->body = f.response.TakeBody();
      return Finish(f, Outcome::kAnswer, "");
  }
}

// The connection is of no use any more, and no answer came.
void Batch::Broken(Flight& f, const std::string& why) {
  bool untouched = f.written == 0;
  if (f.reused && !f.response.started() && (untouched || OnlyAsks(f.request->path))) {
    f.reused = false;  // once: a fresh connection is not retried
    f.sent_before = !untouched;
    f.written = 0;
    f.connection = {};
    f.connection.identity = IdentifySocket(Sys::Real(), f.request->address);
    return Connect(f);
  }
  if (untouched && !f.sent_before)
    return Finish(f, Outcome::kUnreachable, "the connection was closed: " + why);
  Finish(f, Outcome::kLost, "the connection was lost: " + why);
}

void Batch::Finish(Flight& f, Outcome outcome, std::string detail) {
  bool whole = outcome == Outcome::kAnswer && f.written == f.text.size() && f.response.keep_alive();
  f.stage = Stage::kDone;
  f.reply->outcome = outcome;
  f.reply->sent = f.written > 0 || f.sent_before;
  f.reply->detail = OneLine(detail);
  f.reply->peer_pid = f.connection.peer_pid;
  if (!whole) f.connection.fd.reset();
  if (f.began) {
    pool_->End(f.key, std::move(f.connection), clock_->MonotonicMs());
    --open_[f.key];
  }
  f.connection = {};
  f.text.clear();
}

void Batch::OnEvents(Flight& f, short events) {
  if (f.stage == Stage::kConnecting) {
    int err = ConnectOutcome(f.connection.fd.get());
    return err == 0 ? Connected(f) : ConnectFailed(f, err);
  }
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) Receive(f);
  if (f.stage == Stage::kSending && (events & POLLOUT) != 0) Send(f);
}

void Batch::CheckDeadlines() {
  int64_t now = clock_->MonotonicMs();
  for (Flight& f : flights_) {
    if (f.stage == Stage::kDone) continue;
    if (now < f.request->deadline_ms) {
      if (f.stage == Stage::kBacklog && now >= f.retry_ms) Connect(f);
      continue;
    }
    const char* why = "no answer in time";
    if (f.stage == Stage::kQueued) why = "the deadline passed before it could be sent";
    if (f.stage == Stage::kBacklog || f.stage == Stage::kConnecting) why = "no connection in time";
    Finish(f, Outcome::kTimeout, why);
  }
}

std::vector<PluginReply> Batch::Run(const std::vector<PluginRequest>& requests) {
  std::vector<PluginReply> replies(requests.size());
  flights_.reserve(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    flights_.emplace_back(requests[i], &replies[i]);
    const PluginAddress& a = requests[i].address;
    std::string host =
        a.kind == PluginAddress::Kind::kTcp ? flights_.back().key.substr(strlen("tcp://")) : "";
    flights_.back().text = HttpRequestText(requests[i].path, host, requests[i].body);
  }
  std::vector<pollfd> polled;
  std::vector<Flight*> of;
  for (;;) {
    CheckDeadlines();
    StartQueued();
    polled.clear();
    of.clear();
    int64_t wake = std::numeric_limits<int64_t>::max();
    bool left = false;
    for (Flight& f : flights_) {
      if (f.stage == Stage::kDone) continue;
      left = true;
      wake = std::min(wake, f.request->deadline_ms);
      if (f.stage == Stage::kBacklog) wake = std::min(wake, f.retry_ms);
      if (!f.connection.fd.valid()) continue;
      short events = f.stage == Stage::kReceiving    ? POLLIN
                     : f.stage == Stage::kConnecting ? POLLOUT
                                                     : POLLIN | POLLOUT;
      polled.push_back({f.connection.fd.get(), events, 0});
      of.push_back(&f);
    }
    if (!left) return replies;
    int64_t wait = std::clamp<int64_t>(wake - clock_->MonotonicMs(), 0, 60'000);
    int n = ::poll(polled.data(), polled.size(), static_cast<int>(wait));
    if (n < 0 && errno != EINTR && errno != ENOMEM && errno != EAGAIN) {
      for (Flight& f : flights_)
        if (f.stage != Stage::kDone) Finish(f, Outcome::kLost, "poll: " + ErrnoText(errno));
      return replies;
    }
    for (size_t i = 0; n > 0 && i < polled.size(); ++i)
      if (polled[i].revents != 0) OnEvents(*of[i], polled[i].revents);
  }
}

class HttpTransport : public PluginTransport {
 public:
  HttpTransport(Clock* clock, const HttpTransportOptions& options)
      : clock_(clock), options_(options), pool_(options.idle_ms, options.max_idle) {}

  std::vector<PluginReply> Exchange(const std::vector<PluginRequest>& requests) override {
    return Batch(clock_, &pool_, std::max<size_t>(options_.max_parallel, 1)).Run(requests);
  }
  void CloseIdle() override { pool_.CloseAll(); }

 private:
  Clock* clock_;
  const HttpTransportOptions options_;
  ConnectionPool pool_;
};

}  // namespace

std::string PluginAddress::ToString() const {
  if (kind == Kind::kUnix) return "unix://" + path;
  bool v6 = host.find(':') != std::string::npos;
  return "tcp://" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::unique_ptr<PluginTransport> MakeHttpTransport(Clock* clock, const HttpTransportOptions& options) {
  return std::make_unique<HttpTransport>(clock, options);
}

PluginTransport* PluginTransport::Real() {
  static auto* transport = new HttpTransport(Clock::Real(), {});
  return transport;
}

}  // namespace dvdi
