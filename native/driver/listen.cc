#include "driver/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>

#include "base/text.h"
#include "driver/files.h"

namespace dvdi {
namespace {

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

}  // namespace

// Bound aside and renamed: whoever sees the socket can connect, and a stale
// one is replaced at once.
Result<UniqueFd> ListenAt(const std::string& path, struct stat* made) {
  std::string aside = path + "." + std::to_string(::getpid() % 10'000'000);
  struct sockaddr_un address;
  DVDI_RETURN_IF_ERROR(FillAddress(aside, &address));
  DVDI_RETURN_IF_ERROR(MakeFolders(path.substr(0, path.rfind('/'))));
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

}  // namespace dvdi
