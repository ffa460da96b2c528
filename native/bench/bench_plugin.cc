// The plugin of the benchmarks: answers every call at once and does nothing, so that what is measured is its
// client. It counts its requests, the same way for everybody who asks: POST /Bench.Count answers the number
// since the last. POST /Bench.Reboot makes it one whose node has rebooted: it knows the volumes that it had,
// and has none of them mounted but one that somebody else uses already.
//
//   dvdi_bench_plugin SOCKET FOLDER [DELAY_MS IN_FLIGHT]
//
// FOLDER is every volume's mountpoint. With a delay each call takes that long, and so many at once; the
// others wait.
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Connection {
  int fd = -1;
  long number = 0;
  std::string in;
};

// An answer that is on its way, or waits until another is out.
struct Late {
  long connection = 0;
  int64_t due_ms = 0;
  std::string text;
};
std::deque<Late> under_way, waiting;
int64_t delay_ms = 0;
size_t in_flight = 0;

int64_t NowMs() {
  struct timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000LL + t.tv_nsec / 1'000'000;
}

long requests = 0;
std::string folder;
std::set<std::string> mounted_once;
bool rebooted = false;

std::string NameIn(std::string_view body) {
  constexpr std::string_view kKey = "\"Name\":\"";
  const size_t at = body.find(kKey);
  if (at == std::string_view::npos) return "";
  body.remove_prefix(at + kKey.size());
  return std::string(body.substr(0, body.find('"')));
}

std::string List() {
  std::string list = R"({"Volumes":[{"Name":"of-another","Mountpoint":")" + folder + "\"}";
  for (const auto& name : mounted_once)
    list += R"(,{"Name":")" + name + R"(","Mountpoint":")" + (rebooted ? "" : folder) + "\"}";
  return list + R"(],"Err":""})";
}

std::string Answer(std::string_view path, std::string_view body) {
  if (path == "/Bench.Count") {
    const long n = requests;
    requests = 0;
    return "{\"Requests\":" + std::to_string(n) + ",\"Err\":\"\"}";
  }
  if (path == "/Bench.Reboot") {
    rebooted = true;
    return R"({"Requests":0,"Err":""})";
  }
  ++requests;
  if (path == "/Plugin.Activate") return R"({"Implements":["VolumeDriver"],"Err":""})";
  if (path == "/VolumeDriver.Capabilities") return R"({"Capabilities":{"Scope":"local"},"Err":""})";
  if (path == "/VolumeDriver.Get")
    return R"({"Volume":{"Name":"data","Mountpoint":")" + (rebooted ? "" : folder) + R"("},"Err":""})";
  if (path == "/VolumeDriver.List") return List();
  if (path == "/VolumeDriver.Mount" && delay_ms == 0) mounted_once.insert(NameIn(body));
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
    const std::string_view in = c.in;
    const std::string body =
        Answer(in.substr(space + 1, end - space - 1), in.substr(head + 4, length)) + "\n";
    c.in.erase(0, head + 4 + length);
    const std::string text =
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.plugins.v1.2+json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    if (delay_ms > 0 && !body.starts_with("{\"Requests\":")) {
      waiting.push_back({c.number, 0, text});
      continue;
    }
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
  if (argc != 3 && argc != 5) {
    std::fprintf(stderr, "usage: dvdi_bench_plugin SOCKET FOLDER [DELAY_MS IN_FLIGHT]\n");
    return 2;
  }
  folder = argv[2];
  if (argc == 5) delay_ms = std::atol(argv[3]), in_flight = std::strtoul(argv[4], nullptr, 10);
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (std::strlen(argv[1]) >= sizeof address.sun_path) return Die("the socket's path is too long");
  std::strcpy(address.sun_path, argv[1]);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0 || ::bind(listener, reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 4096) != 0)
    return Die(argv[1]);
  std::vector<Connection> connections;
  std::vector<struct pollfd> polled;
  long accepted = 0;
  for (;;) {
    const int64_t now = NowMs();
    for (; !under_way.empty() && under_way.front().due_ms <= now; under_way.pop_front())
      for (const Connection& c : connections)
        if (c.number == under_way.front().connection)
          (void)::send(c.fd, under_way.front().text.data(), under_way.front().text.size(), MSG_NOSIGNAL);
    for (; !waiting.empty() && under_way.size() < in_flight; waiting.pop_front()) {
      under_way.push_back(std::move(waiting.front()));
      under_way.back().due_ms = now + delay_ms;
    }
    const int pause = under_way.empty() ? -1 : static_cast<int>(under_way.front().due_ms - now);
    polled.assign(1, {listener, POLLIN, 0});
    for (const Connection& c : connections) polled.push_back({c.fd, POLLIN, 0});
    if (::poll(polled.data(), polled.size(), pause) < 0 && errno != EINTR) return Die("poll");
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
    if (fd >= 0) connections.push_back({fd, ++accepted, ""});
  }
}
