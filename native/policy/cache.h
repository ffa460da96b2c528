// Compiled forms of blobs on disk. What is loaded from here runs as machine code: only what this user wrote
// is used, and only whole.
#ifndef DVDI_POLICY_CACHE_H_
#define DVDI_POLICY_CACHE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sys/env.h"
#include "sys/sys_fd.h"

namespace dvdi {

// A compiled form on the disk, open and mapped.
class CachedForm {
 public:
  CachedForm(SysFd file, const void* at, size_t length, size_t compiled_bytes, size_t note_bytes)
      : file_(std::move(file)),
        at_(at),
        length_(length),
        compiled_bytes_(compiled_bytes),
        note_bytes_(note_bytes) {}
  CachedForm(CachedForm&& other) noexcept
      : file_(std::move(other.file_)),
        at_(std::exchange(other.at_, nullptr)),
        length_(other.length_),
        compiled_bytes_(other.compiled_bytes_),
        note_bytes_(other.note_bytes_) {}
  CachedForm(const CachedForm&) = delete;
  CachedForm& operator=(const CachedForm&) = delete;
  CachedForm& operator=(CachedForm&&) = delete;
  ~CachedForm();

  // The bytes, as long as this lives.
  std::string_view compiled() const { return {static_cast<const char*>(at_), compiled_bytes_}; }
  // What was put beside them, as long as this lives.
  std::string_view note() const { return {static_cast<const char*>(at_) + compiled_bytes_, note_bytes_}; }
  // A path of the very file that was checked, as long as this lives. It begins with the compiled form; a few
  // bytes of ours are behind it.
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_.get()); }

 private:
  SysFd file_;
  const void* at_;  // null: moved from
  size_t length_, compiled_bytes_, note_bytes_;
};

// Thread-safe; several processes may share the folder. No failure here is an error: the blob is compiled
// then.
class CompiledCache {
 public:
  // `folder` is made where it is missing ("" for no cache).
  CompiledCache(const Env& env, std::string folder) : env_(env), folder_(std::move(folder)) {}

  // The compiled form, or nullopt where there is none, it is damaged, or the folder or the file belongs to
  // another user or can be written by others.
  std::optional<CachedForm> Get(const std::string& key) const;
  // Keeps it in the place of what was there (temporary file, fsync, rename), with a note of the caller's, and
  // removes the oldest beyond a few. On a disk that would be full by it nothing is written: its last room is
  // the ledger's.
  void Put(const std::string& key, std::string_view compiled, std::string_view note) const;
  void Remove(const std::string& key) const;

  // The name of the entry: everything that makes a compiled form another one.
  static std::string Key(const std::string& blob_sha256, const std::string& settings);

 private:
  void Prune(int folder) const;

  const Env env_;
  const std::string folder_;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_CACHE_H_
