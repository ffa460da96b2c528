// Where the values of a JSON text stand, in the order of the text: what scan() notes on its one walk. The text is
// UTF-8 in memory. An object's or list's children follow it, each with all that is in it.

/** What is known of a string: it may be copied as it stands; it has escapes; it has characters beyond ASCII. */
export const PLAIN: u32 = 0;
export const WITH_ESCAPES: u32 = 1;
export const MANY_BYTES: u32 = 2;

const START: usize = 0;
/** Number of children; of a string, one of the kinds above. */
const COUNT: usize = 4;
const KEY: usize = 8;
const KEY_LENGTH: usize = 12;
const END: usize = 16;
/** The entry after this one and all that is in it. While it is open: the one that it is in. */
const NEXT: usize = 20;
/** While it is open, and another one in it: which keys it may have (scan.ts). */
const SEEN: usize = 24;
const ENTRY_SHIFT: usize = 5;

export class Tape {
  private words: StaticArray<u64>;
  private base: usize;
  private capacity: i32;
  private used: i32 = 0;

  /**
   * @param start the text's first byte
   * @param end where it ends
   * @param keep what the text is part of, where a collector would take it away
   */
  constructor(
    readonly start: usize,
    readonly end: usize,
    private keep: ArrayBuffer | null,
  ) {
    const capacity = <i32>((end - start) >> 4) + 8;
    this.words = room(capacity);
    this.base = changetype<usize>(this.words);
    this.capacity = capacity;
  }

  /** Adds a value that has no children. A list's child gives any key. */
  add(start: usize, end: usize, key: usize, keyLength: i32, kind: u32): void {
    const index = this.used++;
    if (index == this.capacity) this.grow();
    const entry = this.entry(index);
    store<u32>(entry, <u32>start, START);
    store<u32>(entry, kind, COUNT);
    store<u32>(entry, <u32>key, KEY);
    store<u32>(entry, <u32>keyLength, KEY_LENGTH);
    store<u32>(entry, <u32>end, END);
    store<u32>(entry, <u32>(index + 1), NEXT);
  }

  /** Adds an object or list. `parent` is the one that is open, with its children and keys so far; -1 for none. */
  open(start: usize, key: usize, keyLength: i32, parent: i32, count: i32, seen: u64): i32 {
    const index = this.used++;
    if (index == this.capacity) this.grow();
    const entry = this.entry(index);
    store<u32>(entry, <u32>start, START);
    store<u32>(entry, <u32>key, KEY);
    store<u32>(entry, <u32>keyLength, KEY_LENGTH);
    store<u32>(entry, <u32>parent, NEXT);
    if (parent >= 0) {
      const above = this.entry(parent);
      store<u32>(above, <u32>count, COUNT);
      store<u64>(above, seen, SEEN);
    }
    return index;
  }

  /** Ends it; returns the one that it is in, or -1. */
  close(index: i32, end: usize, count: i32): i32 {
    const entry = this.entry(index);
    const parent = <i32>load<u32>(entry, NEXT);
    store<u32>(entry, <u32>count, COUNT);
    store<u32>(entry, <u32>end, END);
    store<u32>(entry, <u32>this.used, NEXT);
    return parent;
  }

  startOf(index: i32): usize {
    return <usize>load<u32>(this.entry(index), START);
  }

  endOf(index: i32): usize {
    return <usize>load<u32>(this.entry(index), END);
  }

  nextOf(index: i32): i32 {
    return <i32>load<u32>(this.entry(index), NEXT);
  }

  countOf(index: i32): i32 {
    return <i32>load<u32>(this.entry(index), COUNT);
  }

  keyStart(index: i32): usize {
    return <usize>load<u32>(this.entry(index), KEY);
  }

  keyLength(index: i32): i32 {
    return <i32>load<u32>(this.entry(index), KEY_LENGTH);
  }

  /** What open() noted of it. */
  seenIn(index: i32): u64 {
    return load<u64>(this.entry(index), SEEN);
  }

  /** The name of an object's child. */
  keyOf(index: i32): string {
    return decode(this.keyStart(index), <usize>this.keyLength(index));
  }

