// The folder of policies: blobs with their signatures, state.json, what happened to them. Root-only, written
// by one process at a time; each file is replaced whole.
#ifndef DVDI_POLICY_FOLDER_H_
#define DVDI_POLICY_FOLDER_H_

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "policy/state_file.h"
#include "sys/env.h"
#include "sys/sys_fd.h"

namespace dvdi {

// Thread-safe: it holds nothing but where the folder is.
class PolicyFolder {
 public:
  PolicyFolder(const Env& env, std::string path) : env_(env), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string StatePath() const { return path_ + "/state.json"; }
  std::string BlobPath(const std::string& sha256) const { return path_ + "/blobs/" + sha256 + ".wasm"; }

  // 0, or -errno of the stat.
  int StatState(struct stat* st) const;
  // Whether a policy was ever installed here: without it a lost state.json would bring the built-in blob
  // back.
  Result<bool> Used() const;
  // kPolicy where it is damaged; `st`, where given, is of the file that was read.
  Result<PolicyState> ReadState(struct stat* st = nullptr) const;

  // How large a blob is that only we could have written. The bytes are not looked at.
  Result<uint64_t> BlobBytes(const std::string& sha256) const;
  // A blob's bytes; kPolicy where they are not those of its name.
  Result<std::string> ReadBlob(const std::string& sha256) const;
  // The text of its signature; nullopt where it has none.
  Result<std::optional<std::string>> ReadSignature(const std::string& sha256) const;
  struct Entry {
    std::string sha256;
    int64_t kept_ms = 0, bytes = 0;
  };
  // The blobs that are kept, the oldest first.
  Result<std::vector<Entry>> Blobs() const;
  // What happened, the oldest first; empty where nothing did, or nobody knows.
  Json History() const;

  // The right to write. Others wait for a while, and are kRefused then.
  class Writer {
   public:
    // What is known of earlier installations; the default where there were none. `forget_damaged`: where
    // state.json cannot be used it is put aside instead of a failure: nobody knows then which versions were
    // active, or what is barred.
    Result<PolicyState> Before(bool forget_damaged) const;
    Status PutBlob(const std::string& sha256, std::string_view blob, std::string_view signature) const;
    // Durable when it returns; `st` is of the new file.
    Status PutState(const PolicyState& state, struct stat* st) const;
    // Blobs that neither `state` names nor are among the newest few are removed.
    void Prune(const PolicyState& state) const;
    // One entry, {"event", …}; the time is added. What cannot be kept is lost: the audit log has it too.
    void AddHistory(Json entry) const;

   private:
    Status MarkUsed() const;
    friend class PolicyFolder;
    Writer(const PolicyFolder* owner, SysFd folder, SysFd lock)
        : owner_(owner), folder_(std::move(folder)), lock_(std::move(lock)) {}
    const PolicyFolder* owner_;
    SysFd folder_, lock_;
  };
  // Makes the folder where it is missing.
  Result<Writer> Write() const;

 private:
  const Env env_;
  const std::string path_;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_FOLDER_H_
