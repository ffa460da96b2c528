#include "driver/server.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

// As in plugin/http.cc: a last chunk may come byte by byte.
#define BOOST_DISABLE_ASSERTS
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "base/caught.h"
#include "driver/listen.h"
#include "driver/log.h"
#include "sys/env.h"

namespace dvdi {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;

constexpr char kContentType[] = "application/vnd.docker.plugins.v1.2+json";
constexpr uint32_t kMaxHeader = 16 * 1024;
// How long a new connection may take for its first request before it may have to make room.
constexpr int64_t kFirstMs = 1'000;

// Waits for `events`; false when the deadline has passed first.
bool Ready(int fd, short events, int64_t deadline_ms) {
  for (;;) {
    int64_t left = deadline_ms - Clock::Real()->MonotonicMs();
    if (left <= 0) return false;
    struct pollfd p = {fd, events, 0};
    int r = ::poll(&p, 1, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    if (r > 0) return true;
    if (r == 0) return false;
    if (errno != EINTR) return false;
  }
}

// A connection as Beast's SyncStream, with a deadline that Asio's blocking sockets do not have.
class DeadlineStream {
 public:
  explicit DeadlineStream(int fd) : fd_(fd) {}
  void set_deadline(int64_t deadline_ms) { deadline_ms_ = deadline_ms; }

  template <class Buffers>
  size_t read_some(const Buffers& buffers, ErrorCode& ec) {
    auto to = FirstBuffer<boost::asio::mutable_buffer>(buffers);
    return Transfer(
        POLLIN, ec, [&] { return ::recv(fd_, to.data(), to.size(), MSG_DONTWAIT); }, to.size());
  }
  template <class Buffers>
  size_t write_some(const Buffers& buffers, ErrorCode& ec) {
    auto from = FirstBuffer<boost::asio::const_buffer>(buffers);
    return Transfer(
        POLLOUT, ec, [&] { return ::send(fd_, from.data(), from.size(), MSG_DONTWAIT | MSG_NOSIGNAL); },
        from.size(), false);
  }
  // The forms that throw, which the concept asks for; nothing here calls them.
  template <class Buffers>
  size_t read_some(const Buffers& buffers) {
    ErrorCode ec;
    size_t n = read_some(buffers, ec);
    if (ec) throw boost::system::system_error(ec);
    return n;
  }
  template <class Buffers>
  size_t write_some(const Buffers& buffers) {
    ErrorCode ec;
    size_t n = write_some(buffers, ec);
    if (ec) throw boost::system::system_error(ec);
    return n;
  }

 private:
  template <class Buffer, class Buffers>
  static Buffer FirstBuffer(const Buffers& buffers) {
    for (auto it = boost::asio::buffer_sequence_begin(buffers);
         it != boost::asio::buffer_sequence_end(buffers); ++it)
      if (Buffer b(*it); b.size() > 0) return b;
    return Buffer();
  }
  template <class Call>
  size_t Transfer(short events, ErrorCode& ec, Call call, size_t size, bool reading = true) {
    ec = {};
    if (size == 0) return 0;
    for (;;) {
      ssize_t n = call();
      if (n > 0) return static_cast<size_t>(n);
      if (n == 0 && reading) {
        ec = http::error::end_of_stream;
        return 0;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        ec = ErrorCode(errno, boost::system::system_category());
        return 0;
      }
      if (!Ready(fd_, events, deadline_ms_)) {
        ec = ErrorCode(ETIMEDOUT, boost::system::system_category());
        return 0;
      }
    }
  }

  const int fd_;
  int64_t deadline_ms_ = 0;
};

// A JSON error that owes nothing to a handler.
HttpReply ErrorReply(int status, const char* text) {
  return {status, std::string("{\"Err\":\"") + text + "\"}\n"};
}

bool Send(DeadlineStream& stream, const HttpReply& reply, unsigned version, bool keep_alive) {
  http::response<http::string_body> response;
  response.version(version);
  response.result(static_cast<unsigned>(reply.status));
  response.set(http::field::content_type, kContentType);
  response.body() = reply.body;
  response.keep_alive(keep_alive);
  response.prepare_payload();
  ErrorCode ec;
  http::write(stream, response, ec);
  return !ec;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, Handler handler) {
  int wake[2];
  if (::pipe2(wake, O_CLOEXEC | O_NONBLOCK) < 0) return Status::FromErrno(errno, "cannot make a pipe");
  UniqueFd wake_read(wake[0]), wake_write(wake[1]);
  struct stat st = {};
  UniqueFd listener(options.inherited);
  if (!listener.valid()) {
    DVDI_ASSIGN_OR_RETURN(listener, ListenAt(options.socket, &st));
  }
  std::unique_ptr<Server> server(new Server(options, std::move(handler), std::move(listener),
                                            std::move(wake_read), std::move(wake_write)));
  server->socket_ = st;
  try {
    server->acceptor_ = std::thread([s = server.get()] { s->Accept(); });
  } catch (const std::system_error& e) {
    return Status(Code::kSystem, std::string("cannot start a thread: ") + e.what());
  }
  return server;
}

Server::Server(const ServerOptions& options, Handler handler, UniqueFd listener, UniqueFd wake_read,
               UniqueFd wake_write)
    : options_(options),
      handler_(std::move(handler)),
      listener_(std::move(listener)),
      wake_read_(std::move(wake_read)),
      wake_write_(std::move(wake_write)) {}

Server::~Server() {
  (void)Stop();
  WaitForAll(Clock::Real()->MonotonicMs() + kForEver);
  Reap();
}

std::vector<HttpRequest> Server::Stop(int64_t wait_ms) {
  {
    std::lock_guard<std::mutex> hold(mu_);
    if (stopping_) return {};
    stopping_ = true;
    for (auto& c : connections_)
      if (!c.done) ::shutdown(c.fd.get(), SHUT_RD);
  }
  changed_.notify_all();
  [[maybe_unused]] ssize_t n = ::write(wake_write_.get(), "x", 1);
  // A successor may have put its own socket there meanwhile; systemd's stays.
  struct stat st;
  if (options_.inherited < 0 && ::lstat(options_.socket.c_str(), &st) == 0 && st.st_ino == socket_.st_ino &&
      st.st_dev == socket_.st_dev)
    ::unlink(options_.socket.c_str());
  if (acceptor_.joinable()) acceptor_.join();
  listener_.reset();
  WaitForAll(Clock::Real()->MonotonicMs() + wait_ms);
  std::vector<HttpRequest> left;
  {
    std::lock_guard<std::mutex> hold(mu_);
    given_up_ = true;
    for (auto& c : connections_) {
      if (c.done) continue;
      if (c.handled != nullptr) left.push_back(*c.handled);
      ::shutdown(c.fd.get(), SHUT_RDWR);  // whose client does not take its answer ends now
    }
  }
  Reap();
  return left;
}

// Waits until each connection has ended.
void Server::WaitForAll(int64_t deadline_ms) {
  std::unique_lock<std::mutex> lock(mu_);
  auto busy = [this] {
    return std::any_of(connections_.begin(), connections_.end(), [](const auto& c) { return !c.done; });
  };
  while (busy() && Clock::Real()->MonotonicMs() < deadline_ms)
    Scheduler::Real()->Wait(lock, changed_, deadline_ms);
}

// Joins the threads of connections that have ended.
void Server::Reap() {
  std::list<Connection> ended;
  {
    std::lock_guard<std::mutex> hold(mu_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      auto next = std::next(it);
      if (it->done) ended.splice(ended.end(), connections_, it);
      it = next;
    }
  }
  for (auto& c : ended)
    if (c.thread.joinable()) c.thread.join();
}

// Where all places are taken, closes the connection that has been idle longest and waits for a place. False
// when stopping.
bool Server::MakeRoom() {
  for (;;) {
    Reap();
    std::unique_lock<std::mutex> lock(mu_);
    if (stopping_) return false;
    if (connections_.size() < options_.max_connections) return true;
    for (auto& c : connections_)
      if (c.idle && !c.done) {
        // A request may have come since: it is answered still, and whoever sends one from now on is told that
        // it was not (unix(7), EPIPE). With SHUT_RDWR it was done, and its answer lost.
        ::shutdown(c.fd.get(), SHUT_RD);
        break;
      }
    changed_.wait_for(lock, std::chrono::milliseconds(500));
  }
}

void Server::Accept() {
  for (;;) {
    struct pollfd p[2] = {{listener_.get(), POLLIN, 0}, {wake_read_.get(), POLLIN, 0}};
    if (::poll(p, 2, -1) < 0 && errno != EINTR) Log(LogLevel::kError, "poll failed on the socket");
    if (!MakeRoom()) return;
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        Log(LogLevel::kError, "cannot accept a connection: out of descriptors or memory");
        std::unique_lock<std::mutex> lock(mu_);
        changed_.wait_for(lock, std::chrono::milliseconds(200));
      }
      continue;
    }
    std::lock_guard<std::mutex> hold(mu_);
    if (stopping_) return;
    connections_.emplace_back();
    Connection* c = &connections_.back();
    c->fd = std::move(fd);
    try {
      c->thread = std::thread([this, c] { Serve(c); });
    } catch (const std::system_error&) {
      Log(LogLevel::kError, "cannot start a thread for a connection");
      connections_.pop_back();
    }
  }
}

