// The one way in which this policy reads JSON: one strict walk over the bytes (scan.ts), and values that are made when
// somebody asks for them, because json-as's typed parsing takes malformed documents without a word; it decodes escapes
// and numbers with a fraction. Values are read through Node, which knows its place in the document; the first thing that
// is wrong is kept in the Document, so that readers can go on and look once at the end.
import { Failure, Result } from "../model/result";
import { nearest } from "./near";
import { MAX_TEXT, scan } from "./scan";
import { PLAIN, Tape, sameText, widened } from "./tape";
import { MAX_INTEGER, MAX_NUMBER, badText, show } from "./text";
import { Kind, QUOTE, digitsAt, floatAt, isTrueAt, kindOf, numberAsText, numeralAt, stringAt } from "./value";

/** UTF-16 units of one string value, unless a reader says less. */
export const MAX_STRING: i32 = 1 << 20;

/** One text being read: what it is called in errors, and the first error met. */
export class Document {
  failure: Failure | null = null;

  /** `kind` and `name` together are what it is called: two texts, so that none is made where nothing is wrong. */
  constructor(
    private kind: string,
    private name: string,
    /** Where its values stand. */
    readonly tape: Tape,
  ) {}

  get what(): string {
    return this.kind + this.name;
  }

  fail(failure: Failure): void {
    if (this.failure === null) this.failure = failure;
  }
}

/** A value with its place. Getters that take a key work on objects, and record an error on anything else. */
export class Node {
  readonly kind: Kind;
  /** The element that was read last, and its entry: lists are read in order. */
  private element: i32 = 0;
  private elementEntry: i32 = 0;

  constructor(
    /** On the document's tape; -1 for a value that is not there. */
    private entry: i32,
    readonly document: Document,
    private parent: Node | null,
    private name: string,
    private index: i32,
  ) {
    this.kind = entry < 0 ? Kind.Null : kindOf(document.tape, entry);
    this.elementEntry = entry + 1;
  }

  /** The string's text. */
  private decoded(): string {
    return stringAt(this.document.tape, this.entry);
  }

  private float(): f64 {
    return floatAt(this.document.tape, this.entry);
  }

  private isTrue(): bool {
    return isTrueAt(this.document.tape, this.entry);
  }

  get isObject(): bool {
    return this.kind == Kind.Object;
  }
  get isArray(): bool {
    return this.kind == Kind.Array;
  }
  get isString(): bool {
    return this.kind == Kind.String;
  }
  get isNumber(): bool {
    return this.kind == Kind.Number;
  }
  get isBool(): bool {
    return this.kind == Kind.Bool;
  }
  get isNull(): bool {
    return this.kind == Kind.Null;
  }

  /** The first error of the whole document, or null. */
  get failure(): Failure | null {
    return this.document.failure;
  }

  /** Where this is in the document: `volumes[0].size`; "" for the document itself. */
  path(): string {
    const parent = this.parent;
    if (parent === null) return "";
    const above = parent.path();
    if (this.index >= 0) return above + "[" + this.index.toString() + "]";
    return above.length ? above + "." + this.name : this.name;
  }

  /** The path as a message wants it: the document's name where this is its root. */
  place(): string {
    const path = this.path();
    return path.length ? path : this.document.what;
  }

  /** Number of members or elements; 0 for scalars. */
  get length(): i32 {
    return this.kind == Kind.Object || this.kind == Kind.Array ? this.document.tape.countOf(this.entry) : 0;
  }

  has(key: string): bool {
    return this.member(key) >= 0;
  }

  /** The entry of the member of that name, or -1. */
  private member(key: string): i32 {
    return this.kind == Kind.Object ? this.document.tape.find(this.entry, key) : -1;
  }

  private child(entry: i32, key: string): Node {
    return new Node(entry, this.document, this, key, -1);
  }

  /** The member of that name; null where there is none (or this is no object). A JSON null is a Node. */
  get(key: string): Node | null {
    const entry = this.member(key);
    return entry < 0 ? null : this.child(entry, key);
  }

  /** The member of that name; null where there is none or where it is JSON's null. */
  some(key: string): Node | null {
    const node = this.get(key);
    return node !== null && node.kind == Kind.Null ? null : node;
  }

