// The real world with crash points. In a program that links this, RealEnv() is it.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"
#include "crash/points.h"
#include "helper/helper.h"
#include "ledger/commits.h"
#include "plugin/transport.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

using crash::Moment;
using crash::Points;

template <class Act>
auto Effect(const char* call, int dirfd, const char* path, Act act) {
  Points& points = Points::OfThisProcess();
  Moment moment = points.Enter(std::string(call) + " " + points.Place(dirfd, path));
  if (moment == Moment::kFails) return static_cast<decltype(act())>(-points.error());
  auto result = act();
  if (moment != Moment::kNone) points.Acted(moment);
  return result;
}

// Every call of Sys that changes something. What only looks, locks or opens is no point.
class CrashSys : public Sys {
 public:
  int OpenAt(int dirfd, const char* path, int flags, mode_t mode) override {
    auto act = [&] { return Sys::OpenAt(dirfd, path, flags, mode); };
    if ((flags & (O_CREAT | O_TRUNC)) == 0) return act();
    struct stat st;
    // One that is there already is only opened.
    if ((flags & O_TRUNC) == 0 && Sys::FstatAt(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) return act();
    return Effect("create", dirfd, path, act);
  }
  ssize_t Write(int fd, const void* data, size_t n) override {
    return Effect("write", fd, "", [&] { return Sys::Write(fd, data, n); });
  }
  int Fsync(int fd) override {
    return Effect("fsync", fd, "", [&] { return Sys::Fsync(fd); });
  }
  int Allocate(int fd, int64_t bytes) override {
    return Effect("allocate", fd, "", [&] { return Sys::Allocate(fd, bytes); });
  }
  int MkdirAt(int dirfd, const char* path, mode_t mode) override {
    struct stat st;
    auto act = [&] { return Sys::MkdirAt(dirfd, path, mode); };
    if (Sys::FstatAt(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) return act();
    return Effect("mkdir", dirfd, path, act);
  }
  int UnlinkAt(int dirfd, const char* path, int flags) override {
    struct stat st;
    auto act = [&] { return Sys::UnlinkAt(dirfd, path, flags); };
    if (Sys::FstatAt(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == -ENOENT) return act();
    return Effect((flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink", dirfd, path, act);
  }
  int RenameAt(int olddir, const char* from, int newdir, const char* to) override {
    struct stat st;
    auto act = [&] { return Sys::RenameAt(olddir, from, newdir, to); };
    if (Sys::FstatAt(olddir, from, &st, AT_SYMLINK_NOFOLLOW) == -ENOENT) return act();
    return Effect("rename", newdir, to, act);
  }
  int LinkAt(int olddir, const char* from, int newdir, const char* to, int flags) override {
    return Effect("link", newdir, to, [&] { return Sys::LinkAt(olddir, from, newdir, to, flags); });
  }
  int Fchmod(int fd, mode_t mode) override {
    return Effect("chmod", fd, "", [&] { return Sys::Fchmod(fd, mode); });
  }
  int OpenTree(int dirfd, const char* path, unsigned flags) override {
    return Effect("open_tree", dirfd, path, [&] { return Sys::OpenTree(dirfd, path, flags); });
  }
  int MoveMount(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) override {
    return Effect("move_mount", to_fd, to, [&] { return Sys::MoveMount(from_fd, from, to_fd, to, flags); });
  }
  int MountSetattr(int fd, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                   uint64_t propagation, int userns_fd) override {
    return Effect("mount_setattr", fd, path,
                  [&] { return Sys::MountSetattr(fd, path, flags, set, clear, propagation, userns_fd); });
  }
  int Mount(const char* source, const char* target, const char* type, unsigned long flags,
            const char* data) override {
    return Effect("mount", -1, target, [&] { return Sys::Mount(source, target, type, flags, data); });
  }
  int Umount(const char* target, int flags) override {
    bool root = false;
    auto act = [&] { return Sys::Umount(target, flags); };
    if (Sys::IsMountRoot(target, &root) < 0 || !root) return act();
    return Effect("umount", -1, target, act);
  }
};

// Sends the request and does not wait.
void OnlySend(const PluginRequest& request) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, request.address.path.c_str(), sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0) return;
  std::string text = "POST " + request.path +
                     " HTTP/1.1\r\nHost: plugin\r\nContent-Type: application/json\r\n" +
                     "Content-Length: " + std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
  (void)!::write(fd.get(), text.data(), text.size());
  Points::Die();
}

// Each call is the point "METHOD DRIVER".
class CrashTransport : public PluginTransport {
 public:
  std::vector<PluginReply> Exchange(const std::vector<PluginRequest>& requests) override {
    Moment later = Moment::kNone;
    for (const PluginRequest& request : requests) {
      std::string driver = request.address.ToString();
      driver = driver.substr(driver.rfind('/') + 1);
      driver = driver.substr(0, driver.find('.'));
      Moment moment =
          Points::OfThisProcess().Enter(request.path.substr(request.path.rfind('.') + 1) + " " + driver);
      if (moment == Moment::kSent) OnlySend(request);
      if (moment != Moment::kNone) later = moment;
    }
    auto replies = PluginTransport::Real()->Exchange(requests);
    if (later != Moment::kNone) Points::OfThisProcess().Acted(later);
    return replies;
  }
  void CloseIdle() override { PluginTransport::Real()->CloseIdle(); }
};

class CrashHelper : public HelperRunner {
 public:
  Result<HelperReply> Run(const Env& env, const HelperRequest& request) override {
    const char* name = request.op == HelperRequest::Op::kFolder ? "helper folder" : "helper statfs";
    Moment moment = Points::OfThisProcess().Enter(name);
    auto reply = HelperRunner::Real()->Run(env, request);
    if (moment != Moment::kNone) Points::OfThisProcess().Acted(moment);
    return reply;
  }
};

}  // namespace

// Each commit is the point "commit KIND".
void CommitPoint(Commit commit, CommitMoment moment) {
  static thread_local Moment later = Moment::kNone;
  Points& points = Points::OfThisProcess();
  if (moment == CommitMoment::kBefore) {
    Moment entered = points.Enter(std::string("commit ") + CommitName(commit));
    if (entered != Moment::kNone) later = entered;
  } else if (moment == CommitMoment::kWritten) {
    if (later == Moment::kActed) Points::Die();
  } else {
    if (later != Moment::kNone) Points::Die();
    points.Committed();
  }
}

// In the place of plugin/real_env.cc, which an archive gives only to who has no definition of its own.
const Env& RealEnv() {
  static const auto* env = new Env{.sys = new CrashSys,
                                   .transport = new CrashTransport,
                                   .clock = Clock::Real(),
                                   .random = Random::Real(),
                                   .scheduler = Scheduler::Real(),
                                   .store = Store::Real(),
                                   .helper = new CrashHelper};
  return *env;
}

}  // namespace dvdi
