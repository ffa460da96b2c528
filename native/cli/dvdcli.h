// The old volume client's command lines (docs/cli.md, "dvdcli"): what Mesos's own isolator, and scripts, run.
#ifndef DVDI_CLI_DVDCLI_H_
#define DVDI_CLI_DVDCLI_H_

#include <map>
#include <string>
#include <vector>

#include "base/status.h"

namespace dvdi::cli {

// A command line of it, taken apart.
struct DvdcliCall {
  std::string verb;  // "" or "help": its usage
  std::string driver, volume;
  std::map<std::string, std::string> options;
  bool explicit_create = false;
};

// kInvalid for what is wrong.
Result<DvdcliCall> ParseDvdcli(const std::vector<std::string>& arguments);

// What `dvdcli help` prints.
std::string DvdcliUsage();

// Runs it. 0, or 1 with one line on standard error.
int Dvdcli(const std::vector<std::string>& arguments);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_DVDCLI_H_
