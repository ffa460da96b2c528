#include "engine/recorder.h"

#include <algorithm>
#include <cstdint>

#include "base/guards.h"
#include "base/text.h"

namespace dvdi {
namespace {

// As deep as what is recorded: a host call within a record.
constexpr int kMaxDepth = 80;

// What OneLine puts where it cuts, and the most of a value that may stand before it: no error is longer.
constexpr std::string_view kCut = "…";
constexpr size_t kMaxCut = 512;

// Words of the ABI that a policy decides by. A secret that is one of them tells nobody anything where the
// engine says it.
constexpr std::string_view kWords[] = {
    "ok",           "error",         "unknown",      "refused",      "local",       "global",
    "VolumeDriver", "unreachable",   "lost",         "timeout",      "not-json",    "malformed",
    "too-large",    "breaker-open",  "not-found",    "invalid",      "unavailable", "driver",
    "policy",       "system",        "unsupported",  "internal",     "none",        "attached",
    "releasing",    "single-writer", "multi-reader", "multi-writer", "rw",          "ro"};

// Puts `hide` of each string in the place of it. Whether one of them changed.
template <class Hide>
bool ReplaceStrings(Json* value, const Hide& hide) {
  bool changed = false;
  if (value->is_structured()) {
    for (Json& member : *value) changed |= ReplaceStrings(&member, hide);
  } else if (value->is_string()) {
    auto& text = value->get_ref<std::string&>();
    if (std::find(std::begin(kWords), std::end(kWords), text) != std::end(kWords)) return false;
    std::string hidden = hide(text);
    changed = hidden != text;
    if (changed) text = std::move(hidden);
  }
  return changed;
}

}  // namespace

Recorder::Recorder(const Env& env, std::string kind, size_t max_bytes)
    : env_(env),
      kind_(std::move(kind)),
      max_bytes_(max_bytes),
      started_ms_(env.clock->WallMs()),
      started_ns_(env.clock->MonotonicNs()) {}

void Recorder::HideSecret(const std::string& value) {
  const bool known = std::any_of(secrets_.begin(), secrets_.end(),
                                 [&](const SecretText& s) { return std::string_view(s) == value; });
  if (value.empty() || known) return;
  // A driver may repeat what it was told as JSON in its error, which stands in JSON again.
  std::vector<SecretText, WipingAllocator<SecretText>> guises;
  guises.emplace_back(value);
  for (size_t from = 0, level = 0; level < 3; ++level) {
    for (const size_t to = guises.size(); from < to; ++from) {
      for (bool ascii : {false, true}) {
        SecretText escaped;
        AppendJsonEscaped(&escaped, guises[from], ascii);
        if (std::find(guises.begin(), guises.end(), escaped) == guises.end())
          guises.push_back(std::move(escaped));
      }
    }
  }
  // Words are made one line before they come here (OneLine): a value of several is found there as such.
  for (size_t i = 0, n = guises.size(); i < n; ++i) {
    std::string line = OneLine(guises[i], SIZE_MAX);
    if (!line.empty() && std::find(guises.begin(), guises.end(), SecretText(line)) == guises.end())
      guises.emplace_back(line);
    Wipe(&line);
  }
  for (auto& guise : guises) secrets_.push_back(std::move(guise));
}

std::string Recorder::Redact(std::string_view text) const {
  if (!DVDI_GUARD(secret_redacted)) return std::string(text);
  // All that any of them covers, so that nothing is left of one that begins within another.
  std::vector<bool> covered;
  auto cover = [&](size_t from, size_t to) {
    covered.resize(text.size());
    for (size_t i = from; i < to; ++i) covered[i] = true;
  };
  for (const auto& s : secrets_) {
    size_t end = 0;
    for (size_t at = 0; (at = text.find(s, at)) != std::string_view::npos; ++at) {
      cover(std::max(at, end), at + s.size());
      end = at + s.size();
    }
    // Where a line was cut, the beginning of one is all that there is of it.
    for (size_t cut = 0; (cut = text.find(kCut, cut)) != std::string_view::npos; ++cut) {
      size_t n = std::min({s.size() - 1, cut, kMaxCut});
      while (n > 0 && text.substr(cut - n, n) != std::string_view(s).substr(0, n)) --n;
      cover(cut - n, cut);
    }
  }
  if (covered.empty()) return std::string(text);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!covered[i])
      out += text[i];
    else if (i == 0 || !covered[i - 1])
      out += "[secret]";
  }
  return out;
}

