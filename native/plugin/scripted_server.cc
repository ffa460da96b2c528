#include "plugin/scripted_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace dvdi {
namespace {

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

// Waits for data; false where the server shall end.
bool WaitFor(int fd, int stop, short events) {
  struct pollfd p[2] = {{fd, events, 0}, {stop, POLLIN, 0}};
  for (;;) {
    if (::poll(p, 2, -1) < 0) {
      if (errno == EINTR) continue;
      Die("poll");
    }
    if (p[1].revents != 0) return false;
    if (p[0].revents != 0) return true;
  }
}

size_t ContentLength(const std::string& head) {
  for (size_t at = head.find("\r\n"); at != std::string::npos && at + 2 < head.size();
       at = head.find("\r\n", at + 2))
    if (::strncasecmp(head.c_str() + at + 2, "content-length:", 15) == 0)
      return std::strtoul(head.c_str() + at + 17, nullptr, 10);
  return 0;
}

}  // namespace

ScopedDir::ScopedDir() {
  const char* base = std::getenv("TMPDIR");
  std::string name = std::string(base != nullptr ? base : "/tmp") + "/dvdi-test-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) Die("mkdtemp");
  path_ = name;
}

ScopedDir::~ScopedDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ScopedDir::Write(const std::string& name, const std::string& text, int mode) const {
  std::filesystem::path file = std::filesystem::path(path_) / name;
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
  if (::chmod(file.c_str(), static_cast<mode_t>(mode)) != 0) Die("chmod");
  return file;
}

Turn Turn::Json(const std::string& body, int status) { return Typed(body, "application/json", status); }

Turn Turn::Typed(const std::string& body, const std::string& content_type, int status) {
  return Raw("HTTP/1.1 " + std::to_string(status) + " Whatever\r\nContent-Type: " + content_type +
                 "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body,
             Then::kKeep);
}

Turn Turn::Chunked(const std::string& body, size_t piece) {
  std::string bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  char size[32];
  for (size_t at = 0; at < body.size(); at += piece) {
    std::string part = body.substr(at, piece);
    std::snprintf(size, sizeof size, "%zx\r\n", part.size());
    bytes += size + part + "\r\n";
  }
  return Raw(bytes + "0\r\n\r\n", Then::kKeep);
}

Turn Turn::UntilClose(const std::string& body) { return Raw("HTTP/1.0 200 OK\r\n\r\n" + body, Then::kClose); }

Turn Turn::Raw(const std::string& bytes, Then then) {
  Turn turn;
  turn.bytes = bytes;
  turn.then = then;
  return turn;
}

struct ScriptedServer::Connection {
  UniqueFd fd;
  int number = 0;
  bool hold = false;
  std::thread thread;
};

ScriptedServer::ScriptedServer(std::string path) : path_(std::move(path)) { Start(); }
ScriptedServer::~ScriptedServer() { Stop(); }

void ScriptedServer::Start() {
  stop_.reset(::eventfd(0, EFD_CLOEXEC));
  if (!stop_.valid()) Die("eventfd");
  listener_.reset(::socket(path_.empty() ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener_.valid()) Die("socket");
  int bound;
  if (path_.empty()) {
    int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in a = {};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons(port_);
    bound = ::bind(listener_.get(), reinterpret_cast<struct sockaddr*>(&a), sizeof a);
    socklen_t length = sizeof a;
    ::getsockname(listener_.get(), reinterpret_cast<struct sockaddr*>(&a), &length);
    port_ = ntohs(a.sin_port);
  } else {
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    if (path_.size() >= sizeof a.sun_path) Die("socket path too long");
    std::memcpy(a.sun_path, path_.data(), path_.size());
    ::unlink(path_.c_str());
    bound = ::bind(listener_.get(), reinterpret_cast<struct sockaddr*>(&a), sizeof a);
  }
  if (bound != 0 || ::listen(listener_.get(), 128) != 0) Die("bind or listen");
  accepting_ = std::thread([this] { Accept(); });
}

void ScriptedServer::Stop() {
  if (!accepting_.joinable()) return;
  uint64_t one = 1;
  if (::write(stop_.get(), &one, sizeof one) != sizeof one) Die("eventfd");
  ShutDownConnections();  // also ends the one that the accepting thread may be serving itself
  accepting_.join();
  EndConnections();
  listener_.reset();
  if (!path_.empty()) ::unlink(path_.c_str());
}

void ScriptedServer::ShutDownConnections() {
  std::lock_guard<std::mutex> lock(mu_);
  for (auto& c : open_)
    if (c->fd.valid()) ::shutdown(c->fd.get(), SHUT_RDWR);
}

void ScriptedServer::EndConnections() {
  ShutDownConnections();
  std::vector<std::shared_ptr<Connection>> ending;
  {
    std::lock_guard<std::mutex> lock(mu_);
    ending.swap(open_);
  }
  for (auto& c : ending)
    if (c->thread.joinable()) c->thread.join();
}

void ScriptedServer::CloseConnections() { EndConnections(); }

void ScriptedServer::Accept() {
  while (WaitFor(listener_.get(), stop_.get(), POLLIN)) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd.valid()) continue;
    std::shared_ptr<Connection> connection;
    bool alone;
    {
      std::lock_guard<std::mutex> lock(mu_);
      ++accepted_;
      auto made = std::make_shared<Connection>();
      if (!accepts_.empty()) {
        Turn::Then then = accepts_.front();
        accepts_.pop_front();
        if (then != Turn::Then::kHold) continue;
        made->hold = true;
      }
      made->fd = std::move(fd);
      made->number = accepted_;
      connection = made;
      open_.push_back(std::move(made));
      alone = one_at_a_time_;
      if (!alone) connection->thread = std::thread([this, c = connection.get()] { Serve(*c); });
    }
    if (alone) Serve(*connection);
  }
}

