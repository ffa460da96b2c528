#include "engine/stage_meta.h"

#include <fcntl.h>

#include <cerrno>
#include <string_view>

#include "base/guards.h"
#include "base/json.h"
#include "engine/meta.h"
#include "engine/operation_json.h"
#include "sys/files.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr std::string_view kFile = ".json", kEnded = ".ended";

std::string FileOf(const std::string& stage) { return stage + std::string(kFile); }
// Where it lies once the stage has ended.
std::string EndedFileOf(const std::string& stage) { return FileOf(stage + std::string(kEnded)); }

}  // namespace

Status WriteStageMeta(const Env& env, const StageMeta& m) {
  Json j = OperationToJson(m.operation);
  j["attachment"] = m.attach.attachment;
  j["target"] = m.attach.target, j["mode"] = m.attach.mode, j["access"] = m.attach.access;
  j["mountpoint"] = m.mountpoint, j["device"] = m.device, j["made_in"] = m.made_in;
  std::string path = FileOf(m.stage);
  int fd = env.sys->OpenAt(AT_FDCWD, path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  if (fd < 0) return Status::FromErrno(-fd, "cannot make " + path, path);
  Status s = WriteAll(env.sys, fd, Dump(j), path);
  env.sys->Close(fd);
  return s;
}

Result<std::vector<StageMeta>> ReadStageMetas(const Env& env, const std::string& stage_root,
                                              const std::string& attachment) {
  std::vector<std::string> names;
  std::string folder = stage_root + "/" + attachment;
  std::vector<StageMeta> found;
  const int r = env.sys->ListDir(AT_FDCWD, folder.c_str(), &names);
  if (r == -ENOENT || r == -ENOTDIR) return found;
  if (r < 0) return Status::FromErrno(-r, "cannot list " + folder, folder);
  for (const auto& name : names) {
    if (!name.ends_with(kFile) || name == "meta.json") continue;
    auto text = ReadOwnFile(env.sys, folder + "/" + name);
    const int error = text.status().error_number();
    if (!text.ok() && error != 0 && error != ENOENT && error != ELOOP) return text.status();
    if (!text.ok()) continue;
    auto j = ParseJson(*text, name);
    if (!j.ok()) continue;
    StageMeta m;
    m.operation = OperationFromJson(*j);
    m.attach.attachment = GetString(*j, "attachment");
    m.attach.target = GetString(*j, "target");
    m.attach.mode = GetString(*j, "mode"), m.attach.access = GetString(*j, "access");
    m.mountpoint = GetString(*j, "mountpoint"), m.device = GetString(*j, "device");
    m.made_in = static_cast<uint64_t>(GetInt(*j, "made_in"));
    m.stage = folder + "/" + name.substr(0, name.size() - kFile.size());
    m.ended = m.stage.ends_with(kEnded);
    if (m.ended) m.stage.resize(m.stage.size() - kEnded.size());
    if (m.attach.attachment == attachment && !m.operation.id.empty()) found.push_back(std::move(m));
  }
  return found;
}

bool MayBeMounted(const Env& env, const std::vector<MountEntry>& mounts, const StageMeta& s) {
  if (FindMount(mounts, s.stage) != nullptr) return true;
  uint64_t ours = 0;
  if (!DVDI_GUARD(stage_elsewhere) || s.made_in == 0) return false;
  if (env.sys->MountNamespace(0, &ours) >= 0 && s.made_in == ours) return false;
  bool ended = false;
  return env.sys->MountNamespaceEnded(s.made_in, &ended) < 0 || !ended;
}

Status EndStageMeta(const Env& env, const std::string& stage) {
  std::string path = FileOf(stage), ended = EndedFileOf(stage);
  int r = env.sys->RenameAt(AT_FDCWD, path.c_str(), AT_FDCWD, ended.c_str());
  if (r < 0 && r != -ENOENT) return Status::FromErrno(-r, "cannot rename " + path, path);
  return Status();
}

bool StageHasEnded(const Env& env, const std::string& stage) {
  struct stat st;
  return env.sys->FstatAt(AT_FDCWD, EndedFileOf(stage).c_str(), &st, AT_SYMLINK_NOFOLLOW) >= 0;
}

Result<bool> StageIsTold(const Env& env, const std::string& stage) {
  struct stat st;
  for (const std::string& path : {FileOf(stage), EndedFileOf(stage)}) {
    const int r = env.sys->FstatAt(AT_FDCWD, path.c_str(), &st, AT_SYMLINK_NOFOLLOW);
    if (r >= 0) return true;
    if (r != -ENOENT) return Status::FromErrno(-r, "cannot look at " + path, path);
  }
  return false;
}

Status RemoveStageMeta(const Env& env, const std::string& stage) {
  std::string path = FileOf(stage);
  int r = env.sys->UnlinkAt(AT_FDCWD, path.c_str(), 0);
  if (r == -ENOENT) {
    path = EndedFileOf(stage);
    r = env.sys->UnlinkAt(AT_FDCWD, path.c_str(), 0);
  }
  if (r < 0 && r != -ENOENT) return Status::FromErrno(-r, "cannot remove " + path, path);
  return Status();
}

}  // namespace dvdi
