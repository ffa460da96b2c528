#include "base/text.h"

#include <sodium.h>

#include <cstring>

namespace dvdi {
namespace {

// The length of the valid UTF-8 sequence at `p`, or 0.
size_t SequenceLength(const unsigned char* p, const unsigned char* end) {
  if (p[0] < 0x80) return 1;
  auto cont = [&](size_t i) { return p + i < end && (p[i] & 0xC0) == 0x80; };
  if (p[0] >= 0xC2 && p[0] <= 0xDF) return cont(1) ? 2 : 0;
  if (p[0] >= 0xE0 && p[0] <= 0xEF) {
    if (!cont(1) || !cont(2)) return 0;
    if (p[0] == 0xE0 && p[1] < 0xA0) return 0;
    if (p[0] == 0xED && p[1] > 0x9F) return 0;
    return 3;
  }
  if (p[0] >= 0xF0 && p[0] <= 0xF4) {
    if (!cont(1) || !cont(2) || !cont(3)) return 0;
    if (p[0] == 0xF0 && p[1] < 0x90) return 0;
    if (p[0] == 0xF4 && p[1] > 0x8F) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  auto p = reinterpret_cast<const unsigned char*>(text.data());
  auto end = p + text.size();
  while (p < end) {
    // Nearly all of it is ASCII: eight bytes at a time.
    uint64_t word = 0;
    while (end - p >= 8 && (std::memcpy(&word, p, 8), (word & 0x8080808080808080u) == 0)) p += 8;
    if (p == end) break;
    size_t n = SequenceLength(p, end);
    if (n == 0) return false;
    p += n;
  }
  return true;
}

Character FirstCharacter(std::string_view text) {
  auto p = reinterpret_cast<const unsigned char*>(text.data());
  const size_t n = SequenceLength(p, p + text.size());
  if (n < 2) return {n == 0 ? -1 : *p, 1};
  int32_t code = *p & (0x7F >> n);
  for (size_t i = 1; i < n; ++i) code = code << 6 | (p[i] & 0x3F);
  return {code, n};
}

bool IsControl(int32_t code) {
  if (code < 0x80) return (code >= 0 && code < 0x20) || code == 0x7F;
  return code < 0xA0 || code == 0x061C || code == 0x200E || code == 0x200F ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

std::string OneLine(std::string_view text, size_t max) {
  std::string out;
  bool space = false;
  while (!text.empty()) {
    const Character c = FirstCharacter(text);
    const std::string_view bytes = text.substr(0, c.length);
    text.remove_prefix(c.length);
    if (c.code == ' ' || c.code == '\n' || c.code == '\r' || c.code == '\t') {
      space = !out.empty();
      continue;
    }
    if (out.size() + bytes.size() + (space ? 1 : 0) > max) return out + "…";
    if (space) out += ' ';
    space = false;
    if (c.code < 0 || IsControl(c.code))
      out += '?';
    else
      out += bytes;
  }
  return out;
}

std::string Hex(const void* bytes, size_t n) {
  static constexpr char kDigits[] = "0123456789abcdef";
  auto p = static_cast<const unsigned char*>(bytes);
  std::string out;
  out.reserve(2 * n);
  for (size_t i = 0; i < n; ++i) {
    out += kDigits[p[i] >> 4];
    out += kDigits[p[i] & 15];
  }
  return out;
}

std::string Sha256Hex(std::string_view bytes) {
  unsigned char digest[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(digest, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  return Hex(digest, sizeof digest);
}

bool IsDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string Ago(int64_t then_ms, int64_t now_ms) {
  int64_t s = (now_ms - then_ms) / 1000;
  if (s < 2) return "just now";
  auto say = [](int64_t n, const char* unit) {
    return std::to_string(n) + " " + unit + (n == 1 ? "" : "s") + " ago";
  };
  if (s < 120) return say(s, "second");
  if (s < 7200) return say(s / 60, "minute");
  if (s < 172800) return say(s / 3600, "hour");
  return say(s / 86400, "day");
}

}  // namespace dvdi
