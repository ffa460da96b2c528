// The one walk over a JSON text: strict syntax, and the rules that JSON leaves open (duplicate keys, escapes in keys,
// depth, counts). It notes where each value stands (tape.ts), so that nothing has to be looked for again, and where a text
// is wrong it says what would have been right, and where.
import { MANY_BYTES, PLAIN, Tape, WITH_ESCAPES, decode, sameBytes } from "./tape";

/** Depth of arrays and objects in each other. */
export const MAX_DEPTH: i32 = 32;
/** Bytes of one text. */
export const MAX_TEXT: i32 = 4 << 20;
/** Members of one object. */
export const MAX_MEMBERS: i32 = 4096;
/** Elements of one array. */
export const MAX_ELEMENTS: i32 = 65536;
/** Bytes of one key. */
export const MAX_KEY: i32 = 1024;

const QUOTE: u32 = 0x22;
const BACKSLASH: u32 = 0x5c;
const COMMA: u32 = 0x2c;
const COLON: u32 = 0x3a;
const OBJECT: u32 = 0x7b;
const LIST: u32 = 0x5b;

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
      if (unchecked(this.lengths[entry]) == length && sameBytes(unchecked(this.starts[entry]), start, length)) {
        return false;
      }
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
  const end = start + <usize>length;
  for (let at = start; at < end; at++) hash = (hash ^ load<u8>(at)) * 0x01000193;
  return <i32>(hash ^ (hash >> 15));
}

/** Up to so many members an object's keys are compared one by one; from there on through a KeySet. */
const FEW: i32 = 24;

/** The sets of the large objects that are open, by depth. */
let sets: Array<KeySet | null> | null = null;

/** One of 64 bits that is likely another for another key. The key is not empty. */
// @ts-ignore: decorator
@inline
function bitOf(start: usize, length: i32): u64 {
  const last = load<u8>(start + <usize>(length - 1));
  const middle = load<u8>(start + <usize>(length >> 1));
  const bit = <u64>((<u32>length + <u32>load<u8>(start) * 7 + <u32>middle * 3 + <u32>last * 13) & 63);
  return (<u64>1) << bit;
}