// False where the connection is to end because the server stops.
bool Server::SetIdle(Connection* connection, bool idle) {
  std::lock_guard<std::mutex> hold(mu_);
  connection->idle = idle;
  if (idle) {
    // To the end of the list: the first idle one is the one that has been so longest.
    for (auto it = connections_.begin(); it != connections_.end(); ++it)
      if (&*it == connection) {
        connections_.splice(connections_.end(), connections_, it);
        break;
      }
    changed_.notify_all();
  }
  return !stopping_;
}

template <class Stream, class Buffer>
bool Server::Exchange(Connection* connection, Stream& stream, Buffer& buffer) {
  http::request_parser<http::string_body> parser;
  parser.header_limit(kMaxHeader);
  parser.body_limit(options_.max_body);
  ErrorCode ec;
  http::read_header(stream, buffer, parser, ec);
  unsigned version = 11;
  if (!ec) {
    version = parser.get().version();
    // curl and others wait for this before a longer body.
    if (beast::iequals(parser.get()[http::field::expect], "100-continue") && version >= 11) {
      http::response<http::empty_body> go(http::status::continue_, version);
      http::write(stream, go, ec);
    }
  }
  if (!ec) http::read(stream, buffer, parser, ec);
  stream.set_deadline(Clock::Real()->MonotonicMs() + options_.reply_ms);
  if (ec) {
    if (ec == http::error::body_limit) {
      Send(stream, ErrorReply(413, "the request's body is too large"), version, false);
    } else if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
      Send(stream, ErrorReply(431, "the request's header is too large"), version, false);
    } else if (ec == ErrorCode(ETIMEDOUT, boost::system::system_category())) {
      Send(stream, ErrorReply(408, "the request did not come in time"), version, false);
    } else if (ec.category() == http::make_error_code(http::error::end_of_stream).category() &&
               ec != http::error::end_of_stream && ec != http::error::partial_message) {
      Send(stream, ErrorReply(400, "the request is not HTTP"), version, false);
    }
    return false;
  }
  bool keep_alive = parser.get().keep_alive();
  HttpRequest request;
  request.method = std::string(parser.get().method_string());
  request.target = std::string(parser.get().target());
  request.body = std::move(parser.get().body());
  auto handled = [&](const HttpRequest* now) {
    std::lock_guard<std::mutex> hold(mu_);
    connection->handled = now;
    return !given_up_;
  };
  if (!handled(&request)) return false;
  HttpReply reply;
  const Status thrown = Caught([&] { reply = handler_(request); });
  handled(nullptr);
  if (!thrown.ok()) {
    Log(LogLevel::kError, "a request ended: " + thrown.message());
    return false;
  }
  // The handler may have taken minutes.
  stream.set_deadline(Clock::Real()->MonotonicMs() + options_.reply_ms);
  {
    std::lock_guard<std::mutex> hold(mu_);
    keep_alive = keep_alive && !stopping_;
  }
  return Send(stream, reply, version, keep_alive) && keep_alive;
}