std::string Recorder::RedactJson(std::string_view text) const {
  if (secrets_.empty()) return std::string(text);
  // Without an escape its strings stand in it as they are: what is not in the whole is in none of them.
  if (text.find('\\') == std::string_view::npos && Redact(text) == text) return std::string(text);
  auto json = ParseJson(text, "it", kMaxDepth);
  if (!json.ok()) return Redact(text);
  const bool changed = ReplaceStrings(&*json, [this](const std::string& string) { return Redact(string); });
  return changed ? Dump(*json) : std::string(text);
}

std::string Recorder::Kept(std::string_view text) {
  if (bytes_ + text.size() > max_bytes_) {
    cut_ = true;
    return "null";
  }
  bytes_ += text.size();
  return RedactJson(text);
}

void Recorder::Input(const std::string& export_name, std::string_view text) {
  texts_.inputs[export_name] = Kept(text);
}

void Recorder::Answer(const std::string& export_name, std::string_view text) {
  texts_.answers[export_name] = Kept(text);
}

void Recorder::PrepareAgain() {
  bytes_ = 0;
  for (auto* texts : {&texts_.inputs, &texts_.answers}) {
    texts->erase("prepare");
    for (const auto& [name, text] : *texts) bytes_ += text.size();
  }
  texts_.calls.clear();
}

void Recorder::HostCall(std::string_view name, std::string_view request, std::string_view answer,
                        int64_t ns) {
  if (cut_) return;
  bytes_ += 64;  // what stands around the two texts
  DecisionTexts::Call call{std::string(name), Kept(request), "", ns / 1000};
  call.answer = Kept(answer);
  texts_.calls.push_back(std::move(call));
}

void Recorder::Policy(const std::string& name, const std::string& version, const std::string& sha256) {
  policy_ = {{"name", name}, {"version", version}, {"sha256", sha256}};
}

EventContext Recorder::Context(const OperationRow& operation) const {
  EventContext c;
  c.kind = kind_, c.owner = operation.owner, c.scope = operation.scope, c.operation = operation.id;
  c.policy_name = GetString(policy_, "name"), c.policy_version = GetString(policy_, "version");
  c.policy_sha256 = GetString(policy_, "sha256");
  c.duration_us = (env_.clock->MonotonicNs() - started_ns_) / 1000;
  return c;
}

RecordRow Recorder::Finish(const OperationRow& operation, const std::string& outcome,
                           const Status& status) const {
  RecordRow row;
  row.operation = operation.id, row.kind = kind_, row.owner = operation.owner, row.scope = operation.scope;
  row.outcome = outcome;
  row.started_ms = started_ms_;
  row.duration_us = (env_.clock->MonotonicNs() - started_ns_) / 1000;
  Json body = Json::object();
  if (!policy_.is_null()) body["policy"] = policy_;
  if (!texts_.inputs.empty()) body["input"] = texts_.inputs;
  if (!texts_.answers.empty()) body["answer"] = texts_.answers;
  if (cut_) body["cut"] = true;
  if (!status.ok()) body["error"] = Json::parse(RedactJson(status.ToJson()), nullptr, false);
  if (!undone_.empty()) body["undone"] = undone_;
  if (!notes_.empty()) body["notes"] = notes_;
  row.body = Dump(body);
  // The calls are JSON already: put in as they are. An import's name, one of OfferedImports, needs no
  // escaping.
  std::string calls = row.body.size() > 2 ? ",\"calls\":[" : "\"calls\":[";
  for (const auto& call : texts_.calls) {
    if (&call != texts_.calls.data()) calls += ',';
    calls += "{\"call\":\"" + call.import + "\",\"request\":" + call.request + ",\"answer\":" + call.answer +
             ",\"us\":" + std::to_string(call.us) + "}";
  }
  row.body.insert(row.body.size() - 1, calls + "]");
  return row;
}

}  // namespace dvdi
