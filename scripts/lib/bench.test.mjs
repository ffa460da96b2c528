import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT } from "./paths.mjs";
import { measure } from "./bench.mjs";
import { run } from "./proc.mjs";

// Writes as Google Benchmark does: an empty file where the name does not match.
const PROGRAM = `
  const [, name, out, , filter] = process.argv;
  const matches = new RegExp((filter ?? "=").split("=")[1]).test(name);
  require("node:fs").writeFileSync(out.split("=")[1], matches ? JSON.stringify({ benchmarks: [{ name }] }) : "");`;
const programOf = (name) => ({ name, command: [process.execPath, "-e", PROGRAM, name] });

test("benchmarks that are chosen by a name that none has are an error", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "dvdi-bench-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const chosen = async (only) => {
    const reports = await measure(["open", "load"].map(programOf), { folder, only });
    return Object.values(reports).flatMap(({ benchmarks }) => benchmarks.map(({ name }) => name));
  };
  assert.deepEqual(await chosen(), ["open", "load"]);
  assert.deepEqual(await chosen("^lo"), ["load"]);
  await assert.rejects(chosen("shut"), { message: "no benchmark has a name like shut" });
  await assert.rejects(chosen("("), /no regular expression: .*Unterminated group/);
});

test("one name chooses benchmarks: a second one is an error, before anything is built", async () => {
  const { code, log } = await run(process.execPath, [join(ROOT, "scripts/bench.mjs"), "open", "load"]);
  assert.equal(code, 1, log);
  assert.equal(
    log,
    "\nerror: one regular expression chooses benchmarks, and 2 were given\n  hint: npm run bench -- 'open|load'\n",
  );
});
