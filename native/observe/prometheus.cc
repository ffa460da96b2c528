// Prometheus' text format (version 0.0.4).
#include <charconv>
#include <cmath>
#include <map>

#include "base/text.h"
#include "observe/observer.h"

namespace dvdi {
namespace {

struct Family {
  const char* name;
  const char* type;
  const char* help;
  bool microseconds = false;  // its counters hold microseconds and are shown as seconds
};

constexpr Family kFamilies[] = {
    {"dvdi_build_info", "gauge", "The version of the engine that answered."},
    {"dvdi_policy_info", "gauge", "The active policy."},
    {"dvdi_policy_ok", "gauge",
     "Whether a policy is active (1), or prepares are refused for want of one (0)."},
    {"dvdi_ledger_ok", "gauge",
     "Whether the ledger is sound and was never rebuilt since its note was removed."},
    {"dvdi_audit_ok", "gauge", "Whether the audit log can be written."},
    {"dvdi_scopes", "gauge", "Users of volumes that have them now, by owner."},
    {"dvdi_operations_unfinished", "gauge", "Operations that are under way or not undone yet."},
    {"dvdi_attachments", "gauge", "Volumes on this node, by driver and state."},
    {"dvdi_pending_release_attempts", "gauge",
     "Most attempts at a release that is still pending, by driver."},
    {"dvdi_volumes", "gauge", "Volumes that the ledger knows, by driver and state."},
    {"dvdi_strangers", "gauge", "Things in the state folder that are not provably dvdi's."},
    {"dvdi_operations_total", "counter", "Operations that ended, by kind and outcome."},
    {"dvdi_operation_duration_seconds", "histogram", "How long operations took."},
    {"dvdi_volume_events_total", "counter", "Things done to volumes: the lines of the audit log."},
    {"dvdi_policy_events_total", "counter",
     "Things that became of policies: the other lines of the audit log."},
    {"dvdi_shadow_decisions_total", "counter", "Decisions of shadows, by how they compare."},
    {"dvdi_plugin_calls_total", "counter", "Calls of plugins, by what was answered."},
    {"dvdi_plugin_call_seconds_total", "counter", "Time that calls of plugins took.", true},
    {"dvdi_audit_failures_total", "counter", "Writes to the audit log that failed."},
    {"dvdi_series_lost_total", "counter", "Counts that were lost because there were too many series."},
};

constexpr size_t kMaxLabel = 80;  // bytes of a value; OneLine adds its mark to what it cuts

void AppendNumber(std::string& text, double value) {
  // Not by printf: an agent may have set a locale that writes a comma.
  char digits[400];
  bool whole = value == std::floor(value);
  auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, whole ? 0 : 6);
  text.append(digits, end.ptr);
}

// name{labels} taken apart: views of it.
struct Series {
  std::string_view name, labels;
};
Series Split(std::string_view series) {
  size_t brace = series.find('{');
  if (brace == std::string_view::npos || series.back() != '}') return {series, ""};
  return {series.substr(0, brace), series.substr(brace + 1, series.size() - brace - 2)};
}

void AppendLine(std::string& text, std::string_view name, std::string_view labels, double value) {
  text += name;
  if (!labels.empty()) text.append("{").append(labels).append("}");
  text += ' ';
  AppendNumber(text, value);
  text += '\n';
}

// The buckets were counted one by one and are shown added up, in the order of their bounds.
std::string HistogramText(const std::string& family, const std::map<std::string, uint64_t>& counters) {
  std::map<std::string_view, std::map<double, std::pair<std::string_view, uint64_t>>> buckets;  // by labels
  std::map<std::string_view, uint64_t> sums;
  const std::string sum_name = family + "_sum", bucket_name = family + "_bucket";
  for (auto it = counters.lower_bound(family); it != counters.end() && it->first.starts_with(family); ++it) {
    const auto& [series, value] = *it;
    const Series s = Split(series);
    if (s.name == sum_name) sums[s.labels] = value;
    size_t le = s.labels.rfind(",le=\"");
    if (s.name != bucket_name || le == std::string_view::npos) continue;
    std::string_view bound = s.labels.substr(le + 5, s.labels.size() - le - 6);
    double at = INFINITY;
    if (bound != "+Inf") std::from_chars(bound.data(), bound.data() + bound.size(), at);
    buckets[s.labels.substr(0, le)][at] = {bound, value};
  }
  std::string text;
  for (auto& [labels, bounds] : buckets) {
    bounds.try_emplace(INFINITY, "+Inf", 0);
    uint64_t total = 0;
    for (const auto& [bound, entry] : bounds) {
      total += entry.second;
      const std::string with_le = std::string(labels) + "," + Label("le", entry.first);
      AppendLine(text, bucket_name, with_le, static_cast<double>(total));
    }
    AppendLine(text, sum_name, labels, static_cast<double>(sums[labels]) / 1e6);
    AppendLine(text, family + "_count", labels, static_cast<double>(total));
  }
  return text;
}

}  // namespace

std::string Label(std::string_view name, std::string_view value) {
  std::string out = std::string(name) + "=\"";
  std::string shown = OneLine(value, kMaxLabel);
  // Cut alone, two of them could be the same series twice, which no reader takes.
  if (value.size() > kMaxLabel) shown = OneLine(value, kMaxLabel - 16) + Sha256Hex(value).substr(0, 8);
  for (char c : shown) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string PrometheusText(const Counters& counters, const std::vector<Gauge>& gauges) {
  auto counted = counters.Read();
  counted["dvdi_series_lost_total"] = counters.lost();
  std::string text;
  for (const Family& f : kFamilies) {
    std::string lines;
    for (const Gauge& g : gauges)
      if (g.family == f.name) AppendLine(lines, g.family, g.labels, g.value);
    if (std::string_view(f.type) == "histogram") {
      lines += HistogramText(f.name, counted);
    } else {
      for (auto it = counted.lower_bound(f.name); it != counted.end() && it->first.starts_with(f.name);
           ++it) {
        const auto& [series, value] = *it;
        const Series s = Split(series);
        if (s.name != f.name) continue;
        AppendLine(lines, s.name, s.labels, static_cast<double>(value) / (f.microseconds ? 1e6 : 1));
      }
    }
    if (lines.empty()) continue;
    text +=
        "# HELP " + std::string(f.name) + " " + f.help + "\n# TYPE " + f.name + " " + f.type + "\n" + lines;
  }
  return text;
}

}  // namespace dvdi
