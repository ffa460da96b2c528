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
  "\u2028",
  "\u2029",
  "\ufeff",
  "\uffff",
  "\u{10ffff}",
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
/** What is no character: NUL and halves of surrogate pairs; the last one is a control character, which is one. */
export const EVIL_ESCAPES = [
  "\\u0000",
  "\\uD800",
  "\\uDE00\\uD83D",
  "\\uD83D\\u0041",
  "\\uD83D😀",
  "\\uD83D\\n",
  "\\uD83D\\uE000",
  "\\uD83D\\uD83D\\uDE00",
  "\\u001f",
];
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
/** What is no value, and looks as if it were one: by slips alone it would hardly come up. */
// prettier-ignore
const NO_VALUES = [
  "00", "-00", "01", "-01", "00.5", "-", "--1", "+1", ".5", "-.5", "1.", "-1.e3", "1.e3", "1e", "1e+", "1e1.5", "1E+-2", "0x1f", "0b1", "1_000",
  "1,5", "NaN", "Infinity", "-Infinity", "undefined", "True", "FALSE", "nul", "nullx", "'a'", "`a`", '"\\u12"', '"\\u12g4"', '"\\U0041"', '"\\x41"',
  '"\\v"', '"\\0"', '"\\\n"', '"\t"', '"\u0000"', '"\u001f"', '"a', 'a"', "[1,]", "[,1]", "[,]", "[1 2]", '{"a":1,}', "{,}", '{"a"}', '{"a":}', "{a:1}", '{1:1}',
  "{'a':1}", '{"a" 1}', "[}", "{]", "/* */1", "// a", "1 1", "\u00a01", "\u20281", "\ufeff1", "\v1", "\f1",
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
  const length = dice.oneIn(20) ? dice.below(dice.oneIn(20) ? 20_000 : 300) : dice.below(24);
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

/** A large list or object; its keys are now and then twice there. */
function large(dice: Dice): string {
  const count = dice.below(dice.pick([70, 300, 1500]));
  if (dice.oneIn(4)) return list(count);
  const keys = keysOf(count);
  if (count > 0 && dice.oneIn(3)) keys[dice.below(count)] = dice.pick(keys);
  return object(keys);
}

const list = (count: number): string => `[${Array.from({ length: count }, () => "0").join(",")}]`;
const object = (keys: string[]): string => `{${keys.map((key) => `"${key}":0`).join(",")}}`;
const keysOf = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${i.toString(36)}${["é", "中", ""][i % 3] ?? ""}`);

/** At each bound and beside it; and what is no value, alone, in a list and as a member. */
export function edges(): string[] {
  const around = (bound: number): number[] => [bound - 1, bound, bound + 1];
  const sound = [...NUMBERS, ...HUGE, ...ESCAPES.map((one) => `"${one}"`), ...EVIL_ESCAPES.map((one) => `"${one}"`)];
  const alone = [...NO_VALUES, ...sound].flatMap((one) => [one, ` ${one}\n`, `[0,${one}]`, `{"a": ${one} ,"b":0}`]);
  const keys = [...ESCAPES, ...EVIL_ESCAPES].map((one) => `{"a${one}":0}`);
  return [
    ...alone,
    ...keys,
    '{"a":0,"\\u0061":0}',
    '{"":0,"":0}',
    '{"":0," ":0}',
    '{"__proto__":0,"constructor":1}',
    // An object's keys are compared one by one up to 24, and in a table beyond, which grows from 64 on.
    ...[2, 23, 24, 25, 26, 63, 64, 65, 127, 128, 129, 1000].flatMap((count) => {
      const all = keysOf(count);
      return [object(all), object([...all, all[0] as string]), object([...all, all[count - 1] as string])];
    }),
    ...around(MAX_MEMBERS).map((count) => object(keysOf(count))),
    ...around(MAX_ELEMENTS).map(list),
    ...around(MAX_DEPTH).flatMap((depth) => [
      "[".repeat(depth) + "]".repeat(depth),
      `${'{"a":'.repeat(depth)}0${"}".repeat(depth)}`,
    ]),
    ...around(MAX_KEY).map((length) => `{"${"k".repeat(length)}":0}`),
    ...around(MAX_KEY / 2).map((length) => `{"${"é".repeat(length)}":0}`),
  ];
}

/** Any value. */
export function value(dice: Dice, depth = 0): string {
  const kind = dice.below(depth > 5 ? 4 : 6);
  const around = (token: string): string => space(dice) + token + space(dice);
  if (dice.oneIn(400)) return around(large(dice));
  if (dice.oneIn(200)) return around(dice.pick(NO_VALUES));
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
