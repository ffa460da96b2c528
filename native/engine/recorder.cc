#include "engine/recorder.h"

#include <algorithm>

#include "base/guards.h"

namespace dvdi {
namespace {

void ReplaceAll(std::string* text, std::string_view what, const char* with) {
  for (size_t at = 0; (at = text->find(what, at)) != std::string::npos; at += std::string_view(with).size())
    text->replace(at, what.size(), with);
}

}  // namespace

Recorder::Recorder(const Env& env, std::string kind, size_t max_bytes)
    : env_(env),
      kind_(std::move(kind)),
      max_bytes_(max_bytes),
      started_ms_(env.clock->WallMs()),
      started_ns_(env.clock->MonotonicNs()) {}

void Recorder::HideSecret(const std::string& value) {
  if (value.empty()) return;
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
  for (auto& guise : guises) secrets_.push_back(std::move(guise));
  // Longest first, so that a secret which is part of another leaves nothing of it.
  std::sort(secrets_.begin(), secrets_.end(),
            [](const SecretText& a, const SecretText& b) { return a.size() > b.size(); });
}

std::string Recorder::Redact(std::string_view text) const {
  std::string out(text);
  if (!DVDI_GUARD(secret_redacted)) return out;
  for (const auto& s : secrets_) ReplaceAll(&out, s, "[secret]");
  return out;
}

std::string Recorder::Kept(std::string_view text) {
  if (bytes_ + text.size() > max_bytes_) {
    cut_ = true;
    return "null";
  }
  bytes_ += text.size();
  return secrets_.empty() ? std::string(text) : Redact(text);
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
  if (!status.ok()) body["error"] = Json::parse(Redact(status.ToJson()), nullptr, false);
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
