// The engine's own settings: what bounds it and the policy, never read by a policy (promise 9). From a
// YAML file that only root (or this user) can write, overridden by the caller's JSON. docs/settings.md
// describes each member.
#ifndef DVDI_SETTINGS_SETTINGS_H_
#define DVDI_SETTINGS_SETTINGS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "observe/observer.h"
#include "plugin/client.h"
#include "policy/runtime.h"

namespace dvdi {

inline constexpr char kDefaultSettingsPath[] = "/etc/dvdi/config.yaml";

struct DriverSettings {
  int max_in_flight = 0;                       // 0: the general one
  std::vector<std::string> overwrite_options;  // allowed with a Create
  // Names of {"secret": NAME} that may go to it, and to others that name them too, only; not given: all but
  // those that the list of another driver names.
  std::optional<std::vector<std::string>> secrets;
};

struct Settings {
  std::string state_dir = "/var/lib/dvdi";
  std::string runtime_dir = "/run/dvdi";
  std::string policy_dir;  // state_dir + "/policy" where not set
  std::string node;        // the host's name where not set
  std::string helper;      // path of dvdi-helper; "": beside the library, then the usual places

  DiscoveryPaths plugin_paths;
  bool all_drivers = true;  // else only those in allowed_drivers
  std::vector<std::string> allowed_drivers;
  int max_in_flight = 32;      // operations of one driver at once
  size_t max_body = 4u << 20;  // bytes of a plugin's answer
  BreakerSettings breaker;
  std::map<std::string, DriverSettings> drivers;
  std::vector<std::string> overwrite_options = {"overwritefs", "overwrite",  "force_format", "format_force",
                                                "reformat",    "mkfs_force", "wipe",         "erase"};

  std::vector<std::string> target_roots = {"/"};

  int64_t prepare_ms = 600'000;                              // deadline of a prepare that names none
  int64_t cleanup_ms = 60'000;                               // the same of a cleanup
  int64_t call_max_ms = 300'000;                             // no plugin call is given longer
  int64_t lock_wait_ms = 30'000;                             // for the ledger at opening
  int64_t release_base_ms = 1'000, release_max_ms = 60'000;  // back-off of pending releases

  PolicyLimits limits;
  int64_t records_keep = 10'000;     // number of records
  size_t record_bytes = 256u << 10;  // bound of one

  AuditSettings audit;       // its file is state_dir + "/audit.log" where not set
  std::string metrics_file;  // for node-exporter's textfile collector; "": none

  std::string secrets_dir = "/etc/dvdi/secrets";
  std::string credentials_dir;              // of systemd (CREDENTIALS_DIRECTORY); "": none
  std::vector<std::string> secret_options;  // options whose values are secrets, wherever they are written

  std::vector<std::string> policy_keys;  // lines of minisign public keys, or paths of their files
  bool unsigned_said = false, unsigned_allowed = false;  // where it is not said: as long as there is no key
  int64_t canary_operations = 200;  // recorded operations that a new policy decides again
  int64_t max_differences = -1;     // of these that it may decide otherwise; -1: any
  int64_t return_after = 3;         // workloads on which a policy may fail before it is taken back; 0: never

  bool UnsignedAllowed() const { return unsigned_said ? unsigned_allowed : policy_keys.empty(); }

  Json policy = Json::object();  // as it is, to the policy's `configure`

  bool AllowsDriver(const std::string& driver) const;
  // kRefused, with driver and volume, where the operator does not allow it: asked before any call to a
  // driver, but for those that release what is attached already (promises 6 and 9).
  Status CheckDriver(const std::string& driver, const std::string& volume = "") const;
  // Whether the operator lets the secret of that name go to that driver, by their drivers' lists.
  bool SecretAllowed(const std::string& driver, const std::string& secret) const;
  int MaxInFlight(const std::string& driver) const;
  // Whether an option of that name can destroy data, by the list above. Case, '-', '_' and a prefix that ends
  // in
  // '.' or '/' make no difference.
  bool IsOverwriteOption(const std::string& name) const;
  // Whether the operator allows it for that driver.
  bool OverwriteAllowed(const std::string& driver, const std::string& name) const;
};

// The defaults, then the file's members, then the members of `overrides` (an object of the same structure, or
// null); groups are merged, lists replaced. Where the file does not exist: kNotFound if `must_exist`, else as
// if it were empty. kRefused for a file that others could have written, kInvalid, with the member and the
// line, for a member that is unknown or wrong.
Result<Settings> LoadSettings(const std::string& path, bool must_exist, const Json& overrides);

// All members, as "plugins.sockets"; "*" stands for a driver's name.
std::vector<std::string> SettingNames();

}  // namespace dvdi

#endif  // DVDI_SETTINGS_SETTINGS_H_
