// The one way in which this policy reads JSON: json-as's dynamic values behind checks, because its typed parsing
// takes malformed documents without a word. Values are read through Node, which knows its place in the document;
// the first thing that is wrong is kept in the Document, so that readers can go on and look once at the end.
import { JSON } from "json-as/assembly";
import { validateJSON } from "json-as/assembly/util/validateJson";
import { Failure, Result, isControl } from "../model/result";
import { locate } from "./locate";
import { nearest } from "./near";
import { MAX_TEXT, scan, unescapeSlashes } from "./scan";
import { PLAIN, Tape, WITH_ESCAPES, copyUnits } from "./tape";

/** The largest magnitude of an integer that a JSON number can hold exactly. */
export const MAX_INTEGER: i64 = 9007199254740991;
/** UTF-16 units of one string value, unless a reader says less. */
export const MAX_STRING: i32 = 1 << 20;
/** UTF-16 units of a refused value that an error shows. */
const SHOWN: i32 = 80;

/** What a value is. */
export enum Kind {
  Null,
  Bool,
  Number,
  String,
  Array,
  Object,
}

/** One text being read: what it is called in errors, and the first error met. */
export class Document {
  failure: Failure | null = null;

  constructor(
    public what: string,
    /** Where its values stand. */
    readonly tape: Tape,
  ) {}

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
    let kind = Kind.Null;
    if (entry >= 0) {
      const code = load<u16>(document.tape.startOf(entry));
      if (code == 0x22) kind = Kind.String;
      else if (code == 0x7b) kind = Kind.Object;
      else if (code == 0x5b) kind = Kind.Array;
      else if (code == 0x74 || code == 0x66) kind = Kind.Bool;
      else if (code != 0x6e) kind = Kind.Number;
    }
    this.kind = kind;
    this.elementEntry = entry + 1;
  }

  /** The string's text. Without an escape it is copied as it stands, which is what the library would make of it. */
  private decoded(): string {
    const tape = this.document.tape;
    const start = tape.startOf(this.entry);
    const end = tape.endOf(this.entry);
    if (<u32>tape.countOf(this.entry) == WITH_ESCAPES) {
      return JSON.Value.fromSlice(start, end, tape.source).get<string>();
    }
    return copyUnits(start + 2, end - start - 4);
  }

  /** The number or truth value, as the library reads it. */
  private scalar(): JSON.Value {
    const tape = this.document.tape;
    const start = tape.startOf(this.entry);
    return JSON.parse<JSON.Value>(copyUnits(start, tape.endOf(this.entry) - start));
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
    return this.kind == Kind.Object && this.document.tape.find(this.entry, key) >= 0;
  }

  /** The member of that name; null where there is none (or this is no object). A JSON null is a Node. */
  get(key: string): Node | null {
    if (this.kind != Kind.Object) return null;
    const entry = this.document.tape.find(this.entry, key);
    return entry < 0 ? null : new Node(entry, this.document, this, key, -1);
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
    const number = this.scalar().get<f64>();
    if (!(Math.abs(number) <= <f64>MAX_INTEGER) || Math.floor(number) != number) {
      this.expected("a whole number");
      return min;
    }
    const whole = <i64>number;
    if (whole < min || whole > max) {
      this.expected("a whole number from " + min.toString() + " to " + max.toString());
      return min;
    }
    return whole;
  }

  /** The number; records an error and gives 0 where it is none or not finite. */
  number(): f64 {
    if (this.kind == Kind.Number) {
      const number = this.scalar().get<f64>();
      if (isFinite(number)) return number;
    }
    this.expected("a number");
    return 0;
  }

  /** The truth value; records an error and gives false where it is none. */
  truth(): bool {
    if (this.kind == Kind.Bool) return this.scalar().get<bool>();
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

  string(key: string, fallback: string = "", limit: i32 = MAX_STRING): string {
    const node = this.some(key);
    return node === null ? fallback : node.text(limit);
  }

  int(key: string, fallback: i64, min: i64 = -MAX_INTEGER, max: i64 = MAX_INTEGER): i64 {
    const node = this.some(key);
    return node === null ? fallback : node.integer(min, max);
  }

  bool(key: string, fallback: bool): bool {
    const node = this.some(key);
    return node === null ? fallback : node.truth();
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
    const node = this.some(key);
    if (node === null) return fallback;
    if (node.kind == Kind.String) {
      const text = node.decoded();
      if (choices.includes(text)) return text;
      const near = nearest(text, choices);
      node.expected("one of " + choices.join(", "), near.length ? 'did you mean "' + near + '"?' : "");
    } else {
      node.expected("one of " + choices.join(", "));
    }
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
        return this.scalar().get<bool>() ? "true" : "false";
      case Kind.Number:
        return numberText(this.scalar().get<f64>());
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
  let error = "";
  let tape: Tape | null = null;
  if (text.length > MAX_TEXT) {
    error = "it is longer than " + MAX_TEXT.toString() + " characters";
  } else if (!validateJSON(text)) {
    const where = locate(text);
    error =
      text.length == 0
        ? "it is empty"
        : where.startsWith("it is")
          ? where
          : "it is not JSON" + (where.length ? ": " + where : "");
  } else {
    let scanned = scan(text);
    error = scanned.error;
    if (error.length == 0 && scanned.slashes) scanned = scan(unescapeSlashes(text));
    tape = scanned.tape;
  }
  if (error.length) return Result.fail<Node>(new Failure("invalid", what + " cannot be read: " + error));
  return Result.ok<Node>(new Node(0, new Document(what, tape!), null, "", -1));
}

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
    if (isControl(code))
      return "holds a control character (U+" + code.toString(16).toUpperCase().padStart(4, "0") + ")";
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
  return value.toString();
}
