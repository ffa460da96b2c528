#include "engine/meta.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/json.h"
#include "engine/locks.h"
#include "engine/operation_json.h"
#include "sys/files.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr const char* kTemporary = ".meta-";
constexpr const char* kOnTheWay = ".link";

Json ToJson(const Meta& meta) {
  Json j = OperationToJson(meta.operation);
  Json list = Json::array();
  for (const auto& a : meta.attachments) {
    list.push_back({{"id", a.id}, {"driver", a.driver}, {"volume", a.name}});
    if (a.secrets) list.back()["secrets"] = true;
    if (!a.owed) list.back()["owed"] = false;
  }
  j["attachments"] = std::move(list);
  return j;
}

// Gives root/temporary the name root/file in place of what is there, at no moment of which there is none:
// that file is the only proof that a volume is ours. What `fd` has written must be durable by then: after a
// loss of power the new name may be there, and nothing behind it.
int ReplaceLink(const Env& env, int root, int fd, const std::string& temporary, const std::string& file) {
  int r = env.sys->Fsync(fd);
  if (r < 0) return r;
  std::string link = temporary + kOnTheWay;
  r = env.sys->LinkAt(root, temporary.c_str(), root, link.c_str(), 0);
  if (r < 0) return r;
  r = env.sys->RenameAt(root, link.c_str(), root, file.c_str());
  if (r < 0) env.sys->UnlinkAt(root, link.c_str(), 0);
  return r;
}

// Temporary names that nobody is at any more: what they were for will never come to its end.
std::vector<std::string> LeftTemporaries(const Env& env, const std::string& stage_root,
                                         const MetaWriters& writers) {
  std::vector<std::string> names;
  if (env.sys->ListDir(AT_FDCWD, stage_root.c_str(), &names) < 0) return {};
  std::erase_if(names, [&](const std::string& name) {
    if (!name.starts_with(kTemporary)) return true;
    std::string rest = name.substr(std::string_view(kTemporary).size());
    if (rest.ends_with(kOnTheWay)) rest.resize(rest.size() - std::string_view(kOnTheWay).size());
    const size_t dash = rest.find('-');
    const std::string instance = rest.substr(0, dash);
    if (writers.active && instance == writers.own && dash != std::string::npos)
      return writers.active(rest.substr(dash + 1));
    return InstanceAlive(env, writers.instances, instance);
  });
  return names;
}

