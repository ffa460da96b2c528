#include "policy/checksum.h"

// Its functions are compiled in: there is no library to load.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace dvdi {

void ChecksumPortable(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]) {
  XXH128_canonicalFromHash(reinterpret_cast<XXH128_canonical_t*>(out), XXH3_128bits_withSeed(bytes, n, seed));
}

void Checksum(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return ChecksumAvx2(bytes, n, seed, out);
#endif
  ChecksumPortable(bytes, n, seed, out);
}

}  // namespace dvdi
