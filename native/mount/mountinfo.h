// /proc/PID/mountinfo, proc(5).
#ifndef DVDI_MOUNT_MOUNTINFO_H_
#define DVDI_MOUNT_MOUNTINFO_H_

#include <string>
#include <string_view>
#include <vector>

namespace dvdi {

struct MountEntry {
  int id = 0, parent = 0;
  std::string device;      // "8:1"
  std::string root;        // what of the filesystem is mounted
  std::string mountpoint;  // unescaped
  std::string options;     // per mount
  std::string propagation; // "shared:3 master:1", "" where private
  std::string type, source, super_options;
};

// Lines that are not understood are passed over.
std::vector<MountEntry> ParseMountinfo(std::string_view text);
// The top mount at exactly that path (the last in the list), or null.
const MountEntry* FindMount(const std::vector<MountEntry>& mounts, std::string_view mountpoint);
// The mount that contains that path, or null.
const MountEntry* ContainingMount(const std::vector<MountEntry>& mounts, std::string_view path);

}  // namespace dvdi

#endif  // DVDI_MOUNT_MOUNTINFO_H_
