// Memory that held a secret, made to forget it: a core or a swapped page must not show it later.
#ifndef DVDI_BASE_SECRET_H_
#define DVDI_BASE_SECRET_H_

#include <sodium.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace dvdi {

// Overwrites the text (also what lies in its buffer beyond its end) and empties it.
inline void Wipe(std::string* text) {
  text->resize(text->capacity());  // its own buffer: nothing is copied
  sodium_memzero(text->data(), text->size());
  text->clear();
}

// Overwrites what it gives back, so that a container that grows leaves nothing behind either.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) {}  // NOLINT: as the standard wants it
  T* allocate(size_t n) { return std::allocator<T>().allocate(n); }
  void deallocate(T* at, size_t n) {
    sodium_memzero(at, n * sizeof(T));
    std::allocator<T>().deallocate(at, n);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};
// Texts of 15 bytes and fewer lie in the object itself: keep it in a container of the same kind.
using SecretText = std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;

// Appends the text as it stands between the quotes of a JSON string, without a buffer besides: a writer of
// JSON leaves copies in those of its own. Valid UTF-8 is expected. `ascii`: nothing but ASCII comes out.
template <class Text>
void AppendJsonEscaped(Text* to, std::string_view text, bool ascii) {
  to->reserve(to->size() + text.size() * 6 + 16);
  auto hex = [to](uint32_t unit) {
    *to += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) *to += "0123456789abcdef"[(unit >> shift) & 15];
  };
  constexpr std::string_view kPlain = "\"\\\b\f\n\r\t", kShort = "\"\\bfnrt";
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (size_t at = kPlain.find(text[i]); at != std::string_view::npos) {
      *to += '\\';
      *to += kShort[at];
    } else if (c < 0x20 || (ascii && c == 0x7F)) {
      hex(c);
    } else if (c < 0x80 || !ascii) {
      *to += text[i];
    } else {
      int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
      uint32_t point = c & (0x3Fu >> more);
      for (; more > 0 && i + 1 < text.size(); --more)
        point = point << 6 | (static_cast<unsigned char>(text[++i]) & 0x3Fu);
      if (point >= 0x10000) hex(0xD800 + ((point - 0x10000) >> 10));
      hex(point >= 0x10000 ? 0xDC00 + ((point - 0x10000) & 0x3FF) : point);
    }
  }
}

}  // namespace dvdi

#endif  // DVDI_BASE_SECRET_H_
