import assert from "node:assert/strict";
import { test } from "node:test";

import { isCore, readExport } from "./coverage-native.mjs";

test("the core is what is linked into the library", () => {
  assert.ok(isCore("native/engine/operation.cc"));
  assert.ok(isCore("native/base/text.h"));
  for (const file of [
    "native/engine/operation_test.cc",
    "native/mount/test_world.cc",
    "native/plugin/scripted_server.cc",
    "native/sys/testing/fake.cc",
    "native/cli/main.cc",
    "native/base/guards.list",
    "build/native/engine/x.cc",
  ]) {
    assert.ok(!isCore(file), file);
  }
});

test("a branch counts once in however many templates it is, and both of its ways count", () => {
  const summary = { functions: { count: 2, covered: 1 }, lines: { count: 9, covered: 7 } };
  const file = (filename) => ({
    filename,
    summary,
    branches: [
      [3, 7, 3, 12, 5, 0, 0, 0, 4],
      [3, 7, 3, 12, 0, 2, 0, 0, 4],
      [8, 7, 8, 12, 4, 0, 0, 0, 4],
    ],
    // From line 5 to the middle of line 6 nothing is run; what follows the code is no region.
    segments: [
      [1, 1, 4, true, true, false],
      [5, 3, 0, true, true, false],
      [6, 4, 4, true, false, false],
      [9, 1, 0, false, false, false],
    ],
  });
  const exported = { data: [{ files: [file("/p/native/base/a.cc"), file("/p/native/base/a_test.cc")] }] };
  const [a, ...rest] = readExport(exported, isCore, "/p");
  assert.deepEqual(rest, []);
  assert.equal(a.file, "native/base/a.cc");
  assert.deepEqual(a.counts.branches, { all: 4, run: 3 });
  assert.deepEqual(a.counts.lines, { all: 9, run: 7 });
  assert.deepEqual(a.missed, [5, 6, 8]);
});
