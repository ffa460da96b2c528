#include "driver/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/text.h"
#include "driver/log.h"
#include "sys/env.h"

namespace dvdi {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using ErrorCode = boost::system::error_code;

constexpr char kContentType[] = "application/vnd.docker.plugins.v1.2+json";
constexpr uint32_t kMaxHeader = 16 * 1024;

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

Status FillAddress(const std::string& path, struct sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/')
    return Status(Code::kInvalid, "the socket '" + OneLine(path, 200) + "' is not an absolute path",
                  "give --socket a path that begins with /");
  if (path.size() >= sizeof address->sun_path)
    return Status(Code::kInvalid, "the socket path " + path + " is too long for a Unix socket",
                  "take one of at most " + std::to_string(sizeof address->sun_path - 1 - 10) + " bytes");
  ::memcpy(address->sun_path, path.c_str(), path.size() + 1);
  return OkStatus();
}

// Whether the path may be taken: nothing there, or a socket that nobody serves.
Status CheckSocketPath(const std::string& path) {
  struct stat st;
  if (::lstat(path.c_str(), &st) < 0) {
    if (errno == ENOENT) return OkStatus();
    return Status::FromErrno(errno, "cannot look at the socket " + path, path);
  }
  if (!S_ISSOCK(st.st_mode))
    return Status(Code::kRefused, path + " exists and is not a socket", "remove it, or give another --socket")
        .WithPath(path);
  struct sockaddr_un address;
  DVDI_RETURN_IF_ERROR(FillAddress(path, &address));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot make a socket");
  int r = ::connect(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address);
  // EAGAIN: its backlog is full, so somebody listens.
  if (r == 0 || errno == EAGAIN)
    return Status(Code::kRefused, "another plugin answers on " + path, "stop it, or give another --socket")
        .WithPath(path);
  if (errno == ECONNREFUSED || errno == ENOENT) return OkStatus();
  return Status::FromErrno(errno, "cannot see whether somebody serves " + path, path);
}

Status MakeParent(const std::string& path) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0755) < 0 && errno != EEXIST)
      return Status::FromErrno(errno, "cannot make the folder " + part, part);
  }
  return OkStatus();
}

}  // namespace

Result<InheritedSocket> SocketFromSystemd() {
  constexpr int kFirst = 3;
  const char* pid = ::getenv("LISTEN_PID");
  const char* count = ::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || std::string(pid) != std::to_string(::getpid()))
    return InheritedSocket{};
  Status wrong(Code::kInvalid, "systemd passed something else than one listening Unix socket",
               "give the service one socket unit with one ListenStream=");
  if (std::string(count) != "1") return wrong;
  struct sockaddr_un address = {};
  socklen_t length = sizeof address;
  int listening = 0;
  socklen_t size = sizeof listening;
  if (::getsockname(kFirst, reinterpret_cast<struct sockaddr*>(&address), &length) < 0 ||
      address.sun_family != AF_UNIX || length <= offsetof(struct sockaddr_un, sun_path) ||
      ::getsockopt(kFirst, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || listening == 0)
    return wrong;
  int flags = ::fcntl(kFirst, F_GETFL);
  if (::fcntl(kFirst, F_SETFD, FD_CLOEXEC) < 0 || flags < 0 ||
      ::fcntl(kFirst, F_SETFL, flags | O_NONBLOCK) < 0)
    return Status::FromErrno(errno, "cannot take over systemd's socket");
  // Programs that are started are not to take them for theirs.
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_FDNAMES");
  return InheritedSocket{kFirst, address.sun_path};
}

namespace {

// A listening socket at the path. Bound aside and renamed: whoever sees the socket can connect, and a stale
// one is replaced at once.
Result<UniqueFd> Listen(const std::string& path, struct stat* made) {
  std::string aside = path + "." + std::to_string(::getpid() % 10'000'000);
  struct sockaddr_un address;
  DVDI_RETURN_IF_ERROR(FillAddress(aside, &address));
  DVDI_RETURN_IF_ERROR(MakeParent(path));
  DVDI_RETURN_IF_ERROR(CheckSocketPath(path));
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return Status::FromErrno(errno, "cannot make a socket");
  if (::unlink(aside.c_str()) < 0 && errno != ENOENT)
    return Status::FromErrno(errno, "cannot remove " + aside, aside);
  if (::bind(listener.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0)
    return Status::FromErrno(errno, "cannot bind " + aside, aside);
  if (::chmod(aside.c_str(), 0600) < 0 || ::listen(listener.get(), 128) < 0 ||
      ::lstat(aside.c_str(), made) < 0 || ::rename(aside.c_str(), path.c_str()) < 0) {
    Status failed = Status::FromErrno(errno, "cannot listen on " + path, path);
    ::unlink(aside.c_str());
    return failed;
  }
  return listener;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, Handler handler) {
  int wake[2];
  if (::pipe2(wake, O_CLOEXEC | O_NONBLOCK) < 0) return Status::FromErrno(errno, "cannot make a pipe");
  UniqueFd wake_read(wake[0]), wake_write(wake[1]);
  struct stat st = {};
  UniqueFd listener(options.inherited);
  if (!listener.valid()) {
    DVDI_ASSIGN_OR_RETURN(listener, Listen(options.socket, &st));
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

Server::~Server() { Stop(); }

void Server::Stop() {
  {
    std::lock_guard<std::mutex> hold(mu_);
    if (stopping_) return;
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
  Reap(true);
}

// Joins the threads of connections that have ended; with `all`, waits for every one.
void Server::Reap(bool all) {
  std::list<Connection> ended;
  {
    std::unique_lock<std::mutex> lock(mu_);
    if (all)
      changed_.wait(lock, [this] {
        for (const auto& c : connections_)
          if (!c.done) return false;
        return true;
      });
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
    Reap(false);
    std::unique_lock<std::mutex> lock(mu_);
    if (stopping_) return false;
    if (connections_.size() < options_.max_connections) return true;
    for (auto& c : connections_)
      if (c.idle && !c.done) {
        ::shutdown(c.fd.get(), SHUT_RDWR);
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
bool Server::Exchange(Stream& stream, Buffer& buffer) {
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
  HttpReply reply = handler_(request);
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
    while (SetIdle(connection, true)) {
      // A pipelined request may be in the buffer already.
      if (buffer.size() == 0 && !Ready(fd, POLLIN, Clock::Real()->MonotonicMs() + options_.idle_ms)) break;
      if (!SetIdle(connection, false)) break;
      stream.set_deadline(Clock::Real()->MonotonicMs() + options_.request_ms);
      if (!Exchange(stream, buffer)) break;
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
