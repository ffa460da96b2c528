// The plugin under test, spoken to as clients do, and as no client should.
#ifndef DVDI_SANITY_PLUGIN_H_
#define DVDI_SANITY_PLUGIN_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "base/status.h"
#include "plugin/client.h"
#include "plugin/transport.h"

namespace dvdi::sanity {

// What came back: as clients read it, and as it came.
struct Said {
  Answer answer;
  PluginReply reply;
  // An HTTP response came, whatever is in it.
  bool answered() const { return reply.outcome == PluginReply::Outcome::kAnswer; }
  bool ok() const { return answer.kind == Answer::Kind::kOk; }
  // It says no with an error of its own.
  bool refused() const { return answer.kind == Answer::Kind::kError; }
  // A success by its status and the lack of an Err, whatever else is in it: what a careless client takes for
  // one.
  bool accepted() const { return answered() && reply.status < 400 && err.empty(); }
  std::string err;  // the Err of the answer as it came, "" where it has none
  // "status 500, Err: no such volume", for people; one line.
  std::string Text() const;
};

struct Request {
  Method method = Method::kGet;
  Json body;
};

// One response of a connection, with what the transport of the engine has no use for.
struct RawResponse {
  bool complete = false;
  std::string problem;  // why it is not
  int status = 0;
  std::string body, content_type;
  bool keep_alive = false;
};

// A connection whose bytes the caller decides on.
class Connection {
 public:
  explicit Connection(UniqueFd fd) : fd_(std::move(fd)) {}
  // False where the plugin no longer takes them.
  bool Send(std::string_view bytes, int64_t timeout_ms);
  RawResponse Receive(int64_t timeout_ms);

 private:
  UniqueFd fd_;
};

// Not thread-safe.
class Plugin {
 public:
  Plugin(PluginAddress address, int64_t timeout_ms);
  int64_t timeout_ms() const { return timeout_ms_; }
  // {"Name": name}, with "ID" where there is one.
  static Json Body(const std::string& name, const std::string& id = "");
  Said Ask(Method method, const Json& body);
  Said Ask(Method method, const std::string& name, const std::string& id = "") {
    return Ask(method, Body(name, id));
  }
  // Side by side; the answers stand in the order of the requests.
  std::vector<Said> AskAll(const std::vector<Request>& requests);
  // Any bytes as the body, to any path; the answer is read as one to `method`.
  Said Post(const std::string& path, const std::string& body, Method method, int64_t timeout_ms = 0);
  Result<Connection> Connect();
  // Lets go of connections that are kept for a next call.
  void CloseIdle();
  // Waits until it answers to Plugin.Activate, for at most `ms`.
  bool WaitUntilItAnswers(int64_t ms);

 private:
  const PluginAddress address_;
  const int64_t timeout_ms_;
};

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_PLUGIN_H_
