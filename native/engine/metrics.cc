// The metrics: what the ledger says now, and what all engines of the node have counted.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "engine/engine.h"
#include "ledger/schema.h"
#include "sys/files.h"

namespace dvdi {
namespace {

// How old the metrics file may be while an engine runs.
constexpr int64_t kMetricsMs = 15'000;

std::string Labels(std::initializer_list<std::pair<const char*, std::string_view>> labels) {
  std::string out;
  for (const auto& [name, value] : labels) out += (out.empty() ? "" : ",") + Label(name, value);
  return out;
}

}  // namespace

Result<std::string> Engine::Metrics() {
  Core& core = *core_;
  std::vector<Gauge> gauges;
  auto add = [&](const char* family, std::string labels, double value) {
    gauges.push_back({family, std::move(labels), value});
  };
  add("dvdi_build_info",
      Labels({{"version", DVDI_VERSION}, {"ledger_schema", std::to_string(SchemaVersion())}}), 1);
  auto revision = core.policy->Current();
  if (revision.ok()) {
    const PolicyManifest& m = (*revision)->module->manifest();
    add("dvdi_policy_info",
        Labels({{"name", m.name},
                {"version", m.version},
                {"sha256", (*revision)->module->sha256()},
                {"source", (*revision)->source}}),
        1);
  }
  add("dvdi_policy_ok", "", revision.ok());
  add("dvdi_ledger_ok", "", !core.ledger->damaged() && core.ledger->note().empty());
  add("dvdi_audit_ok", "", core.observer->CheckAudit().ok());
  const auto others = static_cast<std::ptrdiff_t>(gauges.size());
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    gauges.erase(gauges.begin() + others, gauges.end());
    auto tally = [&](const char* family, const char* first, const char* second, const char* sql) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto rows, tx.Tally(sql));
      for (const auto& row : rows) {
        std::string labels = Labels({{first, row.first}});
        if (second != nullptr) labels += "," + Label(second, row.second);
        add(family, labels, static_cast<double>(row.count));
      }
      return Status();
    };
    DVDI_RETURN_IF_ERROR(tally("dvdi_scopes", "owner", nullptr,
                               "SELECT owner, '', count(*) FROM operation WHERE state = 'committed' "
                               "GROUP BY owner ORDER BY owner"));
    DVDI_RETURN_IF_ERROR(tally("dvdi_attachments", "driver", "state",
                               "SELECT driver, state, count(*) FROM attachment GROUP BY driver, state "
                               "ORDER BY driver, state"));
    DVDI_RETURN_IF_ERROR(tally("dvdi_pending_release_attempts", "driver", nullptr,
                               "SELECT driver, '', max(attempts) FROM attachment WHERE state = 'releasing' "
                               "GROUP BY driver ORDER BY driver"));
    DVDI_RETURN_IF_ERROR(tally("dvdi_volumes", "driver", "state",
                               "SELECT driver, state, count(*) FROM volume GROUP BY driver, state "
                               "ORDER BY driver, state"));
    DVDI_ASSIGN_OR_RETURN(int64_t unfinished,
                          tx.Count("SELECT count(*) FROM operation WHERE state <> 'committed'"));
    add("dvdi_operations_unfinished", "", static_cast<double>(unfinished));
    return Status();
  }));
  ReportStrangers(core);
  {
    std::lock_guard lock(core.reported_mu);
    add("dvdi_strangers", "", static_cast<double>(core.reported.size()));
  }
  return PrometheusText(core.observer->counters(), gauges);
}

Json Engine::MetricValues(const std::string& text) {
  Json values = Json::object();
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    // A label's value may hold spaces: the number comes after the last one.
    const size_t space = line.rfind(' '), name = std::min(line.find('{'), space);
    if (!line.starts_with("dvdi_") || space == std::string::npos) continue;
    std::string key = line.substr(5, name - 5);
    if (key.ends_with("_bucket")) continue;
    bool inside = false;
    for (size_t i = name; i < space; ++i) {
      if (line[i] == '"') {
        inside = !inside;
        if (inside) key += '/';
      } else if (inside) {
        if (line[i] == '\\' && i + 1 < space) ++i;
        key += line[i];
      }
    }
    values[key] = std::strtod(line.c_str() + space + 1, nullptr);
  }
  return values;
}

void Engine::WriteMetrics(bool now) {
  Core& core = *core_;
  if (core.settings.metrics_file.empty()) return;
  const int64_t time = core.env.clock->MonotonicMs();
  if (!now && time < core.metrics_due_ms) return;
  core.metrics_due_ms = time + kMetricsMs;
  auto text = Metrics();
  // A file that is not renewed shows its age: node-exporter has a metric for that.
  if (text.ok()) (void)ReplaceNamedFile(core.env, core.settings.metrics_file, *text);
}

}  // namespace dvdi
