// What a container's bundle says that concerns its volumes.
#ifndef DVDI_CLI_OCI_CONFIG_H_
#define DVDI_CLI_OCI_CONFIG_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/json.h"
#include "base/status.h"

namespace dvdi::cli {

constexpr size_t kMostBundleBytes = 4u << 20;

struct OciConfig {
  Json sources = Json::array();  // as dvdi_prepare takes them; empty: no volume is declared
  std::string default_driver;
  std::string root;           // absolute, as the runtime's namespace has it
  std::string cwd;            // of the workload, absolute
  uint32_t uid = 0, gid = 0;  // of the workload, as the node has them
  bool joins_user = false;    // the user namespace of others: until MapIds, they are as it has them
  bool mount_namespace = false;
};

// Reads a config.json. Annotations: `dvdi.volume` and `dvdi.mount` (each also with a suffix, as
// `dvdi.volume.data`) in the syntax of docker's -v and --mount, `dvdi.statement` in YAML or JSON,
// `dvdi.driver`. Any other that begins with `dvdi.` is an error: a typing error must not start a container
// without its volume.
Result<OciConfig> ReadOciConfig(const std::string& text, const std::string& bundle);

// Makes them the node's where the container joins a user namespace, as those of a pod do: its mappings are
// not in config.json, but the process is in it. kInvalid where an ID is not mapped there.
Status MapIds(pid_t pid, OciConfig* config);

// Where a volume is to be in the container: a normal path, made from one that may be relative to `cwd`.
// kRefused for the root and what the runtime itself mounts (/proc, /sys, /dev).
Result<std::string> OciTarget(const std::string& target, const std::string& cwd);

// The file's text, of at most kMostBundleBytes. `fd`, where not negative, is read instead and `path` only
// shown.
Result<std::string> ReadOciFile(const std::string& path, int fd = -1);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_OCI_CONFIG_H_
