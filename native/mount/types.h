// Small types that stages and the helper process share.
#ifndef DVDI_MOUNT_TYPES_H_
#define DVDI_MOUNT_TYPES_H_

#include <cstdint>

namespace dvdi {

// Who is to own what a workload finds in its volume. "Folder" is the folder that is staged: the
// volume's root, or its subpath.
enum class Ownership {
  kNone,       // nothing is touched
  kRootDir,    // the folder is given to uid:gid (where it differs) with rwx for its owner
  kIdmap,      // nothing on disk changes: the stage shows the folder's owner as uid:gid and the
               // other way round (a swap; all other ids stay), so that it is a bijection
  kRecursive,  // the folder and all below it on the same filesystem are given to uid:gid
};

// Of a filesystem, as statfs(2) has it; free is what is left for users that are not root.
struct Usage {
  int64_t total_bytes = 0, used_bytes = 0, free_bytes = 0, inodes = 0, inodes_free = 0;
};

}  // namespace dvdi

#endif  // DVDI_MOUNT_TYPES_H_
