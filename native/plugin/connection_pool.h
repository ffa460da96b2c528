// Connections that may carry another exchange.
#ifndef DVDI_PLUGIN_CONNECTION_POOL_H_
#define DVDI_PLUGIN_CONNECTION_POOL_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "plugin/socket.h"

namespace dvdi {

struct PooledConnection {
  UniqueFd fd;
  SocketIdentity identity;  // of the socket file when it was connected
  pid_t peer_pid = 0;
};

// Thread-safe. It also counts the exchanges under way for each address: a plugin that serves one
// connection at a time would answer none of them while an idle connection of ours is open, so a
// connection is kept only where it is the last one in use, and there is at most one for an address.
class ConnectionPool {
 public:
  ConnectionPool(int64_t idle_ms, size_t max_idle) : idle_ms_(idle_ms), max_idle_(max_idle) {}

  // An exchange begins. True where *out is an idle connection, still open, to the socket file that is
  // there now.
  bool Begin(const std::string& key, const SocketIdentity& now_there, int64_t now_ms, PooledConnection* out);
  // It is over; `connection` (may be without a descriptor) is kept or closed.
  void End(const std::string& key, PooledConnection connection, int64_t now_ms);
  void CloseAll();

 private:
  struct Idle {
    PooledConnection connection;
    int64_t since_ms = 0;
  };
  void CloseExpired(int64_t now_ms, std::vector<UniqueFd>* closing);

  const int64_t idle_ms_;
  const size_t max_idle_;
  std::mutex mu_;
  std::map<std::string, Idle> idle_;
  std::map<std::string, int> under_way_;
};

}  // namespace dvdi

#endif  // DVDI_PLUGIN_CONNECTION_POOL_H_
