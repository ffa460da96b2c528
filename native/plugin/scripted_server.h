// A plugin for tests: a real socket and real threads that play exact bytes and exact misbehaviour.
// It is deterministic: nothing in it waits for a time, only for what the other side does or for Stop.
#ifndef DVDI_PLUGIN_SCRIPTED_SERVER_H_
#define DVDI_PLUGIN_SCRIPTED_SERVER_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "plugin/transport.h"

namespace dvdi {

// A new folder below $TMPDIR, removed with all that is in it (no mounts are expected there).
class ScopedDir {
 public:
  ScopedDir();
  ~ScopedDir();
  ScopedDir(const ScopedDir&) = delete;
  ScopedDir& operator=(const ScopedDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // Writes a file below it (folders on the way are made).
  std::string Write(const std::string& name, const std::string& text, int mode = 0644) const;

 private:
  std::string path_;
};

// What the server does with one request.
struct Turn {
  enum class Then {
    kKeep,   // waits for the next request on this connection
    kClose,  // closes
    kReset,  // closes with a reset: what was sent may not arrive
    kHold,   // says nothing more and stays open until Stop
  };
  std::string bytes;        // sent as they are: a whole HTTP response, or whatever
  bool one_by_one = false;  // a byte per send
  Then then = Then::kKeep;

  // A response with Content-Length.
  static Turn Json(const std::string& body, int status = 200);
  static Turn Typed(const std::string& body, const std::string& content_type, int status = 200);
  // The same, chunked in pieces of `piece` bytes.
  static Turn Chunked(const std::string& body, size_t piece = 7);
  // Without a length: the end of the connection ends it.
  static Turn UntilClose(const std::string& body);
  static Turn Raw(const std::string& bytes, Then then = Then::kClose);
  static Turn Hold() { return Raw("", Then::kHold); }
};

struct SeenRequest {
  std::string head;  // request line and headers, as they came
  std::string path;  // "/VolumeDriver.Get"
  std::string body;
  int connection = 0;  // 1, 2, …: which accepted connection it came on
};

// Thread-safe. Connections are served side by side unless one_at_a_time is set.
class ScriptedServer {
 public:
  using Handler = std::function<Turn(const SeenRequest&)>;

  // Listens at once. A Unix socket at `path` (a file that is there is replaced), or any free TCP port
  // of 127.0.0.1 where it is empty. Ends the program where it cannot: a test has no use for less.
  explicit ScriptedServer(std::string path = "");
  ~ScriptedServer();

  // The answer is the oldest pushed turn of that path, else the handler's, else that set for the path,
  // else 404 with a plain line.
  void Push(const std::string& path, Turn turn);
  void Set(const std::string& path, Turn turn);
  void SetHandler(Handler handler);
  // Instead of reading the next request: accept and close, or accept and hold.
  void PushAccept(Turn::Then then);
  void SetOneAtATime(bool on);

  PluginAddress address() const;
  std::vector<SeenRequest> requests() const;
  // Paths of the requests, in order.
  std::vector<std::string> paths() const;
  int connections() const;
  // Waits until that many requests came (in the whole life of the server).
  void WaitForRequests(size_t n);

  // Closes the listening socket and all connections, and removes the socket's file.
  void Stop();
  // Listens again at the same address. Counters go on.
  void Start();
  // Closes all open connections; goes on listening. Returns when they are closed.
  void CloseConnections();

 private:
  struct Connection;
  void Accept();
  void Serve(Connection& connection);
  Turn TurnFor(const SeenRequest& request);
  bool Send(int fd, const Turn& turn);
  void ShutDownConnections();
  void EndConnections();

  const std::string path_;
  uint16_t port_ = 0;
  UniqueFd listener_, stop_;  // stop_: readable when all shall end (an eventfd)
  std::thread accepting_;

  mutable std::mutex mu_;
  std::condition_variable came_;
  std::vector<std::shared_ptr<Connection>> open_;
  std::map<std::string, std::deque<Turn>> pushed_;
  std::map<std::string, Turn> set_;
  std::deque<Turn::Then> accepts_;
  Handler handler_;
  std::vector<SeenRequest> seen_;
  int accepted_ = 0;
  bool one_at_a_time_ = false;
};

}  // namespace dvdi

#endif  // DVDI_PLUGIN_SCRIPTED_SERVER_H_
