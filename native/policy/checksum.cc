#include "policy/checksum.h"

#include "policy/checksum_body.h"

namespace dvdi {

void ChecksumPortable(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]) {
  ChecksumOf(bytes, n, seed, out);
}

void Checksum(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return ChecksumAvx2(bytes, n, seed, out);
#endif
  ChecksumPortable(bytes, n, seed, out);
}

}  // namespace dvdi
