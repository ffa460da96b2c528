// A plugin's answers as bytes on a socket: the real transport, connection pool, HTTP reader and client.
//
// Input: a choice of method, how the bytes are sent ("0" whole, "1" one by one, "2" by sevens, "3" cut at the
// byte that follows; + 4: the connection is kept for the next answer), then the answers, separated.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>

#include "base/fd.h"
#include "fuzz/fuzz.h"
#include "plugin/client.h"
#include "plugin/http.h"
#include "plugin/http_transport.h"

namespace dvdi::fuzz {
namespace {

constexpr size_t kMaxBody = 4096;
constexpr size_t kMaxAnswers = 3;
constexpr int kKeptMs = 3;  // for a next request on a connection that is kept, or the client waits for more

struct Script {
  std::vector<std::string> answers;
  size_t how = 0, cut = 0;
  bool keep = false;
};

std::vector<std::string_view> Pieces(std::string_view bytes, const Script& script) {
  size_t size = bytes.size() + 1;
  if (script.how == 1) size = 1;
  if (script.how == 2) size = 7;
  std::vector<std::string_view> pieces;
  if (script.how == 3) {
    const size_t cut = std::min(script.cut, bytes.size());
    return {bytes.substr(0, cut), bytes.substr(cut)};
  }
  for (size_t at = 0; at < bytes.size(); at += size) pieces.push_back(bytes.substr(at, size));
  return pieces;
}

// Answers each request with the script's next bytes; when there are no more it closes without a word.
class Plugin {
 public:
  Plugin() {
    char folder[] = "/tmp/dvdi-fuzz-XXXXXX";
    FUZZ_EXPECT(::mkdtemp(folder) != nullptr, "no folder can be made below /tmp");
    folder_ = folder;
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ + "/p.sock";
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    FUZZ_EXPECT(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                    ::listen(listener_.get(), 16) == 0,
                "no socket can be made at " + path);
    std::thread([this] { Serve(); }).detach();
  }
  void Remove() const {
    ::unlink((folder_ + "/p.sock").c_str());
    ::rmdir(folder_.c_str());
  }
  const std::string& folder() const { return folder_; }
  void Play(Script script) {
    std::lock_guard lock(mu_);
    script_ = std::move(script);
    next_ = 0;
  }

 private:
  void Serve() {
    for (;;) {
      UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection.valid()) Talk(connection.get());
    }
  }
  void Talk(int fd) {
    for (bool first = true;; first = false) {
      // A next request, the end of the connection, or the client has gone over to another one.
      pollfd ready[] = {{fd, POLLIN, 0}, {listener_.get(), POLLIN, 0}};
      if (!first && (::poll(ready, 2, kKeptMs) <= 0 || ready[0].revents == 0)) return;
      char request[16384];  // each is one write of less
      if (::recv(fd, request, sizeof request, 0) <= 0) return;
      std::unique_lock lock(mu_);
      if (next_ >= script_.answers.size()) return;
      const std::string answer = script_.answers[next_++];
      const Script script = script_;
      const bool last = next_ >= script.answers.size();
      lock.unlock();
      for (std::string_view piece : Pieces(answer, script))
        if (::send(fd, piece.data(), piece.size(), MSG_NOSIGNAL) < 0) return;
      if (!script.keep || last) return;
    }
  }

