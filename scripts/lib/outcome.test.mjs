import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { ROOT } from "./paths.mjs";
import { run } from "./proc.mjs";
import { SUITES } from "./suites.mjs";

test("a suite in which no test has the name that was asked for has nothing to say", async (t) => {
  const build = mkdtempSync(join(tmpdir(), "dvdi-outcome-test-"));
  t.after(() => rmSync(build, { recursive: true, force: true }));
  writeFileSync(join(build, "CTestTestfile.cmake"), "add_test(Units.One true)\n");
  const ctest = SUITES.find(({ name }) => name === "ctest");
  const told = async (match) => {
    const { tests, problem } = await ctest.run({ build, match, onTest: () => {} });
    return { tests: tests.length, problem: problem !== undefined };
  };
  assert.deepEqual(await told(), { tests: 1, problem: false });
  assert.deepEqual(await told("One"), { tests: 1, problem: false });
  assert.deepEqual(await told("Two"), { tests: 0, problem: false });
  // A folder in which there is no test at all has lost them.
  writeFileSync(join(build, "CTestTestfile.cmake"), "");
  assert.deepEqual(await told(), { tests: 0, problem: true });
});

test("a run in which no suite has the test that was asked for has failed, and says so", async () => {
  const end = async (passed) => {
    const line = { name: "ctest", passed, failed: 0, skips: [], time: "0.0 s" };
    const code = `import(${JSON.stringify(pathToFileURL(join(ROOT, "scripts/lib/outcome.mjs")).href)})
      .then(({ summary }) => summary({ lines: [${JSON.stringify(line)}] }))`;
    const { code: status, log } = await run(process.execPath, ["-e", code], {});
    return { status, log };
  };
  const none = await end(0);
  assert.equal(none.status, 1);
  assert.match(none.log, /no test has such a name\n0 passed, 0 failed, 0 skipped/);
  const one = await end(1);
  assert.equal(one.status, 0);
  assert.doesNotMatch(one.log, /no test has/);
});
