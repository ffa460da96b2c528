#include "plugin/client.h"

#include "base/guards.h"
#include "base/secret.h"
#include "base/text.h"
#include "plugin/protocol.h"

namespace dvdi {

// Guarded by mu_. Closed while `failures` is below the limit; open until `open_until_ms`; half-open
// after that: one probe at a time is let through.
struct PluginClient::Breaker {
  int failures = 0;
  int64_t open_until_ms = 0;
  bool open = false;
  bool probing = false;
};

namespace {

// For how long what a plugin said of itself is believed.
constexpr int64_t kKnownMs = 60'000;

// What one Run saw of one driver.
struct Seen {
  bool answered = false;
  bool failed = false;
  bool probe = false;
};

const char* ReasonOf(PluginReply::Outcome outcome) {
  switch (outcome) {
    case PluginReply::Outcome::kUnreachable: return "unreachable";
    case PluginReply::Outcome::kLost: return "lost";
    case PluginReply::Outcome::kTimeout: return "timeout";
    case PluginReply::Outcome::kTooLarge: return "too-large";
    case PluginReply::Outcome::kMalformed:
    case PluginReply::Outcome::kAnswer: break;
  }
  return "malformed";
}

Answer UnknownAnswer(const char* reason, std::string error) {
  Answer answer;
  answer.reason = reason;
  answer.error = std::move(error);
  return answer;
}

Answer NotDiscovered(const Status& status) {
  // What to do about a plugin that is not there is said by whoever wanted it.
  if (status.code() == Code::kNotFound) return UnknownAnswer("not-found", status.message());
  return UnknownAnswer("invalid",
                       status.message() + (status.hint().empty() ? "" : " (" + status.hint() + ")"));
}

}  // namespace

PluginClient::PluginClient(const Env& env, DiscoveryPaths paths, BreakerSettings breaker, size_t max_body)
    : env_(env), paths_(std::move(paths)), settings_(breaker), max_body_(max_body) {}

PluginClient::~PluginClient() = default;

void PluginClient::CloseIdle() { env_.transport->CloseIdle(); }

Answer PluginClient::RunOne(const Call& call) { return std::move(Run({call})[0]); }

bool PluginClient::AnswerKnown(const Call& call, const PluginAddress& address, SocketIdentity* socket,
                               Answer* answer) {
  if (call.method != Method::kActivate && call.method != Method::kCapabilities) return false;
  *socket = IdentifySocket(env_.sys, address);
  if (*socket == SocketIdentity()) return false;  // what cannot be told from its successor
  std::lock_guard<std::mutex> lock(mu_);
  auto it = known_.find(call.driver);
  if (it == known_.end() || it->second.socket != *socket || env_.clock->MonotonicMs() >= it->second.until_ms)
    return false;
  const Answer& known = call.method == Method::kActivate ? it->second.activate : it->second.capabilities;
  if (known.kind != Answer::Kind::kOk) return false;
  *answer = known;
  return true;
}

void PluginClient::Remember(const Call& call, const SocketIdentity& socket, const Answer& answer) {
  if (answer.kind != Answer::Kind::kOk || socket == SocketIdentity()) return;
  std::lock_guard<std::mutex> lock(mu_);
  Known& known = known_[call.driver];
  const int64_t now = env_.clock->MonotonicMs();
  if (known.socket != socket || now >= known.until_ms)
    known = {.socket = socket, .until_ms = now + kKnownMs, .activate = {}, .capabilities = {}};
  (call.method == Method::kActivate ? known.activate : known.capabilities) = answer;
}

std::vector<Answer> PluginClient::Run(const std::vector<Call>& calls) {
  const int64_t began = env_.clock->MonotonicNs();
  std::vector<Answer> answers = RunAll(calls);
  const int64_t ns = env_.clock->MonotonicNs() - began;
  for (size_t i = 0; told_ && i < calls.size(); ++i) told_(calls[i], answers[i], ns);
  return answers;
}

std::vector<Answer> PluginClient::RunAll(const std::vector<Call>& calls) {
  std::vector<Answer> answers(calls.size());
  std::map<std::string, Result<PluginAddress>> addresses;
  std::map<std::string, Seen> seen;
  std::vector<PluginRequest> requests;
  std::vector<size_t> index;            // of the call that a request is for
  std::vector<SocketIdentity> sockets;  // of each call that a plugin says of itself
  sockets.resize(calls.size());

  const int64_t now = env_.clock->MonotonicMs();
  for (size_t i = 0; i < calls.size(); ++i) {
    const Call& call = calls[i];
    if (Status s = CheckCall(call); !s.ok()) {
      answers[i] = UnknownAnswer("invalid", s.message());
      continue;
    }
    auto found = addresses.find(call.driver);
    if (found == addresses.end())
      found = addresses.emplace(call.driver, DiscoverPlugin(env_.sys, paths_, call.driver)).first;
    if (!found->second.ok()) {
      answers[i] = NotDiscovered(found->second.status());
      continue;
    }
    if (AnswerKnown(call, *found->second, &sockets[i], &answers[i])) continue;
    if (call.deadline_ms <= now) {
      answers[i] = UnknownAnswer("timeout", "driver " + call.driver + ": the deadline passed before " +
                                                MethodName(call.method) + " could be sent");
      continue;
    }
    // Promise 6: what has to be undone is not held back.
    const bool passes = DVDI_GUARD(breaker_unmount) && call.method == Method::kUnmount;
    if (!passes && settings_.failures > 0) {
      std::lock_guard<std::mutex> lock(mu_);
      auto it = breakers_.find(call.driver);
      if (it != breakers_.end() && it->second->open) {
        Breaker& b = *it->second;
        if (b.probing || now < b.open_until_ms) {
          answers[i] = UnknownAnswer("breaker-open", "driver " + call.driver + " did not answer " +
                                                         std::to_string(b.failures) +
                                                         " times in a row and is left alone for a while; " +
                                                         MethodName(call.method) + " was not sent");
          continue;
        }
        b.probing = true;
        seen[call.driver].probe = true;
      }
    }
    requests.push_back({.address = *found->second,
                        .path = MethodPath(call.method),
                        .body = CallBody(call),
                        .deadline_ms = call.deadline_ms,
                        .max_body = max_body_});
    index.push_back(i);
  }
  if (requests.empty()) return answers;

  std::vector<PluginReply> replies = env_.transport->Exchange(requests);
  for (PluginRequest& r : requests) Wipe(&r.body);
  for (size_t k = 0; k < requests.size(); ++k) {
    const Call& call = calls[index[k]];
    PluginReply reply = k < replies.size() ? std::move(replies[k]) : PluginReply();
    Seen& driver = seen[call.driver];
    Answer& answer = answers[index[k]];
    if (reply.outcome == PluginReply::Outcome::kAnswer) {
      driver.answered = true;
      answer = ReadAnswer(call, reply);
      Remember(call, sockets[index[k]], answer);
      continue;
    }
    // Too large is an answer of a plugin that lives.
    (reply.outcome == PluginReply::Outcome::kTooLarge ? driver.answered : driver.failed) = true;
    std::string volume = call.volume.empty() ? "" : " of volume " + OneLine(call.volume, 130);
    answer = UnknownAnswer(ReasonOf(reply.outcome),
                           "driver " + call.driver + ": " + MethodName(call.method) + volume + " at " +
                               OneLine(requests[k].address.ToString(), 200) + ": " + OneLine(reply.detail));
    answer.sent = reply.sent;
    answer.peer_pid = reply.peer_pid;
  }

  if (settings_.failures <= 0) return answers;
  const int64_t then = env_.clock->MonotonicMs();
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& [name, what] : seen) {
    auto& slot = breakers_[name];
    if (!slot) slot = std::make_unique<Breaker>();
    if (what.answered) {
      *slot = Breaker();
      continue;
    }
    if (what.probe) slot->probing = false;
    ++slot->failures;
    bool opens = what.probe || (!slot->open && slot->failures >= settings_.failures);
    if (!opens) continue;
    slot->open = true;
    slot->open_until_ms = then + settings_.open_ms;
  }
  return answers;
}

std::map<std::string, std::string> PluginClient::Breakers() const {
  const int64_t now = env_.clock->MonotonicMs();
  std::map<std::string, std::string> out;
  std::lock_guard<std::mutex> lock(mu_);
  for (const auto& [name, b] : breakers_)
    out[name] = !b->open ? "closed" : b->probing || now >= b->open_until_ms ? "half-open" : "open";
  return out;
}

}  // namespace dvdi
