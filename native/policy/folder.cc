#include "policy/folder.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/text.h"
#include "policy/blob.h"
#include "sys/files.h"
#include "sys/lock.h"

namespace dvdi {
namespace {

constexpr uint64_t kMaxStateBytes = 256 * 1024;
constexpr uint64_t kMaxBlobBytes = 64u << 20;  // the runtime's own limit is stricter
constexpr uint64_t kMaxSignatureBytes = 64 * 1024;
constexpr uint64_t kMaxHistoryBytes = 1 << 20;
constexpr size_t kMaxHistory = 200;
constexpr size_t kMaxWhy = 1'000;
constexpr size_t kSpareBlobs = 16;
constexpr int64_t kLockWaitMs = 2'000;
constexpr const char* kStateName = "state.json";
constexpr const char* kHistoryName = "history.json";
// Exists from the first installation on.
constexpr const char* kMarker = "used";
constexpr const char* kBlobSuffix = ".wasm";
constexpr const char* kSignatureSuffix = ".wasm.minisig";

}  // namespace

int PolicyFolder::StatState(struct stat* st) const {
  return env_.sys->FstatAt(AT_FDCWD, StatePath().c_str(), st, AT_SYMLINK_NOFOLLOW);
}

Result<bool> PolicyFolder::Used() const {
  struct stat st;
  const std::string marker = path_ + "/" + kMarker;
  const int r = env_.sys->FstatAt(AT_FDCWD, marker.c_str(), &st, AT_SYMLINK_NOFOLLOW);
  if (r == -ENOENT) return false;
  if (r < 0) return Status::FromErrno(-r, "cannot stat " + marker, marker);
  return true;
}

Result<PolicyState> PolicyFolder::ReadState(struct stat* st) const {
  DVDI_ASSIGN_OR_RETURN(SysFd folder, OpenOwnFolder(env_.sys, path_, false));
  DVDI_ASSIGN_OR_RETURN(std::string text,
                        ReadOwnFileAt(env_.sys, folder.get(), kStateName, kMaxStateBytes, StatePath(), st));
  auto state = ParsePolicyState(text);
  if (!state.ok()) return Status(Code::kPolicy, StatePath() + " is damaged: " + state.status().message());
  return state;
}

Result<uint64_t> PolicyFolder::BlobBytes(const std::string& sha256) const {
  DVDI_ASSIGN_OR_RETURN(SysFd folder, OpenOwnFolder(env_.sys, path_ + "/blobs", false));
  struct stat st;
  DVDI_RETURN_IF_ERROR(
      OpenOwnFileAt(env_.sys, folder.get(), sha256 + kBlobSuffix, kMaxBlobBytes, BlobPath(sha256), &st)
          .status());
  return static_cast<uint64_t>(st.st_size);
}

Result<std::string> PolicyFolder::ReadBlob(const std::string& sha256) const {
  DVDI_ASSIGN_OR_RETURN(SysFd folder, OpenOwnFolder(env_.sys, path_ + "/blobs", false));
  DVDI_ASSIGN_OR_RETURN(std::string blob, ReadOwnFileAt(env_.sys, folder.get(), sha256 + kBlobSuffix,
                                                        kMaxBlobBytes, BlobPath(sha256)));
  if (BlobSha256(blob) != sha256)
    return Status(Code::kPolicy, BlobPath(sha256) + " is damaged: its SHA-256 is another",
                  "install that policy again: dvdi policy install FILE");
  return blob;
}

Result<std::optional<std::string>> PolicyFolder::ReadSignature(const std::string& sha256) const {
  DVDI_ASSIGN_OR_RETURN(SysFd folder, OpenOwnFolder(env_.sys, path_ + "/blobs", false));
  auto text = ReadOwnFileAt(env_.sys, folder.get(), sha256 + kSignatureSuffix, kMaxSignatureBytes,
                            path_ + "/blobs/" + sha256 + kSignatureSuffix);
  if (text.ok()) return std::optional<std::string>(std::move(*text));
  if (text.status().error_number() == ENOENT) return std::optional<std::string>();
  return text.status();
}

Result<std::vector<PolicyFolder::Entry>> PolicyFolder::Blobs() const {
  std::vector<Entry> entries;
  std::vector<std::string> names;
  const std::string blobs = path_ + "/blobs";
  const int r = env_.sys->ListDir(AT_FDCWD, blobs.c_str(), &names);
  if (r == -ENOENT) return entries;
  if (r < 0) return Status::FromErrno(-r, "cannot list " + blobs, blobs);
  for (const std::string& name : names) {
    if (!name.ends_with(kBlobSuffix)) continue;
    const std::string sha256 = name.substr(0, name.size() - std::string_view(kBlobSuffix).size());
    struct stat st;
    if (!IsSha256(sha256) ||
        env_.sys->FstatAt(AT_FDCWD, BlobPath(sha256).c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
      continue;
    entries.push_back({sha256, st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1'000'000, st.st_size});
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.kept_ms, a.sha256) < std::tie(b.kept_ms, b.sha256);
  });
  return entries;
}

Json PolicyFolder::History() const {
  auto folder = OpenOwnFolder(env_.sys, path_, false);
  if (!folder.ok()) return Json::array();
  auto text =
      ReadOwnFileAt(env_.sys, folder->get(), kHistoryName, kMaxHistoryBytes, path_ + "/" + kHistoryName);
  if (!text.ok()) return Json::array();
  auto list = ParseJson(*text, "it", 8);
  return list.ok() && list->is_array() ? std::move(*list) : Json::array();
}

Result<PolicyFolder::Writer> PolicyFolder::Write() const {
  if (path_.empty())
    return Status(Code::kRefused, "no policy can be installed: no policy folder is set", "set policy_dir");
  Sys* sys = env_.sys;
  DVDI_ASSIGN_OR_RETURN(SysFd folder, OpenOwnFolder(sys, path_, true));
  const std::string path = path_ + "/lock";
  SysFd lock(sys, sys->OpenAt(folder.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock.valid()) return Status::FromErrno(lock.error(), "cannot open " + path, path);
  const int r = WaitForLock(env_, lock.get(), env_.clock->MonotonicMs() + kLockWaitMs);
  if (r == -EAGAIN)
    return Status(Code::kRefused, "another installation is under way", "try again").WithPath(path);
  if (r < 0) return Status::FromErrno(-r, "cannot lock " + path, path);
  return Writer(this, std::move(folder), std::move(lock));
}

Result<PolicyState> PolicyFolder::Writer::Before(bool forget_damaged) const {
  const PolicyFolder& owner = *owner_;
  auto state = owner.ReadState();
  if (state.ok()) return state;
  // What the system does not let us read for the moment is no damage: put aside, it would be missing.
  if (CanBeReadLater(state.status())) return state.status();
  auto used = owner.Used();
  if (state.status().error_number() == ENOENT && used.ok() && !*used) return PolicyState();
  if (!forget_damaged)
    return Status(Code::kRefused, state.status().message(),
                  "restore the file, or say that no older version is to be feared: --allow-downgrade")
        .WithPath(owner.StatePath());
  // Until the new one is there nothing else tells that a policy was installed here: who put the first one in
  // may have died before it said so.
  DVDI_RETURN_IF_ERROR(MarkUsed());
  const std::string aside =
      std::string(kStateName) + ".damaged-" + std::to_string(owner.env_.clock->WallMs());
  const int r = owner.env_.sys->RenameAt(folder_.get(), kStateName, folder_.get(), aside.c_str());
  if (r < 0 && r != -ENOENT)
    return Status::FromErrno(-r, "cannot keep the damaged " + owner.StatePath() + " aside",
                             owner.StatePath());
  return PolicyState();
}

Status PolicyFolder::Writer::PutBlob(const std::string& sha256, std::string_view blob,
                                     std::string_view signature) const {
  const PolicyFolder& owner = *owner_;
  if (owner.ReadBlob(sha256).ok()) {
    auto kept = owner.ReadSignature(sha256);
    if (kept.ok() && (signature.empty() || *kept == signature)) return Status();
  }
  DVDI_ASSIGN_OR_RETURN(SysFd blobs, OpenOwnFolder(owner.env_.sys, owner.path_ + "/blobs", true));
  const std::string name = sha256 + kSignatureSuffix;
  // Beside the blob before the blob: one without the other would be an unsigned one.
  if (!signature.empty())
    DVDI_RETURN_IF_ERROR(
        ReplaceFile(owner.env_, blobs.get(), name, signature, owner.path_ + "/blobs/" + name, true));
  return ReplaceFile(owner.env_, blobs.get(), sha256 + kBlobSuffix, blob, owner.BlobPath(sha256), true);
}

Status PolicyFolder::Writer::MarkUsed() const {
  auto used = owner_->Used();
  if (used.ok() && *used) return Status();
  return ReplaceFile(owner_->env_, folder_.get(), kMarker, "", owner_->path_ + "/" + kMarker, true);
}

Status PolicyFolder::Writer::PutState(const PolicyState& state, struct stat* st) const {
  const PolicyFolder& owner = *owner_;
  const Env& env = owner.env_;
  DVDI_RETURN_IF_ERROR(ReplaceFile(env, folder_.get(), kStateName, ToText(state), owner.StatePath(), true));
  // Behind state.json: a first installation that dies before it leaves the built-in blob in force.
  DVDI_RETURN_IF_ERROR(MarkUsed());
  const int r = env.sys->FstatAt(folder_.get(), kStateName, st, AT_SYMLINK_NOFOLLOW);
  return r < 0 ? Status::FromErrno(-r, "cannot stat " + owner.StatePath(), owner.StatePath()) : Status();
}

void PolicyFolder::Writer::Prune(const PolicyState& state) const {
  auto entries = owner_->Blobs();
  if (!entries.ok()) return;
  std::erase_if(*entries, [&](const Entry& e) {
    return e.sha256 == state.active || (state.shadow && e.sha256 == state.shadow->sha256) ||
           std::find(state.previous.begin(), state.previous.end(), e.sha256) != state.previous.end();
  });
  for (size_t i = 0; i + kSpareBlobs < entries->size(); ++i)
    for (const char* suffix : {kBlobSuffix, kSignatureSuffix})
      owner_->env_.sys->UnlinkAt(folder_.get(), ("blobs/" + (*entries)[i].sha256 + suffix).c_str(), 0);
}

void PolicyFolder::Writer::AddHistory(Json entry) const {
  Json list = owner_->History();
  entry["at_ms"] = owner_->env_.clock->WallMs();
  // All of them together must stay a file that is read again.
  if (entry.contains("why")) entry["why"] = OneLine(GetString(entry, "why"), kMaxWhy);
  list.push_back(std::move(entry));
  if (list.size() > kMaxHistory) list.erase(list.begin(), list.end() - kMaxHistory);
  (void)ReplaceFile(owner_->env_, folder_.get(), kHistoryName, Dump(list) + "\n",
                    owner_->path_ + "/" + kHistoryName, false);
}

}  // namespace dvdi
