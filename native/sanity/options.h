// The command line of dvdi-sanity.
#ifndef DVDI_SANITY_OPTIONS_H_
#define DVDI_SANITY_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "plugin/transport.h"
#include "sanity/check.h"

namespace dvdi::sanity {

struct Options {
  std::string socket;  // a path, or tcp://HOST:PORT
  std::vector<std::string> create_options;
  std::vector<std::string> only;
  std::string expected, junit;
  int timeout_seconds = 60;
  bool list = false, no_files = false;
  std::vector<std::string> restart;
};

constexpr char kDescription[] =
    "Tries whether a Docker volume plugin keeps to the protocol, and what it does where the "
    "protocol is silent";

// What `app` takes, into `options`, which must outlive it.
void Declare(CLI::App& app, Options* options);

Result<PluginAddress> Address(const std::string& socket);
// "k=v" into a pair; the value may hold further signs.
Result<std::map<std::string, std::string>> CreateOptions(const std::vector<std::string>& texts);
// The checks that `only` names ("mount", "mount.two-ids"), in their order; all where it is empty. One that
// names none is an error: a slip of the pen must not pass for a check that was tried.
Result<std::vector<const Check*>> ChosenOf(const std::vector<std::string>& only,
                                           const std::vector<Check>& all);

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_OPTIONS_H_
