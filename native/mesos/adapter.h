// What an agent says of containers and of itself, in plain values: into requests of the engine, and the
// engine's answers into what the agent wants. No Mesos in here.
#ifndef DVDI_MESOS_ADAPTER_H_
#define DVDI_MESOS_ADAPTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace dvdi_mesos {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// --- options.cc
struct Options {
  std::string engine;             // options of dvdi_open
  std::string owner;              // whose scopes are ours: "mesos:" and the agent's work folder
  std::string work_dir;           // the agent's, as it was given
  std::string real_work_dir;      // the same without symlinks
  std::string sandbox_directory;  // where a container with a root of its own sees its sandbox
  std::string default_driver;     // "": the policy's
  bool docker_volumes = true;     // DOCKER_VOLUME sources are ours, not docker/volume's
  bool kill_on_loss = false;      // a container ends when a volume of it is lost
};
// From the module's parameters and the agent's flags: its command line, each argument ended by a zero byte,
// and its environment (null: unset). Returns "", or one line that says what is wrong, and how it would be
// right.
std::string ReadOptions(const Pairs& parameters, const std::string& command_line,
                        const std::function<const char*(const char*)>& get_env, Options* out);

// --- container.cc
struct Variable {
  std::string name, value;
  bool secret;  // its value is not ours to know
};
struct Container {
  std::string scope;                  // its ID; of a nested one OUTER.INNER
  std::string sandbox, rootfs;        // folders on the node; no rootfs: it has the node's root
  std::string user;                   // that it runs as; "" where that is not said
  std::vector<std::string> volumes;   // Mesos's Volumes in JSON: the DOCKER_VOLUME ones, if ours
  bool nested = false;                // in another, whose executor is told of with it
  Pairs labels, executor_labels;      // of its task, of its executor
  std::vector<Variable> environment;  // of its task, then of its executor: the first of a name counts
};
// The request for dvdi_prepare; "" where the container declares no volumes, or (`*error` is one line) none
// can be made.
std::string PrepareRequest(const Container& container, const Options& options, std::string* error);

struct Mount {
  std::string source, target;  // folders on the node; flags are the source's
};
struct Prepared {
  std::string error;               // one line; "" where all is well
  std::vector<Mount> mounts;       // in the order in which they are to be made
  std::vector<std::string> lines;  // for the log
};
// dvdi_prepare's answer for that container.
Prepared ReadPrepared(const std::string& answer, const Container& container, const Options& options);

// {"error": …} in one line: which volume, which driver, what, why, what to do.
std::string ErrorLine(const std::string& answer);
std::string CleanupRequest(const Options& options, const std::string& scope);
std::string RecoverRequest(const Options& options, const std::vector<std::string>& live);
// What to log of the answer of a cleanup or a recovery.
std::vector<std::string> ReadEnded(const std::string& answer);
// Our scopes in the answer to {"what": "scopes"}.
std::vector<std::string> ReadScopes(const std::string& answer, const Options& options);

struct VolumeSample {
  std::string driver, name, state, why;  // state: "ok", "lost", "unknown"
  uint64_t total_bytes = 0, used_bytes = 0;
  Pairs users;  // scope, target
};
std::string UsageRequest(const Options& options);
std::vector<VolumeSample> ReadUsage(const std::string& answer);
// "values" of an answer to {"what": "metrics"} or "usage", by the names of gauges: dvdi/….
std::map<std::string, double> ReadGauges(const std::string& answer);

}  // namespace dvdi_mesos

#endif  // DVDI_MESOS_ADAPTER_H_
