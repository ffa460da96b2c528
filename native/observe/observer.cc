#include "observe/observer.h"

#include <time.h>

#include <algorithm>
#include <cstdio>

#include "base/json.h"

namespace dvdi {
namespace {

// Upper bounds of the histogram of operations, in microseconds, and as labels.
struct Bound {
  int64_t us;
  const char* le;
};
constexpr Bound kBounds[] = {{1'000, "0.001"},   {5'000, "0.005"},   {10'000, "0.01"},   {50'000, "0.05"},
                             {100'000, "0.1"},   {500'000, "0.5"},   {1'000'000, "1"},   {5'000'000, "5"},
                             {10'000'000, "10"}, {60'000'000, "60"}, {INT64_MAX, "+Inf"}};

void AppendMember(std::string* to, const char* key, std::string_view text) {
  if (text.empty()) return;
  *to += ",\"";
  *to += key;
  *to += "\":";
  AppendJson(to, text);
}

// RFC 3339, in UTC, with milliseconds.
std::string TimeText(int64_t unix_ms) {
  time_t seconds = static_cast<time_t>(unix_ms / 1000);
  struct tm t = {};
  char text[96];
  if (::gmtime_r(&seconds, &t) == nullptr) return std::to_string(unix_ms);
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900, t.tm_mon + 1,
                t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, static_cast<int>(unix_ms % 1000));
  return text;
}

}  // namespace

Observer::Observer(const Env& env, std::string node, const AuditSettings& audit,
                   const std::string& counters_path)
    : env_(env),
      node_(Dump(Json(std::move(node)))),
      audit_(env, audit.file, audit.max_bytes, audit.keep),
      counters_(Counters::Open(env, counters_path)) {}

std::string Observer::Head() const {
  return "{\"time\":\"" + TimeText(env_.clock->WallMs()) + "\",\"node\":" + node_;
}

std::string Observer::Tail(const EventContext& c) {
  std::string tail;
  AppendMember(&tail, "kind", c.kind);
  AppendMember(&tail, "owner", c.owner);
  AppendMember(&tail, "scope", c.scope);
  AppendMember(&tail, "operation", c.operation);
  if (!c.policy_sha256.empty()) {
    std::string policy;
    AppendMember(&policy, "name", c.policy_name);
    AppendMember(&policy, "version", c.policy_version);
    AppendMember(&policy, "sha256", c.policy_sha256);
    tail += ",\"policy\":{" + policy.substr(1) + "}";
  }
  // Not by printf: an agent may have set a locale that writes a comma.
  const std::string us = std::to_string(1000 + c.duration_us % 1000);
  return tail + ",\"ms\":" + std::to_string(c.duration_us / 1000) + "." + us.substr(1) + "}\n";
}

void Observer::Write(const std::string& lines) {
  if (Status s = audit_.Append(lines); !s.ok())
    counters_->Add("dvdi_audit_failures_total{" + Label("code", CodeName(s.code())) + "}");
}

void Observer::Volumes(const EventContext& c, const std::vector<VolumeEvent>& events) {
  if (events.empty()) return;
  const std::string head = Head(), tail = Tail(c);
  std::string lines;
  for (const VolumeEvent& e : events) {
    lines += head;
    AppendMember(&lines, "event", e.event);
    AppendMember(&lines, "driver", e.driver);
    AppendMember(&lines, "volume", e.name);
    AppendMember(&lines, "id", e.id);
    AppendMember(&lines, "target", e.target);
    AppendMember(&lines, "mode", e.mode);
    AppendMember(&lines, "detail", e.detail);
    AppendMember(&lines, "outcome", e.outcome);
    AppendMember(&lines, "error", e.error);
    lines += tail;
    // A workload may name drivers as it likes: those that nothing was done with get no series of their own.
    std::string series = "dvdi_volume_events_total{";
    if (e.outcome == "ok") series += Label("driver", e.driver) + ",";
    counters_->Add(series + Label("event", e.event) + "," + Label("outcome", e.outcome) + "}");
  }
  Write(lines);
}

void Observer::Policy(const EventContext& c, const PolicyEvent& e) {
  std::string line = Head();
  AppendMember(&line, "event", e.event);
  AppendMember(&line, "detail", e.detail);
  AppendMember(&line, "outcome", e.outcome);
  AppendMember(&line, "error", e.error);
  Write(line + Tail(c));
  counters_->Add("dvdi_policy_events_total{" + Label("event", e.event) + "," + Label("outcome", e.outcome) +
                 "}");
}

void Observer::Shadow(std::string_view outcome) {
  counters_->Add("dvdi_shadow_decisions_total{" + Label("outcome", outcome) + "}");
}

void Observer::Operation(std::string_view kind, std::string_view outcome, int64_t duration_us) {
  const std::string label = Label("kind", kind);
  counters_->Add("dvdi_operations_total{" + label + "," + Label("outcome", outcome) + "}");
  for (const Bound& b : kBounds) {
    if (duration_us > b.us) continue;
    counters_->Add("dvdi_operation_duration_seconds_bucket{" + label + "," + Label("le", b.le) + "}");
    break;
  }
  counters_->Add("dvdi_operation_duration_seconds_sum{" + label + "}",
                 static_cast<uint64_t>(std::max<int64_t>(duration_us, 0)));
}

void Observer::PluginCall(std::string_view driver, std::string_view method, std::string_view kind,
                          int64_t ns) {
  const std::string label = Label("driver", driver) + "," + Label("method", method);
  counters_->Add("dvdi_plugin_calls_total{" + label + "," + Label("answer", kind) + "}");
  counters_->Add("dvdi_plugin_call_seconds_total{" + label + "}", static_cast<uint64_t>(ns / 1000));
}

}  // namespace dvdi
