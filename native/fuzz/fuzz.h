// What the fuzz targets share: an input taken apart, expectations, and hints for libFuzzer.
#ifndef DVDI_FUZZ_FUZZ_H_
#define DVDI_FUZZ_FUZZ_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dvdi::fuzz {

// Between the parts of an input that has several (ASCII's record separator).
inline constexpr char kSeparator = '\x1e';

// The bytes of one input, from the front. What is behind the end is 0 or "".
class Input {
 public:
  Input(const uint8_t* data, size_t size) : left_(reinterpret_cast<const char*>(data), size) {}
  uint8_t Byte();
  // A number below `n`, of one byte: '0' is 0, so that corpora can be read and written by people.
  size_t Choice(size_t n);
  // All up to the next separator, which is taken too.
  std::string_view Part();
  std::string_view Rest();
  std::string_view left() const { return left_; }  // nothing is taken
  bool empty() const { return left_.empty(); }

 private:
  std::string_view left_;
};

// Ends the program, as a finding.
[[noreturn]] void Fail(const char* file, int line, const std::string& what);
#define FUZZ_EXPECT(condition, what)                                  \
  do {                                                                \
    if (!(condition)) ::dvdi::fuzz::Fail(__FILE__, __LINE__, (what)); \
  } while (0)

// A text for people is one line of printable UTF-8 and not without bounds.
void ExpectLine(std::string_view text, const char* what);

// What no instrumentation sees, code of a blob: `what` counts as covered. Quoted words and digits make no
// difference, so that each kind of message is one.
void Saw(std::string_view what);
// A magnitude (fuel, bytes), by steps of an eighth.
void SawSize(std::string_view what, uint64_t n);

}  // namespace dvdi::fuzz

#endif  // DVDI_FUZZ_FUZZ_H_
