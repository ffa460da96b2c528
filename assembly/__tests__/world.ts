// Scripting of the mocked imports (world.mjs) from a spec file.
import { JsonWriter } from "../json/writer";

declare function world_command(ptr: usize, len: i32): i64;

function send(json: string): string {
  const bytes = String.UTF8.encode(json);
  const answer = world_command(changetype<usize>(bytes), bytes.byteLength);
  return String.UTF8.decodeUnsafe(<usize>(answer >>> 32), <usize>(answer & 0xffffffff));
}

function begin(command: string): JsonWriter {
  return new JsonWriter().beginObject().key("command").string(command);
}

/** A healthy world again: every volume exists, every plugin answers, nothing is scripted or recorded. Call it in beforeEach. */
export function reset(): void {
  send(begin("reset").endObject().toString());
}

/**
 * The next answer (the next `times` answers; 0: every answer) of one kind of call, of one volume or driver or of all.
 * `on` is a plugin method (Activate, Capabilities, List, Get, Path, Create, Mount: `json` is one answer of plugin_call, such as
 * {"kind":"error","error":"no"}), "stage.one" ({"ok":true} or {"error":{…}}), or an import by its name (stage, query, now, …: `json`
 * is the whole answer; text that is no JSON is given as it is). Scripted answers are used up in the order in which they were given.
 */
export function answer(on: string, json: string, volume: i32 = -1, driver: string = "", times: i32 = 1): void {
  const w = begin("answer");
  w.key("on").string(on).key("volume").int(volume).key("driver").string(driver).key("times").int(times);
  send(w.key("answer").string(json).endObject().toString());
}

/** Whether Get and Mount find a volume. A Create makes it exist. */
export function exists(volume: i32, there: bool): void {
  send(begin("exists").key("volume").int(volume).key("there").bool(there).endObject().toString());
}

/** The scope that a driver's Capabilities names: "local" unless set, or "global". */
export function scope(driver: string, scope: string): void {
  send(begin("scope").key("driver").string(driver).key("scope").string(scope).endObject().toString());
}

/** Milliseconds until the operation's deadline, as `now` answers them; `sleep` lessens them. */
export function left(ms: i32): void {
  send(begin("left").key("ms").int(ms).endObject().toString());
}

/** All host calls since reset(): [{"import", "request", "answer"}]. */
export function transcript(): string {
  return send(begin("transcript").endObject().toString());
}

/**
 * The host calls that act or ask, in short: `Activate rexray; Get 0 + Get 1; Create 0 {"size":"5"}; Mount 0; stage 0 rw; sleep 200`.
 * `;` parts host calls, `+` what ran side by side.
 */
export function calls(): string {
  return send(begin("calls").endObject().toString());
}

/** What was logged: a line each, `level: message`. */
export function logs(): string {
  return send(begin("logs").endObject().toString());
}

/** The .json files of the folder that an environment variable of the test run names: [{"name", "text"}]; [] where it is not set. */
export function files(variable: string): string {
  return send(begin("files").key("variable").string(variable).endObject().toString());
}
