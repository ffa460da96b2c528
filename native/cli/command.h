// The command as a tree of CLI11: every verb with its options and their help. Parsing, --help, the man page
// and completions are made from it.
#ifndef DVDI_CLI_COMMAND_H_
#define DVDI_CLI_COMMAND_H_

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "cli/options.h"

namespace dvdi::cli {

// Everything that CLI11 writes into while it parses.
struct Raw {
  Options o;
  std::string timeout;
  std::vector<std::string> volumes, mounts, statements, marathons, mesos;
  bool env = false, version = false;
};

struct VerbApp {
  Verb verb;
  CLI::App* app;
};

// `raw` must outlive the tree. The verbs, in the order of their help, are put into *verbs.
std::unique_ptr<CLI::App> BuildCommand(Raw* raw, std::vector<VerbApp>* verbs);

// Whether it takes no value.
bool IsFlag(const CLI::Option& option);
// What kind of value an argument of that name takes, for completion: "volume", "driver", "file", "folder",
// "shell" or "".
std::string ValueKind(const CLI::Option& option);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_COMMAND_H_
