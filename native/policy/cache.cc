#include "policy/cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <wasmtime.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/text.h"
#include "policy/checksum.h"
#include "sys/files.h"

namespace dvdi {
namespace {

// Behind the compiled form, so that the file can be mapped as what it is: the note, its length, a checksum of
// all that, and what this is.
constexpr std::string_view kMagic = "dvdi compiled policy 3\n";
constexpr size_t kLengthBytes = sizeof(uint32_t), kSumBytes = 16;
constexpr size_t kTrailerBytes = kLengthBytes + kSumBytes + kMagic.size();
constexpr uint64_t kMaxCompiledBytes = 256u << 20;
constexpr size_t kKept = 8;
// What an entry leaves free: on a full disk, what the ledger's reserve has made room for is for what ends
// workloads, and an entry would be written anew by each process that comes.
constexpr uint64_t kLeftFree = 1 << 20;
constexpr const char* kSuffix = ".cwasm";

// Tells damage (a torn write, a bad disk), for which no cryptography is needed: whoever could write a file
// with a purpose could write its checksum too, and is kept out by owner and mode. Covers the key: an entry
// renamed to another blob's name is not that blob's.
std::string Ending(std::string_view key, std::string_view covered) {
  unsigned char sum[kSumBytes];
  Checksum(key.data(), key.size(), 0, sum);
  uint64_t seed = 0;
  std::memcpy(&seed, sum, sizeof seed);
  Checksum(covered.data(), covered.size(), seed, sum);
  std::string ending(reinterpret_cast<const char*>(sum), sizeof sum);
  ending += kMagic;
  return ending;
}

}  // namespace

CachedForm::~CachedForm() {
  if (at_ != nullptr) ::munmap(const_cast<void*>(at_), length_);
}

std::string CompiledCache::Key(const std::string& blob_sha256, const std::string& settings) {
  return Sha256Hex(blob_sha256 + "\nwasmtime " WASMTIME_VERSION "\ndvdi " DVDI_VERSION "\n" + settings);
}

std::optional<CachedForm> CompiledCache::Get(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  auto folder = OpenOwnFolder(env_.sys, folder_, false);
  if (!folder.ok()) return std::nullopt;
  const std::string name = key + kSuffix;
  struct stat st;
  auto file = OpenOwnFileAt(env_.sys, folder->get(), name, kMaxCompiledBytes, folder_ + "/" + name, &st);
  if (!file.ok()) return std::nullopt;
  const auto size = static_cast<size_t>(st.st_size);
  if (size <= kTrailerBytes) return std::nullopt;
  // Read once, all of it, by the checksum: its pages are wanted at once.
  const void* at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file->get(), 0);
  if (at == MAP_FAILED) return std::nullopt;
  const std::string_view all(static_cast<const char*>(at), size);
  const std::string_view covered = all.substr(0, size - kTrailerBytes + kLengthBytes);
  uint32_t note = 0;
  std::memcpy(&note, covered.data() + covered.size() - kLengthBytes, sizeof note);
  const size_t most = size - kTrailerBytes;
  CachedForm form(std::move(*file), at, size, note <= most ? most - note : 0, note <= most ? note : 0);
  if (note > most || all.substr(covered.size()) != Ending(key, covered)) return std::nullopt;
  return form;
}

void CompiledCache::Put(const std::string& key, std::string_view compiled, std::string_view note) const {
  if (folder_.empty()) return;
  auto folder = OpenOwnFolder(env_.sys, folder_, true);
  if (!folder.ok()) return;
  const std::string name = key + kSuffix;
  const auto length = static_cast<uint32_t>(note.size());
  std::string bytes(compiled);
  bytes += note;
  bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
  bytes += Ending(key, bytes);
  uint64_t free = 0;
  if (env_.sys->FsFree(folder_.c_str(), &free) >= 0 && free < bytes.size() + kLeftFree) return;
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
