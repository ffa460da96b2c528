// HTTP/1.1 over a Unix socket: a thread for each connection, bounded in number, size and time.
#ifndef DVDI_DRIVER_SERVER_H_
#define DVDI_DRIVER_SERVER_H_

#include <sys/stat.h>

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace dvdi {

struct HttpRequest {
  std::string method, target, body;
};
struct HttpReply {
  int status = 200;
  std::string body;
};

struct ServerOptions {
  std::string socket;  // an absolute path
  int inherited = -1;  // a listening socket that systemd made at `socket`; taken over, never removed
  size_t max_connections = 128;  // beyond it, an idle one is closed; where none is idle, new ones wait
  size_t max_body = 1 << 20;
  int idle_ms = 120'000;    // between requests
  int request_ms = 15'000;  // from a request's first byte to its last
  int reply_ms = 15'000;    // for the reply to be taken
};

// Thread-safe.
class Server {
 public:
  using Handler = std::function<HttpReply(const HttpRequest&)>;

  // Listens (mode 0600; the socket appears at its path only when it answers) and serves until Stop.
  // kRefused where another process answers on the path, or something that is no socket is there.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options, Handler handler);
  // Accepts no more, removes the socket, closes what waits for a request, lets requests that are being
  // handled end, for `wait_ms` at the most. Those that have not ended by then: nobody can end them, and their
  // answers are not sent; the destructor would wait for them, so who cannot wait leaves this and its handler
  // behind. Once.
  std::vector<HttpRequest> Stop(int64_t wait_ms = kForEver);
  static constexpr int64_t kForEver = int64_t{1} << 40;
  ~Server();  // Stop, without a bound

 private:
  struct Connection {
    UniqueFd fd;
    std::thread thread;
    bool idle = false, done = false;
    const HttpRequest* handled = nullptr;  // on its thread's stack, while the handler has it
  };

  Server(const ServerOptions& options, Handler handler, UniqueFd listener, UniqueFd wake_read,
         UniqueFd wake_write);
  void Accept();
  void Reap();
  void WaitForAll(int64_t deadline_ms);
  bool MakeRoom();
  void Serve(Connection* connection);
  // One request and its reply; false where the connection is to end.
  template <class Stream, class Buffer>
  bool Exchange(Connection* connection, Stream& stream, Buffer& buffer);
  bool SetIdle(Connection* connection, bool idle);

  const ServerOptions options_;
  const Handler handler_;
  UniqueFd listener_, wake_read_, wake_write_;
  struct stat socket_ = {};  // which file at the path is ours
  std::mutex mu_;            // guards all below
  std::condition_variable changed_;
  bool stopping_ = false, given_up_ = false;  // then no request is begun any more
  std::list<Connection> connections_;
  std::thread acceptor_;
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_SERVER_H_
