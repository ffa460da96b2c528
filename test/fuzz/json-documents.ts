// Documents for the reader of JSON, from a seed: sound ones with all that JSON allows, the same with a slip, and what a
// reference makes of them.

/** The policy's own bounds (assembly/json/scan.ts), beside what JSON says. */
const MAX_DEPTH = 32;
const MAX_KEY = 1024;
const MAX_MEMBERS = 4096;
const MAX_ELEMENTS = 65_536;

/** Numbers from a seed: the same ones each time. */
export class Dice {
  constructor(private state: number) {}

  /** A whole number in [0, n). */
  below(n: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * n);
  }

  pick<T>(all: readonly T[]): T {
    return all[this.below(all.length)] as T;
  }

  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }
}

const CHARACTERS = [
  ..."abcdefghijklmnopqrstuvwxyzABCDEFXYZ0123456789 _-./:=,;{}[]'<>&%$#@!?*()+~^|",
  "é",
  "ß",
  "中",
  "\u2029",
  "😀",
  "\u007f",
];
const ESCAPES = [
  "\\n",
  "\\t",
  '\\"',
  "\\\\",
  "\\/",
  "\\b",
  "\\f",
  "\\r",
  "\\u0041",
  "\\u00e9",
  "\\uD83D\\uDE00",
  "\\u4e2d",
];
const EVIL_ESCAPES = ["\\u0000", "\\uD800", "\\uDE00\\uD83D", "\\uD83D\\u0041", "\\u001f"];
// prettier-ignore
const NUMBERS = [
  "0", "-0", "1", "-1", "10", "9007199254740991", "-9007199254740991", "9007199254740992", "9007199254740993",
  "123456789012345", "1234567890123456", "0.1", "-0.5", "1.5e3", "1E2", "1e+2", "1e-7", "2.2250738585072014e-308", "5e-324",
  "1.7976931348623157e308", "1e308", "0.30000000000000004", "4.35", "1e22", "1e21", "123456789.123456789", "0e0", "0.0", "1e-400",
];
const HUGE = [
  "1e309",
  "-1e999",
  "1e99999999999",
  "1000000000000000000001",
  "0.446291154604991570E+45",
  "12345678901234567e30",
];
const SPACES = ["", "", "", "", " ", "\n", "\t", "\r", "  "];
const SLIPS = [
  '"',
  "\\",
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "0",
  "-",
  ".",
  "e",
  "t",
  "n",
  " ",
  "\n",
  "\u0001",
  "\u0000",
  "\ufeff",
  "é",
  "\u00a0",
  "+",
  "/",
  "'",
];

export function space(dice: Dice): string {
  return dice.pick(SPACES);
}

export function number(dice: Dice): string {
  if (dice.oneIn(40)) return dice.pick(HUGE);
  if (dice.oneIn(2)) return dice.pick(NUMBERS);
  const digits = (n: number): string => Array.from({ length: 1 + dice.below(n) }, () => dice.below(10)).join("");
  const whole = dice.oneIn(3) ? "0" : `${1 + dice.below(9)}${dice.oneIn(3) ? "" : digits(19)}`;
  const fraction = dice.oneIn(2) ? "" : `.${digits(20)}`;
  const exponent = dice.oneIn(3)
    ? `${dice.pick(["e", "E"])}${dice.pick(["", "+", "-"])}${dice.oneIn(2) ? dice.below(25) : dice.below(330)}`
    : "";
  return `${dice.pick(["", "-"])}${whole}${fraction}${exponent}`;
}

/** A string literal; `evil` one may hold what is no character. */
export function text(dice: Dice, evil = true): string {
  let out = "";
  const length = dice.oneIn(20) ? dice.below(300) : dice.below(24);
  for (let i = 0; i < length; i++) {
    out += dice.oneIn(8) ? dice.pick(ESCAPES) : dice.pick(CHARACTERS);
    if (evil && dice.oneIn(400)) out += dice.pick(EVIL_ESCAPES);
  }
  return `"${out}"`;
}

