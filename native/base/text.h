// Text that came from outside.
#ifndef DVDI_BASE_TEXT_H_
#define DVDI_BASE_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace dvdi {

// Strict UTF-8 (no overlong forms, no surrogates, nothing past U+10FFFF).
bool IsValidUtf8(std::string_view text);
// The character that a text (not "") begins with, and how many bytes it has; -1, and 1, where they are none.
struct Character {
  int32_t code;
  size_t length;
};
Character FirstCharacter(std::string_view text);
// Whether a character moves a terminal or turns the text around it: C0, DEL, C1 (U+0080..U+009F, which drive
// terminals as well), separators of lines, and what Unicode has to change the direction of text
// (Bidi_Control).
bool IsControl(int32_t code);
// One printable line: control characters and invalid bytes become '?', runs of white space one
// space, cut to `max` bytes (on a character) with "…" appended.
std::string OneLine(std::string_view text, size_t max = 400);
// Lower-case hex of `n` bytes.
std::string Hex(const void* bytes, size_t n);
// SHA-256 as 64 lower-case hex characters.
std::string Sha256Hex(std::string_view bytes);
// Whether it is digits alone, and at least one.
bool IsDigits(std::string_view text);

// "3 minutes ago", for people.
std::string Ago(int64_t then_ms, int64_t now_ms);

}  // namespace dvdi

#endif  // DVDI_BASE_TEXT_H_
