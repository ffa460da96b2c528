#include "policy/signature.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace dvdi {
namespace {

constexpr std::string_view kComment = "untrusted comment: ";
constexpr std::string_view kTrusted = "trusted comment: ";
constexpr size_t kMaxComment = 8192;  // minisign's own bound

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

// Tabs are what minisign and dvdi-policy put between the parts of their own comments.
bool Control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F; }

// Exactly so many bytes of base64, to the letter.
template <size_t N>
bool FromBase64(std::string_view text, std::array<unsigned char, N>* out) {
  size_t length = 0;
  const char* end = nullptr;
  return sodium_base642bin(out->data(), N, text.data(), text.size(), nullptr, &length, &end,
                           sodium_base64_VARIANT_ORIGINAL) == 0 &&
         length == N && end == text.data() + text.size();
}

const unsigned char* Data(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

template <size_t N>
std::string_view View(const std::array<unsigned char, N>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), N};
}

bool SignedBy(const MinisignKey& key, const std::array<unsigned char, 64>& signature,
              std::string_view bytes) {
  return crypto_sign_verify_detached(signature.data(), Data(bytes), bytes.size(), key.key.data()) == 0;
}

}  // namespace

std::string KeyIdText(const std::array<unsigned char, 8>& id) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string text;
  for (auto byte = id.rbegin(); byte != id.rend(); ++byte) {
    text += kHex[*byte >> 4];
    text += kHex[*byte & 15];
  }
  return text;
}

Result<MinisignKey> ParseMinisignKey(std::string_view text, const std::string& name) {
  const auto lines = Lines(text);
  std::array<unsigned char, 42> bytes;
  const bool commented = lines.size() == 2 && lines[0].starts_with(kComment);
  if ((!commented && lines.size() != 1) || !FromBase64(lines.back(), &bytes) || bytes[0] != 'E' ||
      bytes[1] != 'd')
    return Status(
        Code::kInvalid, name + " is no minisign public key",
        "give the line of 56 letters of a file that minisign -G or dvdi-policy keygen wrote (policy.pub)");
  MinisignKey key;
  std::copy_n(bytes.begin() + 2, 8, key.id.begin());
  std::copy_n(bytes.begin() + 10, 32, key.key.begin());
  return key;
}

Result<MinisignSignature> ParseMinisignSignature(std::string_view text, const std::string& name) {
  const auto lines = Lines(text);
  std::array<unsigned char, 74> bytes;
  MinisignSignature s;
  if (lines.size() != 4 || !lines[0].starts_with(kComment) || !lines[2].starts_with(kTrusted) ||
      lines[2].size() > kMaxComment || !FromBase64(lines[1], &bytes) || !FromBase64(lines[3], &s.global))
    return Status(Code::kInvalid, name + " is no minisign signature",
                  "make it with `minisign -S -m FILE` or `dvdi-policy sign FILE`");
  if (bytes[0] != 'E' || (bytes[1] != 'D' && bytes[1] != 'd'))
    return Status(Code::kInvalid, name + " is a signature of an unknown kind (" +
                                      OneLine(View(bytes).substr(0, 2), 8) + "); ED and Ed are known");
  s.hashed = bytes[1] == 'D';
  std::copy_n(bytes.begin() + 2, 8, s.key_id.begin());
  std::copy_n(bytes.begin() + 10, 64, s.signature.begin());
  s.trusted_comment = std::string(lines[2].substr(kTrusted.size()));
  if (!IsValidUtf8(s.trusted_comment) ||
      std::any_of(s.trusted_comment.begin(), s.trusted_comment.end(), Control))
    return Status(Code::kInvalid,
                  name + " has a trusted comment that is not UTF-8 or holds control characters",
                  "sign with another comment");
  return s;
}

Status VerifyMinisign(std::string_view bytes, const MinisignSignature& s,
                      const std::vector<MinisignKey>& keys) {
  if (sodium_init() < 0) return Status(Code::kInternal, "libsodium cannot be used");
  std::string hash;
  if (s.hashed) {
    hash.resize(crypto_generichash_BYTES_MAX);
    crypto_generichash(reinterpret_cast<unsigned char*>(hash.data()), hash.size(), Data(bytes), bytes.size(),
                       nullptr, 0);
    bytes = hash;
  }
  const std::string comment = std::string(View(s.signature)) + s.trusted_comment;
  std::string allowed;
  Status why;
  for (const MinisignKey& key : keys) {
    allowed += (allowed.empty() ? "" : ", ") + KeyIdText(key.id);
    if (key.id != s.key_id) continue;
    if (!SignedBy(key, s.signature, bytes))
      why = Status(
          Code::kRefused,
          "it is not what the key " + KeyIdText(key.id) + " signed: the blob or its signature was changed",
          "fetch both again, and compare the blob's SHA-256 with its maker's");
    else if (!SignedBy(key, s.global, comment))
      why = Status(Code::kRefused, "the trusted comment of its signature was changed",
                   "fetch the signature again");
    else
      return Status();
  }
  if (!why.ok()) return why;
  return Status(
      Code::kRefused,
      "it is signed by the key " + KeyIdText(s.key_id) + ", which is not one that the settings allow (" +
          (allowed.empty() ? "none" : allowed) + ")",
      "add its public key to policies.keys, if you trust it, or have the blob signed by an allowed one");
}

}  // namespace dvdi
