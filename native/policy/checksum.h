// The checksum of compiled forms: XXH3, 128 bits, in its canonical byte order. It tells damage, not intent.
#ifndef DVDI_POLICY_CHECKSUM_H_
#define DVDI_POLICY_CHECKSUM_H_

#include <stddef.h>
#include <stdint.h>

namespace dvdi {

// By AVX2 where the processor has it, three times as fast: whoever loads a policy waits for it. Thread-safe.
void Checksum(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]);
// The same on any processor.
void ChecksumPortable(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]);
#ifdef __x86_64__
// The same; only for a processor that has AVX2.
void ChecksumAvx2(const void* bytes, size_t n, uint64_t seed, unsigned char out[16]);
#endif

}  // namespace dvdi

#endif  // DVDI_POLICY_CHECKSUM_H_
