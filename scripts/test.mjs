// `npm test [-- --suite NAME] [--match REGEX] [--note TEXT]`: set-up, then every suite. The last line is the total.
import { parseArgs } from "node:util";

import { NATIVE } from "./lib/paths.mjs";
import { setup } from "./lib/setup.mjs";
import { SUITES } from "./lib/suites.mjs";
import { bold, dim, fail, green, red, seconds, StepError, yellow } from "./lib/ui.mjs";

const { values: flags } = parseArgs({
  options: {
    suite: { type: "string", multiple: true },
    match: { type: "string" },
    // A failure from before, said again where it is seen (.ci/run).
    note: { type: "string" },
  },
});
const unknown = flags.suite?.filter((name) => !SUITES.some((suite) => suite.name === name)) ?? [];
const chosen = SUITES.filter((suite) => !flags.suite || flags.suite.includes(suite.name));

const count = (tests, outcome) => tests.filter((test) => test.outcome === outcome).length;
const indent = (text) => text.trimEnd().replace(/^/gm, "      ");

/** Runs one suite and prints its failures as they come. */
async function runSuite(suite) {
  const began = performance.now();
  process.stdout.write(`${bold(suite.name)}  ${dim(suite.about)}\n`);
  let results;
  try {
    const onTest = (test) => {
      if (test.outcome === "failed") process.stdout.write(`  ${red("✗")} ${test.name}\n${indent(test.detail ?? "")}\n`);
    };
    results = await suite.run({ build: NATIVE, match: flags.match, onTest });
  } catch (error) {
    results = { tests: [], problem: error.message, log: error.log };
  }
  if (results.tests.length === 0 && !results.problem && !flags.match) results.problem = "it ran no tests";
  if (results.log) process.stdout.write(`${indent(results.log)}\n`);
  if (results.problem) process.stdout.write(`  ${red("✗")} ${results.problem}\n`);
  // A suite that failed as a whole counts as one failed test: the total must not look clean.
  const failed = count(results.tests, "failed") || (results.problem ? 1 : 0);
  const line = {
    name: suite.name,
    passed: count(results.tests, "passed"),
    failed,
    skipped: count(results.tests, "skipped"),
    time: seconds(began),
  };
  process.stdout.write(`  ${failed ? red("failed") : green("ok")} ${dim(line.time)}\n`);
  return {
    line,
    skips: results.tests.filter((test) => test.outcome === "skipped").map((test) => ({ suite: suite.name, ...test })),
  };
}

let lines = [];
let skips = [];
let broken = false;
try {
  if (unknown.length > 0) {
    throw new StepError(`there is no suite ${unknown.join(", ")}`, {
      hint: `suites: ${SUITES.map((one) => one.name).join(", ")}`,
    });
  }
  await setup({ groups: ["build", "run", "test"], plugins: true });
  for (const suite of chosen) {
    const result = await runSuite(suite);
    lines = [...lines, result.line];
    skips = [...skips, ...result.skips];
  }
} catch (error) {
  broken = true;
  fail(error);
}

if (skips.length > 0) {
  process.stdout.write(`\n${bold("skipped")}\n`);
  for (const test of skips) process.stdout.write(`  ${yellow("-")} ${test.suite}: ${test.name}: ${test.detail}\n`);
}
process.stdout.write("\n");
for (const line of lines) {
  const numbers = ["passed", "failed", "skipped"].map((key) => `${String(line[key]).padStart(5)} ${key}`).join("");
  process.stdout.write(`  ${line.name.padEnd(8)} ${numbers}   ${dim(line.time)}\n`);
}
if (flags.note) process.stdout.write(`  ${red(flags.note)}\n`);

const total = (key) => lines.reduce((sum, line) => sum + line[key], 0);
// Set-up that fails is a failure too, and nothing that ran is another.
const failures = total("failed") + (broken || lines.length === 0 ? 1 : 0);
process.exitCode = failures > 0 || flags.note || total("passed") === 0 ? 1 : 0;
await new Promise((done) => process.stderr.write("", done));
process.stdout.write(`${total("passed")} passed, ${failures} failed, ${total("skipped")} skipped\n`);
