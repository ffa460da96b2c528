// Where the values of a JSON text stand, in the order of the text: what scan() notes on its one walk. An entry is six
// words; an object's or list's children follow it, each with all that is in it.

/** What is known of a string: it may be copied as it stands; it has escapes; it has characters beyond ASCII. */
export const PLAIN: u32 = 0;
export const WITH_ESCAPES: u32 = 1;
export const MANY_BYTES: u32 = 2;

const START: usize = 0;
const END: usize = 4;
/** The entry after this one and all that is in it. */
const NEXT: usize = 8;
/** Number of children; of a string, one of the kinds above. */
const COUNT: usize = 12;
const KEY: usize = 16;
const KEY_LENGTH: usize = 20;
const ENTRY: usize = 24;

export class Tape {
  private words: StaticArray<u32>;
  private capacity: i32 = 0;
  private used: i32 = 0;

  constructor(
    /** The text: entries point into it. */
    readonly source: string,
  ) {
    const capacity = (source.length >> 3) + 8;
    this.words = room(capacity);
    this.capacity = capacity;
  }

  /** Adds the value that begins at `start`. `parent` is -1 for the document; a list's child gives any key. */
  add(start: usize, parent: i32, key: usize, keyLength: i32): i32 {
    const index = this.used++;
    if (index == this.capacity) this.grow();
    const entry = this.entry(index);
    store<u32>(entry, <u32>start, START);
    store<u32>(entry, 0, COUNT);
    store<u32>(entry, <u32>key, KEY);
    store<u32>(entry, <u32>keyLength, KEY_LENGTH);
    if (parent >= 0) {
      const above = this.entry(parent);
      store<u32>(above, load<u32>(above, COUNT) + 1, COUNT);
    }
    return index;
  }

  /** Where a value that has no children ends. */
  end(index: i32, end: usize, kind: u32): void {
    const entry = this.entry(index);
    store<u32>(entry, <u32>end, END);
    store<u32>(entry, <u32>(index + 1), NEXT);
    store<u32>(entry, kind, COUNT);
  }

  /** Where an object or list ends. */
  close(index: i32, end: usize): void {
    const entry = this.entry(index);
    store<u32>(entry, <u32>end, END);
    store<u32>(entry, <u32>this.used, NEXT);
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

  /** The name of an object's child. */
  keyOf(index: i32): string {
    const entry = this.entry(index);
    return copyUnits(<usize>load<u32>(entry, KEY), (<usize>load<u32>(entry, KEY_LENGTH)) << 1);
  }

  /** The child of that name, or -1. */
  find(object: i32, key: string): i32 {
    const length = key.length;
    const start = changetype<usize>(key);
    let entry = this.entry(object);
    let child = object + 1;
    for (let left = load<u32>(entry, COUNT); left > 0; left--) {
      entry = this.entry(child);
      if (<i32>load<u32>(entry, KEY_LENGTH) == length && sameUnits(<usize>load<u32>(entry, KEY), start, length)) {
        return child;
      }
      child = <i32>load<u32>(entry, NEXT);
    }
    return -1;
  }

  private entry(index: i32): usize {
    return changetype<usize>(this.words) + <usize>index * ENTRY;
  }

  private grow(): void {
    const words = room(this.capacity << 1);
    memory.copy(changetype<usize>(words), changetype<usize>(this.words), <usize>this.capacity * ENTRY);
    this.words = words;
    this.capacity <<= 1;
  }
}

/** A text of the bytes that stand there. */
export function copyUnits(start: usize, bytes: usize): string {
  const out = changetype<string>(__new(bytes, idof<string>()));
  memory.copy(changetype<usize>(out), start, bytes);
  return out;
}

/** Whether as many UTF-16 units are the same. */
export function sameUnits(a: usize, b: usize, units: i32): bool {
  while (units >= 4) {
    if (load<u64>(a) != load<u64>(b)) return false;
    a += 8;
    b += 8;
    units -= 4;
  }
  while (units > 0) {
    if (load<u16>(a) != load<u16>(b)) return false;
    a += 2;
    b += 2;
    units--;
  }
  return true;
}

/** Entries that are not zeroed: each word is written before it is read. */
function room(entries: i32): StaticArray<u32> {
  return changetype<StaticArray<u32>>(__new(<usize>entries * ENTRY, idof<StaticArray<u32>>()));
}
