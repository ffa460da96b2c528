// The operations of the ABI, from input text to answer text.
import { JsonWriter } from "../json/writer";
import { Node, readJsonAt } from "../json/reader";
import { Config } from "../model/config";
import { Failure, Result } from "../model/result";
import { parseSources } from "../parse/parse";
import { now } from "./host";
import { policyInPlace } from "./policy";
import { Preparation } from "./prepare";
import { existed, needsTime, story, whatHappened } from "./text";
import { Scope, Volume } from "./volume";

/** The version of the ABI that this speaks. */
export const ABI: i64 = 1;
/** From so many attempts on a release that fails is worth a line. */
const WORTH_A_LINE: i64 = 3;

/** An operation: the text of its input stands in `len` bytes at `ptr`. */
export type Operation = (ptr: usize, len: usize) => JsonWriter;

/** Runs an operation as the engine does, with texts. */
export function ask(operation: Operation, text: string): string {
  const bytes = String.UTF8.encode(text);
  return operation(changetype<usize>(bytes), bytes.byteLength).toString();
}

/** An operation's input: always an object. */
export function readInput(ptr: usize, len: usize, operation: string): Result<Node> {
  const read = readJsonAt(ptr, len, "the input of ", operation);
  if (read.error === null && !read.value!.mustBeObject()) return Result.fail<Node>(read.value!.failure!);
  return read;
}

/** A list that an operation cannot be without: what is missing must not pass for nothing to do. */
function needed(input: Node, name: string): Node | null {
  const list = input.array(name);
  if (list === null && input.failure === null) input.refuse('has no "' + name + '"');
  return list;
}

export function runConfigure(ptr: usize, len: usize): JsonWriter {
  const read = readInput(ptr, len, "configure");
  if (read.error !== null) return read.error!.toAnswer();
  const input = read.value!;
  const engine = input.object("engine");
  if (engine !== null) {
    const abi = engine.int("abi", ABI);
    if (abi != ABI) {
      return new Failure(
        "unsupported",
        "the engine speaks version " + abi.toString() + " of the policy ABI, and this policy version " + ABI.toString(),
        "install a policy that was built for this engine",
      ).toAnswer();
    }
  }
  const config = Config.fromNode(input.get("settings"));
  let failure = input.failure;
  if (failure === null) failure = policyInPlace().check(config);
  if (failure !== null) return failure.toAnswer();
  const w = new JsonWriter();
  w.beginObject().key("ok");
  config.writeTo(w);
  return w.endObject();
}

export function runParse(ptr: usize, len: usize): JsonWriter {
  const read = readInput(ptr, len, "parse");
  if (read.error !== null) return read.error!.toAnswer();
  const input = read.value!;
  const config = Config.ofInput(input);
  needed(input, "sources");
  if (input.failure !== null) return input.failure!.toAnswer();
  const parsed = parseSources(input, config);
  if (parsed.error !== null) return parsed.error!.toAnswer();
  const w = new JsonWriter();
  w.beginObject().key("ok");
  parsed.value!.writeTo(w);
  return w.endObject();
}

export function runPrepare(ptr: usize, len: usize): JsonWriter {
  const read = readInput(ptr, len, "prepare");
  if (read.error !== null) return read.error!.toAnswer();
  const input = read.value!;
  const config = Config.ofInput(input);
  const scope = Scope.fromNode(input.object("scope"));
  let nowMs = input.int("now_ms", 0, 0);
  const creating = input.string("goal") == "create";
  const waitedMs = input.int("waited_ms", 0, 0);
  const volumes: Volume[] = [];
  const list = needed(input, "volumes");
  if (list !== null) {
    for (let i = 0; i < list.length; i++) {
      const volume = Volume.fromNode(list.at(i), i);
      leaveOut(volume, scope);
      volumes.push(volume);
    }
  }
  if (input.failure !== null) return input.failure!.toAnswer();
  const policy = policyInPlace();
  const preparation = new Preparation(policy, config, scope, volumes, creating, waitedMs);
  const failure = preparation.run();
  if (failure !== null) return failure.toAnswer();

  // An engine that does not say it is asked, where it matters.
  for (let i = 0; i < volumes.length && nowMs == 0; i++) {
    if (!needsTime(volumes[i])) continue;
    const time = now();
    if (time.error !== null) break;
    nowMs = time.value!.unixMs;
  }
  const w = new JsonWriter(128 * volumes.length + 64);
  w.beginObject().key("ok").beginObject().key("volumes").beginArray();
  for (let i = 0; i < volumes.length; i++) {
    const volume = volumes[i];
    w.beginObject().key("index").int(volume.index);
    w.key("what").string(creating && !volume.created ? "existed" : whatHappened(volume));
    w.key("message")
      .string(creating && !volume.created ? existed(volume) : story(volume, nowMs))
      .endObject();
  }
  w.endArray().key("notes").beginArray();
  writeTexts(w, preparation.notes);
  writeTexts(w, policy.notes(volumes, scope));
  return w.endArray().endObject().endObject();
}

/** The scope itself is no other user: an engine may name it where an operation is run again. */
function leaveOut(volume: Volume, scope: Scope): void {
  const users = volume.users;
  for (let i = users.length - 1; i >= 0; i--) {
    if (users[i].scope == scope.id && users[i].owner == scope.owner) users.splice(i, 1);
  }
}

export function runCleanup(ptr: usize, len: usize): JsonWriter {
  const read = readInput(ptr, len, "cleanup");
  if (read.error !== null) return read.error!.toAnswer();
  const input = read.value!;
  const report: string[] = [];
  const volumes = input.array("volumes");
  if (volumes !== null) {
    for (let i = 0; i < volumes.length; i++) {
      const volume = volumes.at(i);
      const title = 'volume "' + volume.string("name") + '" (driver ' + volume.string("driver") + ")";
      if (!volume.bool("last_user", true)) report.push(title + " stays attached: others use it");
    }
  }
  return releaseAnswer(input, report);
}

export function runRecover(ptr: usize, len: usize): JsonWriter {
  const read = readInput(ptr, len, "recover");
  if (read.error !== null) return read.error!.toAnswer();
  const input = read.value!;
  const report: string[] = [];
  const pending = input.array("pending");
  if (pending !== null) {
    for (let i = 0; i < pending.length; i++) {
      const volume = pending.at(i);
      const attempts = volume.int("attempts", 0, 0);
      if (attempts < WORTH_A_LINE) continue;
      const error = volume.string("error");
      report.push(
        'volume "' +
          volume.string("name") +
          '" (driver ' +
          volume.string("driver") +
          ") could not be released in " +
          attempts.toString() +
          " attempts" +
          (error.length ? ": " + error : "") +
          "; it is tried again, and `dvdi forget` gives it up",
      );
    }
  }
  return releaseAnswer(input, report);
}

function releaseAnswer(input: Node, report: string[]): JsonWriter {
  if (input.failure !== null) return input.failure!.toAnswer();
  const backoff = policyInPlace().release();
  const w = new JsonWriter();
  w.beginObject().key("ok").beginObject();
  if (backoff !== null)
    w.key("retry").beginObject().key("base_ms").int(backoff.baseMs).key("max_ms").int(backoff.maxMs).endObject();
  w.key("report").beginArray();
  writeTexts(w, report);
  return w.endArray().endObject().endObject();
}

function writeTexts(w: JsonWriter, texts: string[]): void {
  for (let i = 0; i < texts.length; i++) w.string(texts[i]);
}
