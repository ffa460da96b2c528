// Texts and numbers as errors and answers show them, and what makes a text unfit.
import { isControl } from "../model/result";

/** The largest magnitude of an integer that a JSON number can hold exactly. */
export const MAX_INTEGER: i64 = 9007199254740991;
/**
 * The largest magnitude of any number. Nothing here counts so far; and beyond it, where a mantissa has more than 53 bits and
 * its exponent is from 23 to 37, AssemblyScript's library reads a number of another magnitude, which is never below this.
 */
export const MAX_NUMBER: f64 = 1e21;
const HEX = "0123456789ABCDEF";
/** UTF-16 units of a refused value that an error shows. */
const SHOWN: i32 = 80;

/** What makes a text unfit to be a value at all: NUL and lone surrogates. "" where it is fit. */
export function badText(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code == 0) return "holds a NUL character";
    if ((code & 0xf800) == 0xd800) {
      if (code >= 0xdc00 || i + 1 >= text.length || (text.charCodeAt(i + 1) & 0xfc00) != 0xdc00) {
        return "holds half of a surrogate pair, which is no character";
      }
      i++;
    }
  }
  return "";
}

/** What makes a text unfit for a name, a path or an option's value: control characters too. "" where it is fit. */
export function badLine(text: string): string {
  const bad = badText(text);
  if (bad.length) return bad;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (isControl(code)) return "holds a control character (U+00" + HEX.charAt(code >> 4) + HEX.charAt(code & 15) + ")";
  }
  return "";
}

/** A text from outside as an error may show it: cut to 80 characters, control characters and halves replaced. */
export function show(text: string): string {
  const cut = text.length > SHOWN ? text.substring(0, SHOWN) : text;
  let clean = true;
  for (let i = 0; i < cut.length; i++) {
    const code = cut.charCodeAt(i);
    if (isControl(code) || (code & 0xf800) == 0xd800) {
      clean = false;
      break;
    }
  }
  let out = cut;
  if (!clean) {
    out = "";
    for (let i = 0; i < cut.length; i++) {
      const code = cut.charCodeAt(i);
      if (isControl(code)) {
        out += "\\u" + code.toString(16).padStart(4, "0");
      } else if ((code & 0xfc00) == 0xd800 && i + 1 < cut.length && (cut.charCodeAt(i + 1) & 0xfc00) == 0xdc00) {
        out += cut.substring(i, i + 2);
        i++;
      } else {
        out += (code & 0xf800) == 0xd800 ? "\ufffd" : cut.charAt(i);
      }
    }
  }
  return cut.length < text.length ? out + "…" : out;
}

/** A number without a needless ".0". */
export function numberText(value: f64): string {
  if (Math.floor(value) == value && Math.abs(value) <= <f64>MAX_INTEGER) return (<i64>value).toString();
  const text = value.toString();
  return text.endsWith(".0") ? text.substring(0, text.length - 2) : text;
}
