// Where volumes are declared, as dvdi_prepare takes it.
#ifndef DVDI_CLI_SOURCES_H_
#define DVDI_CLI_SOURCES_H_

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "cli/options.h"

namespace dvdi::cli {

// The `sources` of a request. Files are read (at most 1 MiB; "-" is standard input). JSON goes on as it
// was written, so that the policy's strict reader sees it; a YAML statement is turned into JSON.
Result<Json> LoadSources(const std::vector<SourceOption>& options);

// The sources of one volume whose parts were given one by one, as options; `volume` is one of a statement's.
// kInvalid where a text in it is not valid UTF-8.
Result<Json> OneVolume(Json volume);
// An error about it in the words of whoever gave it: not of a statement, which nobody wrote.
Status AboutOneVolume(const Status& status);

// The text of a `--mount` source for one volume: type=volume,… with what needs it quoted as CSV does.
std::string MountText(const std::string& driver, const std::string& name, const std::string& target);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_SOURCES_H_
