// Text over the border: UTF-8 bytes in our memory, named by `ptr << 32 | len`.

/** Room for `len` bytes that the engine fills. Never freed: an instance lives for one operation. */
export function allocate(len: i32): i32 {
  return <i32>heap.alloc(<usize>(<u32>len));
}

/** The text in `len` bytes at `ptr`. The engine lets only strict UTF-8 in. */
export function textAt(ptr: usize, len: usize): string {
  return String.UTF8.decodeUnsafe(ptr, len);
}

/** Where the text stands as UTF-8, as an answer of ours names it. */
export function pack(text: string): u64 {
  const bytes = String.UTF8.encode(text);
  return ((<u64>changetype<usize>(bytes)) << 32) | <u64>bytes.byteLength;
}

/** The text that an answer of the engine's names. */
export function unpack(answer: u64): string {
  return textAt(<usize>(answer >> 32), <usize>(answer & 0xffff_ffff));
}
