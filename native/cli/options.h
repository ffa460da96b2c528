// The command line of `dvdi`, taken apart.
#ifndef DVDI_CLI_OPTIONS_H_
#define DVDI_CLI_OPTIONS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace CLI {
class App;
}

namespace dvdi::cli {

enum class Verb {
  kRun,
  kMount,
  kUnmount,
  kCreate,
  kRm,
  kPrune,
  kLs,
  kInspect,
  kPlugins,
  kPools,
  kFence,
  kStatus,
  kMetrics,
  kOciHook,
  kOciBundle,
  kRecover,
  kForget,
  kExplain,
  kDoctor,
  kPolicyInstall,
  kPolicyActivate,
  kPolicyShadow,
  kPolicyRollback,
  kPolicyLs,
  kPolicyInspect,
  kPolicyHistory,
  kPolicyBar,
  kPolicyUnbar,
  kCompletion,
  kNames,  // hidden: what a shell's completion asks for
  kVersion,
};

// What every verb takes. Empty (or 0) means: not given, the engine's own setting holds.
struct GlobalOptions {
  std::string config, state_dir, runtime_dir, policy_dir, node;  // paths are absolute
  std::vector<std::string> plugin_dirs, spec_dirs;
  bool json = false;
  bool no_color = false;
  bool keeper = true;  // whether the engine retries by itself while it is open
  int64_t timeout_ms = 0;
};

// One place where volumes are declared: `value` is the text itself, or the file that holds it.
struct SourceOption {
  enum class From { kText, kFile, kEnvironment };
  std::string form;  // "volume", "mount", "statement", "marathon", "mesos", "env"
  From from = From::kText;
  std::string value;  // a file may be "-"; empty for kEnvironment
};

struct Options {
  Verb verb = Verb::kVersion;
  GlobalOptions global;

  // run, mount
  std::vector<SourceOption> sources;
  std::string default_driver;  // --volume-driver; for verbs that name a volume: --driver
  std::string user, workdir;
  bool dry_run = false;
  std::vector<std::string> command;

  // The volume that a verb is about (rm and inspect: those), and the scope (--name, --scope).
  std::string volume;
  std::vector<std::string> volumes;
  std::string scope;

  // create
  std::vector<std::string> driver_options, attributes;  // KEY=VALUE
  std::string size;

  // ls, inspect, plugins, prune
  std::vector<std::string> filters;  // KEY=VALUE
  std::string format;
  bool quiet = false;

  // rm, prune, fence
  bool force = false, shared_drivers = false, node_is_dead = false;

  // recover, explain, policy install
  bool wait = false;
  std::vector<std::string> owners;
  std::string operation;
  int64_t last = 0;
  bool export_records = false;
  std::string file;

  // policy: `file` and what follows
  std::string policy, signature, sha256, duration, why;
  int64_t operations = 0;
  bool allow_downgrade = false, allow_differences = false, inactive = false, stop = false, bar = false;

  // completion, names
  std::string shell, names;
};

// What ParseOptions made of the arguments: options, or text to print and then leave.
struct ParsedArguments {
  Options options;
  bool help = false;
  std::string help_text;
};

// The whole command as its parser has it: the source of --help, of the man page and of completions.
void WithCommandTree(const std::function<void(const CLI::App& app)>& look);

// kInvalid for a command line that is wrong; the hint names the help that would say more. `run` is set
// where the verb was `run` (its failures have an exit code of their own). Reads DVDI_CONFIG.
Result<ParsedArguments> ParseArguments(const std::vector<std::string>& arguments, bool* run);

// "250ms", "10s", "5m", "1h", or a bare number of seconds, as milliseconds; kInvalid otherwise.
Result<int64_t> ParseDuration(std::string_view text);

// A volume as people write it: DRIVER/NAME, or NAME where `driver` is given or none is known. With a
// driver given, a slash belongs to the name.
struct VolumeName {
  std::string driver, name;
};
VolumeName SplitVolumeName(const std::string& text, const std::string& driver);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_OPTIONS_H_
