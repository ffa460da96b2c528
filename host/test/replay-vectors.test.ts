// The rules of replay (docs/replay.md) by the vectors that the engine's own replay runs, too.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import type { Export, Json, OperationRecord } from "../src/replay/records.ts";
import { replayRecord, type Callable, type Result } from "../src/replay/replay.ts";
import { PolicyTrap } from "../src/runner.ts";

interface Step {
  input?: Json;
  calls: { call: string; request: Json; answer?: Json }[];
  answer?: Json;
  fails?: string;
}

interface Vectors {
  about: string;
  records: Record<string, OperationRecord>;
  cases: {
    name: string;
    record: OperationRecord | string;
    config?: Json;
    candidate: Partial<Record<Export, Step>>;
    expect: Result;
  }[];
}

const FOLDER = "test/replay";

/** Stands for a policy, and looks whether it gets what it is to get. */
function candidate(steps: Partial<Record<string, Step>>): Callable {
  return {
    call(name, input, host) {
      const step = steps[name];
      assert.ok(step, `${name} is not to be called`);
      if (step.input !== undefined) assert.deepEqual(JSON.parse(input), step.input);
      for (const { call, request, answer } of step.calls) {
        const got = host(call, JSON.stringify(request));
        assert.notEqual(answer, undefined, "nothing behind this call is to be run");
        assert.deepEqual(JSON.parse(got), answer);
      }
      if (step.fails !== undefined) throw new PolicyTrap(step.fails);
      return typeof step.answer === "string" ? step.answer : JSON.stringify(step.answer);
    },
  };
}

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".json"))) {
  const vectors = JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as Vectors;
  for (const { name, record, config, candidate: steps, expect } of vectors.cases) {
    test(`replay, ${file}: ${name}`, () => {
      const known = typeof record === "string" ? vectors.records[record] : record;
      assert.ok(known);
      const result = replayRecord(known, config, candidate(steps));
      delete result.why;
      assert.deepEqual(result, expect);
    });
  }
}
