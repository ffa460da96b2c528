// HTTP as clients use it: connections kept, requests in pieces, long ones, several at once.
#include "plugin/http.h"
#include "plugin/protocol.h"
#include "sanity/context.h"
#include "sys/env.h"

namespace dvdi::sanity {
namespace {

constexpr int64_t kPromptMs = 10'000;  // for what takes no time unless it waits for somebody

std::optional<Connection> Connect(Context& c) {
  auto connection = c.plugin().Connect();
  if (!c.Expect(connection.ok(), connection.status().message())) return std::nullopt;
  return std::move(connection).value();
}

std::string ActivateRequest() { return HttpRequestText(MethodPath(Method::kActivate), "", "{}\n"); }

void Pause(int64_t ms) { Scheduler::Real()->SleepUntil(Clock::Real()->MonotonicMs() + ms); }

void KeepAlive(Context& c) {
  auto connection = Connect(c);
  if (!connection) return;
  for (int n = 1; n <= 3; ++n) {
    bool sent = connection->Send(ActivateRequest(), kPromptMs);
    RawResponse response = connection->Receive(kPromptMs);
    std::string which = "request " + std::to_string(n) + " on one connection: ";
    if (!c.Expect(sent && response.complete, which + response.problem)) return;
    c.Expect(response.status == 200, which + "status " + std::to_string(response.status));
    if (!response.keep_alive) return;  // it says that it closes; clients heed that
  }
}

void Pieces(Context& c) {
  auto connection = Connect(c);
  if (!connection) return;
  std::string request = ActivateRequest();
  size_t body = request.find("\r\n\r\n") + 4;
  for (std::string part : {request.substr(0, 9), request.substr(9, body - 9), request.substr(body, 1),
                           request.substr(body + 1)}) {
    if (!c.Expect(connection->Send(part, kPromptMs), "it closed the connection in the middle of a request"))
      return;
    Pause(30);
  }
  RawResponse response = connection->Receive(kPromptMs);
  c.Expect(response.complete && response.status == 200,
           "a request that came in four pieces: " +
               (response.complete ? "status " + std::to_string(response.status) : response.problem));
}

void Chunked(Context& c) {
  std::optional<std::string> name = c.Given();
  auto connection = name ? Connect(c) : std::nullopt;
  if (!connection) return;
  std::string body = Dump(Plugin::Body(*name)) + "\n";
  char size[32];
  ::snprintf(size, sizeof size, "%zx\r\n", body.size());
  connection->Send("POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n" +
                       std::string(size) + body + "\r\n0\r\n\r\n",
                   kPromptMs);
  RawResponse response = connection->Receive(kPromptMs);
  if (!c.Expect(response.complete, "a chunked request: " + response.problem)) return;
  bool found = response.status == 200 && response.body.find(*name) != std::string::npos;
  c.Expect(found, "Get of a volume by a chunked request: status " + std::to_string(response.status) + ", " +
                      response.body);
}

void LargeBody(Context& c) {
  for (size_t kib : {64, 1024}) {
    Json body = c.CreateBody(c.Name("none"));
    body["Opts"]["padding"] = std::string(kib * 1024, 'x');
    Said said = c.plugin().Post(MethodPath(Method::kGet), Dump(body) + "\n", Method::kGet);
    std::string what = "Get with a body of " + std::to_string(kib) + " KiB: ";
    // A plugin that will not read so much may close; what counts is that it goes on.
    bool fine = said.answered() || said.reply.outcome == PluginReply::Outcome::kLost;
    c.Expect(fine, what + said.Text());
    c.Expect(!said.ok(), what + said.Text());
    Said after = c.plugin().Post(MethodPath(Method::kActivate), "{}\n", Method::kActivate, kPromptMs);
    c.Expect(after.ok(), "after " + what + "Plugin.Activate: " + after.Text());
  }
}

// Others are served while this connection does what `first` made it do.
void OthersAreServed(Context& c, const std::string& first) {
  auto connection = Connect(c);
  if (!connection) return;
  if (!first.empty()) connection->Send(first, kPromptMs);
  Pause(50);
  Said said = c.plugin().Post(MethodPath(Method::kActivate), "{}\n", Method::kActivate, kPromptMs);
  c.Expect(said.ok(), "another connection's Plugin.Activate: " + said.Text());
}

void Stalled(Context& c) {
  std::string request = ActivateRequest();
  OthersAreServed(c, request.substr(0, request.size() - 2));
}

void Idle(Context& c) {
  auto connection = Connect(c);
  if (!connection) return;
  connection->Send(ActivateRequest(), kPromptMs);
  RawResponse response = connection->Receive(kPromptMs);
  if (!c.Expect(response.complete, "Plugin.Activate: " + response.problem)) return;
  Said said = c.plugin().Post(MethodPath(Method::kActivate), "{}\n", Method::kActivate, kPromptMs);
  c.Expect(said.ok(), "while one connection is kept for later, another's Plugin.Activate: " + said.Text());
}

void Many(Context& c) {
  std::vector<Request> requests(32, {Method::kList, Json::object()});
  int unanswered = 0;
  std::string one;
  for (const Said& said : c.plugin().AskAll(requests)) {
    if (said.ok()) continue;
    ++unanswered;
    one = said.Text();
  }
  c.Expect(unanswered == 0, std::to_string(unanswered) + " of 32 calls of List at once failed: " + one);
}

}  // namespace

std::vector<Check> TransportChecks() {
  return {
      {"transport.keep-alive", "a connection carries several requests, unless it says otherwise",
       "HTTP/1.1: a connection is kept unless one side says Connection: close.",
       "They keep connections, and send the next call on one.", Severity::kError, KeepAlive},
      {"transport.pieces", "a request may come in pieces", "HTTP over a stream.",
       "Long options leave in more than one piece.", Severity::kError, Pieces},
      {"transport.chunked", "a chunked request is read", "HTTP/1.1: a server reads chunked requests.",
       "Docker and dvdi send Content-Length; clients made from a stream do not.", Severity::kWarning,
       Chunked},
      {"transport.large-body", "a large request is no end", "Nothing.",
       "Options may be long (keys, certificates); a plugin that ends takes its mounts with it.",
       Severity::kError, LargeBody},
      {"transport.stalled", "half a request holds up nobody else", "Nothing.",
       "Nodes have several clients, and any of them may be stopped in the middle.", Severity::kError,
       Stalled},
      {"transport.idle", "a connection that is kept holds up nobody else", "HTTP/1.1: connections are kept.",
       "Docker keeps connections open for minutes; everybody else would have to wait.", Severity::kError,
       Idle},
      {"transport.many", "32 calls at once are answered", "Nothing.",
       "A node that starts sends calls for all its workloads at once.", Severity::kError, Many},
  };
}

}  // namespace dvdi::sanity
