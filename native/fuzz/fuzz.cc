#include "fuzz/fuzz.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"

namespace dvdi::fuzz {
namespace {

// libFuzzer looks here as it does at the counters of instrumented code.
__attribute__((section("__libfuzzer_extra_counters"))) uint8_t counters[1 << 14];

constexpr size_t kLongestLine = 8192;

void Count(uint64_t hash) {
  uint8_t& counter = counters[hash % sizeof counters];
  if (counter != 0xFF) ++counter;
}

uint64_t Mix(uint64_t hash, unsigned char byte) { return (hash ^ byte) * 0x100000001b3; }

}  // namespace

uint8_t Input::Byte() {
  if (left_.empty()) return 0;
  const auto byte = static_cast<uint8_t>(left_[0]);
  left_.remove_prefix(1);
  return byte;
}

size_t Input::Choice(size_t n) { return static_cast<uint8_t>(Byte() - '0') % n; }

std::string_view Input::Part() {
  const std::string_view part = left_.substr(0, left_.find(kSeparator));
  left_.remove_prefix(std::min(part.size() + 1, left_.size()));
  return part;
}

std::string_view Input::Rest() {
  const std::string_view rest = left_;
  left_ = {};
  return rest;
}

void Fail(const char* file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: not as promised: %s\n", file, line, what.c_str());
  std::abort();
}

void ExpectLine(std::string_view text, const char* what) {
  FUZZ_EXPECT(text.size() <= kLongestLine,
              std::string(what) + " has " + std::to_string(text.size()) + " bytes");
  FUZZ_EXPECT(IsValidUtf8(text), std::string(what) + " is not UTF-8");
  for (const char c : text)
    FUZZ_EXPECT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F,
                std::string(what) + " holds a control character: " + OneLine(text));
}

void Saw(std::string_view what) {
  uint64_t hash = 0xcbf29ce484222325;
  bool quoted = false;
  for (const char c : what) {
    if (c == '"') quoted = !quoted;
    if (quoted || std::isdigit(static_cast<unsigned char>(c)) != 0) continue;
    hash = Mix(hash, static_cast<unsigned char>(c));
  }
  Count(hash ^ hash >> 32);
}

void SawSize(std::string_view what, uint64_t n) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : what) hash = Mix(hash, static_cast<unsigned char>(c));
  const int bits = std::bit_width(n);
  hash = Mix(hash, static_cast<unsigned char>(bits));
  if (bits > 4) hash = Mix(hash, static_cast<unsigned char>(n >> (bits - 4) & 7));
  Count(hash ^ hash >> 32);
}

}  // namespace dvdi::fuzz
