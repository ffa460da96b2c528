// Compiled for AVX2.
#include "policy/checksum.h"
#include "policy/checksum_body.h"

namespace dvdi {

void ChecksumAvx2(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]) {
  ChecksumOf(bytes, n, seed, out);
}

}  // namespace dvdi
