// Where a text that is no JSON stops being JSON. validateJSON only says that it is none; people want the line. This
// explains a refusal and decides nothing.
import { MAX_DEPTH } from "./scan";

class Cursor {
  at: i32 = 0;
  /** What would have been right at `at`, where something is wrong. */
  expected: string = "";

  constructor(public text: string) {}

  get code(): i32 {
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1;
  }

  skipSpace(): void {
    while (this.code == 0x20 || this.code == 0x0a || this.code == 0x0d || this.code == 0x09) this.at++;
  }

  fail(expected: string): bool {
    this.expected = expected;
    return false;
  }

  string(): bool {
    this.at++;
    while (true) {
      const code = this.code;
      if (code < 0) return this.fail("the text's closing quote");
      if (code < 0x20) return this.fail("no raw line break or control character in a text");
      this.at++;
      if (code == 0x22) return true;
      if (code != 0x5c) continue;
      const escape = this.code;
      if (escape == 0x75) {
        for (let i = 1; i <= 4; i++) {
          const digit = this.at + i < this.text.length ? this.text.charCodeAt(this.at + i) | 0x20 : 0;
          if (!((digit >= 0x30 && digit <= 0x39) || (digit >= 0x61 && digit <= 0x66)))
            return this.fail("four hex digits after \\u");
        }
        this.at += 5;
      } else if (escape >= 0 && '"\\/bfnrt'.includes(String.fromCharCode(escape))) {
        this.at++;
      } else {
        return this.fail('one of " \\ / b f n r t u after the backslash');
      }
    }
  }

  scalar(): bool {
    const from = this.at;
    while (true) {
      const code = this.code;
      const part =
        (code >= 0x30 && code <= 0x39) ||
        ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a) ||
        code == 0x2b ||
        code == 0x2d ||
        code == 0x2e;
      if (!part) break;
      this.at++;
    }
    const word = this.text.substring(from, this.at);
    if (word == "true" || word == "false" || word == "null" || isNumber(word)) return true;
    this.at = from;
    return this.fail("a value");
  }
}

/** "line 3, column 5: expected …", or "" where nothing wrong is found. */
export function locate(text: string): string {
  const cursor = new Cursor(text);
  const problem = walk(cursor);
  if (problem.length) return problem;
  if (cursor.expected.length == 0) return "";
  let line = 1;
  let start = 0;
  for (let i = 0; i < cursor.at && i < text.length; i++) {
    if (text.charCodeAt(i) == 0x0a) {
      line++;
      start = i + 1;
    }
  }
  const column = cursor.at - start + 1;
  return (
    "line " +
    line.toString() +
    ", column " +
    column.toString() +
    ": expected " +
    cursor.expected +
    (cursor.at >= text.length ? ", found the end" : "")
  );
}

function walk(cursor: Cursor): string {
  // "o": in an object; "a": in an array.
  const open: i32[] = [];
  let wantValue = true;
  let fresh = false;
  while (true) {
    cursor.skipSpace();
    const code = cursor.code;
    if (wantValue) {
      if (fresh && code == 0x5d) {
        open.pop();
        cursor.at++;
      } else if (code == 0x7b || code == 0x5b) {
        if (open.length >= MAX_DEPTH) return "it is nested more than " + MAX_DEPTH.toString() + " deep";
        open.push(code);
        cursor.at++;
        fresh = true;
        if (code == 0x5b) continue;
        cursor.skipSpace();
        if (cursor.code == 0x7d) {
          open.pop();
          cursor.at++;
        } else {
          if (!key(cursor)) return "";
          fresh = false;
          continue;
        }
      } else if (code == 0x22) {
        if (!cursor.string()) return "";
      } else if (!cursor.scalar()) {
        return "";
      }
    } else if (code == 0x2c && open.length > 0) {
      cursor.at++;
      if (open[open.length - 1] == 0x7b) {
        cursor.skipSpace();
        if (!key(cursor)) return "";
      }
      wantValue = true;
      fresh = false;
      continue;
    } else if (open.length > 0 && code == open[open.length - 1] + 2) {
      open.pop();
      cursor.at++;
    } else {
      if (open.length == 0) {
        if (code >= 0) cursor.fail("nothing after the value");
      } else {
        cursor.fail(open[open.length - 1] == 0x7b ? '"," or "}"' : '"," or "]"');
      }
      return "";
    }
    wantValue = false;
    fresh = false;
  }
}

/** A member's name and its colon. */
function key(cursor: Cursor): bool {
  if (cursor.code != 0x22) return cursor.fail("a name in double quotes");
  if (!cursor.string()) return false;
  cursor.skipSpace();
  if (cursor.code != 0x3a) return cursor.fail('":"');
  cursor.at++;
  return true;
}

function isNumber(word: string): bool {
  let at = 0;
  const end = word.length;
  if (at < end && word.charCodeAt(at) == 0x2d) at++;
  const first = at;
  at = digits(word, at);
  if (at == first || (word.charCodeAt(first) == 0x30 && at > first + 1)) return false;
  if (at < end && word.charCodeAt(at) == 0x2e) {
    const from = at + 1;
    at = digits(word, from);
    if (at == from) return false;
  }
  if (at < end && (word.charCodeAt(at) | 0x20) == 0x65) {
    at++;
    if (at < end && (word.charCodeAt(at) == 0x2b || word.charCodeAt(at) == 0x2d)) at++;
    const from = at;
    at = digits(word, from);
    if (at == from) return false;
  }
  return at == end;
}

function digits(word: string, at: i32): i32 {
  while (at < word.length && word.charCodeAt(at) >= 0x30 && word.charCodeAt(at) <= 0x39) at++;
  return at;
}
