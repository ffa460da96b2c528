// `npm run test:promises [-- NAME…]`: builds with the engine's promise guards off, one at a time, and shows that a test notices.
//
// test/promises.json names each guard and its tests:
//   [{"promise": 1, "title": "A volume in use is never unmounted",
//     "guard": {"name": "volume_in_use", "file": "native/engine/release.cc", "symbol": "Release"},
//     "tests": [{"suite": "ctest", "match": "^ReleaseTest\\.InUse$"}]}]
// With the guard on, each of these tests passes; with it off, at least one fails.
import { join, relative } from "node:path";

import { buildNative } from "./lib/native.mjs";
import { ROOT } from "./lib/paths.mjs";
import { must } from "./lib/proc.mjs";
import { mismatches, readPromises } from "./lib/promises.mjs";
import { setup } from "./lib/setup.mjs";
import { SUITES } from "./lib/suites.mjs";
import { bold, fail, green, main, red, step, StepError } from "./lib/ui.mjs";

const BUILD = join(ROOT, "build/promises");
const SHIPPED = ["dvdi", "dvdi-driver", "dvdi-helper"];

/** What has to be built for these tests: the test programs, and for other suites the programs that ship. */
async function targetsOf(tests) {
  const targets = new Set();
  for (const { suite, match } of tests) {
    if (suite !== "ctest") {
      for (const program of SHIPPED) targets.add(program);
      continue;
    }
    const text = await must("ctest", ["--test-dir", BUILD, "--show-only=json-v1", "-R", match]);
    // Above the JSON ctest says which folder it has entered.
    for (const { command } of JSON.parse(text.slice(text.indexOf("{"))).tests ?? []) {
      if (command?.[0]?.startsWith(`${BUILD}/`)) targets.add(relative(BUILD, command[0]));
    }
  }
  return [...targets];
}

/** Runs the tests of a promise. A test that was skipped shows nothing and is named. */
async function runTests(tests) {
  const outcome = { passed: [], failed: [], skipped: [] };
  for (const { suite, match } of tests) {
    const { run } = SUITES.find(({ name }) => name === suite);
    const results = await run({ build: BUILD, match, onTest: () => {} });
    if (results.problem) throw new StepError(`${suite} ${match}: ${results.problem}`, { log: results.log });
    if (results.tests.length === 0) throw new StepError(`${suite} ${match}: no test has this name`);
    for (const test of results.tests) outcome[test.outcome].push(test);
  }
  return outcome;
}

const names = (tests) => tests.map((test) => test.name).join(", ");

await main(async () => {
  const all = readPromises();
  const wrong = mismatches(all);
  if (wrong.length > 0) throw new StepError(`test/promises.json does not fit the sources:\n  ${wrong.join("\n  ")}`);
  const wanted = process.argv.slice(2);
  const promises = all.filter(({ guard }) => wanted.length === 0 || wanted.includes(guard.name));
  const unknown = wanted.filter((name) => all.every(({ guard }) => guard.name !== name));
  if (unknown.length > 0) throw new StepError(`no guard is named ${unknown.join(" or ")}`);

  const { wasmtime } = await setup({
    groups: ["build", "run", "test"],
    build: BUILD,
    options: { DVDI_GUARDS_OFF: "" },
    plugins: true,
  });
  process.stdout.write(`${bold("guards on")}\n`);
  const rows = [];
  for (const entry of promises) {
    await step(entry.guard.name, async () => {
      const { passed, failed, skipped } = await runTests(entry.tests);
      entry.skipped = passed.length === 0 && failed.length === 0 ? skipped[0].detail : null;
      if (failed.length > 0)
        throw new StepError(`with its guard on: ${names(failed)} failed`, { log: failed[0].detail });
      entry.targets = await targetsOf(entry.tests);
      return entry.skipped ? `skipped: ${entry.skipped}` : `${passed.length} passed`;
    });
  }

  process.stdout.write(`\n${bold("guards off, one at a time")}\n`);
  for (const entry of promises) {
    const { guard } = entry;
    if (entry.skipped) {
      rows.push({ ...entry, verdict: "skipped", detail: entry.skipped });
      continue;
    }
    await step(guard.name, async (report) => {
      const options = { DVDI_GUARDS_OFF: guard.name };
      await buildNative({ build: BUILD, wasmtime, options, targets: entry.targets }, report);
      report(names(entry.tests.map(({ match }) => ({ name: match }))));
      const { failed } = await runTests(entry.tests);
      rows.push({ ...entry, verdict: failed.length > 0 ? "noticed" : "NOT NOTICED", detail: names(failed) });
      return failed.length > 0 ? `noticed by ${failed.length}` : red("no test noticed");
    });
  }
  // The folder is left with every guard on, so that the next run starts from there.
  await step("guards on again", (report) =>
    buildNative({ build: BUILD, wasmtime, options: { DVDI_GUARDS_OFF: "" } }, report),
  );

  process.stdout.write("\n");
  for (const { promise, guard, title, verdict, detail } of rows) {
    const mark = verdict === "noticed" ? green("✓") : red("✗");
    process.stdout.write(`${mark} ${String(promise).padStart(2)}  ${title}\n`);
    process.stdout.write(
      `      ${guard.name} in ${guard.file} (${guard.symbol}): ${verdict}${detail ? `: ${detail}` : ""}\n`,
    );
  }
  const unnoticed = rows.filter(({ verdict }) => verdict === "NOT NOTICED");
  if (unnoticed.length > 0) {
    fail(new StepError(`${unnoticed.length} guard(s) can be left out and no test notices`));
  }
  const skipped = rows.filter(({ verdict }) => verdict === "skipped").length;
  process.stdout.write(
    `${rows.length - unnoticed.length - skipped} passed, ${unnoticed.length} failed, ${skipped} skipped\n`,
  );
});