/** A member's name as it stands between quotes: without escapes, now and then with one. */
export function name(dice: Dice, count: number): string {
  let out = "";
  const length = dice.oneIn(100) ? 1020 + dice.below(10) : dice.below(10);
  for (let i = 0; i < length; i++) out += dice.pick(CHARACTERS);
  if (dice.oneIn(60)) out += dice.pick(ESCAPES);
  // Alone they would meet too often by chance.
  return dice.oneIn(30) ? out : `${out}${count}`;
}

/** Any value. */
export function value(dice: Dice, depth = 0): string {
  const kind = dice.below(depth > 5 ? 4 : 6);
  const around = (token: string): string => space(dice) + token + space(dice);
  if (kind === 0) return around(number(dice));
  if (kind === 1) return around(text(dice));
  if (kind === 2) return around(dice.pick(["true", "false", "null"]));
  if (kind === 3) return around(dice.pick(["[]", "{}", '""', "0"]));
  const count = dice.oneIn(30) ? 20 + dice.below(40) : dice.below(5);
  const inner = Array.from({ length: count }, (_, i) => {
    const one = value(dice, depth + 1 + (count > 10 ? 5 : 0));
    return kind === 4 ? one : `${space(dice)}"${name(dice, i)}"${space(dice)}:${one}`;
  });
  if (dice.oneIn(200)) {
    const more = 20 + dice.below(20);
    return around("[".repeat(more) + inner.length + "]".repeat(more));
  }
  return around(kind === 4 ? `[${inner.join(",")}]` : `{${inner.join(",")}}`);
}

/** The document with a few slips. */
export function slipped(dice: Dice, document: string): string {
  // By characters: half of a surrogate pair is no UTF-8.
  const out = [...document];
  for (let n = 1 + dice.below(3); n > 0; n--) {
    const at = dice.below(out.length + 1);
    const length = dice.below(4);
    switch (dice.below(4)) {
      case 0:
        out.splice(at, 1 + length);
        break;
      case 1:
        out.splice(at, 0, dice.pick(SLIPS));
        break;
      case 2:
        out.splice(at, 1, dice.pick(SLIPS));
        break;
      default:
        out.splice(at, 0, ...out.slice(Math.max(0, at - length), at));
    }
  }
  return out.join("");
}

/**
 * Why a document is to be refused, or "" where it is to be read: JSON.parse, and the rules that JSON leaves open.
 * A document without NUL, which no UTF-8 JSON holds anyway.
 */
export function reference(document: string): string {
  try {
    JSON.parse(document);
  } catch {
    return "no JSON";
  }
  // It is JSON: each token is where it may be, so that a look at them one by one is enough.
  const open: (Set<string> | null)[] = [];
  const counts: number[] = [];
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs;
  const all = [...document.matchAll(tokens)].map(([token]) => token);
  for (let i = 0; i < all.length; i++) {
    const token = all[i] as string;
    if (token === "{" || token === "[") {
      open.push(token === "{" ? new Set() : null);
      counts.push(all[i + 1] === "]" ? 0 : 1);
      if (open.length > MAX_DEPTH) return "too deep";
    } else if (token === "}" || token === "]") {
      open.pop();
      counts.pop();
    } else if (token === ",") {
      const count = (counts.pop() ?? 0) + 1;
      counts.push(count);
      if (open.at(-1) === null && count > MAX_ELEMENTS) return "too many elements";
    } else if (token.startsWith('"') && all[i + 1] === ":") {
      const key = token.slice(1, -1);
      const keys = open.at(-1);
      if (key.includes("\\")) return "an escape in a name";
      if (Buffer.byteLength(key) > MAX_KEY) return "a long name";
      if (keys?.has(key)) return "a name twice";
      keys?.add(key);
      if ((keys?.size ?? 0) > MAX_MEMBERS) return "too many members";
    }
  }
  return "";
}