// Whether a temporary name may go: no folder has the file, or its content is whole, and durable from here on.
bool MayLoseItsName(const Env& env, const std::string& path) {
  struct stat st = {};
  if (env.sys->FstatAt(AT_FDCWD, path.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return false;
  if (st.st_nlink <= 1 || !S_ISREG(st.st_mode)) return true;
  auto text = ReadOwnFile(env.sys, path);
  if (!text.ok() || !ParseJson(*text, path).ok()) return false;
  SysFd file(env.sys, env.sys->OpenAt(AT_FDCWD, path.c_str(), O_RDONLY | O_NOFOLLOW));
  return file.valid() && env.sys->Fsync(file.get()) >= 0;
}

}  // namespace

void SweepTemporaryMeta(const Env& env, const std::string& stage_root, const MetaWriters& writers) {
  for (const auto& name : LeftTemporaries(env, stage_root, writers)) {
    std::string path = stage_root + "/" + name;
    if (name.ends_with(kOnTheWay) || MayLoseItsName(env, path)) env.sys->UnlinkAt(AT_FDCWD, path.c_str(), 0);
  }
}

bool MetaWasCutShort(const Env& env, const std::string& stage_root, const MetaWriters& writers,
                     const std::string& id) {
  std::vector<std::string> inside;
  std::string folder = stage_root + "/" + id;
  struct stat st = {};
  if (env.sys->ListDir(AT_FDCWD, folder.c_str(), &inside) < 0 || inside.size() != 1 ||
      inside[0] != "meta.json" ||
      env.sys->FstatAt(AT_FDCWD, (folder + "/meta.json").c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
    return false;
  auto names = LeftTemporaries(env, stage_root, writers);
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    struct stat other = {};
    std::string path = stage_root + "/" + name;
    return env.sys->FstatAt(AT_FDCWD, path.c_str(), &other, AT_SYMLINK_NOFOLLOW) >= 0 &&
           other.st_dev == st.st_dev && other.st_ino == st.st_ino;
  });
}

bool MetaIsBeingWritten(const Env& env, const std::string& stage_root) {
  std::vector<std::string> names;
  if (env.sys->ListDir(AT_FDCWD, stage_root.c_str(), &names) < 0) return true;
  return std::any_of(names.begin(), names.end(), [](const auto& n) { return n.starts_with(kTemporary); });
}

bool IsAttachmentId(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Status WriteMeta(const Env& env, const std::string& stage_root, const Meta& meta) {
  int root = env.sys->OpenAt(AT_FDCWD, stage_root.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (root < 0) return Status::FromErrno(-root, "cannot open " + stage_root, stage_root);
  // It says whose it is: one of an engine that was killed on the way is swept.
  std::string temporary = kTemporary + meta.operation.instance + "-" + meta.operation.id;
  auto write = [&]() -> Status {
    int fd = env.sys->OpenAt(root, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0) return Status::FromErrno(-fd, "cannot make " + stage_root + "/" + temporary, stage_root);
    Status s = WriteAll(env.sys, fd, Dump(ToJson(meta)) + "\n", "meta.json in " + stage_root);
    if (!s.ok()) s = Status(std::move(s).WithPath(stage_root));
    std::vector<std::string> made;
    for (const auto& a : meta.attachments) {
      if (!s.ok()) break;
      int r = env.sys->MkdirAt(root, a.id.c_str(), 0700);
      std::string file = a.id + "/meta.json";
      if (r >= 0) {
        made.push_back(a.id);
        r = env.sys->LinkAt(root, temporary.c_str(), root, file.c_str(), 0);
      } else if (r == -EEXIST) {
        r = ReplaceLink(env, root, fd, temporary, file);
      }
      if (r < 0) s = Status::FromErrno(-r, "cannot make " + stage_root + "/" + file, stage_root + "/" + file);
    }
    // The file is fsynced after it has all its names: ext4, XFS and btrfs keep metadata in order, so that
    // the names and folders are durable with it; the folder is fsynced for filesystems that do not.
    if (int r = 0; s.ok() && (r = env.sys->Fsync(fd)) < 0)
      s = Status::FromErrno(-r, "cannot fsync meta.json", stage_root);
    if (int r = 0; s.ok() && (r = env.sys->Fsync(root)) < 0)
      s = Status::FromErrno(-r, "cannot fsync " + stage_root, stage_root);
    env.sys->Close(fd);
    // Without them nobody need ask later what they were to prove.
    if (!s.ok())
      for (const auto& id : made) (void)RemoveMeta(env, stage_root, id);
    return s;
  };
  Status s = write();
  // The last name to go: until the content is durable, or no folder has it, it tells a file that was never
  // whole from one that was damaged (MetaWasCutShort).
  if (s.ok() || MayLoseItsName(env, stage_root + "/" + temporary))
    env.sys->UnlinkAt(root, temporary.c_str(), 0);
  env.sys->Close(root);
  return s;
}

Result<Meta> ReadMeta(const Env& env, const std::string& stage_root, const std::string& id) {
  std::string path = stage_root + "/" + id + "/meta.json";
  DVDI_ASSIGN_OR_RETURN(std::string text, ReadOwnFile(env.sys, path));
  DVDI_ASSIGN_OR_RETURN(Json j, ParseJson(text, path));
  Meta meta;
  meta.operation = OperationFromJson(j);
  const OperationRow& o = meta.operation;
  bool own = false;
  for (const Json& a : GetMember(j, "attachments")) {
    MetaEntry e{GetString(a, "id"), GetString(a, "driver"), GetString(a, "volume"), GetBool(a, "secrets"),
                GetBool(a, "owed", true)};
    if (!IsAttachmentId(e.id) || e.driver.empty() || e.name.empty())
      return Status(Code::kInvalid, path + " names no volume").WithPath(path);
    own |= e.id == id;
    meta.attachments.push_back(std::move(e));
  }
  if (!own || o.id.empty() || o.owner.empty() || o.scope.empty())
    return Status(Code::kInvalid, path + " is incomplete").WithPath(path);
  return meta;
}

Result<bool> MetaIsGone(const Env& env, const std::string& stage_root, const std::string& id) {
  struct stat st;
  const std::string path = stage_root + "/" + id + "/meta.json";
  const int r = env.sys->FstatAt(AT_FDCWD, path.c_str(), &st, AT_SYMLINK_NOFOLLOW);
  if (r < 0) {
    Status failed = Status::FromErrno(-r, "cannot look at " + path, path);
    if (CanBeReadLater(failed)) return failed;
  }
  return r == -ENOENT || r == -ENOTDIR;
}

Result<std::vector<std::string>> ListMeta(const Env& env, const std::string& stage_root) {
  std::vector<std::string> names, ids;
  int r = env.sys->ListDir(AT_FDCWD, stage_root.c_str(), &names);
  if (r < 0) return Status::FromErrno(-r, "cannot list " + stage_root, stage_root);
  for (auto& n : names)
    if (IsAttachmentId(n)) ids.push_back(std::move(n));
  std::sort(ids.begin(), ids.end());  // the order of a folder is no order: the same world, the same history
  return ids;
}

Status RemoveMeta(const Env& env, const std::string& stage_root, const std::string& id) {
  std::string folder = stage_root + "/" + id;
  int r = env.sys->UnlinkAt(AT_FDCWD, (folder + "/meta.json").c_str(), 0);
  if (r < 0 && r != -ENOENT) return Status::FromErrno(-r, "cannot remove " + folder + "/meta.json", folder);
  r = env.sys->UnlinkAt(AT_FDCWD, folder.c_str(), AT_REMOVEDIR);
  if (r < 0 && r != -ENOENT) return Status::FromErrno(-r, "cannot remove " + folder, folder);
  return Status();
}

void RemoveRemains(const Env& env, const std::string& stage_root, const std::string& id,
                   const std::vector<MountEntry>& mounts) {
  std::string folder = stage_root + "/" + id;
  std::vector<std::string> names;
  if (env.sys->ListDir(AT_FDCWD, folder.c_str(), &names) < 0) return;
  for (const auto& name : names)
    if (FindMount(mounts, folder + "/" + name) != nullptr) return;
  for (const auto& name : names) {
    bool file = name.ends_with(".json");
    env.sys->UnlinkAt(AT_FDCWD, (folder + "/" + name).c_str(), file ? 0 : AT_REMOVEDIR);
  }
  (void)RemoveMeta(env, stage_root, id);
}

void RemoveLetGo(const Env& env, const std::string& stage_root, const std::string& id) {
  if (RemoveMeta(env, stage_root, id).ok()) return;
  auto text = env.sys->Mountinfo();
  if (text.ok()) RemoveRemains(env, stage_root, id, ParseMountinfo(*text));
}

}  // namespace dvdi