/** Whether the open object has that key already. Takes it, where a set does. */
function isThere(tape: Tape, object: i32, count: i32, depth: i32, start: usize, length: i32): bool {
  if (count <= FEW) {
    let child = object + 1;
    for (let left = count; left > 0; left--) {
      if (tape.keyLength(child) == length && sameBytes(tape.keyStart(child), start, length)) return true;
      child = tape.nextOf(child);
    }
    if (count < FEW) return false;
  }
  let all = sets;
  if (all === null) {
    all = new Array<KeySet | null>(MAX_DEPTH + 1);
    sets = all;
  }
  if (count == FEW) {
    const set = new KeySet();
    let child = object + 1;
    for (let left = count; left > 0; left--) {
      set.add(tape.keyStart(child), tape.keyLength(child));
      child = tape.nextOf(child);
    }
    all[depth] = set;
  }
  return !all[depth]!.add(start, length);
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = ONES * 0x22;
const BACKSLASHES: u64 = ONES * 0x5c;
const SPACES: u64 = ONES * 0x20;

/** High bits: the lowest one is of the first byte that is a quote, a backslash or a control character. */
// @ts-ignore: decorator
@inline
function specials(eight: u64): u64 {
  const quotes = eight ^ QUOTES;
  const backslashes = eight ^ BACKSLASHES;
  return (((quotes - ONES) & ~quotes) | ((backslashes - ONES) & ~backslashes) | ((eight - SPACES) & ~eight)) & HIGHS;
}

/** Where a text is wrong, and what would have been right there; and what the last string was. */
let wrongAt: usize = 0;
let wrong: string = "";
let stringKind: u32 = PLAIN;

/** The end of a string, behind its closing quote; `at` is behind the opening one. 0 where it is wrong. */
function endOfString(at: usize, end: usize): usize {
  let bits: u64 = 0;
  let escaped = false;
  while (true) {
    let found: u64 = 0;
    while (found == 0 && at + 8 <= end) {
      const eight = load<u64>(at);
      bits |= eight;
      found = specials(eight);
      at += found == 0 ? 8 : <usize>(ctz(found) >> 3);
    }
    if (at >= end) return fail(end, "the text's closing quote");
    const code = <u32>load<u8>(at);
    if (code == QUOTE) {
      // Bytes behind the string may have been looked at too: it is called MANY_BYTES then, and read with more care.
      stringKind = escaped ? WITH_ESCAPES : (bits & HIGHS) != 0 ? MANY_BYTES : PLAIN;
      return at + 1;
    }
    if (code < 0x20) return fail(at, "no raw line break or control character in a text");
    if (code != BACKSLASH) {
      bits |= code;
      at++;
      continue;
    }
    escaped = true;
    const escape = at + 1 < end ? <u32>load<u8>(at, 1) : 0;
    if (escape == 0x75) {
      for (let i: usize = 2; i < 6; i++) {
        if (at + i >= end || !isHex(load<u8>(at + i))) return fail(at + 1, "four hex digits after \\u");
      }
      at += 6;
    } else if (
      escape == QUOTE ||
      escape == BACKSLASH ||
      escape == 0x2f ||
      escape == 0x62 ||
      escape == 0x66 ||
      escape == 0x6e ||
      escape == 0x72 ||
      escape == 0x74
    ) {
      at += 2;
    } else {
      return fail(at + 1, 'one of " \\ / b f n r t u after the backslash');
    }
  }
}

function fail(at: usize, expected: string): usize {
  wrongAt = at;
  wrong = expected;
  return 0;
}

function isHex(code: u32): bool {
  const letter = code | 0x20;
  return (code >= 0x30 && code <= 0x39) || (letter >= 0x61 && letter <= 0x66);
}

// @ts-ignore: decorator
@inline
function isDigit(code: u32): bool {
  return code - 0x30 <= 9;
}

// @ts-ignore: decorator
@inline
function byteAt(at: usize, end: usize): u32 {
  return at < end ? <u32>load<u8>(at) : 0;
}

function digits(at: usize, end: usize): usize {
  while (isDigit(byteAt(at, end))) at++;
  return at;
}

/** The end of the number, true, false or null that begins at `at`; 0 where there is none. */
function endOfScalar(at: usize, end: usize): usize {
  const start = at;
  const code = byteAt(at, end);
  if (code == 0x74 && at + 4 <= end && load<u32>(at) == 0x65757274) {
    at += 4;
  } else if (code == 0x66 && at + 5 <= end && load<u32>(at, 1) == 0x65736c61) {
    at += 5;
  } else if (code == 0x6e && at + 4 <= end && load<u32>(at) == 0x6c6c756e) {
    at += 4;
  } else {
    if (code == 0x2d) at++;
    const whole = at;
    at = digits(at, end);
    if (at == whole || (load<u8>(whole) == 0x30 && at > whole + 1)) return fail(start, "a value");
    if (byteAt(at, end) == 0x2e) {
      const fraction = ++at;
      at = digits(at, end);
      if (at == fraction) return fail(start, "a value");
    }
    if ((byteAt(at, end) | 0x20) == 0x65) {
      at++;
      const sign = byteAt(at, end);
      if (sign == 0x2b || sign == 0x2d) at++;
      const exponent = at;
      at = digits(at, end);
      if (at == exponent) return fail(start, "a value");
    }
  }
  // `truer`, `1x` and `1-2` are no values; what else follows is looked at by the caller.
  const next = byteAt(at, end);
  const letter = next | 0x20;
  if (isDigit(next) || (letter >= 0x61 && letter <= 0x7a) || next == 0x2b || next == 0x2d || next == 0x2e) {
    return fail(start, "a value");
  }
  return at;
}

// @ts-ignore: decorator
@inline
function skipSpace(at: usize, end: usize): usize {
  while (at < end) {
    const code = load<u8>(at);
    if (code > 0x20 || (code != 0x20 && code != 0x0a && code != 0x0d && code != 0x09)) break;
    at++;
  }
  return at;
}

/** Reads the tape's text. Returns "", or why it is refused. */
export function scan(tape: Tape): string {
  const end = tape.end;
  let at = skipSpace(tape.start, end);
  let depth = 0;
  /** The object or list that is open: its entry, its kind, its children so far, and bits of its keys. */
  let open = -1;
  let kind: u32 = 0;
  let count = 0;
  let seen: u64 = 0;
  /** The key of the member whose value comes next. */
  let key: usize = 0;
  let keyLength = 0;
  let wantKey = false;
  while (true) {
    if (wantKey) {
      if (byteAt(at, end) != QUOTE) return syntax(tape, at, "a name in double quotes");
      key = at + 1;
      at = endOfString(key, end);
      if (at == 0) return syntax(tape, wrongAt, wrong);
      if (stringKind == WITH_ESCAPES) {
        return "a name holds a backslash at " + position(tape, key) + "; write it without escapes";
      }
      keyLength = <i32>(at - 1 - key);
      if (keyLength > MAX_KEY) return tooLong(tape, key, keyLength);
      if (count >= MAX_MEMBERS) return "an object has more than " + MAX_MEMBERS.toString() + " members";
      const bit = keyLength > 0 ? bitOf(key, keyLength) : 1;
      if ((seen & bit) != 0 || count >= FEW) {
        if (isThere(tape, open, count, depth, key, keyLength)) return twice(key, keyLength);
      }
      seen |= bit;
      count++;
      at = skipSpace(at, end);
      if (byteAt(at, end) != COLON) return syntax(tape, at, '":"');
      at = skipSpace(at + 1, end);
      wantKey = false;
    } else if (open >= 0) {
      if (++count > MAX_ELEMENTS) return "a list has more than " + MAX_ELEMENTS.toString() + " elements";
    }
    const code = byteAt(at, end);
    if (code == QUOTE) {
      const start = at;
      at = endOfString(at + 1, end);
      if (at == 0) return syntax(tape, wrongAt, wrong);
      tape.add(start, at, key, keyLength, stringKind);
    } else if (code == OBJECT || code == LIST) {
      if (++depth > MAX_DEPTH) {
        return "it is nested more than " + MAX_DEPTH.toString() + " deep at " + position(tape, at);
      }
      open = tape.open(at, key, keyLength, open, count, seen);
      kind = code;
      count = 0;
      seen = 0;
      at = skipSpace(at + 1, end);
      if (byteAt(at, end) != code + 2) {
        wantKey = code == OBJECT;
        continue;
      }
    } else {
      const start = at;
      at = endOfScalar(at, end);
      if (at == 0) return syntax(tape, wrongAt, wrong);
      tape.add(start, at, key, keyLength, 0);
    }
    // Behind a value, or before the end of what is empty.
    while (true) {
      at = skipSpace(at, end);
      if (open < 0) return at < end ? syntax(tape, at, "nothing after the value") : "";
      const next = byteAt(at, end);
      if (next == COMMA) {
        at = skipSpace(at + 1, end);
        wantKey = kind == OBJECT;
        break;
      }
      if (next != kind + 2) return syntax(tape, at, kind == OBJECT ? '"," or "}"' : '"," or "]"');
      at++;
      open = tape.close(open, at, count);
      depth--;
      if (open >= 0) {
        kind = <u32>load<u8>(tape.startOf(open));
        count = tape.countOf(open);
        seen = tape.seenIn(open);
      }
    }
  }
}

function tooLong(tape: Tape, key: usize, length: i32): string {
  const most = MAX_KEY.toString();
  return (
    "a name is " + length.toString() + " bytes long at " + position(tape, key) + "; at most " + most + " are taken"
  );
}

function twice(key: usize, length: i32): string {
  const text = decode(key, <usize>length);
  return 'the name "' + (text.length > 64 ? text.substring(0, 64) + "…" : text) + '" is there twice in one object';
}

/** Characters (UTF-16 units) between two places. */
function units(from: usize, to: usize): i32 {
  let count = 0;
  for (let at = from; at < to; at++) {
    const code = load<u8>(at);
    if ((code & 0xc0) != 0x80) count++;
    if (code >= 0xf0) count++;
  }
  return count;
}

function position(tape: Tape, at: usize): string {
  return "character " + units(tape.start, at).toString();
}

function syntax(tape: Tape, at: usize, expected: string): string {
  let line = 1;
  let start = tape.start;
  for (let i = start; i < at; i++) {
    if (load<u8>(i) != 0x0a) continue;
    line++;
    start = i + 1;
  }
  const column = units(start, at) + 1;
  const place = "line " + line.toString() + ", column " + column.toString();
  let found = "";
  if (at >= tape.end) found = ", found the end";
  // Editors write it, and show nothing there.
  else if (at == tape.start && isMark(at, tape.end)) found = ", found a byte order mark; save it as UTF-8 without one";
  return "it is not JSON: " + place + ": expected " + expected + found;
}

function isMark(at: usize, end: usize): bool {
  return end - at >= 3 && load<u8>(at) == 0xef && load<u8>(at, 1) == 0xbb && load<u8>(at, 2) == 0xbf;
}
