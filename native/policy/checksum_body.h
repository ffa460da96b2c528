// For checksum*.cc alone: one body, compiled for each processor. Internal to each of them, and nothing is
// included that has inline functions of other files: the linker could take the form of one processor for all.
#ifndef DVDI_POLICY_CHECKSUM_BODY_H_
#define DVDI_POLICY_CHECKSUM_BODY_H_

#include <stddef.h>
#include <stdint.h>

// Its functions are compiled in: there is no library to load.
#define XXH_INLINE_ALL
#include <xxhash.h>

static inline void ChecksumOf(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]) {
  XXH128_canonicalFromHash(reinterpret_cast<XXH128_canonical_t*>(out), XXH3_128bits_withSeed(bytes, n, seed));
}

#endif  // DVDI_POLICY_CHECKSUM_BODY_H_
