// Compiled for AVX2. Nothing is included that has inline functions of other files: the linker could take
// their AVX2 form for all.
#include "policy/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace dvdi {

void ChecksumAvx2(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]) {
  XXH128_canonicalFromHash(reinterpret_cast<XXH128_canonical_t*>(out), XXH3_128bits_withSeed(bytes, n, seed));
}

}  // namespace dvdi
