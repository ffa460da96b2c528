// /proc/PID/mountinfo, proc(5).
#ifndef DVDI_MOUNT_MOUNTINFO_H_
#define DVDI_MOUNT_MOUNTINFO_H_

#include <string>
#include <string_view>
#include <vector>

namespace dvdi {

struct MountEntry {
  int id = 0, parent = 0;
  std::string device;       // "8:1"
  std::string root;         // what of the filesystem is mounted
  std::string mountpoint;   // unescaped
  std::string options;      // per mount
  std::string propagation;  // "shared:3 master:1", "" where private
  std::string type, source, super_options;
};

// Lines that are not understood are passed over.
std::vector<MountEntry> ParseMountinfo(std::string_view text);
// Only the mounts at those paths or above them, which is all that the functions below ask for of them: a node
// may have many thousands of others.
std::vector<MountEntry> ParseMountinfo(std::string_view text, const std::vector<std::string>& paths);
// The top mount at exactly that path, or null. Paths are compared as text: without symlinks, normalized.
const MountEntry* FindMount(const std::vector<MountEntry>& mounts, std::string_view mountpoint);
// The mount that contains that path, or null. A mount hidden by a later one above it does not count.
const MountEntry* ContainingMount(const std::vector<MountEntry>& mounts, std::string_view path);
// The mounts that a walk to that path enters, outermost first; the last is ContainingMount.
std::vector<const MountEntry*> MountsOnTheWay(const std::vector<MountEntry>& mounts, std::string_view path);
// Where a path that this mount contains lies inside its filesystem.
std::string PathInFilesystem(const MountEntry& mount, std::string_view path);
// Where strictly below `folder` the same is mounted as lies at `path`, or what lies within that. `mounts` are
// those on the way to `path`, `text` is what they were read from.
std::vector<std::string> MountpointsOf(std::string_view text, const std::vector<MountEntry>& mounts,
                                       std::string_view path, const std::string& folder);
// Whether a comma-separated list ("rw,nosuid") has that word.
bool HasOption(std::string_view options, std::string_view word);

}  // namespace dvdi

#endif  // DVDI_MOUNT_MOUNTINFO_H_
