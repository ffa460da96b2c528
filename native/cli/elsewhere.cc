#include "cli/elsewhere.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <set>
#include <utility>
#include <vector>

#include "base/path.h"
#include "base/text.h"
#include "mount/mountinfo.h"
#include "sys/sys.h"

namespace dvdi::cli {
namespace {

constexpr int kLooks = 3;

struct Look {
  bool found = false;
  bool missed = false;  // a task ended meanwhile
  bool blind = false;   // one may not be looked at
  bool held = false;    // a mount namespace is held by a file, with or without a process in it
};

// Threads may have a mount namespace each, and a mountinfo shows what lies beneath the task's root alone:
// each pair of them is read once, and that of a task that shows neither as well.
void LookAtTask(pid_t task, const std::string& end, std::set<std::pair<uint64_t, std::string>>* seen,
                Look* look) {
  std::array<char, PATH_MAX> root = {};
  uint64_t number = 0;
  const std::string link = "/proc/" + std::to_string(task) + "/root";
  const bool shown = Sys::Real()->MountNamespace(task, &number) >= 0 &&
                     ::readlink(link.c_str(), root.data(), root.size() - 1) >= 0;
  if (shown && !seen->insert({number, root.data()}).second) return;
  auto text = Sys::Real()->Mountinfo(task);
  if (!text.ok()) {
    const int error = text.status().error_number();
    (error == EACCES || error == EPERM ? look->blind : look->missed) = true;
    return;
  }
  for (const MountEntry& mount : ParseMountinfo(*text)) {
    look->found |= mount.mountpoint.ends_with(end);
    look->held |= mount.type == "nsfs" && mount.root.starts_with("mnt:");
  }
}

// `end`: of the stage's path, which nothing else on the node has, whatever lies before it for whom.
Look LookAtAll(const std::string& end) {
  Look look;
  std::set<std::pair<uint64_t, std::string>> seen;
  std::vector<std::string> processes, tasks;
  look.blind = Sys::Real()->ListDir(AT_FDCWD, "/proc", &processes) < 0;
  for (const auto& process : processes) {
    if (!IsDigits(process)) continue;
    look.missed |= Sys::Real()->ListDir(AT_FDCWD, ("/proc/" + process + "/task").c_str(), &tasks) < 0;
    for (const auto& task : tasks) LookAtTask(static_cast<pid_t>(::atol(task.c_str())), end, &seen, &look);
  }
  return look;
}

bool SeesAllProcesses() {
  uint64_t number = 0;
  return Sys::Real()->PidNamespace(&number) == 0 && number == kFirstPidNamespace;
}

}  // namespace

bool MountedNowhere(const std::string& stage, bool made_here) {
  if (!IsNormalPath(stage) || stage == "/") return false;
  const std::string end = "/" + NameOf(ParentOf(stage)) + "/" + NameOf(stage);
  // What a task that ended has started meanwhile is there at the next look.
  Look look{.missed = true};
  for (int i = 0; i < kLooks && look.missed; ++i) {
    look = LookAtAll(end);
    if (look.found || look.blind) return false;
    if (!made_here && (look.held || !SeesAllProcesses())) return false;
  }
  return true;
}

}  // namespace dvdi::cli
