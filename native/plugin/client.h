// Docker volume plugins as the engine sees them: discovery by name, typed calls, typed answers, a
// circuit breaker. Knows the protocol's quirks; decides nothing.
#ifndef DVDI_PLUGIN_CLIENT_H_
#define DVDI_PLUGIN_CLIENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "plugin/socket.h"
#include "plugin/transport.h"
#include "sys/env.h"

namespace dvdi {

struct DiscoveryPaths {
  std::vector<std::string> sockets = {"/run/docker/plugins"};
  std::vector<std::string> specs = {"/etc/docker/plugins", "/usr/lib/docker/plugins"};
};

// Where the driver `name` listens: NAME.sock (also one folder deep), then NAME.spec, NAME.json.
// kInvalid for a name that is no plain name (slash, dot-dot, control characters, empty, over 128
// bytes) and for a spec file that is wrong; kNotFound (all the places looked at) where there is
// none; kUnsupported for TLS.
Result<PluginAddress> DiscoverPlugin(Sys* sys, const DiscoveryPaths& paths, const std::string& name);
// All names that discovery would find, sorted.
std::vector<std::string> ListPlugins(Sys* sys, const DiscoveryPaths& paths);

// The protocol's methods, and two of `dvdi-driver`'s own that operators use: its tiers, and taking a volume
// away from another node.
enum class Method {
  kActivate,
  kCapabilities,
  kGet,
  kList,
  kPath,
  kCreate,
  kMount,
  kUnmount,
  kRemove,
  kTiers,
  kFence
};
const char* MethodName(Method method);  // "Get"
// False where no method of the protocol has that name: what is the operator's alone (promise 4) has none
// here.
bool MethodFromName(const std::string& name, Method* method);

struct Call {
  std::string driver;
  Method method = Method::kGet;
  std::string volume;                          // Name; unused by Activate, Capabilities, List
  std::string id;                              // ID; Mount and Unmount
  std::map<std::string, std::string> options;  // Opts; Create, and Mount where the driver takes them
  bool node_is_dead = false;                   // Fence: the operator's word
  int64_t deadline_ms = 0;                     // Clock::MonotonicMs
};

struct ListedVolume {
  std::string name, mountpoint;
};

// What a plugin's answer says, whatever way it was put.
struct Answer {
  enum class Kind {
    kOk,       // it says yes
    kError,    // it says no, with an error of its own: `error`
    kUnknown,  // it says nothing that can be relied on (see `reason`)
  };
  Kind kind = Kind::kUnknown;
  std::string error;   // kError: the plugin's text, one line; kUnknown: why, for people
  std::string reason;  // kUnknown: "unreachable", "lost", "timeout", "not-json", "malformed",
                       // "too-large", "breaker-open", "not-found" (discovery), "invalid"
  bool sent = false;   // whether the plugin may have acted on it
  int http_status = 0;
  std::string mountpoint;   // Get, Path, Mount; may be empty
  std::string scope;        // Capabilities: "local", "global" ("local" where missing)
  bool mount_opts = false;  // Capabilities: the driver takes Opts with a Mount (its own extension)
  std::vector<std::string> implements;  // Activate
  std::vector<ListedVolume> volumes;    // List
  std::string created_at;               // Get
  std::string status_json;              // Get: Status as compact JSON, "" where none
  std::string body_json;                // Tiers, Fence: the whole answer as compact JSON
  pid_t peer_pid = 0;
  // It speaks HTTP and knows no such method: what drivers say to what is not of the protocol.
  bool NoSuchMethod() const {
    return kind != Kind::kOk && (http_status == 404 || http_status == 405 || http_status == 501);
  }
};

struct BreakerSettings {
  int failures = 5;          // in a row, before it opens
  int64_t open_ms = 10'000;  // then one probe is let through
};

// Thread-safe.
class PluginClient {
 public:
  PluginClient(const Env& env, DiscoveryPaths paths, BreakerSettings breaker, size_t max_body);
  ~PluginClient();
  // `told` gets each call, its answer and the time until the answers of its Run were there. Before the first
  // Run; called on the thread that runs.
  using Told = std::function<void(const Call& call, const Answer& answer, int64_t ns)>;
  void OnAnswer(Told told) { told_ = std::move(told); }
  // Calls run side by side; the answers stand in the order of the calls. An empty Mountpoint in the
  // answer to Mount is kError. The breaker is per driver and never holds back an Unmount; one Run is
  // one observation of a driver (failed: calls were made, and no answer came to any of them). An HTTP
  // answer of whatever content is no failure of the breaker's kind.
  // What a plugin says of itself (Activate, Capabilities) is asked once for a socket file, as Docker's client
  // does, and again after a minute: a plugin that was restarted has a new file.
  std::vector<Answer> Run(const std::vector<Call>& calls);
  Answer RunOne(const Call& call);
  // Closes connections kept for later; to be called when an operation is over.
  void CloseIdle();
  // For `status`: driver -> "closed", "open", "half-open".
  std::map<std::string, std::string> Breakers() const;
  const DiscoveryPaths& paths() const { return paths_; }

 private:
  struct Breaker;
  std::vector<Answer> RunAll(const std::vector<Call>& calls);
  // What a plugin said of itself, by the socket that it said it at.
  struct Known {
    SocketIdentity socket;
    int64_t until_ms = 0;
    Answer activate, capabilities;  // kOk where it is known
  };
  bool AnswerKnown(const Call& call, const PluginAddress& address, SocketIdentity* socket, Answer* answer);
  void Remember(const Call& call, const SocketIdentity& socket, const Answer& answer);
  const Env env_;
  Told told_;
  const DiscoveryPaths paths_;
  const BreakerSettings settings_;
  const size_t max_body_;
  mutable std::mutex mu_;
  std::map<std::string, std::unique_ptr<Breaker>> breakers_;
  std::map<std::string, Known> known_;  // by driver
};

}  // namespace dvdi

#endif  // DVDI_PLUGIN_CLIENT_H_
