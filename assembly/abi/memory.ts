// Text over the border: UTF-8 bytes in our memory, named by `ptr << 32 | len`.

/** Room for `len` bytes that the engine fills. Never freed: an instance lives for one operation. */
export function allocate(len: i32): i32 {
  return <i32>heap.alloc(<usize>(<u32>len));
}

/** Eight bytes at once are ASCII where none of these bits is set; four UTF-16 units where none of those is. */
const NOT_ASCII_8: u64 = 0x8080_8080_8080_8080;
const NOT_ASCII_4: u64 = 0xff80_ff80_ff80_ff80;

/** The text in `len` bytes at `ptr`. The engine lets only strict UTF-8 in. */
export function textAt(ptr: usize, len: usize): string {
  // Almost all text is ASCII, and the library's decoder is four times as slow on it.
  const end = ptr + len;
  const out = changetype<string>(__new(len << 1, idof<string>()));
  let to = changetype<usize>(out);
  let at = ptr;
  for (; at + 4 <= end; at += 4) {
    const four = load<u32>(at);
    if (four & (<u32>NOT_ASCII_8)) return String.UTF8.decodeUnsafe(ptr, len);
    const wide = (((<u64>four) & 0xffff_0000) << 16) | (four & 0xffff);
    store<u64>(to, ((wide & 0x0000_ff00_0000_ff00) << 8) | (wide & 0x0000_00ff_0000_00ff));
    to += 8;
  }
  for (; at < end; at++) {
    const code = load<u8>(at);
    if (code >= 0x80) return String.UTF8.decodeUnsafe(ptr, len);
    store<u16>(to, code);
    to += 2;
  }
  return out;
}

/** Where the text stands as UTF-8, as an answer of ours names it. */
export function pack(text: string): u64 {
  const units = text.length;
  const from = changetype<usize>(text);
  const out = heap.alloc(<usize>units);
  let at = 0;
  for (; at + 4 <= units; at += 4) {
    let four = load<u64>(from + ((<usize>at) << 1));
    if (four & NOT_ASCII_4) return packWide(text);
    four |= four >> 8;
    store<u32>(out + <usize>at, (<u32>(four & 0xffff)) | (<u32>((four >> 16) & 0xffff_0000)));
  }
  for (; at < units; at++) {
    const code = load<u16>(from + ((<usize>at) << 1));
    if (code >= 0x80) return packWide(text);
    store<u8>(out + <usize>at, code);
  }
  return ((<u64>out) << 32) | (<u64>units);
}

function packWide(text: string): u64 {
  const bytes = String.UTF8.encode(text);
  return ((<u64>changetype<usize>(bytes)) << 32) | (<u64>bytes.byteLength);
}

/** The text that an answer of the engine's names. */
export function unpack(answer: u64): string {
  return textAt(<usize>(answer >> 32), <usize>(answer & 0xffff_ffff));
}
