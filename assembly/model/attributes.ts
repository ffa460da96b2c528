// Attributes of classes and pools: what a workload wants of its storage, and what a pool has.
import { Node } from "../json/reader";
import { numberText } from "../json/text";
import { JsonWriter } from "../json/writer";
import { MAX_NAME } from "./errors";

const SIZE: string = "size";
const MAX_ATTRIBUTES: i32 = 64;
const MAX_CHOICES: i32 = 64;
const RANGE_MEMBERS: string[] = ["min", "max"];

/**
 * One attribute: a range of numbers (a single number is min == max), or texts of which one is meant. A text that reads as a
 * number is both: "0042" and "3g" may be words, and only who compares them knows.
 */
export class Attribute {
  isNumber: bool = false;
  min: f64 = 0;
  max: f64 = 0;
  /** Lower-case, and as they were written; none of a range, and none of a size that is a number. */
  texts: string[] = [];
  written: string[] = [];
  /** The value as JSON, as it was given. */
  raw: string = "";

  constructor(public name: string) {}

  /** "3000", "1 to 100", "at least 5", "ssd or nvme": for reasons. */
  toString(): string {
    if (this.texts.length) return this.texts.join(" or ");
    const unit = this.name == SIZE ? " GB" : "";
    if (this.min == this.max) return numberText(this.min) + unit;
    if (this.max == Infinity) return "at least " + numberText(this.min) + unit;
    if (this.min == -Infinity) return "at most " + numberText(this.max) + unit;
    return numberText(this.min) + " to " + numberText(this.max) + unit;
  }

  /** Whether it names one value: no range, no list. */
  get isOne(): bool {
    return this.isNumber ? this.min == this.max : this.texts.length == 1;
  }

  /** Whether a pool that has this can give what `wanted` asks: the texts or the ranges meet. */
  gives(wanted: Attribute): bool {
    if (this.shared(wanted) >= 0) return true;
    return this.isNumber && wanted.isNumber && this.min <= wanted.max && wanted.min <= this.max;
  }

  /** The first of the texts of `wanted` that is one of these, or -1. */
  shared(wanted: Attribute): i32 {
    for (let i = 0; i < wanted.texts.length; i++) if (this.texts.includes(wanted.texts[i])) return i;
    return -1;
  }

  static fromNode(name: string, node: Node): Attribute {
    const out = new Attribute(name);
    const w = new JsonWriter(64);
    if (node.isNumber) {
      const number = node.number();
      out.setNumber(number, number);
      if (name != SIZE) out.addText(node.plain());
      w.raw(node.plain());
    } else if (node.isBool) {
      out.addText(node.truth() ? "true" : "false");
      w.bool(node.truth());
    } else if (node.isString) {
      const text = node.text(MAX_NAME);
      const number = quantity(name, text);
      if (!isNaN(number)) out.setNumber(number, number);
      if (isNaN(number) || name != SIZE) out.addText(text);
      w.string(text);
    } else if (node.isArray) {
      if (node.length == 0 || node.length > MAX_CHOICES)
        node.expected("a list of 1 to " + MAX_CHOICES.toString() + " texts");
      w.beginArray();
      for (let i = 0; i < node.length && node.failure === null; i++) {
        const text = node.at(i).text(MAX_NAME);
        out.addText(text);
        w.string(text);
      }
      w.endArray();
    } else if (node.isObject && node.length > 0) {
      if (node.only(RANGE_MEMBERS)) {
        w.beginObject();
        out.setNumber(bound(name, node, "min", -Infinity, w), bound(name, node, "max", Infinity, w));
        w.endObject();
        if (node.failure === null && out.min > out.max) node.refuse("has a min that is greater than its max");
      }
    } else {
      node.expected('a text, a number, true, false, a list of texts or {"min": …, "max": …}');
    }
    out.raw = w.toString();
    return out;
  }

  private addText(text: string): void {
    this.texts.push(text.toLowerCase());
    this.written.push(text);
  }

  private setNumber(min: f64, max: f64): void {
    this.isNumber = true;
    this.min = min;
    this.max = max;
  }
}

function bound(name: string, range: Node, key: string, fallback: f64, w: JsonWriter): f64 {
  const node = range.get(key);
  if (node === null) return fallback;
  w.key(key);
  if (node.isString) {
    const text = node.text(MAX_NAME);
    const number = quantity(name, text);
    if (isNaN(number)) node.expected("a number, with a unit or without");
    w.string(text);
    return number;
  }
  const number = node.number();
  w.raw(numberText(number));
  return number;
}

export class Attributes {
  readonly all: Attribute[] = [];

  get(name: string): Attribute | null {
    for (let i = 0; i < this.all.length; i++) if (this.all[i].name == name) return this.all[i];
    return null;
  }

  writeTo(w: JsonWriter): void {
    w.beginObject();
    for (let i = 0; i < this.all.length; i++) w.key(this.all[i].name).raw(this.all[i].raw);
    w.endObject();
  }

  static fromNode(node: Node): Attributes {
    const out = new Attributes();
    if (!node.mustBeObject()) return out;
    const keys = node.keys();
    if (keys.length > MAX_ATTRIBUTES) {
      node.refuse("has more than " + MAX_ATTRIBUTES.toString() + " attributes");
      return out;
    }
    for (let i = 0; i < keys.length && node.failure === null; i++) {
      const value = node.get(keys[i])!;
      if (keys[i].length == 0 || keys[i].length > MAX_NAME) value.refuse("has an empty or overlong name");
      else out.all.push(Attribute.fromNode(keys[i], value));
    }
    return out;
  }
}

/**
 * A number with an optional unit: "100", "1.5k", "10 GiB", "1TB". A size comes out in GB, bare numbers of it being GB;
 * there GB and GiB are the same, as the drivers have it, and B alone is bytes. Elsewhere k, M, G, T are thousands (Ki, Mi, …
 * 1024s), and a B behind them changes nothing; alone it is no unit ("1b" is a word). NaN where the text is no such thing.
 */
export function quantity(name: string, text: string): f64 {
  let end = 0;
  let digits = 0;
  let dots = 0;
  while (end < text.length) {
    const code = text.charCodeAt(end);
    if (code >= 0x30 && code <= 0x39) digits++;
    else if (code == 0x2e && digits > 0 && dots == 0) dots++;
    else break;
    end++;
  }
  if (digits == 0 || digits > 15) return NaN;
  const number = parseFloat(text.substring(0, end));
  let unit = text.substring(end).trim().toLowerCase();
  const isSize = name == SIZE;
  if (unit.length == 0) return number;
  if (unit == "b") return isSize ? number / 1073741824 : NaN;
  if (unit.endsWith("b")) unit = unit.substring(0, unit.length - 1);
  const binary = isSize || unit.endsWith("i");
  if (unit.endsWith("i")) unit = unit.substring(0, unit.length - 1);
  const power = unit == "k" ? 1 : unit == "m" ? 2 : unit == "g" ? 3 : unit == "t" ? 4 : unit == "p" ? 5 : 0;
  if (power == 0) return NaN;
  let factor: f64 = 1;
  const step: f64 = binary ? 1024 : 1000;
  for (let i = 0; i < power; i++) factor *= step;
  if (isSize) factor /= 1073741824;
  return number * factor;
}
