// A value or the reason why there is none. AssemblyScript has no exceptions that can be caught (a throw is a
// trap, and a trap tells a user nothing), so whatever can fail returns a Result.
import { JsonWriter } from "../json/writer";

/** Why something failed, in the shape that docs/abi.md gives to every error. Empty members are left out. */
export class Failure {
  /** What was being read or done, as a path in the input: `volumes[0].size`. */
  field: string = "";
  /** The value that was refused, as its writer wrote it (cut where it is long). */
  value: string = "";
  volume: string = "";
  driver: string = "";
  /** The operation is to be asked for again after so many milliseconds; 0: not at all. */
  againMs: i64 = 0;

  /**
   * @param code one of the ABI's codes: invalid, refused, not-found, unavailable, driver, policy, system, timeout,
   *   unsupported, internal
   * @param message one line: what failed and why
   * @param hint what to do about it, or ""
   */
  constructor(
    public code: string,
    public message: string,
    public hint: string = "",
  ) {}

  /** Names the field and the refused value. Returns this. */
  at(field: string, value: string = ""): Failure {
    this.field = field;
    this.value = value;
    return this;
  }

  /** Names the volume (and driver) that this is about. Returns this. */
  of(volume: string, driver: string = ""): Failure {
    this.volume = volume;
    this.driver = driver;
    return this;
  }

  writeTo(w: JsonWriter): void {
    w.beginObject();
    w.key("code").string(this.code);
    w.key("message").string(oneLine(this.message));
    if (this.hint.length) w.key("hint").string(oneLine(this.hint));
    if (this.field.length) w.key("field").string(this.field);
    if (this.value.length) w.key("value").string(this.value);
    if (this.volume.length) w.key("volume").string(this.volume);
    if (this.driver.length) w.key("driver").string(this.driver);
    if (this.againMs > 0) w.key("again_ms").int(this.againMs);
    w.endObject();
  }

  /** The whole answer of an export: {"error": {…}}. */
  toAnswer(): JsonWriter {
    const w = new JsonWriter();
    w.beginObject().key("error");
    this.writeTo(w);
    return w.endObject();
  }
}

/** A value or a Failure; exactly one of both is there. */
export class Result<T> {
  private constructor(
    public value: T | null,
    public error: Failure | null,
  ) {}

  static ok<T>(value: T): Result<T> {
    return new Result<T>(value, null);
  }

  static fail<T>(error: Failure): Result<T> {
    return new Result<T>(null, error);
  }
}

/** Control characters (line breaks, terminal escapes) become spaces: messages quote what users and plugins wrote. */
export function oneLine(text: string): string {
  let clean = true;
  for (let i = 0; i < text.length; i++) {
    if (isControl(text.charCodeAt(i))) {
      clean = false;
      break;
    }
  }
  if (clean) return text;
  let out = "";
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (isControl(text.charCodeAt(i))) {
      out += text.substring(from, i) + " ";
      from = i + 1;
    }
  }
  return out + text.substring(from);
}

/** C0, DEL, C1, and the line and paragraph separators. */
export function isControl(code: i32): bool {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}