  /** The child of that name, or -1. */
  find(object: i32, key: string): i32 {
    const length = key.length;
    const units = changetype<usize>(key);
    const children = this.countOf(object);
    let child = object + 1;
    for (let left = children; left > 0; left--) {
      const entry = this.entry(child);
      if (<i32>load<u32>(entry, KEY_LENGTH) == length && sameText(<usize>load<u32>(entry, KEY), units, length)) {
        return child;
      }
      child = <i32>load<u32>(entry, NEXT);
    }
    return isAscii(key) ? -1 : this.findSlowly(object, key, children);
  }

  private findSlowly(object: i32, key: string, children: i32): i32 {
    let child = object + 1;
    for (let left = children; left > 0; left--) {
      if (this.keyOf(child) == key) return child;
      child = this.nextOf(child);
    }
    return -1;
  }

  // @ts-ignore: decorator
  @inline
  private entry(index: i32): usize {
    return this.base + ((<usize>index) << ENTRY_SHIFT);
  }

  private grow(): void {
    const words = room(this.capacity << 1);
    memory.copy(changetype<usize>(words), this.base, (<usize>this.capacity) << ENTRY_SHIFT);
    this.words = words;
    this.base = changetype<usize>(words);
    this.capacity <<= 1;
  }
}

const NOT_ASCII_16: u64 = 0xff80_ff80_ff80_ff80;

/** Four bytes as four UTF-16 units. */
// @ts-ignore: decorator
@inline
export function widen(four: u32): u64 {
  let x = <u64>four;
  x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
  return (x | (x << 8)) & 0x00ff_00ff_00ff_00ff;
}

/** Whether so many bytes are the same text as so many UTF-16 units of ASCII. False for any others. */
export function sameText(bytes: usize, units: usize, length: i32): bool {
  while (length >= 4) {
    const four = load<u64>(units);
    if (widen(load<u32>(bytes)) != four || (four & NOT_ASCII_16) != 0) return false;
    bytes += 4;
    units += 8;
    length -= 4;
  }
  while (length > 0) {
    const unit = load<u16>(units);
    if (load<u8>(bytes) != unit || unit >= 0x80) return false;
    bytes++;
    units += 2;
    length--;
  }
  return true;
}

function isAscii(text: string): bool {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return false;
  return true;
}

/** Whether so many bytes are the same. */
export function sameBytes(a: usize, b: usize, length: i32): bool {
  while (length >= 8) {
    if (load<u64>(a) != load<u64>(b)) return false;
    a += 8;
    b += 8;
    length -= 8;
  }
  while (length > 0) {
    if (load<u8>(a) != load<u8>(b)) return false;
    a++;
    b++;
    length--;
  }
  return true;
}

/** The text of so many bytes of ASCII. */
export function widened(bytes: usize, length: usize): string {
  const text = changetype<string>(__new(length << 1, idof<string>()));
  let to = changetype<usize>(text);
  const end = bytes + length;
  const last = end - (length & 3);
  while (bytes < last) {
    store<u64>(to, widen(load<u32>(bytes)));
    bytes += 4;
    to += 8;
  }
  while (bytes < end) {
    store<u16>(to, load<u8>(bytes));
    bytes++;
    to += 2;
  }
  return text;
}

/** The text of so many bytes of UTF-8. */
export function decode(bytes: usize, length: usize): string {
  let bits: u64 = 0;
  let at = bytes;
  const end = bytes + length;
  while (at + 8 <= end) {
    bits |= load<u64>(at);
    at += 8;
  }
  while (at < end) bits |= load<u8>(at++);
  if ((bits & 0x8080_8080_8080_8080) == 0) return widened(bytes, length);
  return String.UTF8.decodeUnsafe(bytes, length);
}

/** Entries that are not zeroed: each word is written before it is read. */
function room(entries: i32): StaticArray<u64> {
  const bytes = (<usize>entries) << ENTRY_SHIFT;
  return changetype<StaticArray<u64>>(__new(bytes, idof<StaticArray<u64>>()));
}
