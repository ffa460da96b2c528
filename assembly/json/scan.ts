// What must hold of a JSON text before it is read. validateJSON has accepted the syntax by then; here are the rules
// that JSON leaves open and that json-as does not keep: duplicate keys, escapes in keys, depth, counts, and the escape
// `\/`. The same walk notes where each value stands (tape.ts), so that nothing has to be looked for again.
import { MANY_BYTES, PLAIN, Tape, WITH_ESCAPES, sameUnits } from "./tape";

/** Depth of arrays and objects in each other. */
export const MAX_DEPTH: i32 = 32;
/** UTF-16 units of one text. */
export const MAX_TEXT: i32 = 4 << 20;
/** Members of one object. */
export const MAX_MEMBERS: i32 = 4096;
/** Elements of one array. */
export const MAX_ELEMENTS: i32 = 65536;
/** UTF-16 units of one key. */
export const MAX_KEY: i32 = 1024;

const QUOTE: u16 = 0x22;
const BACKSLASH: u16 = 0x5c;

/** The outcome of scan(): `error` is "" where the text may be parsed. */
export class Scan {
  error: string = "";
  /** The values, where there is no error. */
  tape: Tape;
  /** The text holds `\/` and must go through unescapeSlashes(). */
  slashes: bool = false;

  constructor(text: string) {
    this.tape = new Tape(text);
  }
}

/** Keys of one large object, so that the next is not compared to all of them. Open addressing, doubled when half full. */
class KeySet {
  private slots: StaticArray<i32> = new StaticArray<i32>(128);
  private starts: StaticArray<usize> = new StaticArray<usize>(64);
  private lengths: StaticArray<i32> = new StaticArray<i32>(64);
  private used: i32 = 0;

  /** Adds a key; false where it is there already. */
  add(start: usize, length: i32): bool {
    const mask = this.slots.length - 1;
    let slot = hashOf(start, length) & mask;
    while (true) {
      const entry = unchecked(this.slots[slot]) - 1;
      if (entry < 0) break;
      if (sameKey(unchecked(this.starts[entry]), unchecked(this.lengths[entry]), start, length)) return false;
      slot = (slot + 1) & mask;
    }
    const index = this.used++;
    unchecked((this.slots[slot] = index + 1));
    unchecked((this.starts[index] = start));
    unchecked((this.lengths[index] = length));
    if (this.used == this.starts.length) this.grow();
    return true;
  }

  private grow(): void {
    const capacity = this.used << 1;
    const starts = new StaticArray<usize>(capacity);
    const lengths = new StaticArray<i32>(capacity);
    const slots = new StaticArray<i32>(capacity << 1);
    const mask = slots.length - 1;
    for (let i = 0; i < this.used; i++) {
      const start = unchecked(this.starts[i]);
      const length = unchecked(this.lengths[i]);
      unchecked((starts[i] = start));
      unchecked((lengths[i] = length));
      let slot = hashOf(start, length) & mask;
      while (unchecked(slots[slot]) != 0) slot = (slot + 1) & mask;
      unchecked((slots[slot] = i + 1));
    }
    this.starts = starts;
    this.lengths = lengths;
    this.slots = slots;
  }
}

function hashOf(start: usize, length: i32): i32 {
  let hash: u32 = 0x811c9dc5;
  const end = start + ((<usize>length) << 1);
  for (let at = start; at < end; at += 2) hash = (hash ^ load<u16>(at)) * 0x01000193;
  return <i32>(hash ^ (hash >> 15));
}

// @ts-ignore: decorator
@inline
function sameKey(a: usize, aLength: i32, b: usize, bLength: i32): bool {
  return aLength == bLength && sameUnits(a, b, aLength);
}

/** Up to so many members an object's keys are compared one by one; from there on through a KeySet. */
const FEW: i32 = 24;

/** An array that is not zeroed: each of its elements is written before it is read. */
function unset<T>(length: i32): StaticArray<T> {
  return changetype<StaticArray<T>>(__new((<usize>length) << alignof<T>(), idof<StaticArray<T>>()));
}

/** The state of one scan. Arrays are by depth, save the keys', which are a stack of all open objects' few keys. */
class Scanner {
  out: Scan;
  depth: i32 = 0;
  /** Members or elements so far. */
  counts: StaticArray<i32> = unset<i32>(MAX_DEPTH + 1);
  /** The object or list that is open. */
  opens: StaticArray<i32> = unset<i32>(MAX_DEPTH + 1);
  /** Where an object's keys begin on the stack. */
  firsts: StaticArray<i32> = unset<i32>(MAX_DEPTH + 1);
  sets: Array<KeySet | null> | null = null;
  starts: StaticArray<usize> = unset<usize>(64);
  lengths: StaticArray<i32> = unset<i32>(64);
  used: i32 = 0;
  private base: usize;