void Server::Serve(Connection* connection) {
  int fd = connection->fd.get();
  try {
    DeadlineStream stream(fd);
    beast::flat_buffer buffer(options_.max_body + 2 * kMaxHeader);
    // Who has just come is about to ask, and makes room for nobody meanwhile.
    (void)Ready(fd, POLLIN, Clock::Real()->MonotonicMs() + kFirstMs);
    while (SetIdle(connection, true)) {
      // A pipelined request may be in the buffer already.
      if (buffer.size() == 0 && !Ready(fd, POLLIN, Clock::Real()->MonotonicMs() + options_.idle_ms)) break;
      if (!SetIdle(connection, false)) break;
      stream.set_deadline(Clock::Real()->MonotonicMs() + options_.request_ms);
      if (!Exchange(connection, stream, buffer)) break;
    }
  } catch (const std::exception& e) {
    Log(LogLevel::kError, std::string("a connection ended: ") + e.what());
  }
  // Unread bytes would turn a close into a reset that can take the reply with it.
  ::shutdown(fd, SHUT_WR);
  char rest[4096];
  for (int i = 0; i < 64 && ::recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0; ++i) {
  }
  std::lock_guard<std::mutex> hold(mu_);
  connection->fd.reset();
  connection->done = true;
  changed_.notify_all();
}

}  // namespace dvdi
