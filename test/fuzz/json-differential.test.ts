// The shipped blob's reader of JSON beside another one, on documents from a seed: both take the same documents, and read the
// same values. DVDI_FUZZ_RUNS and DVDI_FUZZ_SECONDS say how many documents, DVDI_FUZZ_SEED which (docs/testing.md, "Fuzzing").
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { createFake, type Operation } from "../../assembly/testing/fake.mjs";
import { hostOf } from "../../host/src/fake-host.ts";
import { PolicyBlob, type PolicyInstance } from "../../host/src/runner.ts";
import { type Json, SHIPPED } from "../blob/instance.ts";
import { Dice, edges, EVIL_ESCAPES, name, number, reference, slipped, space, text, value } from "./json-documents.ts";

const RUNS = Number(process.env["DVDI_FUZZ_RUNS"] ?? (process.env["DVDI_FUZZ_SECONDS"] ? 1e12 : 2000));
const MS = Number(process.env["DVDI_FUZZ_SECONDS"] ?? 1e9) * 1000;
const FIRST = Number(process.env["DVDI_FUZZ_SEED"] ?? 1);
const blob = new PolicyBlob(readFileSync(SHIPPED));

/** Runs `one` on seed after seed, until enough were run. */
function each(one: (dice: Dice) => void): number {
  const until = performance.now() + MS / 2;
  let runs = 0;
  for (; runs < RUNS && performance.now() < until; runs++) {
    const seed = FIRST + runs;
    try {
      one(new Dice(seed));
    } catch (error) {
      throw new Error(`DVDI_FUZZ_SEED=${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  return runs;
}

interface Answer {
  ok?: Json;
  error?: Record<string, Json>;
}

// Making an instance takes longer than a call; no answer depends on a call before.
const CALLS = 32;
let instance: PolicyInstance;
let calls = 0;

/** What an export answers to a text. */
function answerOf(name: Operation, input: string): Answer {
  if (calls++ % CALLS === 0) instance = blob.begin();
  return JSON.parse(instance.call(name, input, hostOf(createFake(), name))) as Answer;
}

const parsed = (statement: string): Answer =>
  answerOf("parse", JSON.stringify({ config: {}, sources: [{ form: "statement", text: statement }] }));

/** Why the blob could not read it, or "" where it could, whatever else it had to say about it. */
function refusal(answer: Answer): string {
  const message = String((answer.error?.["message"] as string | undefined) ?? "");
  return message.includes(" cannot be read: ") ? message : "";
}

/** Whether both read it, or both refuse it. Returns whether it is to be refused. */
function compare(document: string): boolean {
  const expected = document === "" ? "no JSON" : reference(document);
  const shown = JSON.stringify(document).slice(0, 2000);
  // As an export's input, where it stands; and as a text inside of one.
  const outer = refusal(answerOf("cleanup", document));
  assert.equal(outer !== "", expected !== "", `${expected || "sound"}: ${outer || "read"}: ${shown}`);
  const inside = refusal(parsed(document));
  // No text may hold NUL: that is said before it is looked at as JSON.
  if (!document.includes("\0"))
    assert.equal(inside !== "", expected !== "", `a statement, ${expected || "sound"}: ${inside || "read"}: ${shown}`);
  return expected !== "";
}

test("the same documents are read, and the same are refused", (t) => {
  let refused = 0;
  const runs = each((dice) => {
    const sound = value(dice);
    if (compare(dice.oneIn(2) ? sound : slipped(dice, sound))) refused++;
  });
  t.diagnostic(`${runs} documents, ${refused} to be refused`);
  assert.ok(refused > runs / 10 && refused < (runs * 9) / 10, `${refused} of ${runs} refused: a poor mix`);
});

test("the same is read and refused at each bound, and of what looks like a value", (t) => {
  const all = edges();
  const refused = all.filter(compare).length;
  t.diagnostic(`${all.length} documents, ${refused} to be refused`);
  assert.ok(refused > 100 && refused < all.length - 100);
  for (const escape of EVIL_ESCAPES) {
    const options = JSON.parse(`{"k":"${escape}"}`) as { k: string };
    const statement = `{"volumes":[{"name":"v","driver":"own","container_path":"/d","options":{"k":"${escape}"}}]}`;
    const { error } = parsed(statement);
    assert.match(
      (error?.["message"] as string | undefined) ?? "taken",
      UNFIT.test(options.k) ? /holds (a NUL|half of)/ : /control character/,
      escape,
    );
  }
});

/** What the reader takes for no text: NUL and halves of surrogate pairs. */
const UNFIT = /\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
/** The largest number that is read (assembly/json/text.ts). */
const MAX_NUMBER = 1e21;
/** A number that is handed on as it was written, where it is not exact as a double. */
const WHOLE = /^-?\d+$/;
// What a policy may refuse in an option, which is no matter of the reader.
// eslint-disable-next-line no-control-regex -- it is what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

// The last bit, which is worth more of a number below 2^-1022.
const near = (got: number, wanted: number): boolean =>
  Math.abs(got - wanted) <= Math.max(Math.abs(wanted) * 2 ** -52, Number.MIN_VALUE);

test("the same values are read", (t) => {
  let compared = 0;
  const runs = each((dice) => {
    const members = new Map<string, string>();
    for (let i = dice.below(8); i >= 0; i--) {
      const scalar = dice.below(3);
      members.set(
        `k${i}${[...name(dice, i).replace(/\\.*$|[^a-zA-Z0-9éß中😀]/gu, "")].slice(0, 40).join("")}`,
        scalar === 0 ? number(dice) : scalar === 1 ? text(dice) : dice.pick(["true", "false"]),
      );
    }
    const options = [...members].map(([key, raw]) => `"${key}"${space(dice)}:${space(dice)}${raw}${space(dice)}`);
    const statement = `{"volumes":[{"name":"v","driver":"own","container_path":"/d","options":{${options.join(",")}}}]}`;
    const answer = parsed(statement);
    const values = [...members].map(([key, raw]) => [key, JSON.parse(raw) as string | number | boolean] as const);
    const unfit = values.some(([, one]) =>
      typeof one === "number" ? Math.abs(one) > MAX_NUMBER : UNFIT.test(String(one)),
    );
    const shown = JSON.stringify(statement);
    if (unfit) return assert.notEqual(answer.error, undefined, `taken: ${shown}`);
    if (answer.error !== undefined) {
      const control = values.some(([, one]) => CONTROL.test(String(one)));
      return assert.ok(control, `refused: ${answer.error["message"] as string}: ${shown}`);
    }
    const read = (answer.ok as { volumes: [{ options: Record<string, string> }] }).volumes[0].options;
    assert.deepEqual(Object.keys(read).sort(), [...members.keys()].sort());
    for (const [key, one] of values) {
      compared++;
      const got = read[key] as string;
      const raw = members.get(key) as string;
      // A whole number is more than a double holds of it; of others with more digits the last bit may be rounded either way.
      if (WHOLE.test(raw) && !Number.isSafeInteger(one)) assert.equal(got, raw, shown);
      else if (typeof one === "number")
        assert.ok(near(Number(got), one) && !got.endsWith(".0"), `${key}: ${got} for ${raw}: ${shown}`);
      else assert.equal(got, String(one), shown);
    }
  });
  t.diagnostic(`${runs} documents, ${compared} values`);
  assert.ok(compared > runs);
});
