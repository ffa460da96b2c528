#include "engine/locks.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "sys/lock.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr int kTries = 20;

}  // namespace

Result<std::unique_ptr<InstanceLock>> InstanceLock::Take(const Env& env, const std::string& folder) {
  for (int tries = 1;; ++tries) {
    std::string id = env.random->HexId(16);
    std::string path = folder + "/" + id;
    // Locked before it has its name: a file that another engine can see and lock belongs to a dead engine.
    std::string temporary = folder + "/." + id;
    int fd = env.sys->OpenAt(AT_FDCWD, temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0) return Status::FromErrno(-fd, "cannot make " + temporary, temporary);
    int r = env.sys->TryLock(fd);
    if (r >= 0) r = env.sys->RenameAt(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str());
    if (r >= 0) return std::unique_ptr<InstanceLock>(new InstanceLock(env, folder, id, fd));
    env.sys->Close(fd);
    env.sys->UnlinkAt(AT_FDCWD, temporary.c_str(), 0);
    // Another engine may have swept it in the moment before it was locked.
    if ((r == -ENOENT || r == -EAGAIN) && tries < kTries) continue;
    return Status::FromErrno(-r, "cannot lock " + path, path);
  }
}

void InstanceLock::End() { env_.sys->UnlinkAt(AT_FDCWD, (folder_ + "/" + id_).c_str(), 0); }

InstanceLock::~InstanceLock() {
  End();
  env_.sys->Close(fd_);
}

bool InstanceAlive(const Env& env, const std::string& folder, const std::string& id) {
  int fd = env.sys->OpenAt(AT_FDCWD, (folder + "/" + id).c_str(), O_RDWR | O_NOFOLLOW);
  if (fd < 0) return fd != -ENOENT;
  int r = env.sys->TryLock(fd);
  env.sys->Close(fd);
  return r < 0;
}

void SweepInstances(const Env& env, const std::string& folder) {
  std::vector<std::string> names;
  if (env.sys->ListDir(AT_FDCWD, folder.c_str(), &names) < 0) return;
  for (const auto& name : names) {
    // Also those that never got their name: their engine was killed on the way.
    if (InstanceAlive(env, folder, name)) continue;
    env.sys->UnlinkAt(AT_FDCWD, (folder + "/" + name).c_str(), 0);
  }
}

Result<std::unique_ptr<VolumeLocks>> VolumeLocks::Take(const Env& env, const std::string& file,
                                                       const Names& volumes, int64_t deadline_ms) {
  int fd = env.sys->OpenAt(AT_FDCWD, file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
  if (fd < 0) return Status::FromErrno(-fd, "cannot open the volume locks " + file, file);
  std::unique_ptr<VolumeLocks> locks(new VolumeLocks(env, fd, volumes.size()));
  struct Place {
    int64_t offset;
    const std::pair<std::string, std::string>* volume;
  };
  std::vector<Place> places;
  for (const auto& v : volumes) {
    std::string digest = Sha256Hex(v.first + '\0' + v.second);
    // Two volumes that share a byte wait for each other: needless, harmless and rare (61 bits).
    places.push_back({static_cast<int64_t>(std::stoull(digest.substr(0, 16), nullptr, 16) >> 3), &v});
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.offset < b.offset; });
  for (const Place& p : places) {
    const int r = WaitForLock(env, fd, deadline_ms, p.offset, 1);
    if (r == -EAGAIN)
      return Status(Code::kTimeout,
                    "volume " + p.volume->second + " of driver " + p.volume->first +
                        " is being worked on by another operation",
                    "try again; `dvdi status` shows what is under way")
          .WithVolume(p.volume->first, p.volume->second);
    if (r < 0) return Status::FromErrno(-r, "cannot lock a volume in " + file, file);
  }
  return locks;
}

VolumeLocks::~VolumeLocks() { env_.sys->Close(fd_); }

}  // namespace dvdi
