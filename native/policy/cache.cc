#include "policy/cache.h"

#include <fcntl.h>
#include <sodium.h>
#include <wasmtime.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/text.h"
#include "sys/files.h"

namespace dvdi {
namespace {

constexpr std::string_view kMagic = "dvdi compiled policy 1\n";
constexpr size_t kChecksumBytes = crypto_generichash_BYTES;
constexpr uint64_t kMaxCompiledBytes = 256u << 20;
constexpr size_t kKept = 8;
constexpr const char* kSuffix = ".cwasm";

// Covers the key too: an entry renamed to another blob's name is not that blob's.
std::string Checksum(std::string_view key, std::string_view compiled) {
  auto bytes = [](std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); };
  // Chooses the implementation for this CPU; without it the portable one is used, at half the speed.
  static const int chosen = sodium_init();
  static_cast<void>(chosen);
  std::string sum(kChecksumBytes, '\0');
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, sum.size());
  crypto_generichash_update(&state, bytes(key), key.size());
  crypto_generichash_update(&state, bytes(compiled), compiled.size());
  crypto_generichash_final(&state, reinterpret_cast<unsigned char*>(sum.data()), sum.size());
  return sum;
}

}  // namespace

std::string CompiledCache::Key(const std::string& blob_sha256, const std::string& settings) {
  return Sha256Hex(blob_sha256 + "\nwasmtime " WASMTIME_VERSION "\ndvdi " DVDI_VERSION "\n" + settings);
}

std::optional<CachedForm> CompiledCache::Get(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  auto folder = OpenOwnFolder(env_.sys, folder_, false);
  if (!folder.ok()) return std::nullopt;
  const std::string name = key + kSuffix;
  auto file = ReadOwnFileAt(env_.sys, folder->get(), name, kMaxCompiledBytes, folder_ + "/" + name);
  if (!file.ok()) return std::nullopt;
  std::string_view bytes = *file;
  if (bytes.substr(0, kMagic.size()) != kMagic || bytes.size() < kMagic.size() + kChecksumBytes)
    return std::nullopt;
  if (Checksum(key, bytes.substr(kMagic.size() + kChecksumBytes)) !=
      bytes.substr(kMagic.size(), kChecksumBytes))
    return std::nullopt;
  return CachedForm{std::move(*file), kMagic.size() + kChecksumBytes};
}

void CompiledCache::Put(const std::string& key, std::string_view compiled) const {
  if (folder_.empty()) return;
  auto folder = OpenOwnFolder(env_.sys, folder_, true);
  if (!folder.ok()) return;
  const std::string name = key + kSuffix;
  std::string bytes(kMagic);
  bytes += Checksum(key, compiled);
  bytes += compiled;
  if (!ReplaceFile(env_, folder->get(), name, bytes, folder_ + "/" + name, false).ok()) return;
  Prune(folder->get());
}

void CompiledCache::Remove(const std::string& key) const {
  if (folder_.empty()) return;
  auto folder = OpenOwnFolder(env_.sys, folder_, false);
  if (folder.ok()) env_.sys->UnlinkAt(folder->get(), (key + kSuffix).c_str(), 0);
}

void CompiledCache::Prune(int folder) const {
  std::vector<std::string> names;
  if (env_.sys->ListDir(folder, ".", &names) < 0) return;
  std::vector<std::pair<std::pair<int64_t, int64_t>, std::string>> entries;
  for (const std::string& name : names) {
    struct stat st;
    if (!name.ends_with(kSuffix) || name[0] == '.') continue;
    if (env_.sys->FstatAt(folder, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
    entries.push_back({{st.st_mtim.tv_sec, st.st_mtim.tv_nsec}, name});
  }
  if (entries.size() <= kKept) return;
  std::sort(entries.begin(), entries.end());
  for (size_t i = 0; i + kKept < entries.size(); ++i)
    env_.sys->UnlinkAt(folder, entries[i].second.c_str(), 0);
}

}  // namespace dvdi
