// Detached signatures of blobs in the formats of minisign(1): Ed25519 over the BLAKE2b-512 hash of the file
// ("ED"), or over the file itself ("Ed", which minisign makes with -l). Texts and bytes only.
#ifndef DVDI_POLICY_SIGNATURE_H_
#define DVDI_POLICY_SIGNATURE_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dvdi {

struct MinisignKey {
  std::array<unsigned char, 8> id;  // tells keys apart; proves nothing
  std::array<unsigned char, 32> key;
};

struct MinisignSignature {
  std::array<unsigned char, 8> key_id;
  bool hashed = true;  // "ED"
  std::array<unsigned char, 64> signature, global;
  std::string trusted_comment;  // signed too, by `global`; of control characters it may have tabs alone
};

// As minisign prints it: "E7620F1842B4E81F".
std::string KeyIdText(const std::array<unsigned char, 8>& id);

// A public key's file, or its second line alone. `name` is what messages call it. kInvalid.
Result<MinisignKey> ParseMinisignKey(std::string_view text, const std::string& name);
// A signature's file. kInvalid.
Result<MinisignSignature> ParseMinisignSignature(std::string_view text, const std::string& name);

// OK where one of the keys made that signature of these bytes. kRefused, saying which keys there are, where
// none did. A signature of the right key that does not fit names the key: the file was changed.
Status VerifyMinisign(std::string_view bytes, const MinisignSignature& signature,
                      const std::vector<MinisignKey>& keys);

}  // namespace dvdi

#endif  // DVDI_POLICY_SIGNATURE_H_
