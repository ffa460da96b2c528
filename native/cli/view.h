// What `ls` and `inspect` show of a volume, and which volumes: members of --format, filters.
#ifndef DVDI_CLI_VIEW_H_
#define DVDI_CLI_VIEW_H_

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "mount/mountinfo.h"

namespace dvdi::cli {

// A volume of dvdi_status with the members that --format knows (docs/cli.md): those of `docker volume`, and
// our own. `mounts` tell where a manual mount is bound.
Json VolumeView(const Json& volume, const std::vector<MountEntry>& mounts);

// Where a user has the volume. A manual mount that was bound nowhere is used at its stage.
std::string UserTarget(const std::vector<MountEntry>& mounts, const Json& user);

// Conditions KEY=VALUE: all keys must hold, and of one key one value is enough, as with docker.
class Filters {
 public:
  // `prune`: with the keys of `prune` instead of those of `ls`. kInvalid for others.
  static Result<Filters> Parse(const std::vector<std::string>& texts, bool prune);
  // `volume` is one of dvdi_status.
  bool Matches(const Json& volume, int64_t now_ms) const;

 private:
  struct Condition {
    std::string key, value;
    int64_t ms = 0;  // until
  };
  static bool Holds(const Condition& condition, const Json& volume, int64_t now_ms);
  std::vector<Condition> conditions_;
};

}  // namespace dvdi::cli

#endif  // DVDI_CLI_VIEW_H_
