// Compiled forms of blobs on disk. What is loaded from here runs as machine code: only what this user wrote
// is used, and only whole.
#ifndef DVDI_POLICY_CACHE_H_
#define DVDI_POLICY_CACHE_H_

#include <optional>
#include <string>
#include <string_view>

#include "sys/env.h"

namespace dvdi {

// A compiled form as it was read from the disk.
struct CachedForm {
  std::string file;
  size_t header = 0;
  std::string_view compiled() const { return std::string_view(file).substr(header); }
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
  // Keeps it (temporary file, fsync, rename), and removes the oldest beyond a few.
  void Put(const std::string& key, std::string_view compiled) const;
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
