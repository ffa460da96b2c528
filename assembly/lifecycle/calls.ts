// Calls to plugins as values: what is asked, and what came back. Nothing here decides anything.
import { plugin_call } from "../dvdi";
import { JsonWriter } from "../json/writer";
import { Node } from "../json/reader";
import { Options } from "../model/request";
import { Failure } from "../model/result";
import { answerOf, badAnswer, misread } from "./host";

/** What is known of a call after it was answered, or not answered. */
export enum Kind {
  /** The plugin says yes. */
  Ok,
  /** The plugin says no, with an error of its own. */
  Error,
  /** Nothing is known; the plugin may have acted where `sent` is true. */
  Unknown,
  /** The engine did not send it, because a promise forbids it. */
  Refused,
}

/** So many calls, or stages, the engine takes with one request (docs/abi.md). */
export const AT_ONCE: i32 = 256;

/** No texts. Shared by all that have none: never added to. */
const NONE: string[] = [];

/** The answer to one call. */
export class Answer {
  /** The plugin's or the engine's text; "" where it said yes. */
  error: string = "";
  /** Why nothing is known: unreachable, lost, timeout, not-json, malformed, too-large, breaker-open, not-found, invalid. */
  reason: string = "";
  /** Whether the plugin may have acted. */
  sent: bool = false;
  mountpoint: string = "";
  /** Capabilities: "local" or "global". */
  scope: string = "";
  /** Capabilities: the driver takes options with a Mount. */
  mountOpts: bool = false;
  createdAt: string = "";
  implements: string[] = NONE;
  /** List: those names of it that are volumes of this operation. */
  names: string[] = NONE;

  constructor(public kind: Kind) {}
}

const UNASKED: Answer = new Answer(Kind.Unknown);

/** One call to a plugin. */
export class Call {
  /** How often it was sent, or tried to be. */
  attempts: i32 = 0;
  options: Options | null = null;
  answer: Answer = UNASKED;

  /**
   * @param method one of the protocol's
   * @param driver the driver's name
   * @param volume the volume's index in the operation, or -1 where the method takes none
   * @param name the volume's name, for messages; "" where the method takes none
   * @param timeoutMs how long the plugin may take for it
   */
  constructor(
    readonly method: string,
    readonly driver: string,
    readonly volume: i32,
    readonly name: string,
    readonly timeoutMs: i64,
  ) {}

  /** `Get of volume "x"`, or the method alone. */
  get subject(): string {
    return this.name.length ? this.method + ' of volume "' + this.name + '"' : this.method;
  }

  writeTo(w: JsonWriter): void {
    w.beginObject().key("method").string(this.method);
    if (this.volume >= 0) w.key("volume").int(this.volume);
    else w.key("driver").string(this.driver);
    const options = this.options;
    if (options !== null) {
      w.key("options");
      options.writeTo(w);
    }
    if (this.timeoutMs > 0) w.key("timeout_ms").int(this.timeoutMs);
    w.endObject();
  }
}

/** Sends the calls, as many side by side as the engine takes; each has its answer then. A Failure where the engine gave none. */
export function callPlugins(calls: Call[]): Failure | null {
  if (calls.length <= AT_ONCE) return calls.length ? callSome(calls) : null;
  for (let from = 0; from < calls.length; from += AT_ONCE) {
    const failure = callSome(calls.slice(from, from + AT_ONCE));
    if (failure !== null) return failure;
  }
  return null;
}

function callSome(calls: Call[]): Failure | null {
  const w = new JsonWriter(128 * calls.length + 64);
  w.beginObject().key("calls").beginArray();
  for (let i = 0; i < calls.length; i++) {
    const call = unchecked(calls[i]);
    call.attempts++;
    call.writeTo(w);
  }
  w.endArray().endObject();
  const result = answerOf(plugin_call(w.start, w.length), "plugin_call");
  const failure = result.error;
  if (failure !== null) return failure;
  const answers = result.value!.array("answers");
  if (answers === null || answers.length != calls.length) {
    return badAnswer("plugin_call", "it must hold " + calls.length.toString() + " answers");
  }
  for (let i = 0; i < calls.length; i++) {
    const call = unchecked(calls[i]);
    call.answer = readAnswer(answers.at(i), call.method);
  }
  return misread(result.value!, "plugin_call");
}

function readAnswer(node: Node, method: string): Answer {
  const kind = node.string("kind");
  if (kind == "ok") {
    const answer = new Answer(Kind.Ok);
    if (method == "Get" || method == "Mount" || method == "Path") {
      answer.mountpoint = node.string("mountpoint");
      if (method == "Get") answer.createdAt = node.string("created_at");
    } else if (method == "Capabilities") {
      answer.scope = node.string("scope", "local");
      answer.mountOpts = node.bool("mount_opts", false);
    } else if (method == "Activate") {
      const list = node.array("implements");
      answer.implements = [];
      if (list !== null) for (let i = 0; i < list.length; i++) answer.implements.push(list.at(i).text());
    } else if (method == "List") {
      const list = node.array("volumes");
      answer.names = [];
      if (list !== null) for (let i = 0; i < list.length; i++) answer.names.push(list.at(i).string("name"));
    }
    return answer;
  }
  if (kind == "error") {
    const answer = new Answer(Kind.Error);
    answer.error = node.string("error");
    answer.sent = true;
    return answer;
  }
  if (kind == "refused") {
    const answer = new Answer(Kind.Refused);
    answer.error = node.string("error");
    return answer;
  }
  const answer = new Answer(Kind.Unknown);
  if (kind != "unknown") node.refuse('has the kind "' + kind + '", which is none of ok, error, unknown, refused');
  answer.reason = node.string("reason");
  answer.error = node.string("error");
  // Where it is not said, the plugin may have acted: the careful reading.
  answer.sent = node.bool("sent", true);
  return answer;
}
