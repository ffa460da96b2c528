// Output JSON, into one growing buffer. json-as could serialize typed classes, but the answers are small, their
// members are often optional, and strings from outside may hold lone surrogates, which must not leave as such.
import { decode } from "./tape";

const REPLACEMENT: u32 = 0xfffd;
/** What one UTF-16 unit becomes at most: \u00xx. */
const MOST: usize = 6;
/** Up to so many units get room for the worst; of longer texts it is counted. */
const SHORT: usize = 1024;

/** Builds one JSON text. The caller keeps the order (key before value in an object); commas are put by the writer. */
export class JsonWriter {
  /** UTF-8. */
  private buffer: ArrayBuffer;
  /** Where the next byte goes, and where the buffer ends. */
  private next: usize;
  private limit: usize;
  /** Whether the next value or key must be preceded by a comma. */
  private comma: bool = false;

  constructor(capacity: i32 = 256) {
    const buffer = room(<usize>capacity);
    this.buffer = buffer;
    this.next = changetype<usize>(buffer);
    this.limit = changetype<usize>(buffer) + <usize>capacity;
  }

  beginObject(): JsonWriter {
    this.put(0x7b);
    this.comma = false;
    return this;
  }

  endObject(): JsonWriter {
    this.comma = false;
    this.put(0x7d);
    this.comma = true;
    return this;
  }

  beginArray(): JsonWriter {
    this.put(0x5b);
    this.comma = false;
    return this;
  }

  endArray(): JsonWriter {
    this.comma = false;
    this.put(0x5d);
    this.comma = true;
    return this;
  }

  key(name: string): JsonWriter {
    this.quoted(name);
    store<u8>(this.next, 0x3a); // quoted() has left room
    this.next++;
    this.comma = false;
    return this;
  }

  string(value: string): JsonWriter {
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
    const length = <usize>json.length;
    let to = this.begin(length * 3);
    const from = changetype<usize>(json);
    for (let i: usize = 0; i < length; i++) {
      const code = <u32>load<u16>(from + (i << 1));
      if (code >= 0x80) {
        this.next = to + String.UTF8.encodeUnsafe(from + (i << 1), <i32>(length - i), to);
        this.comma = true;
        return this;
      }
      store<u8>(to++, code);
    }
    this.next = to;
    this.comma = true;
    return this;
  }

  toString(): string {
    const start = changetype<usize>(this.buffer);
    return decode(start, this.next - start);
  }

  /** Where the text stands, as UTF-8. Valid until more is written. */
  get start(): usize {
    return changetype<usize>(this.buffer);
  }

  get length(): usize {
    return this.next - changetype<usize>(this.buffer);
  }

  /** The same, as an answer of ours names it: start << 32 | length. */
  packed(): u64 {
    return ((<u64>this.start) << 32) | (<u64>this.length);
  }

  private put(code: u32): void {
    const to = this.begin(1);
    store<u8>(to, code);
    this.next = to + 1;
  }

  /** Makes room for so many bytes and a comma, puts the comma where one is due; returns where they go. */
  private begin(bytes: usize): usize {
    if (this.next + bytes + 1 > this.limit) this.grow(bytes + 1);
    const to = this.next;
    if (!this.comma) return to;
    store<u8>(to, 0x2c);
    return to + 1;
  }

  private grow(more: usize): void {
    const start = changetype<usize>(this.buffer);
    const used = this.next - start;
    let capacity = (this.limit - start) << 1;
    while (capacity < used + more) capacity <<= 1;
    const grown = room(capacity);
    memory.copy(changetype<usize>(grown), start, used);
    this.buffer = grown;
    this.next = changetype<usize>(grown) + used;
    this.limit = changetype<usize>(grown) + capacity;
  }

  /** The text in quotes, with room for one byte behind it. Half of a surrogate pair is replaced. */
  private quoted(text: string): void {
    const length = <usize>text.length;
    let to = this.begin((length <= SHORT ? length * MOST : writtenLength(text)) + 3);
    let from = changetype<usize>(text);
    const end = from + (length << 1);
    store<u8>(to++, 0x22);
    while (true) {
      while (from + 8 <= end) {
        let four = load<u64>(from);
        if (!asItStands(four)) break;
        four = (four | (four >> 8)) & 0x0000_ffff_0000_ffff;
        store<u32>(to, <u32>(four | (four >> 16)));
        from += 8;
        to += 4;
      }
      if (from >= end) break;
      const code = <u32>load<u16>(from);
      from += 2;
      if (code < 0x80) {
        if (code == 0x22 || code == 0x5c) {
          store<u8>(to++, 0x5c);
        } else if (code < 0x20) {
          store<u32>(to, 0x3030_755c); // \u00
          store<u8>(to, hexDigit(code >> 4), 4);
          store<u8>(to, hexDigit(code & 15), 5);
          to += 6;
          continue;
        }
        store<u8>(to++, code);
      } else if (code < 0x800) {
        store<u8>(to, 0xc0 | (code >> 6));
        store<u8>(to, 0x80 | (code & 0x3f), 1);
        to += 2;
      } else if ((code & 0xf800) != 0xd800) {
        to = three(to, code);
      } else if (code < 0xdc00 && from < end && (load<u16>(from) & 0xfc00) == 0xdc00) {
        const whole = 0x10000 + ((code & 0x3ff) << 10) + ((<u32>load<u16>(from)) & 0x3ff);
        from += 2;
        store<u8>(to, 0xf0 | (whole >> 18));
        store<u8>(to, 0x80 | ((whole >> 12) & 0x3f), 1);
        store<u8>(to, 0x80 | ((whole >> 6) & 0x3f), 2);
        store<u8>(to, 0x80 | (whole & 0x3f), 3);
        to += 4;
      } else {
        to = three(to, REPLACEMENT);
      }
    }
    store<u8>(to, 0x22);
    this.next = to + 1;
  }
}

/** What a text takes at most, its escapes counted. */
function writtenLength(text: string): usize {
  let total: usize = 0;
  for (let i = 0; i < text.length; i++) {
    const code = <u32>text.charCodeAt(i);
    total += code < 0x20 ? MOST : code == 0x22 || code == 0x5c ? 2 : code < 0x80 ? 1 : 3;
  }
  return total;
}

function three(to: usize, code: u32): usize {
  store<u8>(to, 0xe0 | (code >> 12));
  store<u8>(to, 0x80 | ((code >> 6) & 0x3f), 1);
  store<u8>(to, 0x80 | (code & 0x3f), 2);
  return to + 3;
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
function room(capacity: usize): ArrayBuffer {
  return changetype<ArrayBuffer>(__new(capacity, idof<ArrayBuffer>()));
}

function hexDigit(value: u32): u32 {
  return value < 10 ? 0x30 + value : 0x57 + value;
}

/** A JSON string literal of the text. */
export function quote(text: string): string {
  return new JsonWriter(text.length + 16).string(text).toString();
}
