#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "base/guards.h"
#include "base/text.h"
#include "mount/mountinfo.h"
#include "mount/paths.h"
#include "mount/stage.h"
#include "mount/volume_folder.h"

namespace dvdi {
namespace {

Status NotNormal(const std::string& path) {
  std::string normal = NormalPath(path);
  return Status(Code::kInvalid, "the path \"" + OneLine(path) + "\" cannot be a mount target",
                normal.empty() ? "name an absolute path without \"..\"" : "write it as " + OneLine(normal))
      .WithPath(OneLine(path));
}

// The first on the way to that path, or itself, that is no folder (the kernel does not say which); "" where
// all are folders, or cannot be looked at.
std::string NoFolderOn(Sys* sys, const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    struct stat st;
    std::string prefix = path.substr(0, slash);
    if (sys->FstatAt(AT_FDCWD, prefix.c_str(), &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) return "";
    if (!S_ISDIR(st.st_mode)) return prefix;
    if (slash == std::string::npos) return "";
  }
}

Status CannotWalk(Sys* sys, int err, const std::string& path, const std::string& what) {
  if (err == ELOOP) {
    const std::string link = NoFolderOn(sys, path);
    return Status(Code::kRefused, what + ": " + OneLine(link.empty() ? path : link) + " is a symbolic link",
                  "name the real path")
        .WithPath(path);
  }
  if (err == ENOTDIR)
    return Status(Code::kRefused,
                  what + ": " + OneLine(path) + " is not a folder, or lies below something that is none",
                  "name a folder, or a path that does not exist yet")
        .WithPath(path);
  return Status::FromErrno(err, what, path);
}

Status CheckAllowed(const TargetRules& rules, const std::vector<std::string>& forbidden,
                    const std::string& target) {
  std::string shown = OneLine(target);
  auto refused = [&](std::string why, std::string hint) {
    return Status(Code::kRefused, "nothing is mounted at " + shown + ": " + std::move(why), std::move(hint))
        .WithPath(target);
  };
  std::string allowed;
  bool below = false;
  for (const std::string& raw : rules.roots) {
    std::string root = NormalPath(raw);
    if (root.empty()) continue;
    below = below || IsStrictlyBelow(root, target);
    allowed += (allowed.empty() ? "" : ", ") + OneLine(root);
  }
  std::string_view system = rules.system_folders ? SystemFolderOf(target, true) : std::string_view();
  if (!system.empty()) {
    std::string name(system);
    if (system == target)
      return refused("it is a system folder", "name a folder below it, or another one, as /data");
    return refused("it is in the system folder " + name, "name a folder elsewhere, as /data or below /srv");
  }
  if (!below)
    return refused("it is not below " + (allowed.empty() ? "any folder that the settings allow" : allowed),
                   "name a folder there, or add a root for targets to the settings");
  for (const std::string& raw : forbidden) {
    std::string folder = NormalPath(raw);
    if (folder.empty()) continue;
    if (target == folder || IsStrictlyBelow(folder, target))
      return refused("it is in " + OneLine(folder) + ", where the engine keeps its own",
                     "name a folder elsewhere");
    if (IsStrictlyBelow(target, folder))
      return refused("it would hide " + OneLine(folder) + ", where the engine keeps its own",
                     "name a folder elsewhere");
  }
  return Status();
}

// Of a look at a process: that it is gone, or is none that has mounts of its own. Anything else (no
// descriptor is left, no memory) says nothing of it.
bool HasNoMounts(int err) {
  return err == ENOENT || err == ESRCH || err == EINVAL || err == EACCES || err == EPERM;
}

// Whether something is mounted on that place in a filesystem. Names differ from one mount namespace to
// another (a container has a root of its own), so what is compared is where in which filesystem a mount sits.
bool IsMountedOn(const std::vector<MountEntry>& mounts, const std::string& device,
                 const std::string& inside) {
  std::map<int, const MountEntry*> by_id;
  for (const MountEntry& entry : mounts)
    if (entry.device == device) by_id[entry.id] = &entry;
  return std::any_of(mounts.begin(), mounts.end(), [&](const MountEntry& entry) {
    const auto at = by_id.find(entry.parent);
    if (at == by_id.end() || at->first == entry.id) return false;
    const MountEntry& parent = *at->second;
    return (parent.mountpoint == entry.mountpoint || IsStrictlyBelow(parent.mountpoint, entry.mountpoint)) &&
           PathInFilesystem(parent, entry.mountpoint) == inside;
  });
}

// The threads of a process whose first one has ended, and which so has no namespace itself.
std::vector<std::string> ThreadsOf(Sys* sys, const std::string& pid) {
  std::vector<std::string> threads;
  if (sys->ListDir(AT_FDCWD, ("/proc/" + pid + "/task").c_str(), &threads) < 0) threads.clear();
  return threads;
}

// Whether something is mounted on that folder in another mount namespace.
Result<bool> IsMountedOnElsewhere(const Env& env, const std::vector<MountEntry>& ours,
                                  const std::string& path) {
  const MountEntry* home = ContainingMount(ours, path);
  uint64_t own = 0;
  int r = env.sys->MountNamespace(0, &own);
  if (r < 0) return Status::FromErrno(-r, "cannot tell our own mount namespace");
  if (home == nullptr) return false;
  std::string inside = PathInFilesystem(*home, path);
  std::vector<std::string> names;
  r = env.sys->ListDir(AT_FDCWD, "/proc", &names);
  if (r < 0) return Status::FromErrno(-r, "cannot list /proc", "/proc");
  std::vector<uint64_t> seen = {own};
  const std::string unknown = "cannot tell whether " + OneLine(path) + " is mounted on in process ";
  const size_t processes = names.size();  // behind them come threads, which have none of their own
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string name = names[i];
    if (!IsDigits(name)) continue;
    auto pid = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    uint64_t space = 0;
    if (r = env.sys->MountNamespace(pid, &space); r < 0) {
      if (r == -ENOENT && i < processes)
        for (std::string& thread : ThreadsOf(env.sys, name))
          if (thread != name) names.push_back(std::move(thread));
      if (HasNoMounts(-r)) continue;
      return Status::FromErrno(-r, unknown + name, path);
    }
    if (std::find(seen.begin(), seen.end(), space) != seen.end()) continue;
    auto text = env.sys->Mountinfo(pid);
    if (!text.ok() && text.status().error_number() != 0 && !HasNoMounts(text.status().error_number()))
      return Status::FromErrno(text.status().error_number(), unknown + name, path);
    if (!text.ok() || text->empty()) continue;  // gone meanwhile: another of its processes may come
    seen.push_back(space);
    if (IsMountedOn(ParseMountinfo(*text), home->device, inside)) return true;
  }
  return false;
}

}  // namespace