  std::string folder_;
  UniqueFd listener_;
  std::mutex mu_;
  Script script_;
  size_t next_ = 0;
};

Plugin& ThePlugin() {
  static Plugin* plugin = [] {
    auto* made = new Plugin;
    std::atexit([] { ThePlugin().Remove(); });
    return made;
  }();
  return *plugin;
}

// Looks at what the transport makes of the bytes.
class Watched : public PluginTransport {
 public:
  Watched() : real_(MakeHttpTransport(Clock::Real())) {}
  std::vector<PluginReply> Exchange(const std::vector<PluginRequest>& requests) override {
    auto replies = real_->Exchange(requests);
    FUZZ_EXPECT(replies.size() == requests.size(), "as many replies as requests");
    for (const PluginReply& reply : replies) {
      FUZZ_EXPECT(reply.body.size() <= kMaxBody, "a body of " + std::to_string(reply.body.size()) + " bytes");
      ExpectLine(reply.detail, "a reply's detail");
      const bool answered = reply.outcome == PluginReply::Outcome::kAnswer;
      FUZZ_EXPECT(!answered || (reply.status >= 200 && reply.status <= 599), std::to_string(reply.status));
      FUZZ_EXPECT(answered == reply.detail.empty(), "what is no answer says why, and nothing else does");
      FUZZ_EXPECT(reply.outcome != PluginReply::Outcome::kTimeout, "the plugin never waits for long");
    }
    return replies;
  }
  void CloseIdle() override { real_->CloseIdle(); }

 private:
  std::unique_ptr<PluginTransport> real_;
};

// The reader must not mind where the bytes are cut. What is no answer may be found to be none early or late:
// Beast looks at a start line once when the first bytes come, and then again when the whole header is there.
void ReadWholeAndInPieces(std::string_view bytes) {
  HttpResponse whole(kMaxBody), pieces(kMaxBody);
  auto state = whole.Feed(bytes);
  if (state == HttpResponse::State::kMore) state = whole.Eof();
  auto other = HttpResponse::State::kMore;
  for (size_t at = 0; at < bytes.size() && other == HttpResponse::State::kMore; ++at)
    other = pieces.Feed(bytes.substr(at, 1));
  if (other == HttpResponse::State::kMore) other = pieces.Eof();
  auto none = [](HttpResponse::State s) {
    return s == HttpResponse::State::kMore || s == HttpResponse::State::kMalformed;
  };
  FUZZ_EXPECT(state == other || (none(state) && none(other)),
              "read as " + std::to_string(static_cast<int>(state)) + ", in pieces as " +
                  std::to_string(static_cast<int>(other)));
  if (state != HttpResponse::State::kDone) return;
  FUZZ_EXPECT(whole.status() == pieces.status(), "the same status");
  FUZZ_EXPECT(whole.TakeBody() == pieces.TakeBody(), "the same body");
}

}  // namespace
}  // namespace dvdi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dvdi;
  using namespace dvdi::fuzz;
  static constexpr Method kMethods[] = {
      Method::kGet,    Method::kList,    Method::kCapabilities, Method::kActivate, Method::kMount,
      Method::kCreate, Method::kUnmount, Method::kPath,         Method::kTiers,    Method::kRemove};
  Input input(data, size);
  Call call;
  call.driver = "p", call.volume = "v", call.id = "i";
  call.method = kMethods[input.Choice(std::size(kMethods))];
  Script script;
  const size_t how = input.Choice(8);
  script.how = how % 4, script.keep = how >= 4;
  if (script.how == 3) script.cut = input.Byte();
  while (!input.empty() && script.answers.size() < kMaxAnswers) script.answers.emplace_back(input.Part());
  for (const std::string& answer : script.answers) ReadWholeAndInPieces(answer);

  static auto* transport = new Watched;
  Env env = SystemEnv();
  env.transport = transport;
  PluginClient client(env, {.sockets = {ThePlugin().folder()}, .specs = {}}, {}, kMaxBody);
  const size_t calls = std::max<size_t>(script.answers.size(), 1);
  ThePlugin().Play(std::move(script));
  for (size_t i = 0; i < calls; ++i) {
    call.deadline_ms = env.clock->MonotonicMs() + 60'000;
    const Answer answer = client.RunOne(call);
    ExpectLine(answer.error, "an answer's error");
    FUZZ_EXPECT((answer.kind == Answer::Kind::kOk) == answer.error.empty(), "an error where it is not ok");
    FUZZ_EXPECT((answer.kind == Answer::Kind::kUnknown) != answer.reason.empty(),
                "a reason where it is unknown");
  }
  client.CloseIdle();
  return 0;
}
