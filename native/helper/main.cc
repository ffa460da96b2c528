// dvdi-helper: does on a plugin's filesystem what may hang, for the process at the other end of its socket.
// Started by the engine only; ends when the socket is closed.
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/json.h"
#include "helper/ops.h"
#include "helper/protocol.h"
#include "mount/paths.h"
#include "sys/env.h"

namespace dvdi {
namespace {

Json ErrorJson(const Status& status) {
  return {
      {"error", {{"code", CodeName(status.code())}, {"message", status.message()}, {"hint", status.hint()}}}};
}

Result<Json> DoFolder(const Json& request, std::vector<UniqueFd> passed, std::vector<UniqueFd>* answer) {
  int64_t start = Clock::Real()->MonotonicMs();
  std::string path = GetString(request, "path"), subpath = GetString(request, "subpath");
  UniqueFd folder;
  std::string real;
  if (!passed.empty()) {
    folder = std::move(passed[0]);
  } else {
    DVDI_ASSIGN_OR_RETURN(folder, OpenMountpoint(path, &real));
  }
  DVDI_RETURN_IF_ERROR(CheckAlive(folder.get(), path));
  if (!subpath.empty()) {
    DVDI_ASSIGN_OR_RETURN(folder, OpenBeneath(folder.get(), subpath));
  }
  auto uid = static_cast<uid_t>(GetInt(request, "uid")), gid = static_cast<gid_t>(GetInt(request, "gid"));
  int64_t chowned = 0;
  UniqueFd userns;
  switch (static_cast<Ownership>(GetInt(request, "ownership"))) {
    case Ownership::kNone: break;
    case Ownership::kRootDir: {
      DVDI_ASSIGN_OR_RETURN(bool changed, ChownRoot(folder.get(), uid, gid));
      chowned = changed ? 1 : 0;
      break;
    }
    case Ownership::kIdmap: {
      struct stat st;
      if (::fstatat(folder.get(), "", &st, AT_EMPTY_PATH) < 0)
        return Status::FromErrno(errno, "cannot look at the owner of the volume's folder");
      if (st.st_uid != uid || st.st_gid != gid) {
        DVDI_ASSIGN_OR_RETURN(userns, SwapUserNamespace(st.st_uid, uid, st.st_gid, gid));
      }
      break;
    }
    case Ownership::kRecursive: {
      // It stops by itself shortly before the other end gives up, so that it can say how far it got.
      int64_t left = GetInt(request, "left_ms");
      WalkLimits limits;
      limits.deadline_ms = start + left - std::min<int64_t>(100, left / 10);
      limits.progress = [](int64_t seen) {
        int r = SendPacket(kHelperSocket, Dump(Json{{"progress", seen}}), {});
        return r == 0 || r == -EAGAIN;  // a reader that is behind may miss some
      };
      DVDI_ASSIGN_OR_RETURN(chowned, ChownTree(folder.get(), uid, gid, limits));
      // For its mode: every entry is right already.
      DVDI_RETURN_IF_ERROR(ChownRoot(folder.get(), uid, gid).status());
      break;
    }
    default: return Status(Code::kInternal, "unknown ownership");
  }
  Json ok = {{"mount_id", MountIdOf(folder.get())}, {"real", real}, {"chowned", chowned}};
  answer->push_back(std::move(folder));
  if (userns.valid()) answer->push_back(std::move(userns));
  return ok;
}

Result<Json> Do(const std::string& text, std::vector<UniqueFd> passed, std::vector<UniqueFd>* answer) {
  DVDI_ASSIGN_OR_RETURN(Json request, ParseJson(text, "the request"));
  if (GetInt(request, "v") != kHelperProtocol)
    return Status(Code::kInternal, "dvdi-helper is of another version than the program that started it",
                  "install both from one build, then restart the program");
  std::string op = GetString(request, "op");
  if (op == "folder") return DoFolder(request, std::move(passed), answer);
  if (op == "statfs") {
    DVDI_ASSIGN_OR_RETURN(Usage usage, UsageOf(GetString(request, "path")));
    return Json{{"usage",
                 {{"total", usage.total_bytes},
                  {"used", usage.used_bytes},
                  {"free", usage.free_bytes},
                  {"inodes", usage.inodes},
                  {"inodes_free", usage.inodes_free}}}};
  }
  return Status(Code::kInternal, "dvdi-helper does not know what it was asked");
}

int Main() {
  // Descriptors that the host left open across exec would keep its files and pipes in use.
  ::syscall(SYS_close_range, kHelperSocket + 1, ~0U, 0);
  ::prctl(PR_SET_NAME, "dvdi-helper");
  struct stat st;
  if (::fstat(kHelperSocket, &st) < 0 || !S_ISSOCK(st.st_mode)) {
    static constexpr char kWhy[] = "dvdi-helper is started by the DVDI engine; it does nothing by hand.\n";
    return ::write(2, kWhy, sizeof kWhy - 1) < 0 ? 3 : 2;
  }
  if (::fcntl(kHelperSocket, F_SETFD, FD_CLOEXEC) < 0 || ::chdir("/") < 0) return 3;
  ::umask(022);
  for (;;) {
    std::string text;
    std::vector<UniqueFd> passed, answer;
    int r = ReceivePacket(kHelperSocket, true, &text, &passed);
    if (r <= 0) return r == 0 ? 0 : 3;
    auto result = Do(text, std::move(passed), &answer);
    std::vector<int> fds;
    if (result.ok())
      for (const UniqueFd& fd : answer) fds.push_back(fd.get());
    std::string reply = Dump(result.ok() ? Json{{"ok", *result}} : ErrorJson(result.status()));
    // A full buffer of progress messages: wait for the reader, which takes them until the answer comes.
    while ((r = SendPacket(kHelperSocket, reply, fds)) == -EAGAIN) ::usleep(1000);
    if (r < 0) return 3;
  }
}

}  // namespace
}  // namespace dvdi

int main() { return dvdi::Main(); }
