// dvdi-sanity: conformance checks for any Docker volume plugin. The outcome goes to stdout as TAP, what is
// about the program itself to stderr.
#include <signal.h>
#include <stdio.h>

#include <cstdlib>
#include <optional>
#include <sstream>

#include "base/caller.h"
#include "base/output.h"
#include "base/text.h"
#include "plugin/protocol.h"
#include "sanity/context.h"
#include "sanity/expected.h"
#include "sanity/options.h"
#include "sanity/report.h"
#include "sanity/report_file.h"
#include "sys/env.h"
#include "sys/files.h"

namespace dvdi::sanity {
namespace {

constexpr int kExitFound = 1;
constexpr int kExitUsage = 2;
constexpr int kExitUnreachable = 3;
constexpr uint64_t kMaxExpected = 1 << 20;

volatile sig_atomic_t stopped = 0;

int Fail(int code, const Status& s) {
  ::fprintf(stderr, "dvdi-sanity: %s%s%s\n", s.message().c_str(), s.hint().empty() ? "" : "; ",
            s.hint().c_str());
  return code;
}

// How it ends, where nothing else went wrong.
int Ended(int code) {
  const Status written = OutputWritten();
  return written.ok() ? code : Fail(kExitFound, written);
}

int List(const std::vector<Check>& checks) {
  std::string text;
  for (const Check& check : checks)
    text += check.id + ": " + check.title + "\n  protocol: " + check.protocol +
            "\n  clients: " + check.clients + "\n";
  WriteOutput(text);
  return Ended(0);
}

Outcome Try(const Check& check, const RunSetup& setup, Plugin& plugin,
            const std::map<std::string, Expectation>& expectations) {
  Outcome outcome;
  outcome.check = &check;
  if (auto it = expectations.find(check.id); it != expectations.end()) {
    outcome.expected = it->second.reason;
    outcome.may_pass = it->second.sometimes;
  }
  int64_t begin = Clock::Real()->MonotonicMs();
  {
    Context context(setup, plugin, &outcome);
    check.run(context);
  }
  outcome.ms = Clock::Real()->MonotonicMs() - begin;
  return outcome;
}

// A signal ends it after the check that runs, so that what that check made is cleaned up.
void StopOnSignals() {
  struct sigaction stop = {};
  stop.sa_handler = [](int) { stopped = 1; };
  stop.sa_flags = SA_RESTART;
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &stop, nullptr);
}

int Test(const Options& options, const std::vector<Check>& all) {
  auto address = Address(options.socket);
  if (!address.ok()) return Fail(kExitUsage, address.status());
  RunSetup setup;
  auto create_options = CreateOptions(options.create_options);
  if (!create_options.ok()) return Fail(kExitUsage, create_options.status());
  setup.create_options = *create_options;
  setup.restart = options.restart;
  setup.prefix = "dvdi-sanity-" + Random::Real()->HexId(4);
  setup.look_inside = !options.no_files;

  std::map<std::string, Expectation> expectations;
  if (!options.expected.empty()) {
    auto text = ReadNamedFile(RealEnv().sys, options.expected, kMaxExpected);
    if (!text.ok()) return Fail(kExitUsage, text.status());
    auto read = ReadExpectations(*text, options.expected, all);
    if (!read.ok()) return Fail(kExitUsage, read.status());
    expectations = *read;
  }
  auto chosen = ChosenOf(options.only, all);
  if (!chosen.ok()) return Fail(kExitUsage, chosen.status());
  // Not after minutes of checks.
  std::optional<ReportFile> junit;
  if (!options.junit.empty()) {
    auto prepared = ReportFile::Prepare(RealEnv(), options.junit);
    if (!prepared.ok()) return Fail(kExitUsage, Status(prepared.status()).WithContext("--junit"));
    junit.emplace(std::move(*prepared));
  }

  StopOnSignals();
  Plugin plugin(*address, int64_t{options.timeout_seconds} * 1000);
  if (Said said = plugin.Post(MethodPath(Method::kActivate), "{}\n", Method::kActivate); !said.answered())
    return Fail(kExitUnreachable, Status(Code::kUnavailable, address->ToString() + ": " + said.Text(),
                                         "is the plugin running, and is this its socket?"));

  std::vector<Outcome> outcomes;
  bool stuck = false;
  WriteOutput(TapHead(chosen->size()));
  for (const Check* check : *chosen) {
    if (stopped != 0) {
      WriteOutput("Bail out! stopped by a signal\n");
      break;
    }
    outcomes.push_back(Try(*check, setup, plugin, expectations));
    WriteOutput(TapPoint(outcomes.size(), outcomes.back()));
    if (outcomes.back().stuck) {
      WriteOutput("Bail out! the plugin answers no more\n");
      stuck = true;
      break;
    }
  }
  if (junit.has_value())
    if (Status s = junit->Write(JunitXml(outcomes, "dvdi-sanity " + address->ToString())); !s.ok())
      return Fail(kExitFound, s);
  ::fprintf(stderr, "dvdi-sanity: %s\n", Summary(outcomes).c_str());
  return Ended(stopped == 0 && !stuck && Clean(outcomes) ? 0 : kExitFound);
}

int Run(int argc, char** argv) {
  Options options;
  CLI::App app(kDescription, "dvdi-sanity");
  app.set_version_flag("--version", "dvdi-sanity " DVDI_VERSION);
  Declare(app, &options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) {
      std::ostringstream text;  // the help, or the version
      app.exit(e, text, text);
      WriteOutput(text.str());
      return Ended(0);
    }
    return Fail(kExitUsage, Status(Code::kInvalid, e.what(), "dvdi-sanity --help lists the options"));
  }
  std::vector<Check> all = AllChecks();
  if (options.list) return List(all);
  if (options.socket.empty())
    return Fail(kExitUsage,
                Status(Code::kInvalid, "--socket is missing", "dvdi-sanity --help lists the options"));
  return Test(options, all);
}

}  // namespace
}  // namespace dvdi::sanity

int main(int argc, char** argv) {
  dvdi::HoldStandardStreams();
  dvdi::ShedInherited();
  try {
    return dvdi::sanity::Run(argc, argv);
  } catch (const std::exception& e) {
    ::fprintf(stderr, "dvdi-sanity: %s\n", e.what());
    return 1;
  }
}
