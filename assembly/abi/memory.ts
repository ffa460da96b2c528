// Text over the border: UTF-8 bytes in our memory, named by `ptr << 32 | len`. Nearly all of it is ASCII, which is
// converted four characters at a time; these conversions are a good part of what a small decision costs.

/** High bits of eight bytes, of which ASCII has none; and what four UTF-16 units of ASCII have none of. */
const NOT_ASCII_8: u64 = 0x8080_8080_8080_8080;
const NOT_ASCII_16: u64 = 0xff80_ff80_ff80_ff80;

/** Room for `len` bytes that the engine fills. Never freed: an instance lives for one operation. */
export function allocate(len: i32): i32 {
  return <i32>heap.alloc(<usize>(<u32>len));
}

/** The text in `len` bytes at `ptr`. The engine lets only strict UTF-8 in. */
export function textAt(ptr: usize, len: usize): string {
  if (!isAscii(ptr, len)) return String.UTF8.decodeUnsafe(ptr, len);
  const text = changetype<string>(__new(len << 1, idof<string>()));
  let to = changetype<usize>(text);
  const end = ptr + len;
  const last = end - (len & 3);
  while (ptr < last) {
    let x = <u64>load<u32>(ptr);
    x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
    store<u64>(to, (x | (x << 8)) & 0x00ff_00ff_00ff_00ff);
    ptr += 4;
    to += 8;
  }
  while (ptr < end) {
    store<u16>(to, load<u8>(ptr));
    ptr++;
    to += 2;
  }
  return text;
}

function isAscii(ptr: usize, len: usize): bool {
  const end = ptr + len;
  const last = end - (len & 7);
  let bits: u64 = 0;
  while (ptr < last) {
    bits |= load<u64>(ptr);
    ptr += 8;
  }
  while (ptr < end) bits |= load<u8>(ptr++);
  return (bits & NOT_ASCII_8) == 0;
}

/** Where the text stands as UTF-8, as an answer of ours names it. */
export function pack(text: string): u64 {
  const len = <usize>text.length;
  let from = changetype<usize>(text);
  if (!isAscii16(from, len)) {
    const bytes = String.UTF8.encode(text);
    return ((<u64>changetype<usize>(bytes)) << 32) | (<u64>bytes.byteLength);
  }
  const start = heap.alloc(len);
  let to = start;
  const end = from + (len << 1);
  const last = end - ((len & 3) << 1);
  while (from < last) {
    let x = load<u64>(from);
    x = (x | (x >> 8)) & 0x0000_ffff_0000_ffff;
    store<u32>(to, <u32>(x | (x >> 16)));
    from += 8;
    to += 4;
  }
  while (from < end) {
    store<u8>(to, load<u16>(from));
    from += 2;
    to++;
  }
  return ((<u64>start) << 32) | (<u64>len);
}

function isAscii16(from: usize, len: usize): bool {
  const end = from + (len << 1);
  const last = end - ((len & 3) << 1);
  let bits: u64 = 0;
  while (from < last) {
    bits |= load<u64>(from);
    from += 8;
  }
  while (from < end) {
    bits |= load<u16>(from);
    from += 2;
  }
  return (bits & NOT_ASCII_16) == 0;
}

/** The text that an answer of the engine's names. */
export function unpack(answer: u64): string {
  return textAt(<usize>(answer >> 32), <usize>(answer & 0xffff_ffff));
}
