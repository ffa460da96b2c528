import assert from "node:assert/strict";
import { test } from "node:test";

import { percent, ranges, readPoints, sums } from "./coverage.mjs";

const point = (file, line, type, covered) => JSON.stringify({ file, line, col: 1, type, covered });

test("points are counted by file and kind, and what was not run is named by its line", () => {
  const text = [
    point("assembly/a.ts", 9, 0, true),
    point("assembly/a.ts", 12, 1, false),
    point("assembly/a.ts", 12, 2, false),
    point("assembly/a.ts", 3, 2, false),
    point("assembly/__tests__/a.spec.ts", 1, 0, false),
    "",
  ].join("\n");
  const [a, b, ...rest] = readPoints(text, ["assembly/a.ts", "assembly/b.ts"]);
  assert.deepEqual(rest, []);
  assert.deepEqual(a.counts, {
    functions: { all: 1, run: 1 },
    branches: { all: 1, run: 0 },
    expressions: { all: 2, run: 0 },
  });
  assert.deepEqual(a.missed, [3, 12]);
  assert.equal(b.counts.functions.all, 0);
  assert.deepEqual(sums([a, a, b]).expressions, { all: 4, run: 0 });
});

test("a share is never rounded up to all of it", () => {
  assert.equal(percent({ all: 0, run: 0 }), "-");
  assert.equal(percent({ all: 3, run: 3 }), "100.0 %");
  assert.equal(percent({ all: 10_000, run: 9_999 }), "99.9 %");
  assert.equal(percent({ all: 8, run: 1 }), "12.5 %");
});

test("lines beside each other are a range", () => {
  assert.equal(ranges([]), "");
  assert.equal(ranges([3, 7, 8, 9, 11]), "3, 7-9, 11");
});
