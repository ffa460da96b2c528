// dvdi: volumes for any command through Docker volume plugins, without Docker.
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "base/caller.h"
#include "base/output.h"
#include "cli/doctor.h"
#include "cli/dvdcli.h"
#include "cli/options.h"
#include "cli/print.h"
#include "cli/run.h"
#include "cli/verbs.h"

namespace dvdi::cli {
namespace {

int Dispatch(const Options& options) {
  switch (options.verb) {
    case Verb::kRun: return Run(options);
    case Verb::kMount: return Mount(options);
    case Verb::kUnmount: return Unmount(options);
    case Verb::kCreate: return Create(options);
    case Verb::kRm: return Remove(options);
    case Verb::kPrune: return Prune(options);
    case Verb::kPlugins: return Plugins(options);
    case Verb::kPools: return Pools(options);
    case Verb::kFence: return Fence(options);
    case Verb::kCompletion: return Completion(options);
    case Verb::kNames: return Names(options);
    case Verb::kLs: return List(options);
    case Verb::kInspect: return Inspect(options);
    case Verb::kStatus: return ShowStatus(options);
    case Verb::kMetrics: return Metrics(options);
    case Verb::kOciHook: return OciHook(options);
    case Verb::kOciBundle: return OciBundle(options);
    case Verb::kRecover: return Recover(options);
    case Verb::kForget: return Forget(options);
    case Verb::kExplain: return Explain(options);
    case Verb::kDoctor: return Doctor(options);
    case Verb::kPolicyInstall:
    case Verb::kPolicyActivate:
    case Verb::kPolicyShadow:
    case Verb::kPolicyRollback:
    case Verb::kPolicyLs:
    case Verb::kPolicyInspect:
    case Verb::kPolicyHistory:
    case Verb::kPolicyBar:
    case Verb::kPolicyUnbar: return Policy(options);
    case Verb::kVersion: return Version(options);
  }
  return kExitUsage;
}

// How a call ends whose verb has ended with that code: what was to be told must have been told.
int Ended(int code, int failed) {
  if (code != kExitOk) return code;
  const Status written = OutputWritten();
  if (!written.ok()) PrintError(written, false);
  return written.ok() ? kExitOk : failed;
}

int Main(const std::vector<std::string>& arguments) {
  bool run = false;
  auto parsed = ParseArguments(arguments, &run);
  // `dvdi run` does it when it has started the command.
  if (!run || (parsed.ok() && (parsed->help || parsed->options.dry_run))) ShedInherited();
  if (!parsed.ok()) {
    // Before the options are known: JSON is what was asked for where --json stands among our words.
    bool json = false;
    for (const auto& a : arguments) {
      if (a == "--") break;
      json |= a == "--json";
    }
    PrintError(parsed.status(), json && !run);
    return run ? kExitRunFailed : kExitUsage;
  }
  if (parsed->help) {
    PrintText(parsed->help_text);
    return Ended(kExitOk, kExitSystem);
  }
  SetUpColors(parsed->options.global.no_color);
  return Ended(Dispatch(parsed->options), run ? kExitRunFailed : kExitSystem);
}

}  // namespace
}  // namespace dvdi::cli

int main(int argc, char** argv) {
  dvdi::HoldStandardStreams();
  std::vector<std::string> arguments(argv + 1, argv + argc);
  // The old client's name, as a link to this program, is the old client.
  std::string_view name = argc > 0 ? argv[0] : "";
  name = name.substr(name.rfind('/') + 1);
  if (name == "dvdcli") {
    dvdi::ShedInherited();
    return dvdi::cli::Ended(dvdi::cli::Dvdcli(arguments), 1);
  }
  return dvdi::cli::Main(arguments);
}
