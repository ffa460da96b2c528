// The engine's other functions (log, clock, sleep, random) and how its answers are read.
import * as dvdi from "../dvdi";
import { JsonWriter } from "../json/writer";
import { Node, readJsonAt } from "../json/reader";
import { Failure, Result } from "../model/result";

const CODES: string[] = [
  "invalid",
  "refused",
  "not-found",
  "unavailable",
  "driver",
  "policy",
  "system",
  "timeout",
  "unsupported",
  "internal",
];

/** The `ok` member of an answer of the engine's (ptr << 32 | len), or the error that it gave. */
export function answerOf(answer: u64, what: string): Result<Node> {
  const read = readJsonAt(<usize>(answer >> 32), <usize>(answer & 0xffff_ffff), "the engine's answer to ", what);
  if (read.error !== null) return Result.fail<Node>(badAnswer(what, read.error!.message));
  const root = read.value!;
  const error = root.object("error");
  if (error !== null) return Result.fail<Node>(failureOf(error));
  const ok = root.object("ok");
  if (ok === null) return Result.fail<Node>(badAnswer(what, 'it has neither "ok" nor "error"'));
  return Result.ok<Node>(ok);
}

/** An error object of the engine's as a Failure. */
export function failureOf(error: Node): Failure {
  const failure = new Failure(
    error.oneOf("code", CODES, "internal"),
    error.string("message", "the engine failed without a message"),
    error.string("hint"),
  );
  return failure.at(error.string("field"), error.string("value")).of(error.string("volume"), error.string("driver"));
}

/** What was wrong with an answer of the engine's that was read through Node; null where nothing was. */
export function misread(answer: Node, what: string): Failure | null {
  const failure = answer.failure;
  return failure === null ? null : badAnswer(what, failure.message);
}

/** An answer of the engine's that is against the ABI. */
export function badAnswer(what: string, why: string): Failure {
  return new Failure(
    "policy",
    "the engine's answer to " + what + " cannot be used: " + why,
    "use an engine and a policy of the same ABI version",
  );
}

/** A line in the engine's log. What becomes of it decides nothing. */
export function log(level: string, message: string): void {
  const w = new JsonWriter();
  w.beginObject().key("level").string(level).key("message").string(message).endObject();
  dvdi.log(w.start, w.length);
}

/** Wall time, and what is left of the operation. */
export class Time {
  constructor(
    /** Milliseconds since 1970. */
    readonly unixMs: i64,
    /** Milliseconds until the operation's deadline. */
    readonly leftMs: i64,
  ) {}
}

/** Asks for the time. */
export function now(): Result<Time> {
  const w = new JsonWriter(8).beginObject().endObject();
  const answer = answerOf(dvdi.now(w.start, w.length), "now");
  if (answer.error !== null) return Result.fail<Time>(answer.error!);
  const node = answer.value!;
  const time = new Time(node.int("unix_ms", 0), node.int("left_ms", 0));
  const bad = misread(node, "now");
  return bad !== null ? Result.fail<Time>(bad) : Result.ok<Time>(time);
}

/** Waits for so many milliseconds. */
export function sleep(ms: i64): Failure | null {
  const w = new JsonWriter(32);
  w.beginObject().key("ms").int(ms).endObject();
  return answerOf(dvdi.sleep(w.start, w.length), "sleep").error;
}

/** 32 random bits; 0 where the engine has none to give, which only costs jitter. */
export function random(): u32 {
  const w = new JsonWriter(8).beginObject().endObject();
  const answer = answerOf(dvdi.random(w.start, w.length), "random");
  if (answer.error !== null) return 0;
  return <u32>answer.value!.int("u32", 0, 0, 0xffff_ffff);
}
