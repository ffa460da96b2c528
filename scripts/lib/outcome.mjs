// The end of a command that runs suites: the same lines everywhere, with the total alone on the last one.
import { bold, dim, green, red, seconds, yellow } from "./ui.mjs";

const indent = (text) => text.trimEnd().replace(/^/gm, "      ");
export const count = (tests, outcome) => tests.filter((test) => test.outcome === outcome).length;

/**
 * Runs one suite, prints its failures as they come, and returns its line of the summary.
 * @param {import("./suites.mjs").Suite} suite
 * @param {{build: string, match?: string, env?: Record<string, string>}} context
 */
export async function runSuite(suite, context) {
  const began = performance.now();
  process.stdout.write(`${bold(suite.name)}  ${dim(suite.about)}\n`);
  let results;
  try {
    const onTest = (test) => {
      if (test.outcome !== "failed") return;
      process.stdout.write(`  ${red("✗")} ${test.name}\n${indent(test.detail ?? "")}\n`);
    };
    results = await suite.run({ ...context, onTest });
  } catch (error) {
    results = { tests: [], problem: error.message, log: error.log };
  }
  if (results.tests.length === 0 && !results.problem && !context.match) results.problem = "it ran no tests";
  if (results.log) process.stdout.write(`${indent(results.log)}\n`);
  if (results.problem) process.stdout.write(`  ${red("✗")} ${results.problem}\n`);
  const line = {
    name: suite.name,
    passed: count(results.tests, "passed"),
    // A suite that failed as a whole counts as one failed test: the total must not look clean.
    failed: count(results.tests, "failed") || (results.problem ? 1 : 0),
    skips: results.tests.filter((test) => test.outcome === "skipped"),
    time: seconds(began),
  };
  process.stdout.write(`  ${line.failed ? red("failed") : green("ok")} ${dim(line.time)}\n`);
  return line;
}

/**
 * Prints what was skipped and why, a line for each suite, and the total; sets the exit code.
 * @param {{lines: Awaited<ReturnType<typeof runSuite>>[], broken?: boolean, note?: string}} end
 *   broken: it stopped before the suites ran, which is a failure too; note: a failure from before
 */
export async function summary({ lines, broken = false, note }) {
  if (lines.some((line) => line.skips.length > 0)) process.stdout.write(`\n${bold("skipped")}\n`);
  for (const line of lines) {
    for (const test of line.skips) {
      process.stdout.write(`  ${yellow("-")} ${line.name}: ${test.name}: ${test.detail}\n`);
    }
  }
  process.stdout.write("\n");
  const sums = { passed: 0, failed: broken ? 1 : 0, skipped: 0 };
  for (const line of lines) {
    const numbers = { passed: line.passed, failed: line.failed, skipped: line.skips.length };
    for (const key of Object.keys(sums)) sums[key] += numbers[key];
    const text = Object.entries(numbers).map(([key, number]) => `${String(number).padStart(5)} ${key}`);
    process.stdout.write(`  ${line.name.padEnd(8)} ${text.join("")}   ${dim(line.time)}\n`);
  }
  // What was chosen by name is in one suite or another; where it is in none, the name is wrong.
  if (sums.passed + sums.failed + sums.skipped === 0) process.stdout.write(`  ${red("✗")} no test has such a name\n`);
  if (note) process.stdout.write(`  ${red(note)}\n`);
  process.exitCode = sums.failed > 0 || note || sums.passed === 0 ? 1 : 0;
  // What an error wrote is to be seen before the total, which is last.
  await new Promise((done) => process.stderr.write("", done));
  process.stdout.write(`${sums.passed} passed, ${sums.failed} failed, ${sums.skipped} skipped\n`);
}
