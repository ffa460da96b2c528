// One replay: a policy on the record of an operation that is over (docs/replay.md). Nothing is done, and nothing is waited for.
import { OFFERED } from "../../../assembly/testing/fake.mjs";
import { PolicyTrap } from "../runner.ts";
import { decisionOf } from "./decision.ts";
import { Answers, canonical, isEffect, itemsOf, NotRecorded, type Answered, type Item } from "./items.ts";
import { isObject, jsonOrNothing, RECORDED, type Export, type Json, type OperationRecord } from "./records.ts";

export type Outcome = "same" | "different" | "undecidable" | "failed" | "skipped";

export interface Result {
  outcome: Outcome;
  /** Which export did not come out the same. */
  export?: Export;
  at?: "answer" | "call" | "failure";
  was?: Json;
  now?: Json;
  /** The first recorded effect that was not asked for. */
  missing?: Item;
  /** For people. */
  why?: string;
}

/** Something that is called as a blob is. @throws PolicyTrap where it does not answer, and what `host` throws */
export interface Callable {
  call(name: string, input: string, host: (name: string, request: string) => string): string;
}

/** What a policy asked for, and was answered, until it answered or was ended. */
export type Trace = { export: Export; asked: Answered[]; answer?: Json }[];

type Came = { text: string; now: Json } | { failed: string } | { item: Item };

/**
 * @param config what `configure` answered; where it is undefined, each input's own is taken
 * @param trace where to note what the policy asks for
 */
export function replayRecord(
  record: OperationRecord,
  config: Json | undefined,
  policy: Callable,
  trace?: Trace,
): Result {
  if (record.cut) return { outcome: "skipped", why: "the record was too long to be kept whole" };
  const inputs: [Export, string][] = [];
  for (const name of RECORDED) {
    const text = record.input?.[name];
    if (text === undefined) continue;
    const input = jsonOrNothing(text);
    if (input === undefined) return { outcome: "skipped", why: `its input of ${name} is not JSON` };
    inputs.push([name, config !== undefined && isObject(input) ? JSON.stringify({ ...input, config }) : text]);
  }
  if (inputs.length === 0) return { outcome: "skipped", why: "no policy was asked" };
  for (const [name, input] of inputs) {
    const answers = new Answers(name === "prepare" ? (record.calls ?? []) : []);
    const noted: Trace[number] = { export: name, asked: [] };
    trace?.push(noted);
    const came = run(name, input, policy, answers, noted);
    const result = compare(name, record, came, answers);
    if (result !== null) return { ...result, export: name };
  }
  return { outcome: "same" };
}

function run(name: Export, input: string, policy: Callable, answers: Answers, noted: Trace[number]): Came {
  try {
    const text = policy.call(name, input, (call, asked) => {
      const request = jsonOrNothing(asked) ?? asked;
      if (!OFFERED[name].imports.includes(call)) {
        throw new PolicyTrap(`it calls ${call}, which is not to be had in ${name}`);
      }
      if (call === "log" || call === "sleep") {
        noted.asked.push(...itemsOf(call, request).map((item) => ({ item, answer: { ok: {} } })));
        return '{"ok":{}}';
      }
      return JSON.stringify(answers.answer(call, request, (answered) => noted.asked.push(answered)));
    });
    const answer = jsonOrNothing(text);
    const now = decisionOf(name, answer);
    if (now === null || answer === undefined) return { failed: "its answer is none" };
    noted.answer = answer;
    return { text, now };
  } catch (error) {
    if (error instanceof NotRecorded) return { item: error.item };
    if (error instanceof PolicyTrap) return { failed: error.message };
    throw error;
  }
}

/** How an export came out, or null where it did as recorded. */
function compare(name: Export, record: OperationRecord, came: Came, answers: Answers): Result | null {
  const said = record.answer?.[name];
  const missing = name === "prepare" && !("item" in came) ? answers.missing() : null;
  // Nearly all come to this.
  if ("text" in came && came.text === said && missing === null) return null;
  const was = decisionOf(name, jsonOrNothing(said));
  const hadFailed = was === null && record.error?.code === "policy";
  if ("failed" in came) return hadFailed ? null : { outcome: "failed", at: "failure", why: came.failed };
  if ("item" in came) {
    const different = isEffect(came.item) && was !== null;
    return { outcome: different ? "different" : "undecidable", at: "call", was: null, now: came.item };
  }
  const { now } = came;
  if (was === null || canonical(was) !== canonical(now)) {
    const outcome = was === null && !hadFailed ? "undecidable" : "different";
    return { outcome, at: "answer", was, now, ...(missing === null ? {} : { missing }) };
  }
  return missing === null ? null : { outcome: "different", at: "call", was: missing, now: null };
}
