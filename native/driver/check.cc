#include "driver/check.h"

#include <stdio.h>

#include "base/text.h"
#include "driver/log.h"
#include "driver/loop.h"
#include "driver/mounts.h"
#include "driver/tool.h"

namespace dvdi {
namespace {

constexpr int kDetachMs = 10'000;
// e2fsck(8): errors were corrected; the same, and somebody should restart; errors are left.
constexpr int kCorrected = 1, kCorrectedRestart = 2;

// "2 40 100 /dev/x" of e2fsck -C: pass, done, of.
std::string E2fsckProgress(std::string_view line) {
  int pass = 0;
  long done = 0, all = 0;
  if (::sscanf(std::string(line).c_str(), "%d %ld %ld", &pass, &done, &all) != 3 || all <= 0) return "";
  return "pass " + std::to_string(pass) + " of 5, " + std::to_string(100 * done / all) + "%";
}
// "Phase 3 - for each AG..." of xfs_repair, "[2/7] checking extents" of btrfs check.
std::string OtherProgress(std::string_view line) {
  while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
  if (line.rfind("Phase ", 0) == 0 || (line.size() > 2 && line[0] == '[' && line[2] == '/'))
    return OneLine(line.substr(0, line.find(" (")), 80);
  return "";
}

Status CheckExt4(int image_fd, const std::string& volume, const std::string& path, const CheckWatch& watch) {
  Tool tool{{"e2fsck", "-f", "-p", "-C", "1", kToolFile}, "e2fsprogs", {}, watch.give_up};
  std::string said;
  tool.line = [&](std::string_view line) {
    std::string progress = E2fsckProgress(line);
    if (!progress.empty() && watch.progress) watch.progress(progress);
    if (progress.empty() && said.size() < 600) said += (said.empty() ? "" : "; ") + OneLine(line, 200);
  };
  DVDI_ASSIGN_OR_RETURN(ToolResult result, RunTool(tool, image_fd, volume));
  if (result.status == 0) return OkStatus();
  if (result.status == kCorrected || result.status == kCorrectedRestart) {
    Log(LogLevel::kWarning, "e2fsck repaired volume " + volume + ": " + said);
    return OkStatus();
  }
  return Status(Code::kSystem,
                "the filesystem of volume " + volume +
                    " has faults that e2fsck does not repair by itself (exit status " +
                    std::to_string(result.status) + "): " + said,
                "copy " + path + ", then run: e2fsck -f " + path)
      .WithPath(path);
}

Status CheckByLooking(Tool tool, int image_fd, const std::string& volume, const std::string& path,
                      const std::string& repair, const CheckWatch& watch) {
  std::string said;
  tool.give_up = watch.give_up;
  tool.line = [&](std::string_view line) {
    std::string progress = OtherProgress(line);
    if (!progress.empty() && watch.progress) watch.progress(progress);
    if (progress.empty() && said.size() < 600) said += (said.empty() ? "" : "; ") + OneLine(line, 200);
  };
  DVDI_ASSIGN_OR_RETURN(ToolResult result, RunTool(tool, image_fd, volume));
  if (result.status == 0) return OkStatus();
  return Status(Code::kSystem,
                std::string(tool.arguments[0]) + " found faults in the filesystem of volume " + volume +
                    " (exit status " + std::to_string(result.status) + "): " + said,
                "copy " + path + ", then run: " + repair + " " + path)
      .WithPath(path);
}

Status CheckXfs(int image_fd, const std::string& volume, const std::string& path, const CheckWatch& watch) {
  if (watch.progress) watch.progress("replaying the log");
  // As RunTool asks before its program starts.
  if (watch.give_up && watch.give_up())
    return Status(Code::kUnavailable, "the log of volume " + volume + " was not replayed: its lease ended",
                  "try again");
  {
    DVDI_ASSIGN_OR_RETURN(LoopDevice device, AttachLoop(image_fd, volume));
    auto mount = MountDetached(device.path, "xfs");
    if (!mount.ok()) return Status(mount.status()).WithContext("cannot replay the log of volume " + volume);
  }
  DVDI_ASSIGN_OR_RETURN(bool detached, WaitDetached(image_fd, kDetachMs));
  if (!detached)
    return Status(Code::kSystem, "volume " + volume + " is still attached after its log was replayed",
                  "try again");
  return CheckByLooking({{"xfs_repair", "-n", "-f", kToolFile}, "xfsprogs", {}, {}}, image_fd, volume, path,
                        "xfs_repair -f", watch);
}

}  // namespace

Status CheckFilesystem(Filesystem fs, int image_fd, const std::string& volume, const std::string& path,
                       const CheckWatch& watch) {
  switch (fs) {
    case Filesystem::kExt4: return CheckExt4(image_fd, volume, path, watch);
    case Filesystem::kXfs: return CheckXfs(image_fd, volume, path, watch);
    case Filesystem::kBtrfs:
      return CheckByLooking({{"btrfs", "check", "--readonly", kToolFile}, "btrfs-progs", {}, {}}, image_fd,
                            volume, path, "btrfs check --repair", watch);
  }
  return OkStatus();
}

}  // namespace dvdi
