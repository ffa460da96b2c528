// Blobs, manifests, keys, signatures and state.json as bytes: what of them is looked at before anything of a
// blob runs, and, where that takes it, wasmtime's validation, its compiler and the blob's own canary.
//
// Input: a choice of what, then that.
#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "fuzz/fuzz.h"
#include "policy/blob.h"
#include "policy/runtime.h"
#include "policy/signature.h"
#include "policy/state_file.h"
#include "policy/test_blobs.h"

namespace dvdi::fuzz {
namespace {

// Compiled by each run: small, so that many are.
PolicyLimits Limits() {
  PolicyLimits limits;
  limits.fuel = 100'000, limits.memory_bytes = 1u << 20, limits.blob_bytes = 64u << 10;
  limits.host_calls = 20, limits.host_bytes = 64u << 10, limits.reply_bytes = 64u << 10;
  return limits;
}

PolicyRuntime& Runtime() {
  static auto* runtime = [] {
    auto made = PolicyRuntime::Create(SystemEnv(), Limits(), "");
    FUZZ_EXPECT(made.ok(), made.status().message());
    return made->release();
  }();
  return *runtime;
}

void ExpectRefused(const Status& why, Code code) {
  FUZZ_EXPECT(why.code() == code, std::string(CodeName(why.code())) + ": " + why.message());
  ExpectLine(why.message(), "why it is refused");
  ExpectLine(why.hint(), "what to do");
  Saw(why.message());
}

void TryBlob(std::string_view bytes) {
  auto manifest = InspectBlob(bytes, Limits());
  auto module = Runtime().Load(bytes);
  if (!manifest.ok()) {
    ExpectRefused(manifest.status(), Code::kPolicy);
    FUZZ_EXPECT(!module.ok(), "what is refused by its bytes is loaded");
    return;
  }
  FUZZ_EXPECT(!manifest->name.empty() && ParseSemVer(manifest->version).has_value(),
              "a manifest has a name and a version");
  if (!module.ok()) return ExpectRefused(module.status(), Code::kPolicy);
  auto host = [](std::string_view, std::string_view) { return Result<std::string>(R"({"ok":{}})"); };
  for (const char* name : {"configure", "canary"}) {
    auto answer = (*module)->Call(name, "{}", host);
    if (!answer.ok()) ExpectRefused(answer.status(), Code::kPolicy);
  }
}

void TryManifest(std::string_view text) {
  BlobBuilder blob;
  blob.manifest = text;
  auto manifest = InspectBlob(blob.Build(), Limits());
  if (!manifest.ok()) return ExpectRefused(manifest.status(), Code::kPolicy);
  FUZZ_EXPECT(manifest->abi == 1, "the ABI is one that the engine speaks");
  ExpectLine(manifest->name, "the name");
  ExpectLine(manifest->description, "the description");
}

// One key for all runs, so that what it signed can be in the corpus.
struct KeyPair {
  unsigned char seed[crypto_sign_SEEDBYTES] = {7};
  unsigned char secret[crypto_sign_SECRETKEYBYTES];
  MinisignKey key = {};
  KeyPair() {
    FUZZ_EXPECT(sodium_init() >= 0, "libsodium starts");
    crypto_sign_seed_keypair(key.key.data(), secret, seed);
    key.id.fill(0x42);
  }
};
constexpr std::string_view kSigned = "the file that was signed";

bool Signs(const KeyPair& pair, std::string_view bytes, const std::array<unsigned char, 64>& signature) {
  return crypto_sign_verify_detached(signature.data(), reinterpret_cast<const unsigned char*>(bytes.data()),
                                     bytes.size(), pair.key.key.data()) == 0;
}

void TrySignature(std::string_view text) {
  static const KeyPair pair;
  auto signature = ParseMinisignSignature(text, "s.minisig");
  if (!signature.ok()) return ExpectRefused(signature.status(), Code::kInvalid);
  std::string comment = signature->trusted_comment;
  std::replace(comment.begin(), comment.end(), '\t', ' ');  // between the parts of one
  ExpectLine(comment, "the trusted comment");
  const Status verified = VerifyMinisign(kSigned, *signature, {pair.key});
  if (!verified.ok()) return ExpectRefused(verified, Code::kRefused);
  unsigned char hash[64];
  crypto_generichash(hash, sizeof hash, reinterpret_cast<const unsigned char*>(kSigned.data()),
                     kSigned.size(), nullptr, 0);
  const std::string_view hashed(reinterpret_cast<const char*>(hash), sizeof hash);
  FUZZ_EXPECT(Signs(pair, signature->hashed ? hashed : kSigned, signature->signature),
              "the key made the signature");
  std::string trusted(reinterpret_cast<const char*>(signature->signature.data()), 64);
  trusted += signature->trusted_comment;
  FUZZ_EXPECT(Signs(pair, trusted, signature->global), "the key signed the comment");
  FUZZ_EXPECT(!VerifyMinisign("another file", *signature, {pair.key}).ok(), "another file is refused");
}

void TryKey(std::string_view text) {
  auto key = ParseMinisignKey(text, "k.pub");
  if (!key.ok()) return ExpectRefused(key.status(), Code::kInvalid);
  FUZZ_EXPECT(KeyIdText(key->id).size() == 16, "a key has an id");
}

void TryState(std::string_view text) {
  auto state = ParsePolicyState(text);
  if (!state.ok()) return ExpectRefused(state.status(), Code::kPolicy);
  FUZZ_EXPECT(IsSha256(state->active), "the active blob has a hash: " + state->active);
  const std::string written = ToText(*state);
  auto again = ParsePolicyState(written);
  FUZZ_EXPECT(again.ok() && ToText(*again) == written, "what is written is read as it is: " + written);
}

}  // namespace
}  // namespace dvdi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dvdi::fuzz;
  Input input(data, size);
  switch (input.Choice(5)) {
    case 0: TryBlob(input.Rest()); break;
    case 1: TryManifest(input.Rest()); break;
    case 2: TrySignature(input.Rest()); break;
    case 3: TryKey(input.Rest()); break;
    case 4: TryState(input.Rest()); break;
  }
  return 0;
}
