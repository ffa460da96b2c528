// The plugin of the benchmarks: answers every call at once and does nothing, so that what is measured is its
// client. It counts its requests, the same way for everybody who asks: POST /Bench.Count answers the number
// since the last.
//
//   dvdi_bench_plugin SOCKET FOLDER      FOLDER is every volume's mountpoint
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Connection {
  int fd = -1;
  std::string in;
};

long requests = 0;
std::string folder;

std::string Answer(std::string_view path) {
  if (path == "/Bench.Count") {
    const long n = requests;
    requests = 0;
    return "{\"Requests\":" + std::to_string(n) + ",\"Err\":\"\"}";
  }
  ++requests;
  if (path == "/Plugin.Activate") return R"({"Implements":["VolumeDriver"],"Err":""})";
  if (path == "/VolumeDriver.Capabilities") return R"({"Capabilities":{"Scope":"local"},"Err":""})";
  if (path == "/VolumeDriver.Get")
    return R"({"Volume":{"Name":"data","Mountpoint":")" + folder + R"("},"Err":""})";
  if (path == "/VolumeDriver.Mount") return R"({"Mountpoint":")" + folder + R"(","Err":""})";
  return R"({"Err":""})";
}

// Answers each whole request in `c.in`. False where the connection is to be closed.
bool Serve(Connection& c) {
  for (;;) {
    const size_t head = c.in.find("\r\n\r\n");
    if (head == std::string::npos) return c.in.size() < 65'536;
    const size_t space = c.in.find(' '), end = c.in.find(' ', space + 1);
    const char* stated = ::strcasestr(c.in.c_str(), "\r\ncontent-length:");
    const size_t length = stated == nullptr ? 0 : std::strtoul(stated + 17, nullptr, 10);
    if (end == std::string::npos || end > head || length > 65'536) return false;
    if (c.in.size() < head + 4 + length) return true;
    const std::string body = Answer(std::string_view(c.in).substr(space + 1, end - space - 1)) + "\n";
    c.in.erase(0, head + 4 + length);
    const std::string text =
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    // An answer fits into the socket's buffer: it goes out whole, or the client is gone.
    if (::send(c.fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
      return false;
  }
}

int Die(const char* what) {
  std::fprintf(stderr, "dvdi_bench_plugin: %s: %s\n", what, std::strerror(errno));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: dvdi_bench_plugin SOCKET FOLDER\n");
    return 2;
  }
  folder = argv[2];
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (std::strlen(argv[1]) >= sizeof address.sun_path) return Die("the socket's path is too long");
  std::strcpy(address.sun_path, argv[1]);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0 || ::bind(listener, reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 128) != 0)
    return Die(argv[1]);
  std::vector<Connection> connections;
  std::vector<struct pollfd> polled;
  for (;;) {
    polled.assign(1, {listener, POLLIN, 0});
    for (const Connection& c : connections) polled.push_back({c.fd, POLLIN, 0});
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return Die("poll");
    for (size_t i = connections.size(); i > 0; --i) {
      Connection& c = connections[i - 1];
      if (polled[i].revents == 0) continue;
      char buffer[16'384];
      const ssize_t n = ::recv(c.fd, buffer, sizeof buffer, MSG_DONTWAIT);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (n > 0) c.in.append(buffer, static_cast<size_t>(n));
      if (n > 0 && Serve(c)) continue;
      ::close(c.fd);
      connections.erase(connections.begin() + static_cast<long>(i) - 1);
    }
    if (polled[0].revents == 0) continue;
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) connections.push_back({fd, ""});
  }
}