Result<std::vector<std::string>> MissingFolders(const Env& env, const std::string& target) {
  if (!IsNormalPath(target)) return NotNormal(target);
  std::vector<std::string> missing;
  for (std::string path = target;; path = ParentOf(path)) {
    SysFd fd(env.sys, OpenNoSymlinks(env.sys, path, O_PATH | O_DIRECTORY));
    if (fd.valid()) break;
    if (fd.error() != ENOENT || path == "/")
      return CannotWalk(env.sys, fd.error(), path, OneLine(target) + " cannot be a mount target");
    missing.push_back(path);
  }
  std::reverse(missing.begin(), missing.end());
  return missing;
}

Status CheckTarget(const Env& env, const TargetRules& rules, const std::vector<std::string>& forbidden,
                   const std::string& target) {
  if (!IsNormalPath(target)) return NotNormal(target);
  if (DVDI_GUARD(target_allowed)) DVDI_RETURN_IF_ERROR(CheckAllowed(rules, forbidden, target));
  return MissingFolders(env, target).status();
}

Status MakeFolder(const Env& env, const std::string& path) {
  if (!IsNormalPath(path) || path == "/") return NotNormal(path);
  std::string what = "cannot make the folder " + OneLine(path);
  SysFd parent(env.sys, OpenNoSymlinks(env.sys, ParentOf(path), O_PATH | O_DIRECTORY));
  if (!parent.valid()) return CannotWalk(env.sys, parent.error(), ParentOf(path), what);
  std::string name = NameOf(path);
  int r = env.sys->MkdirAt(parent.get(), name.c_str(), 0755);
  if (r == -EEXIST) return Status(Code::kRefused, what + ": it exists already").WithPath(path);
  if (r < 0) return Status::FromErrno(-r, what, path);
  // The umask of the host must not keep a workload's user out.
  SysFd made(env.sys, env.sys->OpenAt(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct stat st = {};
  r = made.valid() ? env.sys->Fstat(made.get(), &st) : -made.error();
  if (r >= 0 && (st.st_mode & 07777) != 0755) r = env.sys->Fchmod(made.get(), 0755);
  if (r >= 0) return Status();
  env.sys->UnlinkAt(parent.get(), name.c_str(), AT_REMOVEDIR);
  return Status::FromErrno(-r, what, path);
}

Status RemoveFolder(const Env& env, const std::string& path) {
  if (!IsNormalPath(path) || path == "/") return NotNormal(path);
  std::string what = "cannot remove the folder " + OneLine(path);
  SysFd parent(env.sys, OpenNoSymlinks(env.sys, ParentOf(path), O_PATH | O_DIRECTORY));
  if (parent.error() == ENOENT) return Status();
  // MakeFolder went through folders alone. Whoever may write there has moved what we made since, or removed
  // it, as where there is nothing at all: what the path leads to now is not ours, and it stays so.
  if ((parent.error() == ELOOP || parent.error() == ENOTDIR) && !NoFolderOn(env.sys, ParentOf(path)).empty())
    return Status();
  if (!parent.valid()) return CannotWalk(env.sys, parent.error(), ParentOf(path), what);
  std::string name = NameOf(path);
  // Before it is looked at: a mount there may be a dead one.
  DVDI_ASSIGN_OR_RETURN(std::vector<MountEntry> ours, ReadMounts(env));
  if (FindMount(ours, path) != nullptr) return Status();
  // Only a folder: where something else is now, it is not what we made.
  struct stat st;
  int r = env.sys->FstatAt(parent.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
  if (r == -ENOENT || (r >= 0 && !S_ISDIR(st.st_mode))) return Status();
  if (r < 0) return Status::FromErrno(-r, what, path);
  DVDI_ASSIGN_OR_RETURN(bool elsewhere, IsMountedOnElsewhere(env, ours, path));
  if (DVDI_GUARD(folder_in_use) && elsewhere) return Status();
  r = env.sys->UnlinkAt(parent.get(), name.c_str(), AT_REMOVEDIR);
  if (r >= 0 || r == -ENOENT || r == -ENOTEMPTY || r == -EEXIST || r == -EBUSY) return Status();
  return Status::FromErrno(-r, what, path);
}

}  // namespace dvdi
