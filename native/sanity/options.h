// The command line of dvdi-sanity.
#ifndef DVDI_SANITY_OPTIONS_H_
#define DVDI_SANITY_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "plugin/transport.h"

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
// Whether a check is meant by one of `only` ("mount", "mount.two-ids"); any is, where there are none.
bool Chosen(const std::vector<std::string>& only, const std::string& id);

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_OPTIONS_H_
