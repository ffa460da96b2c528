#include "mount/classic.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

#include "mount/mountinfo.h"
#include "mount/paths.h"
#include "mount/volume_folder.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

namespace dvdi {
namespace {

struct Flag {
  const char* option;
  unsigned long flag;
};
constexpr Flag kFlags[] = {{"ro", MS_RDONLY},         {"nosuid", MS_NOSUID},
                           {"nodev", MS_NODEV},       {"noexec", MS_NOEXEC},
                           {"noatime", MS_NOATIME},   {"nodiratime", MS_NODIRATIME},
                           {"relatime", MS_RELATIME}, {"nosymfollow", MS_NOSYMFOLLOW}};

unsigned long FlagsOf(const MountEntry& mount) {
  unsigned long flags = 0;
  for (const Flag& flag : kFlags)
    if (HasOption(mount.options, flag.option)) flags |= flag.flag;
  return flags;
}

// The place where a stage is made ready: a folder that is a private mount of its own, so that nothing
// mounted on it is seen elsewhere, and from which a mount may be moved away.
class Scratch {
 public:
  Scratch(const Env& env, std::string path) : env_(env), path_(std::move(path)) {}
  ~Scratch() {
    if (armed_) Clear();
  }

  Status Make() {
    int r = env_.sys->MkdirAt(AT_FDCWD, path_.c_str(), 0700);
    if (r == -EEXIST) {  // from a crash
      Clear();
      r = env_.sys->MkdirAt(AT_FDCWD, path_.c_str(), 0700);
    }
    if (r < 0) return Status::FromErrno(-r, "cannot make the folder " + path_, path_);
    armed_ = true;
    DVDI_RETURN_IF_ERROR(Call(path_.c_str(), MS_BIND, "cannot make a mount of "));
    return Call(nullptr, MS_PRIVATE, "cannot make private the mount ");
  }

  Status Call(const char* source, unsigned long flags, const char* what) {
    int r = env_.sys->Mount(source, path_.c_str(), nullptr, flags, nullptr);
    return r < 0 ? Status::FromErrno(-r, what + path_, path_) : Status();
  }

  int Clear() {
    armed_ = false;
    for (int i = 0; i < 1000 && env_.sys->Umount(path_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0; ++i) {
    }
    int r = env_.sys->UnlinkAt(AT_FDCWD, path_.c_str(), AT_REMOVEDIR);
    return r == -ENOENT ? 0 : r;
  }

  const std::string& path() const { return path_; }

 private:
  const Env& env_;
  const std::string path_;
  bool armed_ = false;
};

Result<MountEntry> EntryAt(const Env& env, const std::string& path) {
  DVDI_ASSIGN_OR_RETURN(std::vector<MountEntry> mounts, ReadMounts(env));
  const MountEntry* entry = FindMount(mounts, path);
  if (entry == nullptr)
    return Status(Code::kSystem, "what was just mounted at " + path + " is not in mountinfo").WithPath(path);
  return *entry;
}

}  // namespace

Result<StageResult> MakeClassicStage(const Env& env, int folder, const std::string& stage,
                                     unsigned long flags) {
  Scratch scratch(env, stage + ".new");
  DVDI_RETURN_IF_ERROR(scratch.Make());
  std::string source = "/proc/self/fd/" + std::to_string(folder);
  DVDI_RETURN_IF_ERROR(scratch.Call(source.c_str(), MS_BIND, "cannot bind the volume's folder at "));
  DVDI_RETURN_IF_ERROR(scratch.Call(nullptr, MS_PRIVATE, "cannot part from the driver's mount the one at "));
  // A remount sets all flags anew: what the driver's mount forbids must be said again.
  DVDI_ASSIGN_OR_RETURN(MountEntry before, EntryAt(env, scratch.path()));
  unsigned long wanted = flags | FlagsOf(before);
  DVDI_RETURN_IF_ERROR(
      scratch.Call(nullptr, MS_REMOUNT | MS_BIND | wanted, "cannot set the flags of the mount "));
  DVDI_ASSIGN_OR_RETURN(MountEntry after, EntryAt(env, scratch.path()));
  if ((FlagsOf(after) & flags) != flags)
    return Status(Code::kUnsupported,
                  "the kernel did not set the flags of the mount " + scratch.path() + " (it has \"" +
                      after.options + "\")",
                  "use a kernel of version 5.12 or later")
        .WithPath(stage);
  int r = env.sys->Mount(scratch.path().c_str(), stage.c_str(), nullptr, MS_MOVE, nullptr);
  if (r < 0) return Status::FromErrno(-r, "cannot mount the volume's folder at " + stage, stage);
  if (r = scratch.Clear(); r < 0) {
    env.sys->Umount(stage.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    scratch.Clear();
    return Status::FromErrno(-r, "cannot remove the folder " + scratch.path(), scratch.path());
  }
  StageResult result;
  result.classic = true;
  result.device = after.device;
  return result;
}

}  // namespace dvdi
