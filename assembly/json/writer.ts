// Output JSON, into one growing buffer. json-as could serialize typed classes, but the answers are small, their
// members are often optional, and strings from outside may hold lone surrogates, which must not leave as such.

const QUOTE: u16 = 0x22;
const BACKSLASH: u16 = 0x5c;
const REPLACEMENT: u16 = 0xfffd;

/** Builds one JSON text. The caller keeps the order (key before value in an object); commas are put by the writer. */
export class JsonWriter {
  private buffer: StaticArray<u16>;
  private used: i32 = 0;
  /** Whether the next value or key must be preceded by a comma. */
  private comma: bool = false;

  constructor(capacity: i32 = 128) {
    this.buffer = room(capacity);
  }

  beginObject(): JsonWriter {
    this.separate();
    this.put(0x7b);
    this.comma = false;
    return this;
  }

  endObject(): JsonWriter {
    this.put(0x7d);
    this.comma = true;
    return this;
  }

  beginArray(): JsonWriter {
    this.separate();
    this.put(0x5b);
    this.comma = false;
    return this;
  }

  endArray(): JsonWriter {
    this.put(0x5d);
    this.comma = true;
    return this;
  }

  key(name: string): JsonWriter {
    this.separate();
    this.quoted(name);
    this.put(0x3a);
    this.comma = false;
    return this;
  }

  string(value: string): JsonWriter {
    this.separate();
    this.quoted(value);
    this.comma = true;
    return this;
  }

  int(value: i64): JsonWriter {
    return this.raw(value.toString());
  }

  bool(value: bool): JsonWriter {
    return this.raw(value ? "true" : "false");
  }

  null(): JsonWriter {
    return this.raw("null");
  }

  /** A value that is JSON already. Not checked. */
  raw(json: string): JsonWriter {
    this.separate();
    const length = json.length;
    this.reserve(length);
    memory.copy(this.at(this.used), changetype<usize>(json), (<usize>length) << 1);
    this.used += length;
    this.comma = true;
    return this;
  }

  toString(): string {
    const bytes = (<usize>this.used) << 1;
    const out = changetype<string>(__new(bytes, idof<string>()));
    memory.copy(changetype<usize>(out), changetype<usize>(this.buffer), bytes);
    return out;
  }

  private at(index: i32): usize {
    return changetype<usize>(this.buffer) + ((<usize>index) << 1);
  }

  private separate(): void {
    if (this.comma) this.put(0x2c);
  }

  private put(code: u16): void {
    this.reserve(1);
    store<u16>(this.at(this.used), code);
    this.used++;
  }

  private reserve(more: i32): void {
    const need = this.used + more;
    let capacity = this.buffer.length;
    if (need <= capacity) return;
    while (capacity < need) capacity <<= 1;
    const grown = room(capacity);
    memory.copy(changetype<usize>(grown), changetype<usize>(this.buffer), (<usize>this.used) << 1);
    this.buffer = grown;
  }

  private quoted(text: string): void {
    const length = text.length;
    // Each unit becomes at most six (\u00xx); for long text the exact room is counted.
    this.reserve((length <= 128 ? length * 6 : escapedLength(text)) + 2);
    const from = changetype<usize>(text);
    let to = this.at(this.used);
    store<u16>(to, QUOTE);
    to += 2;
    for (let i = 0; i < length; i++) {
      while (i + 4 <= length) {
        const four = load<u64>(from + ((<usize>i) << 1));
        if (!asItStands(four)) break;
        store<u64>(to, four);
        to += 8;
        i += 4;
      }
      if (i == length) break;
      const code = load<u16>(from + ((<usize>i) << 1));
      if (code == QUOTE || code == BACKSLASH) {
        store<u16>(to, BACKSLASH);
        store<u16>(to, code, 2);
        to += 4;
      } else if (code < 0x20) {
        store<u64>(to, 0x0030_0030_0075_005c); // \u00
        store<u16>(to, hexDigit(code >> 4), 8);
        store<u16>(to, hexDigit(code & 15), 10);
        to += 12;
      } else if ((code & 0xf800) == 0xd800) {
        const pair = code < 0xdc00 && i + 1 < length && (load<u16>(from + ((<usize>i) << 1), 2) & 0xfc00) == 0xdc00;
        if (pair) {
          store<u32>(to, load<u32>(from + ((<usize>i) << 1)));
          i++;
          to += 4;
        } else {
          store<u16>(to, REPLACEMENT);
          to += 2;
        }
      } else {
        store<u16>(to, code);
        to += 2;
      }
    }
    store<u16>(to, QUOTE);
    this.used = <i32>((to + 2 - changetype<usize>(this.buffer)) >> 1);
  }
}

/** Whether four units are ASCII that needs no escape. May say no where they are. */
// @ts-ignore: decorator
@inline
function asItStands(four: u64): bool {
  const quotes = four ^ 0x0022_0022_0022_0022;
  const backslashes = four ^ 0x005c_005c_005c_005c;
  const ones: u64 = 0x0001_0001_0001_0001;
  // In ASCII, a unit below 0x20 or equal to one of the two sets a high bit (and may carry into its neighbour: no harm).
  const found = ((four - 0x0020_0020_0020_0020) | (quotes - ones) | (backslashes - ones)) & 0x8000_8000_8000_8000;
  return found == 0 && (four & 0xff80_ff80_ff80_ff80) == 0;
}

/** A buffer that is not zeroed: what is read of it was written before. */
function room(capacity: i32): StaticArray<u16> {
  return changetype<StaticArray<u16>>(__new((<usize>capacity) << 1, idof<StaticArray<u16>>()));
}

function escapedLength(text: string): i32 {
  let total = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20) total += 5;
    else if (code == QUOTE || code == BACKSLASH) total++;
  }
  return total;
}

function hexDigit(value: u16): u16 {
  return value < 10 ? 0x30 + value : 0x57 + value;
}

/** A JSON string literal of the text. */
export function quote(text: string): string {
  return new JsonWriter(text.length + 16).string(text).toString();
}
