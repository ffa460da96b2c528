// What clients may write: volume names, sizes, Create options.
#ifndef DVDI_DRIVER_OPTIONS_H_
#define DVDI_DRIVER_OPTIONS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dvdi {

// A name that is also a file name: 1 to 128 of letters, digits, '_', '.', '-', beginning with a
// letter, a digit or '_'. kInvalid names `what` ("volume name", "node id") and the first offence.
Status CheckName(std::string_view name, std::string_view what);

// "10" (GiB), "512m", "1g", "1GiB", "2TB": a whole number and a unit k, m, g, t with optional "b" or
// "ib", in any case; every unit is a power of 1024. Bytes; kInvalid for anything else, zero, and what
// lies above `largest`.
constexpr int64_t kLargestVolume = int64_t{64} << 40;
constexpr int64_t kLargestCapacity = int64_t{64} << 50;
Result<int64_t> ParseSize(std::string_view text, int64_t largest = kLargestVolume);
// "1 GiB", "512 MiB", "1000 bytes": exactly.
std::string FormatSize(int64_t bytes);
// "1.3 GiB": rounded down, for people.
std::string RoundSize(int64_t bytes);

enum class Filesystem { kExt4, kXfs, kBtrfs };
const char* FilesystemName(Filesystem fs);  // "ext4"
Result<Filesystem> ParseFilesystem(std::string_view text);
// The smallest image that its mkfs takes, in bytes.
int64_t SmallestSize(Filesystem fs);

// Create's Opts, checked one by one; what was not given is empty.
struct CreateOptions {
  std::optional<int64_t> size_bytes;
  std::optional<Filesystem> filesystem;
  bool overwrite = false;  // accepted for its users; what has a signature is never formatted
  std::optional<std::string> tier;
  std::map<std::string, std::string> attributes;  // lower-case names
  std::optional<int64_t> iops, bps;               // limits for each direction: operations, bytes a second
};
// `attributes` are the names (lower case) that are taken beside the driver's own. Names are compared in any
// case.
Result<CreateOptions> ParseCreateOptions(const std::map<std::string, std::string>& opts,
                                         const std::set<std::string>& attributes = {});
// Whether a name (lower case) is one of the driver's own options.
bool IsOption(const std::string& name);

}  // namespace dvdi

#endif  // DVDI_DRIVER_OPTIONS_H_
