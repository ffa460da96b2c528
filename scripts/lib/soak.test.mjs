import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Progress, readSummary, soak } from "./soak.mjs";

test("a soak goes on where it was ended, unless it is another one", () => {
  const folder = mkdtempSync(join(tmpdir(), "dvdi-soak-"));
  try {
    const file = join(folder, "build/soak.json");
    const first = new Progress(file, { from: 1, seeds: 500 });
    first.add(1, { count: 250, operations: 50_000, failed: [7] });
    const second = new Progress(file, { from: 1, seeds: 500 });
    assert.equal(second.has(1), true);
    assert.equal(second.has(251), false);
    assert.deepEqual(second.state.failed, [7]);
    assert.equal(new Progress(file, { from: 1, seeds: 600 }).has(1), false);
    assert.equal(new Progress(file, { from: 1, seeds: 500, fresh: true }).has(1), false);
    // Of a program that was built anew nothing is known, neither that a seed is well nor that it fails.
    const rebuilt = new Progress(file, { from: 1, seeds: 500, of: "another program" });
    assert.deepEqual([rebuilt.has(1), rebuilt.state.failed, rebuilt.changed], [false, [], true]);
    rebuilt.add(251, { count: 250, operations: 50_000, failed: [] });
    const third = new Progress(file, { from: 1, seeds: 500, of: "another program" });
    assert.deepEqual([third.has(1), third.has(251), third.changed], [false, true, false]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("what the simulation writes last is its summary, and nothing else is", () => {
  assert.deepEqual(readSummary('seed 3 breaks\n{"failed":[3],"count":4}\n').failed, [3]);
  assert.equal(readSummary("Segmentation fault\n"), null);
  assert.equal(readSummary('{"count":4}\n'), null);
  assert.equal(readSummary(""), null);
});

test("a soak begins no block when its time is over, and says how many seeds it came to", async () => {
  const folder = mkdtempSync(join(tmpdir(), "dvdi-soak-"));
  try {
    const program = join(folder, "sim");
    const summary = '{"failed":[],"count":10,"operations":2000,"ms":1}';
    writeFileSync(program, `#!/bin/sh\nsleep 0.2\necho '${summary}'\n`, { mode: 0o755 });
    const some = { program, from: 1, seeds: 40, jobs: 1, block: 10 };
    const all = await soak({ ...some, progress: new Progress("", some) }, () => {});
    assert.equal(all.seeds, 40);
    const first = await soak({ ...some, progress: new Progress("", some), forMs: 100 }, () => {});
    assert.equal(first.seeds, 10);
    const none = await soak({ ...some, progress: new Progress("", some), forMs: 0 }, () => {});
    assert.equal(none.seeds, 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