  constructor(text: string) {
    this.out = new Scan(text);
    this.base = changetype<usize>(text);
  }

  /** The scanner of a text. There is one, used again: memory that is not touched costs a fresh instance nothing. */
  static of(text: string): Scanner {
    let scanner = shared;
    if (scanner === null) {
      scanner = new Scanner(text);
      shared = scanner;
      return scanner;
    }
    scanner.out = new Scan(text);
    scanner.base = changetype<usize>(text);
    scanner.depth = 0;
    scanner.used = 0;
    return scanner;
  }

  /** Takes a key; false where the text must be refused. */
  key(start: usize, length: i32, escaped: bool): bool {
    if (escaped) {
      return this.refuse("a name holds a backslash at " + this.position(start) + "; write it without escapes");
    }
    if (length > MAX_KEY) {
      return this.refuse(
        "a name is " +
          length.toString() +
          " characters long at " +
          this.position(start) +
          "; at most " +
          MAX_KEY.toString() +
          " are taken",
      );
    }
    const depth = this.depth;
    const count = unchecked(this.counts[depth]);
    unchecked((this.counts[depth] = count + 1));
    if (count >= MAX_MEMBERS) return this.refuse("an object has more than " + MAX_MEMBERS.toString() + " members");
    if (count < FEW) {
      const first = unchecked(this.firsts[depth]);
      for (let i = first; i < this.used; i++) {
        if (sameKey(unchecked(this.starts[i]), unchecked(this.lengths[i]), start, length))
          return this.twice(start, length);
      }
      this.push(start, length);
      return true;
    }
    const set = this.setAt(depth, count == FEW);
    return set.add(start, length) ? true : this.twice(start, length);
  }

  private push(start: usize, length: i32): void {
    const used = this.used;
    if (used == this.starts.length) {
      const starts = unset<usize>(used << 1);
      const lengths = unset<i32>(used << 1);
      memory.copy(changetype<usize>(starts), changetype<usize>(this.starts), (<usize>used) << 2);
      memory.copy(changetype<usize>(lengths), changetype<usize>(this.lengths), (<usize>used) << 2);
      this.starts = starts;
      this.lengths = lengths;
    }
    unchecked((this.starts[used] = start));
    unchecked((this.lengths[used] = length));
    this.used = used + 1;
  }

  /** The set of a large object, begun with its few first keys. */
  private setAt(depth: i32, fresh: bool): KeySet {
    let sets = this.sets;
    if (sets === null) {
      sets = new Array<KeySet | null>(MAX_DEPTH + 1);
      this.sets = sets;
    }
    if (fresh) {
      const set = new KeySet();
      for (let i = unchecked(this.firsts[depth]); i < this.used; i++) {
        set.add(unchecked(this.starts[i]), unchecked(this.lengths[i]));
      }
      sets[depth] = set;
      return set;
    }
    return sets[depth]!;
  }

  private twice(start: usize, length: i32): bool {
    return this.refuse('the name "' + keyText(start, length) + '" is there twice in one object');
  }

  refuse(error: string): bool {
    this.out.error = error;
    return false;
  }

  position(at: usize): string {
    return "character " + ((<i64>(at - this.base)) >> 1).toString();
  }
}

let shared: Scanner | null = null;

const LANE_ONES: u64 = 0x0001_0001_0001_0001;
const LANE_HIGHS: u64 = 0x8000_8000_8000_8000;
const QUOTES: u64 = 0x0022_0022_0022_0022;
const BACKSLASHES: u64 = 0x005c_005c_005c_005c;
const NOT_ASCII: u64 = 0xff80_ff80_ff80_ff80;

/** Whether one of four units may be a quote or a backslash: never misses one. */
// @ts-ignore: decorator
@inline
function special(four: u64): bool {
  const quotes = four ^ QUOTES;
  const backslashes = four ^ BACKSLASHES;
  return ((((quotes - LANE_ONES) & ~quotes) | ((backslashes - LANE_ONES) & ~backslashes)) & LANE_HIGHS) != 0;
}

