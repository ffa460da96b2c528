// Non-blocking stream sockets to a plugin.
#ifndef DVDI_PLUGIN_SOCKET_H_
#define DVDI_PLUGIN_SOCKET_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "plugin/transport.h"
#include "sys/sys.h"

namespace dvdi {

struct SocketTarget {
  struct sockaddr_storage address = {};
  socklen_t length = 0;
};

// Which socket file a connection was made to; all 0 where there is none (TCP, or no such file).
struct SocketIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  int64_t changed_ns = 0;
  bool operator==(const SocketIdentity&) const = default;
};

// What to try, in order. Nothing is asked of a resolver, which may block for as long as it likes: a
// TCP host is a numeric address or "localhost"; kInvalid for anything else and for a path that does
// not fit into a socket address.
Result<std::vector<SocketTarget>> SocketTargets(const PluginAddress& address);

SocketIdentity IdentifySocket(Sys* sys, const PluginAddress& address);

// Starts to connect. 0: connected; EINPROGRESS: poll for writing, then ConnectOutcome; EAGAIN: a Unix
// socket's queue is full, try again later (poll does not tell when); else errno. `fd` is set for
// 0 and EINPROGRESS.
int StartConnect(const SocketTarget& target, UniqueFd* fd);
// After EINPROGRESS and a wake-up: 0 where connected, else errno.
int ConnectOutcome(int fd);
// The process behind a Unix socket (the one that called listen); kUnseenPeer where it is outside of our PID
// namespace, 0 where unknown.
pid_t PeerPid(int fd);
// Whether an idle connection can be used: still open, and nothing unasked came.
bool StillIdle(int fd);

}  // namespace dvdi

#endif  // DVDI_PLUGIN_SOCKET_H_
