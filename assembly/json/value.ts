// One value of a document, by its place on the tape: what it is, and its text or number. The library decodes escapes
// and numbers with a fraction.
import { JSON } from "json-as/assembly";
import { PLAIN, Tape, WITH_ESCAPES, decode, widened } from "./tape";
import { MAX_NUMBER, numberText, show } from "./text";

export const QUOTE: u32 = 0x22;

/** What a value is. */
export enum Kind {
  Null,
  Bool,
  Number,
  String,
  Array,
  Object,
}

export function kindOf(tape: Tape, entry: i32): Kind {
  const code = <u32>load<u8>(tape.startOf(entry));
  if (code == QUOTE) return Kind.String;
  if (code == 0x7b) return Kind.Object;
  if (code == 0x5b) return Kind.Array;
  if (code == 0x74 || code == 0x66) return Kind.Bool;
  return code == 0x6e ? Kind.Null : Kind.Number;
}

/** Of a truth value. */
export function isTrueAt(tape: Tape, entry: i32): bool {
  return load<u8>(tape.startOf(entry)) == 0x74; // true
}

/** The text of a string. Without an escape it is what it is; the library decodes the others. */
export function stringAt(tape: Tape, entry: i32): string {
  const start = tape.startOf(entry);
  const length = tape.endOf(entry) - start;
  const kind = <u32>tape.countOf(entry);
  if (kind == PLAIN) return widened(start + 1, length - 2);
  if (kind != WITH_ESCAPES) return decode(start + 1, length - 2);
  return JSON.parse<string>(withPlainSlashes(start, length));
}

const ESCAPED_SLASH: u32 = 0x2f5c;

/** The text of so many bytes, with a slash for each escape `\/`, which json-as would decode to NUL. */
function withPlainSlashes(bytes: usize, length: usize): string {
  const copy = new ArrayBuffer(<i32>length);
  const start = changetype<usize>(copy);
  const end = bytes + length;
  let to = start;
  while (bytes < end) {
    const code = load<u8>(bytes);
    // Behind a backslash stands something, for the text was walked through.
    if (code == 0x5c && <u32>load<u16>(bytes) != ESCAPED_SLASH) store<u8>(to++, <u32>load<u8>(bytes++));
    else if (code == 0x5c) bytes++;
    store<u8>(to++, <u32>load<u8>(bytes++));
  }
  return decode(start, to - start);
}

/** A number that is written as up to 15 digits and nothing else; -1 for others. */
export function digitsAt(tape: Tape, entry: i32): i64 {
  const end = tape.endOf(entry);
  let at = tape.startOf(entry);
  if (end - at > 15) return -1;
  let number: i64 = 0;
  while (at < end) {
    const digit = <u32>load<u8>(at) - 0x30;
    if (digit > 9) return -1;
    number = number * 10 + digit;
    at++;
  }
  return number;
}

/** The number, as the library reads it. */
export function floatAt(tape: Tape, entry: i32): f64 {
  return JSON.parse<f64>(literalAt(tape, entry));
}

/** The value as it was written. */
function literalAt(tape: Tape, entry: i32): string {
  const start = tape.startOf(entry);
  return widened(start, tape.endOf(entry) - start);
}

/**
 * The number as a text: as it was written, for the library reads one fraction in a thousand as a neighbour that is written
 * longer, and a whole one that is too large to be exact may be an id. Zeros behind a fraction are left out, and an
 * exponent is reckoned with.
 */
export function numberAsText(tape: Tape, entry: i32, number: f64): string {
  const literal = literalAt(tape, entry);
  if (number == 0 || literal.includes("e") || literal.includes("E")) return numberText(number);
  if (!literal.includes(".")) return literal;
  let end = literal.length;
  while (literal.charCodeAt(end - 1) == 0x30) end--;
  return literal.substring(0, literal.charCodeAt(end - 1) == 0x2e ? end - 1 : end);
}

/** The number for an error: as it was written where it is none that counts. */
export function numeralAt(tape: Tape, entry: i32): string {
  const number = floatAt(tape, entry);
  return Math.abs(number) <= MAX_NUMBER ? numberAsText(tape, entry, number) : show(literalAt(tape, entry));
}