  /** The element at an index in [0, length). */
  at(index: i32): Node {
    if (index < 0 || this.kind != Kind.Array || index >= this.length)
      return new Node(-1, this.document, this, "", index);
    if (index < this.element) {
      this.element = 0;
      this.elementEntry = this.entry + 1;
    }
    const tape = this.document.tape;
    while (this.element < index) {
      this.elementEntry = tape.nextOf(this.elementEntry);
      this.element++;
    }
    return new Node(this.elementEntry, this.document, this, "", index);
  }

  /** The members' names, in the document's order. */
  keys(): string[] {
    const out: string[] = [];
    if (this.kind != Kind.Object) return out;
    const tape = this.document.tape;
    let child = this.entry + 1;
    for (let left = this.length; left > 0; left--) {
      out.push(tape.keyOf(child));
      child = tape.nextOf(child);
    }
    return out;
  }

  // What this value is, checked.

  /** The string; records an error and gives "" where it is none, too long, or holds what no text may. */
  text(limit: i32 = MAX_STRING): string {
    if (this.kind != Kind.String) {
      this.expected("text");
      return "";
    }
    const text = this.decoded();
    if (text.length > limit) {
      this.refuse("is " + text.length.toString() + " characters long; at most " + limit.toString() + " are taken");
      return "";
    }
    if (<u32>this.document.tape.countOf(this.entry) == PLAIN) return text;
    const bad = badText(text);
    if (bad.length) {
      this.refuse(bad);
      return "";
    }
    return text;
  }

  /** The whole number; records an error and gives `min` where it is none or out of [min, max]. */
  integer(min: i64 = -MAX_INTEGER, max: i64 = MAX_INTEGER): i64 {
    if (this.kind != Kind.Number) {
      this.expected("a whole number");
      return min;
    }
    let whole = digitsAt(this.document.tape, this.entry);
    if (whole < 0) {
      const number = this.float();
      if (!(Math.abs(number) <= <f64>MAX_INTEGER) || Math.floor(number) != number) {
        this.expected("a whole number");
        return min;
      }
      whole = <i64>number;
    }
    if (whole < min || whole > max) {
      this.expected("a whole number from " + min.toString() + " to " + max.toString());
      return min;
    }
    return whole;
  }

  /** The number; records an error and gives 0 where it is none, or beyond MAX_NUMBER. */
  number(): f64 {
    if (this.kind != Kind.Number) {
      this.expected("a number");
      return 0;
    }
    const number = this.float();
    if (Math.abs(number) <= MAX_NUMBER) return number;
    this.expected("a number up to 1e21");
    return 0;
  }

  /** A number or a truth value as a text; records an error for anything else, and for a number that is out of range. */
  plain(): string {
    if (this.kind == Kind.Number) return numberAsText(this.document.tape, this.entry, this.number());
    return this.isTrue() ? "true" : "false";
  }

  /** The truth value; records an error and gives false where it is none. */
  truth(): bool {
    if (this.kind == Kind.Bool) return this.isTrue();
    this.expected("true or false");
    return false;
  }

  /** Records an error where this is no object. Returns whether it is one. */
  mustBeObject(): bool {
    if (this.kind == Kind.Object) return true;
    this.expected("an object");
    return false;
  }

  /** Records an error where this is no list. Returns whether it is one. */
  mustBeArray(): bool {
    if (this.kind == Kind.Array) return true;
    this.expected("a list");
    return false;
  }

  // Members by name: the fallback where there is none, an error where it is of another type. null counts as none.

  // A value that is what it should be makes no Node.

  string(key: string, fallback: string = "", limit: i32 = MAX_STRING): string {
    const entry = this.member(key);
    if (entry < 0) return fallback;
    const tape = this.document.tape;
    const start = tape.startOf(entry);
    if (load<u8>(start) == QUOTE && <u32>tape.countOf(entry) == PLAIN) {
      const length = tape.endOf(entry) - start - 2;
      if (<i32>length <= limit) return widened(start + 1, length);
    }
    const node = this.child(entry, key);
    return node.kind == Kind.Null ? fallback : node.text(limit);
  }

  int(key: string, fallback: i64, min: i64 = -MAX_INTEGER, max: i64 = MAX_INTEGER): i64 {
    const entry = this.member(key);
    if (entry < 0) return fallback;
    const node = this.child(entry, key);
    return node.kind == Kind.Null ? fallback : node.integer(min, max);
  }

  bool(key: string, fallback: bool): bool {
    const entry = this.member(key);
    if (entry < 0) return fallback;
    const first = load<u8>(this.document.tape.startOf(entry));
    if (first == 0x74) return true;
    if (first == 0x66) return false;
    return first == 0x6e ? fallback : this.child(entry, key).truth();
  }

