#include "plugin/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "base/text.h"

namespace dvdi {
namespace {

template <class Address>
SocketTarget Pack(const Address& address) {
  SocketTarget target;
  std::memcpy(&target.address, &address, sizeof address);
  target.length = sizeof address;
  return target;
}

SocketTarget Pack4(const in_addr& ip, uint16_t port) {
  struct sockaddr_in a = {};
  a.sin_family = AF_INET;
  a.sin_addr = ip;
  a.sin_port = htons(port);
  return Pack(a);
}

SocketTarget Pack6(const in6_addr& ip, uint16_t port) {
  struct sockaddr_in6 a = {};
  a.sin6_family = AF_INET6;
  a.sin6_addr = ip;
  a.sin6_port = htons(port);
  return Pack(a);
}

}  // namespace

Result<std::vector<SocketTarget>> SocketTargets(const PluginAddress& address) {
  if (address.kind == PluginAddress::Kind::kUnix) {
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    if (address.path.empty() || address.path.size() >= sizeof a.sun_path)
      return Status(Code::kInvalid, "the socket's path must have 1 to 107 bytes");
    std::memcpy(a.sun_path, address.path.data(), address.path.size());
    return std::vector<SocketTarget>{Pack(a)};
  }
  if (address.host == "localhost")
    return std::vector<SocketTarget>{Pack4({htonl(INADDR_LOOPBACK)}, address.port),
                                     Pack6(in6addr_loopback, address.port)};
  in_addr v4;
  in6_addr v6;
  if (::inet_pton(AF_INET, address.host.c_str(), &v4) == 1)
    return std::vector<SocketTarget>{Pack4(v4, address.port)};
  if (::inet_pton(AF_INET6, address.host.c_str(), &v6) == 1)
    return std::vector<SocketTarget>{Pack6(v6, address.port)};
  return Status(Code::kInvalid, "the host \"" + OneLine(address.host, 100) +
                                    "\" is neither a numeric address nor localhost (names are not resolved, "
                                    "since a resolver can block)");
}

SocketIdentity IdentifySocket(Sys* sys, const PluginAddress& address) {
  struct stat st = {};
  if (address.kind != PluginAddress::Kind::kUnix) return {};
  if (sys->FstatAt(AT_FDCWD, address.path.c_str(), &st, 0) < 0) return {};
  return {st.st_dev, st.st_ino, st.st_ctim.tv_sec * 1'000'000'000LL + st.st_ctim.tv_nsec};
}

int StartConnect(const SocketTarget& target, UniqueFd* fd) {
  int family = target.address.ss_family;
  UniqueFd s(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!s.valid()) return errno;
  if (family != AF_UNIX) {
    int on = 1;  // a request is one write: never wait for more. Failing costs time only.
    (void)::setsockopt(s.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  int err = 0;
  if (::connect(s.get(), reinterpret_cast<const struct sockaddr*>(&target.address), target.length) != 0) {
    err = errno == EINTR ? EINPROGRESS : errno;
    if (err != EINPROGRESS) return err;
  }
  *fd = std::move(s);
  return err;
}

int ConnectOutcome(int fd) {
  int err = 0;
  socklen_t length = sizeof err;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &length) != 0 ? errno : err;
}

pid_t PeerPid(int fd) {
  struct ucred peer = {};
  socklen_t length = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return 0;
  if (peer.pid > 0) return peer.pid;
  int domain = AF_UNSPEC;
  length = sizeof domain;
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX ? kUnseenPeer
                                                                                             : 0;
}

bool StillIdle(int fd) {
  char byte;
  ssize_t n;
  do {
    n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  return n < 0 && errno == EAGAIN;
}

}  // namespace dvdi
