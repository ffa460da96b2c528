// The part of a replay that runs in a thread of its own: batches of records in, results out.
import { parentPort, workerData } from "node:worker_threads";

import { createFake } from "../../../assembly/testing/fake.mjs";
import { ABI } from "../abi.ts";
import { hostOf } from "../fake-host.ts";
import { PolicyBlob } from "../runner.ts";
import { isObject, jsonOrNothing, readRecord, type Json } from "./records.ts";
import { replayRecord, type Result, type Trace } from "./replay.ts";

/** Of how many records it is told how they came out the same. */
const SAME_TOLD = 20;

/** Stands for a record's number while `configure` is asked. */
export const CONFIGURING = -1;

export interface WorkerData {
  blob: Uint8Array;
  /** What `configure` gets; undefined where no settings are known. */
  settings: Json | undefined;
  /** The number of the record that was begun, and how many were: whoever watches sees one that does not come to an end. */
  begun: SharedArrayBuffer;
}

export interface Batch {
  /** The number of the first of them. */
  from: number;
  lines: string[];
}

/** A result, and how it came about: of what came out the same, only the first ones are told. */
export interface Finding {
  /** The record's number. */
  index: number;
  result: Result;
  trace: Trace;
}

export interface BatchDone {
  from: number;
  same: number;
  findings: Finding[];
  /** A line that is no record: its number and why. */
  damaged?: { index: number; why: string };
}

/** What `configure` answers, as the engine asks it. @throws Error where it does not take the settings */
function configure(policy: PolicyBlob, settings: Json): Json {
  const input = JSON.stringify({ settings, engine: { version: "0.0.0", abi: ABI } });
  const text = policy.begin().call("configure", input, hostOf(createFake(), "configure"));
  const answer = jsonOrNothing(text);
  if (isObject(answer) && answer["ok"] !== undefined) return answer["ok"];
  const error = isObject(answer) && isObject(answer["error"]) ? answer["error"]["message"] : "its answer is none";
  throw new Error(`configure does not take the settings: ${typeof error === "string" ? error : ""}`);
}

/** Serves the thread that started this one, until that ends it. */
export function serveReplay(): void {
  const { blob, settings, begun } = workerData as WorkerData;
  const policy = new PolicyBlob(blob);
  const counter = new Int32Array(begun);
  Atomics.store(counter, 0, CONFIGURING);
  Atomics.add(counter, 1, 1);
  const config = settings === undefined ? undefined : configure(policy, settings);
  parentPort?.on("message", ({ from, lines }: Batch) => {
    const done: BatchDone = { from, same: 0, findings: [] };
    for (const [i, line] of lines.entries()) {
      Atomics.store(counter, 0, from + i);
      Atomics.add(counter, 1, 1);
      const trace: Trace = [];
      let result: Result;
      const instance = policy.begin();
      try {
        result = replayRecord(readRecord(line), config, instance, trace);
      } catch (error) {
        done.damaged = { index: from + i, why: (error as Error).message };
        break;
      } finally {
        instance.end();
      }
      if (result.outcome === "same") done.same += 1;
      if (result.outcome !== "same" || from + i < SAME_TOLD) done.findings.push({ index: from + i, result, trace });
    }
    parentPort?.postMessage(done);
  });
}