  object(key: string): Node | null {
    const node = this.some(key);
    return node === null || node.mustBeObject() ? node : null;
  }

  array(key: string): Node | null {
    const node = this.some(key);
    return node === null || node.mustBeArray() ? node : null;
  }

  /** A text that must be one of `choices`. */
  oneOf(key: string, choices: string[], fallback: string): string {
    const entry = this.member(key);
    if (entry < 0) return fallback;
    const tape = this.document.tape;
    const start = tape.startOf(entry);
    const first = load<u8>(start);
    if (first == 0x6e) return fallback;
    if (first == QUOTE && <u32>tape.countOf(entry) == PLAIN) {
      const length = <i32>(tape.endOf(entry) - start) - 2;
      for (let i = 0; i < choices.length; i++) {
        const choice = unchecked(choices[i]);
        if (choice.length == length && sameText(start + 1, changetype<usize>(choice), length)) return choice;
      }
    }
    const node = this.child(entry, key);
    const text = node.kind == Kind.String ? node.decoded() : "";
    if (node.kind == Kind.String && choices.includes(text)) return text;
    const near = nearest(text, choices);
    node.expected("one of " + choices.join(", "), near.length ? 'did you mean "' + near + '"?' : "");
    return fallback;
  }

  /** Records an error for the first member whose name is not among `names`. Returns whether all are. */
  only(names: string[]): bool {
    if (this.kind != Kind.Object) return this.mustBeObject();
    let known = 0;
    for (let i = 0; i < names.length; i++) if (this.has(unchecked(names[i]))) known++;
    if (known == this.length) return true;
    const keys = this.keys();
    for (let i = 0; i < keys.length; i++) {
      const key = unchecked(keys[i]);
      if (names.includes(key)) continue;
      const near = nearest(key, names);
      const path = this.path();
      this.document.fail(
        new Failure(
          "invalid",
          '"' + show(key) + '" is not known in ' + this.place() + "; it takes " + names.join(", "),
          near.length ? 'did you mean "' + near + '"?' : "",
        ).at(path.length ? path + "." + show(key) : show(key)),
      );
      return false;
    }
    return true;
  }

  /** Records: PLACE must be WHAT, not VALUE. */
  expected(what: string, hint: string = ""): void {
    this.document.fail(
      new Failure("invalid", this.place() + " must be " + what + ", not " + this.shown(), hint).at(
        this.path(),
        this.shown(),
      ),
    );
  }

  /** Records: PLACE PROBLEM. */
  refuse(problem: string, hint: string = "", code: string = "invalid"): void {
    this.document.fail(
      new Failure(code, this.place() + " " + problem, hint).at(
        this.path(),
        this.kind == Kind.Object ? "" : this.shown(),
      ),
    );
  }

  /** The value for an error: cut, without control characters. */
  shown(): string {
    switch (this.kind) {
      case Kind.Null:
        return "null";
      case Kind.Bool:
        return this.isTrue() ? "true" : "false";
      case Kind.Number:
        return numeralAt(this.document.tape, this.entry);
      case Kind.String:
        return '"' + show(this.decoded()) + '"';
      case Kind.Array:
        return "a list";
      default:
        return "an object";
    }
  }
}

/**
 * Reads a JSON text. `what` names it in errors ("the statement"). An error where it is no JSON, too long or too deep,
 * has a name twice in an object or a backslash in a name.
 */
export function readJson(text: string, what: string): Result<Node> {
  const bytes = String.UTF8.encode(text);
  return readBytes(new Tape(changetype<usize>(bytes), changetype<usize>(bytes) + bytes.byteLength, bytes), what, "");
}

/** Reads the JSON in `len` bytes of UTF-8 at `ptr`, which stay where they are. It is called KIND NAME in errors. */
export function readJsonAt(ptr: usize, len: usize, kind: string, name: string): Result<Node> {
  return readBytes(new Tape(ptr, ptr + len, null), kind, name);
}

function readBytes(tape: Tape, kind: string, name: string): Result<Node> {
  const length = tape.end - tape.start;
  const error =
    length == 0
      ? "it is empty"
      : length > <usize>MAX_TEXT
        ? "it is longer than " + MAX_TEXT.toString() + " bytes"
        : scan(tape);
  if (error.length) return Result.fail<Node>(new Failure("invalid", kind + name + " cannot be read: " + error));
  return Result.ok<Node>(new Node(0, new Document(kind, name, tape), null, "", -1));
}