// Ends when the connection is to be closed; the descriptor is closed here, under the lock, so that
// nobody shuts down a number that means something else by then.
void ScriptedServer::Serve(Connection& connection) {
  const int fd = connection.fd.get();
  const int stop = stop_.get();
  std::string input;
  bool open = !connection.hold;
  bool hold = connection.hold;
  bool reset = false;
  while (open) {
    size_t end;
    while ((end = input.find("\r\n\r\n")) == std::string::npos ||
           input.size() < end + 4 + ContentLength(input.substr(0, end + 2))) {
      char buffer[4096];
      ssize_t n = WaitFor(fd, stop, POLLIN) ? ::recv(fd, buffer, sizeof buffer, 0) : 0;
      if (n <= 0) {
        open = false;
        break;
      }
      input.append(buffer, static_cast<size_t>(n));
    }
    if (!open) break;
    SeenRequest request;
    request.head = input.substr(0, end + 2);
    size_t length = ContentLength(request.head);
    request.body = input.substr(end + 4, length);
    input.erase(0, end + 4 + length);
    size_t from = request.head.find(' ');
    request.path = request.head.substr(from + 1, request.head.find(' ', from + 1) - from - 1);
    request.connection = connection.number;
    Turn turn = TurnFor(request);
    open = Send(fd, turn) && turn.then == Turn::Then::kKeep;
    hold = turn.then == Turn::Then::kHold;
    reset = turn.then == Turn::Then::kReset;
  }
  if (hold) WaitFor(fd, stop, POLLRDHUP);
  std::lock_guard<std::mutex> lock(mu_);
  if (reset) {
    struct linger now = {1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  connection.fd.reset();
}

Turn ScriptedServer::TurnFor(const SeenRequest& request) {
  Handler handler;
  {
    std::lock_guard<std::mutex> lock(mu_);
    seen_.push_back(request);
    came_.notify_all();
    auto pushed = pushed_.find(request.path);
    if (pushed != pushed_.end() && !pushed->second.empty()) {
      Turn turn = pushed->second.front();
      pushed->second.pop_front();
      return turn;
    }
    handler = handler_;
    auto set = set_.find(request.path);
    if (!handler && set != set_.end()) return set->second;
  }
  if (handler) return handler(request);
  return Turn::Typed("404 page not found\n", "text/plain", 404);
}

bool ScriptedServer::Send(int fd, const Turn& turn) {
  size_t step = turn.one_by_one ? 1 : turn.bytes.size();
  for (size_t at = 0; at < turn.bytes.size();) {
    ssize_t n = ::send(fd, turn.bytes.data() + at, std::min(step, turn.bytes.size() - at), MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += static_cast<size_t>(n);
  }
  return true;
}

void ScriptedServer::Push(const std::string& path, Turn turn) {
  std::lock_guard<std::mutex> lock(mu_);
  pushed_[path].push_back(std::move(turn));
}
void ScriptedServer::Set(const std::string& path, Turn turn) {
  std::lock_guard<std::mutex> lock(mu_);
  set_[path] = std::move(turn);
}
void ScriptedServer::SetHandler(Handler handler) {
  std::lock_guard<std::mutex> lock(mu_);
  handler_ = std::move(handler);
}
void ScriptedServer::PushAccept(Turn::Then then) {
  std::lock_guard<std::mutex> lock(mu_);
  accepts_.push_back(then);
}
void ScriptedServer::SetOneAtATime(bool on) {
  std::lock_guard<std::mutex> lock(mu_);
  one_at_a_time_ = on;
}

PluginAddress ScriptedServer::address() const {
  PluginAddress address;
  address.path = path_;
  if (!path_.empty()) return address;
  address.kind = PluginAddress::Kind::kTcp;
  address.host = "127.0.0.1";
  address.port = port_;
  return address;
}

std::vector<SeenRequest> ScriptedServer::requests() const {
  std::lock_guard<std::mutex> lock(mu_);
  return seen_;
}

std::vector<std::string> ScriptedServer::paths() const {
  std::vector<std::string> out;
  for (const SeenRequest& r : requests()) out.push_back(r.path);
  return out;
}

int ScriptedServer::connections() const {
  std::lock_guard<std::mutex> lock(mu_);
  return accepted_;
}

void ScriptedServer::WaitForRequests(size_t n) {
  std::unique_lock<std::mutex> lock(mu_);
  came_.wait(lock, [&] { return seen_.size() >= n; });
}

}  // namespace dvdi
