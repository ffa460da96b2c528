import assert from "node:assert/strict";
import { test } from "node:test";

import { mismatches, readPromises } from "./promises.mjs";
import { testsIn } from "./tests.mjs";

test("test/promises.json names guards and tests that are there", () => {
  assert.deepEqual(mismatches(readPromises()), []);
});

test("what test/promises.json names and is not there is said", () => {
  const promises = readPromises();
  const [first] = promises;
  const wrong = (more) => mismatches([{ ...first, ...more }, ...promises.slice(1)]);
  assert.match(wrong({ tests: [{ suite: "ctest", match: "^NoSuch\\.Test$" }] })[0], /no test of suite ctest matches/);
  assert.match(wrong({ tests: [{ suite: "none", match: "." }] })[0], /there is no suite none/);
  assert.match(wrong({ tests: [] })[0], /no test is named/);
  assert.ok(wrong({ guard: { ...first.guard, symbol: "NoSuchFunction" } }).some((one) => /NoSuchFunction/.test(one)));
  assert.ok(
    mismatches(promises.slice(1)).length > 0 || promises.slice(1).some((p) => p.guard.name === first.guard.name),
  );
});

test("names of tests are read from sources", () => {
  assert.deepEqual(testsIn("a_test.cc", "TEST(A, B) {}\n  TEST_F(C,\n  D) {}\n// TEST(no\n"), ["A.B", "C.D"]);
  assert.deepEqual(testsIn("a.test.ts", 'test("one \\"x\\"", f);\n  it(`two`, g);'), ['one "x"', "two"]);
});
