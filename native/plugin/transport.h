// One exchange with a plugin: a POST over a Unix or TCP socket. The seam for simulated plugins.
#ifndef DVDI_PLUGIN_TRANSPORT_H_
#define DVDI_PLUGIN_TRANSPORT_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dvdi {

struct PluginAddress {
  enum class Kind { kUnix, kTcp };
  Kind kind = Kind::kUnix;
  std::string path;  // kUnix: the socket's path
  std::string host;  // kTcp
  uint16_t port = 0;
  std::string ToString() const;  // "unix:///run/…" or "tcp://host:port"
};

struct PluginRequest {
  PluginAddress address;
  std::string path;         // "/VolumeDriver.Get"
  std::string body;         // sent as it is
  int64_t deadline_ms = 0;  // Clock::MonotonicMs
  size_t max_body = 1 << 20;
};

struct PluginReply {
  enum class Outcome {
    kAnswer,       // a whole HTTP response came: `status` and `body`
    kUnreachable,  // no connection: nothing was sent
    kLost,         // the connection broke after bytes were sent: it may have acted
    kTimeout,      // the deadline passed; `sent` says whether bytes had left
    kMalformed,    // not HTTP
    kTooLarge,     // the body is longer than max_body
  };
  Outcome outcome = Outcome::kUnreachable;
  bool sent = false;  // whether the plugin may have seen the request
  int status = 0;
  std::string body;
  std::string detail;  // why, for people; one line
  pid_t peer_pid = 0;  // SO_PEERCRED of a Unix socket, kUnseenPeer, 0 where unknown
};

class PluginTransport {
 public:
  virtual ~PluginTransport() = default;
  // Runs the exchanges side by side on the calling thread and returns when each has an outcome; the
  // replies stand in the order of the requests. Never takes longer than the latest deadline.
  // Any thread.
  virtual std::vector<PluginReply> Exchange(const std::vector<PluginRequest>& requests) = 0;
  // Closes connections kept for later. To be called when an operation is over: a plugin that serves
  // one connection at a time would else serve no other process while ours stays open. Any thread.
  virtual void CloseIdle() {}
  // HTTP over real sockets, with keep-alive. Never destroyed.
  static PluginTransport* Real();
};

}  // namespace dvdi

#endif  // DVDI_PLUGIN_TRANSPORT_H_
