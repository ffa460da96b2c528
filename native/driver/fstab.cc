#include "driver/fstab.h"

#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <system_error>

#include "base/path.h"
#include "base/text.h"
#include "mount/mountinfo.h"
#include "sys/sys.h"

namespace dvdi {

Result<bool> CheckMounted(const std::string& path) {
  // By both names, as the table may have either.
  std::error_code unresolved;
  const std::string pool = NormalPath(path),
                    real_pool = NormalPath(std::filesystem::weakly_canonical(path, unresolved).string());
  if (unresolved)
    return Status::FromErrno(unresolved.value(), "cannot resolve the path of the pool " + path, path);
  std::unique_ptr<FILE, int (*)(FILE*)> table(::setmntent("/etc/fstab", "re"), &::endmntent);
  // Containers have none.
  if (table == nullptr || pool.empty()) return false;
  DVDI_ASSIGN_OR_RETURN(std::string text, Sys::Real()->Mountinfo());
  const auto mounts = ParseMountinfo(text);
  bool named = false;
  struct mntent entry;
  char buffer[PATH_MAX + 1024];
  while (::getmntent_r(table.get(), &entry, buffer, sizeof buffer) != nullptr) {
    const std::string at = NormalPath(entry.mnt_dir);
    auto above = [&](const std::string& name) { return at == name || IsStrictlyBelow(at, name); };
    if (at.empty() || at == "/" || (!above(pool) && !above(real_pool))) continue;
    // The kernel's table has no symbolic links in it.
    char real[PATH_MAX];
    if (::realpath(at.c_str(), real) != nullptr && FindMount(mounts, real) != nullptr) {
      named = true;
      continue;
    }
    return Status(
               Code::kRefused,
               "the pool " + path + " lies on " + OneLine(at) +
                   ", which is to be mounted (/etc/fstab), and nothing is mounted there: its volumes would "
                   "seem not to exist",
               "mount it (mount " + OneLine(at) + ")")
        .WithPath(at);
  }
  return named;
}

}  // namespace dvdi
