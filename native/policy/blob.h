// What a policy blob says about itself, read from its bytes without running or trusting them.
#ifndef DVDI_POLICY_BLOB_H_
#define DVDI_POLICY_BLOB_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "policy/runtime.h"

namespace dvdi {

// A version as manifests carry it: three numbers, nothing behind them.
struct SemVer {
  uint32_t major = 0, minor = 0, patch = 0;
  auto operator<=>(const SemVer&) const = default;
};

// "1.20.3"; nullopt for anything else (leading zeros, signs, pre-release tags, numbers past 9 digits).
std::optional<SemVer> ParseSemVer(std::string_view text);

// The blob's name: its SHA-256 in hexadecimal digits. As Sha256Hex, and several times as fast where the
// processor helps: the first operation behind a swap waits for it. Thread-safe.
std::string BlobSha256(std::string_view blob);

// Checks everything of ABI 1 that can be checked on the bytes (docs/abi.md): size, sections, manifest,
// imports and exports with their types, memory, tables, no start function, and the sizes that bound the
// compiler's work. It does not check that the code is valid: wasmtime does, afterwards. kPolicy, naming what
// is wrong and what is accepted. Thread-safe.
Result<PolicyManifest> InspectBlob(std::string_view blob, const PolicyLimits& limits);

}  // namespace dvdi

#endif  // DVDI_POLICY_BLOB_H_
