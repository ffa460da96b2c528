// What a blob is called: by its bytes, and by its version.
#include "base/text.h"
#include "policy/blob.h"
#include "wasmtime/dvdi_wasmtime.h"

namespace dvdi {

std::string BlobSha256(std::string_view blob) {
  uint8_t digest[32];
  dvdi_wasmtime_sha256(reinterpret_cast<const uint8_t*>(blob.data()), blob.size(), digest);
  return Hex(digest, sizeof digest);
}

std::optional<SemVer> ParseSemVer(std::string_view text) {
  uint32_t parts[3] = {};
  size_t pos = 0;
  for (int i = 0; i < 3; ++i) {
    if (i > 0) {
      if (pos >= text.size() || text[pos] != '.') return std::nullopt;
      ++pos;
    }
    const size_t start = pos;
    while (pos < text.size() && text[pos] >= '0' && text[pos] <= '9' && pos - start < 10)
      parts[i] = parts[i] * 10 + static_cast<uint32_t>(text[pos++] - '0');
    const size_t digits = pos - start;
    if (digits == 0 || digits > 9 || (digits > 1 && text[start] == '0')) return std::nullopt;
  }
  if (pos != text.size()) return std::nullopt;
  return SemVer{parts[0], parts[1], parts[2]};
}

}  // namespace dvdi
