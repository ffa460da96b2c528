// What is told of an engine's work: the audit log (one JSON line for each thing done to a volume) and the
// counters behind the metrics. docs/operations.md describes both.
#ifndef DVDI_OBSERVE_OBSERVER_H_
#define DVDI_OBSERVE_OBSERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "observe/counters.h"
#include "observe/log_file.h"
#include "sys/env.h"

namespace dvdi {

struct AuditSettings {
  std::string file;  // STATE/audit.log where not set
  int64_t max_bytes = 16 << 20;
  int keep = 8;  // older files beside the newest
};

// What belongs to all events of one operation. Texts of drivers and policies come redacted.
struct EventContext {
  std::string kind;  // "prepare", "cleanup", "recover", "release", "forget", …
  std::string owner, scope, operation;
  std::string policy_name, policy_version, policy_sha256;  // "": no policy had a part in it
  int64_t duration_us = 0;
};

// One thing done (or refused) to one volume.
struct VolumeEvent {
  const char* event = "";        // "created", "mounted", "staged", … : a literal
  std::string driver, name, id;  // id: the attachment's, where there is one
  std::string target, mode;      // of a stage
  std::string detail;            // e.g. "root-dir 1000:1000"
  std::string outcome = "ok";    // or a code's name
  std::string error;             // one line, redacted; "" where the outcome says it all
};

// Something that became of a policy; which one is said by the context.
struct PolicyEvent {
  const char* event = "";      // "installed", "taken-back", "refused", …: a literal
  std::string detail;          // e.g. why it was taken back
  std::string outcome = "ok";  // or a code's name
  std::string error;           // one line
};

// Thread-safe. Nothing here fails an operation: what cannot be written is counted, and status says why.
class Observer {
 public:
  Observer(const Env& env, std::string node, const AuditSettings& audit, const std::string& counters_path);

  // Writes the events' lines with one write and counts them.
  void Volumes(const EventContext& context, const std::vector<VolumeEvent>& events);
  void Policy(const EventContext& context, const PolicyEvent& event);
  // Counts a decision of a shadow. `outcome`: "same", "different", …
  void Shadow(std::string_view outcome);
  // Counts an operation and how long it took. `outcome`: "ok" or a code's name.
  void Operation(std::string_view kind, std::string_view outcome, int64_t duration_us);
  // Counts a call. `kind`: "ok", "error" or an unknown answer's reason.
  void PluginCall(std::string_view driver, std::string_view method, std::string_view kind, int64_t ns);

  // Whether the audit log can be written, looked at now.
  Status CheckAudit() { return audit_.Append(""); }
  const std::string& audit_path() const { return audit_.path(); }
  const Counters& counters() const { return *counters_; }

 private:
  // What begins and ends every line of a context.
  std::string Head() const;
  static std::string Tail(const EventContext& context);
  void Write(const std::string& lines);

  const Env env_;
  const std::string node_;  // as JSON text
  LogFile audit_;
  std::unique_ptr<Counters> counters_;
};

// The series in Prometheus' text format with what the families are; `gauges` are complete sample lines, put
// beneath their families' heads. Families without a sample are left out.
struct Gauge {
  std::string family, labels;  // labels: `driver="x"`, "" for none
  double value = 0;
};
std::string PrometheusText(const Counters& counters, const std::vector<Gauge>& gauges);
// name="value", escaped.
std::string Label(std::string_view name, std::string_view value);

}  // namespace dvdi

#endif  // DVDI_OBSERVE_OBSERVER_H_
