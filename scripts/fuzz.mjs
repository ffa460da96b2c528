// `npm run fuzz [-- --target NAME] [--runs N | --seconds S] [--jobs N]`: every target on a million inputs each; `--merge` takes what was
// found on the way into the corpus; with FILEs it runs a target on these alone. docs/testing.md, "Fuzzing".
import { cpus } from "node:os";

import { Command, InvalidArgumentError } from "commander";

import { buildTargets, fuzz, howTo, INTERRUPTED, lacking, merge, reproduce, TARGETS } from "./lib/fuzz.mjs";
import { runSuite, summary } from "./lib/outcome.mjs";
import { NATIVE } from "./lib/paths.mjs";
import { setup } from "./lib/setup.mjs";
import { JSON_SUITE } from "./lib/suites.mjs";
import { bold, dim, fail, green, main, red, seconds, step, StepError } from "./lib/ui.mjs";

/** A whole number from 1 on. */
function count(text) {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError("a whole number from 1 on is accepted");
  return n;
}

const command = new Command("fuzz")
  .option("--target <name>", "that alone; several times for several", (name, before) => [...(before ?? []), name])
  .option("--runs <n>", "inputs of each target (1000000)", count)
  .option("--seconds <s>", "as long, each, instead", count)
  .option("--jobs <n>", "processes side by side", count, cpus().length)
  .option("--merge", "take what was found into the corpora")
  .argument("[files...]", "inputs to run the target on")
  .parse();
const options = command.opts();
const files = command.args;
const runs = options.runs ?? (options.seconds === undefined ? 1_000_000 : undefined);
const names = [...TARGETS.map(({ name }) => name), JSON_SUITE.name];
const chosen = options.target ?? names;

async function one(target) {
  const began = performance.now();
  process.stdout.write(`${bold(target.name)}  ${dim(target.about)}\n`);
  const onLine = (line) => /^#\d+\s+(pulse|INITED)/.test(line) && process.stdout.write(dim(`  ${line}\n`));
  const done = await fuzz(target, { runs, seconds: options.seconds, jobs: options.jobs }, onLine);
  if (done.code === INTERRUPTED)
    throw new StepError(`${target.name} was interrupted after ${done.runs} inputs without a finding`);
  const text = `${done.runs} inputs, ${done.edges} edges, ${done.features} features, ${seconds(began)}`;
  process.stdout.write(`  ${done.code === 0 ? green("ok") : red("✗ a finding:")} ${text}\n`);
  if (done.code === 0) return true;
  process.stdout.write(`${done.log.split("\n").slice(-120).join("\n")}\n  ${howTo(target, done.artifact)}\n`);
  return false;
}

await main(async () => {
  const unknown = chosen.filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new StepError(`there is no target ${unknown.join(", ")}`, { hint: names.join(", ") });
  const targets = TARGETS.filter(({ name }) => chosen.includes(name));
  if (files.length > 0 && targets.length !== 1) throw new StepError("files are inputs of one target: --target NAME");
  await setup({ groups: ["build", "clang"], native: false });
  if (targets.length > 0) {
    if (lacking()) throw new StepError(lacking(), { hint: "install clang-14 and libclang-rt-14-dev" });
    await step("fuzz targets", (report) => buildTargets(report, targets));
  }
  if (files.length > 0) {
    const { code, log } = await reproduce(targets[0], files);
    process.stdout.write(log);
    if (code !== 0) fail(new StepError(`${targets[0].name} ended with ${code}`));
    return;
  }
  if (options.merge) {
    for (const target of targets) process.stdout.write(`${target.name}: ${await merge(target)}\n`);
    return;
  }
  const failed = [];
  for (const target of targets) if (!(await one(target))) failed.push(target.name);
  if (chosen.includes(JSON_SUITE.name)) {
    if (runs !== undefined) process.env.DVDI_FUZZ_RUNS = String(runs);
    if (options.seconds !== undefined) process.env.DVDI_FUZZ_SECONDS = String(options.seconds);
    const line = await runSuite(JSON_SUITE, { build: NATIVE });
    await summary({ lines: [line] });
    if (line.failed > 0) failed.push(JSON_SUITE.name);
  }
  if (failed.length > 0) fail(new StepError(`findings: ${failed.join(", ")}`));
});