/** Checks a text whose syntax is valid JSON already. Positions in errors are UTF-16 units from 0. */
export function scan(text: string): Scan {
  const base = changetype<usize>(text);
  const end = base + ((<usize>text.length) << 1);
  const scanner = Scanner.of(text);
  const out = scanner.out;
  const tape = out.tape;
  const counts = scanner.counts;
  const firsts = scanner.firsts;
  const opens = scanner.opens;
  // The key of the member whose value comes next.
  let key: usize = base;
  let keyLength: i32 = 0;
  let open: i32 = -1;
  // In an object, whether the next string is a key.
  let expectKey = false;
  let inObject = false;
  let objects: u64 = 0; // bit by depth: an object is open there
  let at = base;
  while (at < end) {
    const code = load<u16>(at);
    at += 2;
    if (code == QUOTE) {
      const start = at;
      let escaped = false;
      let bits: u64 = 0;
      while (true) {
        while (at + 8 <= end) {
          const four = load<u64>(at);
          if (special(four)) break;
          bits |= four;
          at += 8;
        }
        const inner = load<u16>(at);
        if (inner == QUOTE) break;
        if (inner == BACKSLASH) {
          escaped = true;
          if (load<u16>(at, 2) == 0x2f) out.slashes = true;
          at += 4;
        } else {
          bits |= inner;
          at += 2;
        }
      }
      if (expectKey) {
        key = start;
        keyLength = <i32>((at - start) >> 1);
        if (!scanner.key(start, keyLength, escaped)) return out;
        expectKey = false;
        at += 2;
      } else {
        at += 2;
        const index = tape.add(start - 2, open, key, keyLength);
        tape.end(index, at, escaped ? WITH_ESCAPES : (bits & NOT_ASCII) != 0 ? MANY_BYTES : PLAIN);
      }
    } else if (code == 0x2c) {
      if (inObject) {
        expectKey = true;
      } else {
        const depth = scanner.depth;
        const count = unchecked(counts[depth]) + 1;
        unchecked((counts[depth] = count));
        if (count >= MAX_ELEMENTS) {
          scanner.refuse("a list has more than " + MAX_ELEMENTS.toString() + " elements");
          return out;
        }
      }
    } else if (code == 0x7b || code == 0x5b) {
      const depth = ++scanner.depth;
      if (depth > MAX_DEPTH) {
        scanner.refuse("it is nested more than " + MAX_DEPTH.toString() + " deep at " + scanner.position(at - 2));
        return out;
      }
      inObject = code == 0x7b;
      expectKey = inObject;
      unchecked((opens[depth] = open));
      open = tape.add(at - 2, open, key, keyLength);
      objects = (objects & ~((<u64>1) << depth)) | ((<u64>(inObject ? 1 : 0)) << depth);
      unchecked((counts[depth] = 0));
      unchecked((firsts[depth] = scanner.used));
    } else if (code == 0x7d || code == 0x5d) {
      scanner.used = unchecked(firsts[scanner.depth]);
      tape.close(open, at);
      open = unchecked(opens[scanner.depth]);
      const depth = --scanner.depth;
      expectKey = false;
      inObject = ((objects >> depth) & 1) != 0;
    } else if (code > 0x20 && code != 0x3a) {
      // A number, true, false or null: up to what can follow one.
      const index = tape.add(at - 2, open, key, keyLength);
      while (at < end) {
        const next = load<u16>(at);
        if (next <= 0x20 || next == 0x2c || next == 0x5d || next == 0x7d) break;
        at += 2;
      }
      tape.end(index, at, 0);
    }
  }
  return out;
}

/** Rewrites the escape `\/` to `/`, which json-as would decode to NUL. */
export function unescapeSlashes(text: string): string {
  const length = text.length;
  const out = changetype<string>(__new((<usize>length) << 1, idof<string>()));
  const end = changetype<usize>(text) + ((<usize>length) << 1);
  let to = changetype<usize>(out);
  for (let at = changetype<usize>(text); at < end; at += 2) {
    const code = load<u16>(at);
    if (code == BACKSLASH && at + 2 < end) {
      const next = load<u16>(at, 2);
      if (next != 0x2f) {
        store<u16>(to, code);
        to += 2;
      }
      store<u16>(to, next);
      at += 2;
    } else {
      store<u16>(to, code);
    }
    to += 2;
  }
  const used = <i32>((to - changetype<usize>(out)) >> 1);
  return out.substring(0, used);
}

function keyText(start: usize, length: i32): string {
  const shown = length > 64 ? 64 : length;
  const out = changetype<string>(__new((<usize>shown) << 1, idof<string>()));
  memory.copy(changetype<usize>(out), start, (<usize>shown) << 1);
  return shown < length ? out + "…" : out;
}
