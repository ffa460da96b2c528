// A cursor over the bytes of a WebAssembly binary that never reads past its end.
#ifndef DVDI_POLICY_WASM_READER_H_
#define DVDI_POLICY_WASM_READER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dvdi {

// Every read returns false, and reads nothing more from then on, where the bytes are cut off or malformed.
class WasmReader {
 public:
  explicit WasmReader(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool done() const { return pos_ == bytes_.size(); }
  size_t position() const { return pos_; }

  bool Byte(uint8_t* out) {
    if (!ok_ || pos_ >= bytes_.size()) return Fail();
    *out = static_cast<uint8_t>(bytes_[pos_++]);
    return true;
  }
  // Unsigned LEB128 of at most 32 bits, 5 bytes.
  bool U32(uint32_t* out) {
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      uint8_t b = 0;
      if (!Byte(&b)) return false;
      value |= static_cast<uint64_t>(b & 0x7F) << shift;
      if ((b & 0x80) == 0) {
        if (value > UINT32_MAX) return Fail();
        *out = static_cast<uint32_t>(value);
        return true;
      }
    }
    return Fail();
  }
  bool Bytes(size_t n, std::string_view* out) {
    if (!ok_ || n > bytes_.size() - pos_) return Fail();
    *out = bytes_.substr(pos_, n);
    pos_ += n;
    return true;
  }
  // A length and that many bytes: names, sections, function bodies.
  bool Sized(std::string_view* out) {
    uint32_t n = 0;
    return U32(&n) && Bytes(n, out);
  }
  std::string_view Rest() {
    std::string_view rest = ok_ ? bytes_.substr(pos_) : std::string_view();
    pos_ = bytes_.size();
    return rest;
  }

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }
  std::string_view bytes_;
  size_t pos_ = 0;
  bool ok_ = true;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_WASM_READER_H_
