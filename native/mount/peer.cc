// Whether a plugin and we mean the same by a path.
#include <errno.h>

#include "base/guards.h"
#include "base/text.h"
#include "mount/mountinfo.h"
#include "mount/paths.h"
#include "mount/stage.h"
#include "mount/volume_folder.h"

namespace dvdi {
namespace {

std::string Describe(const MountEntry* mount) {
  if (mount == nullptr) return "nothing";
  std::string out = "the " + OneLine(mount->type) + " at " + OneLine(mount->mountpoint);
  return out;
}

// Nobody can look at the mounts of a plugin that is in no PID namespace of ours, or that has rights which we
// have not: only a mount that is here counts as the volume. A plain folder may as well be what lies beneath
// one that only the plugin sees. `peer`: < 0 for the former.
Status CheckUnseen(const Env& env, const std::string& real, pid_t peer, const std::vector<MountEntry>& ours) {
  bool root = false;
  const int r = env.sys->IsMountRoot(real.c_str(), &root);
  if (r == -EOPNOTSUPP) {
    const MountEntry* here = ContainingMount(ours, real);
    root = here != nullptr && here->mountpoint == real;
  } else if (r < 0) {
    return Status::FromErrno(-r, "cannot look at the volume's folder " + OneLine(real), real);
  }
  if (root) return Status();
  if (peer > 0)
    return Status(Code::kRefused,
                  "nothing is mounted at " + OneLine(real) + ", and whether the driver (pid " +
                      std::to_string(peer) +
                      ") has a mount there cannot be seen: its process may not be looked at",
                  "give dvdi the capability CAP_SYS_PTRACE, or the driver no rights that dvdi has not")
        .WithPath(real);
  return Status(
             Code::kRefused,
             "nothing is mounted at " + OneLine(real) +
                 ", and the driver's mounts cannot be seen from this PID namespace, which it is outside of",
             "run in the node's PID namespace (a container's --pid=host), or share the folder with the "
             "driver: bind it into both containers as rshared, at the same path")
      .WithPath(real);
}

// In the plugin's namespace and in ours, the path must be the same place of the same filesystem. `unseen`: of
// a plugin that may not be looked at.
Status CheckNamespaces(const Env& env, const std::string& path, pid_t peer,
                       const std::vector<MountEntry>& ours, bool* unseen) {
  if (peer <= 0) return Status();
  uint64_t own = 0, theirs = 0;
  // A plugin that is gone says nothing: only our own view is checked then.
  if (int r = env.sys->MountNamespace(peer, &theirs); r < 0) {
    *unseen = IsForbidden(-r);
    return Status();
  }
  if (int r = env.sys->MountNamespace(0, &own); r < 0)
    return Status::FromErrno(-r, "cannot tell our own mount namespace");
  if (own == theirs) return Status();
  auto text = env.sys->Mountinfo(peer);
  *unseen = IsForbidden(text.status().error_number());
  if (!text.ok() || text->empty()) return Status();
  std::vector<MountEntry> mounts = ParseMountinfo(*text);
  const MountEntry* there = ContainingMount(mounts, path);
  const MountEntry* here = ContainingMount(ours, path);
  if (there == nullptr) return Status();
  if (here != nullptr && here->device == there->device &&
      PathInFilesystem(*here, path) == PathInFilesystem(*there, path))
    return Status();
  return Status(Code::kRefused,
                "the driver (pid " + std::to_string(peer) + ") runs in another mount namespace, and its " +
                    OneLine(path) + " (on " + Describe(there) +
                    ") is not visible here, where that path is on " + Describe(here),
                "run the driver in the node's mount namespace, or share the folder with it: bind it into the "
                "driver's container as rshared, at the same path")
      .WithPath(path);
}

}  // namespace

Status CheckMountpoint(const Env& env, const std::string& mountpoint, pid_t peer, int64_t deadline_ms,
                       const std::vector<MountEntry>* mounts, PlaceCheck may_be_at, std::string* real) {
  std::vector<MountEntry> read;
  if (mounts == nullptr) {
    DVDI_ASSIGN_OR_RETURN(read, ReadMounts(env));
    mounts = &read;
  }
  std::string path = NormalPath(mountpoint);
  // Where it is no path at all, opening it says so.
  bool unseen = peer < 0;
  if (DVDI_GUARD(mountpoint_namespace) && !path.empty())
    DVDI_RETURN_IF_ERROR(CheckNamespaces(env, path, peer, *mounts, &unseen));
  StageRequest look;
  look.mountpoint = mountpoint;
  look.deadline_ms = deadline_ms;
  look.may_be_at = std::move(may_be_at);
  DVDI_ASSIGN_OR_RETURN(VolumeFolder folder, OpenVolumeFolder(env, look, *mounts));
  if (DVDI_GUARD(unseen_driver) && unseen) DVDI_RETURN_IF_ERROR(CheckUnseen(env, folder.real, peer, *mounts));
  if (real != nullptr) *real = std::move(folder.real);
  return Status();
}

}  // namespace dvdi
