// The command line of `dvdi`, taken apart.
#ifndef DVDI_CLI_OPTIONS_H_
#define DVDI_CLI_OPTIONS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dvdi::cli {

enum class Verb {
  kRun,
  kMount,
  kUnmount,
  kLs,
  kInspect,
  kStatus,
  kMetrics,
  kOciHook,
  kOciBundle,
  kRecover,
  kForget,
  kExplain,
  kDoctor,
  kPolicyInstall,
  kVersion,
};

// What every verb takes. Empty (or 0) means: not given, the engine's own setting holds.
struct GlobalOptions {
  std::string config, state_dir, runtime_dir, policy_dir, node;  // paths are absolute
  std::vector<std::string> plugin_dirs, spec_dirs;
  bool json = false;
  bool no_color = false;
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

  // The volume that a verb is about, and the scope (--name, --scope).
  std::string volume;
  std::string scope;

  // recover, explain, policy install
  bool wait = false;
  std::vector<std::string> owners;
  std::string operation;
  int64_t last = 0;
  std::string file;
  bool allow_downgrade = false;
};

// What ParseOptions made of the arguments: options, or text to print and then leave.
struct ParsedArguments {
  Options options;
  bool help = false;
  std::string help_text;
};

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
