import assert from "node:assert/strict";
import { test } from "node:test";

import { readAsPect, readCtest, readNodeLine } from "./results.mjs";

const node = (event, more = {}) =>
  readNodeLine(JSON.stringify({ type: "test", name: "one", nesting: 0, pass: true, ...event }), {
    files: ["build/test/a.test.mjs"],
    filtered: false,
    ...more,
  });

test("node: passed, failed and skipped tests, with the reason", () => {
  assert.deepEqual(node({}).test, { name: "one", outcome: "passed", detail: undefined });
  assert.deepEqual(node({ pass: false, error: "why" }).test, { name: "one", outcome: "failed", detail: "why" });
  assert.deepEqual(node({ skip: "no kernel" }).test, { name: "one", outcome: "skipped", detail: "no kernel" });
  assert.equal(node({ skip: true }).test.detail, "no reason given");
});

test("node: a file without tests has failed", () => {
  const { test: result } = node({ name: "/checkout/build/test/a.test.mjs" });
  assert.deepEqual([result.outcome, result.detail], ["failed", "the file has no tests"]);
  assert.equal(node({ name: "/checkout/build/test/a.test.mjs", pass: false, error: "threw" }).test.detail, "threw");
});

test("node: a describe block counts only where it failed by itself, or was skipped", () => {
  assert.equal(node({ suite: true }), null);
  assert.equal(node({ suite: true, pass: false, error: "2 subtests failed" }), null);
  assert.equal(node({ suite: true, pass: false, error: "Error: boom" }).test.outcome, "failed");
  assert.equal(node({ suite: true, skip: "not here" }).test.outcome, "skipped");
});

test("node: what a filter left out is no result", () => {
  assert.equal(node({ name: "/checkout/build/test/a.test.mjs" }, { filtered: true }), null);
  assert.equal(node({ skip: "test name does not match pattern" }, { filtered: true }), null);
  assert.equal(node({ skip: "no kernel" }, { filtered: true }).test.outcome, "skipped");
  assert.equal(node({ pass: false, error: "x" }, { filtered: true }).test.outcome, "failed");
});

test("node: what is no result line is output", () => {
  const read = (line) => readNodeLine(line, { files: [], filtered: false });
  assert.deepEqual(read('{"type":"output","text":"hello"}'), { output: "hello" });
  assert.deepEqual(read("{ not json"), { output: "{ not json\n" });
  assert.deepEqual(read("null"), { output: "null\n" });
});

test("as-pect: tests, todos, and a file that failed or ran nothing", () => {
  const line = (more) =>
    JSON.stringify({ file: "f.ts", pass: true, tests: [{ name: "g > t", pass: true }], todos: [], ...more });
  const outcomes = (more) => readAsPect(`${line(more)}\n`).map((one) => `${one.name}: ${one.outcome}`);
  assert.deepEqual(outcomes({}), ["f.ts: g > t: passed"]);
  assert.deepEqual(outcomes({ todos: ["later"] }), ["f.ts: g > t: passed", "f.ts: later: skipped"]);
  assert.deepEqual(outcomes({ pass: false }), ["f.ts: g > t: passed", "f.ts: the file as a whole: failed"]);
  assert.deepEqual(outcomes({ tests: [] }), ["f.ts: the file as a whole: failed"]);
  assert.deepEqual(readAsPect(""), []);
});

const testcase = (name, status, inner) => `
	<testcase name="${name}" classname="${name}" time="0.1" status="${status}">${inner}
	</testcase>`;

test("ctest: passed, failed, skipped with its reason, disabled", () => {
  const skip = "/a.cc:5: Skipped\nno &lt;kernel&gt; &amp; &quot;x&quot;\n[  SKIPPED ] A.Skip (0 ms)\n";
  const xml =
    testcase("A.Ok", "run", "<system-out>[ RUN ]</system-out>") +
    testcase("A.Skip", "notrun", `<skipped message="S"/><system-out>${skip}</system-out>`) +
    testcase("A.Bad", "fail", '<failure message=""/><system-out>1 != 2</system-out>') +
    testcase("A.Off", "disabled", '<skipped message="Disabled"/><system-out></system-out>');
  assert.deepEqual(readCtest(`<testsuite>${xml}</testsuite>`, ""), [
    { name: "A.Ok", outcome: "passed", detail: undefined },
    { name: "A.Skip", outcome: "skipped", detail: 'no <kernel> & "x"' },
    { name: "A.Bad", outcome: "failed", detail: "1 != 2" },
    { name: "A.Off", outcome: "skipped", detail: "disabled in the source" },
  ]);
});

test("ctest: a program that is not there has failed, and is not skipped", () => {
  const xml = testcase("b_NOT_BUILT", "notrun", "<system-out>Unable to find executable: b</system-out>");
  assert.equal(readCtest(xml, "")[0].outcome, "failed");
});

test("ctest: how a test ended is taken from what was printed", () => {
  const xml = testcase("A.Crash", "fail", '<failure message=""/><system-out>[ RUN ]</system-out>');
  const printed = " 5/8 Test #5: A.Crash ............Subprocess aborted***Exception:   0.12 sec\n";
  assert.match(readCtest(xml, printed)[0].detail, /^Subprocess aborted Exception\n\[ RUN \]$/);
});
