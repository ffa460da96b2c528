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

void Recorder::Add(std::string* to, std::string_view text) {
  if (bytes_ + text.size() > max_bytes_) {
    cut_ = true;
    *to += "null";
    return;
  }
  bytes_ += text.size();
  *to += secrets_.empty() ? std::string(text) : Redact(text);
}

void Recorder::Input(std::string_view export_name, std::string_view text) {
  std::string kept;
  Add(&kept, text);
  body_["input"][std::string(export_name)] = std::move(kept);
}

void Recorder::Answer(std::string_view export_name, std::string_view text) {
  std::string kept;
  Add(&kept, text);
  body_["answer"][std::string(export_name)] = std::move(kept);
}

void Recorder::PrepareAgain() {
  bytes_ = 0;
  for (const char* member : {"input", "answer"}) {
    body_[member].erase("prepare");
    for (const Json& text : body_[member]) bytes_ += text.get_ref<const std::string&>().size();
  }
  calls_.clear();
}

void Recorder::HostCall(std::string_view name, std::string_view request, std::string_view answer,
                        int64_t ns) {
  if (cut_) return;
  bytes_ += 64;  // what stands around the two texts
  if (!calls_.empty()) calls_ += ',';
  calls_ += "{\"call\":\"";
  calls_ += name;  // one of OfferedImports: needs no escaping
  calls_ += "\",\"request\":";
  Add(&calls_, request);
  calls_ += ",\"answer\":";
  Add(&calls_, answer);
  calls_ += ",\"us\":" + std::to_string(ns / 1000) + "}";
}

void Recorder::Policy(const std::string& name, const std::string& version, const std::string& sha256) {
  body_["policy"] = {{"name", name}, {"version", version}, {"sha256", sha256}};
}

EventContext Recorder::Context(const OperationRow& operation) const {
  EventContext c;
  c.kind = kind_, c.owner = operation.owner, c.scope = operation.scope, c.operation = operation.id;
  const Json& policy = GetMember(body_, "policy");
  c.policy_name = GetString(policy, "name"), c.policy_version = GetString(policy, "version");
  c.policy_sha256 = GetString(policy, "sha256");
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
  Json body = body_;
  if (cut_) body["cut"] = true;
  if (!status.ok()) body["error"] = Json::parse(Redact(status.ToJson()), nullptr, false);
  if (!undone_.empty()) body["undone"] = undone_;
  if (!notes_.empty()) body["notes"] = notes_;
  row.body = Dump(body);
  // The calls are JSON already: put in as they are.
  row.body.insert(row.body.size() - 1,
                  std::string(row.body.size() > 2 ? "," : "") + "\"calls\":[" + calls_ + "]");
  return row;
}

}  // namespace dvdi
