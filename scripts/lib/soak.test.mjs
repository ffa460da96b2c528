import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Progress, readSummary } from "./soak.mjs";

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
