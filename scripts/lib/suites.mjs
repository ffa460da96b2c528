// Every test suite: how it runs, and how its results are read. A further suite is one more entry of SUITES.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";

import { runAsPect } from "./as-pect.mjs";
import { buildTargets, fuzz, howTo, lacking, TARGETS } from "./fuzz.mjs";
import { bundleTests } from "./host.mjs";
import { locked } from "./lock.mjs";
import { HOUSE_POLICY, NATIVE, ROOT, WILD_POLICY } from "./paths.mjs";
import { run } from "./proc.mjs";
import { readAsPect, readCtest, readNodeLine } from "./results.mjs";
import { Progress, soak } from "./soak.mjs";
import { filesAt } from "./stamp.mjs";

/**
 * @typedef {{name: string, outcome: "passed" | "failed" | "skipped", detail?: string}} Test
 *   detail: why it was skipped, or the failure in full
 * @typedef {{tests: Test[], problem?: string, log?: string}} Results
 *   problem: why the suite failed as a whole (it crashed, it did not compile)
 * @typedef {{name: string, about: string, run: (context: Context) => Promise<Results>}} Suite
 * @typedef {{build: string, match?: string, env?: Record<string, string>, slower?: number, onTest: (test: Test) => void}} Context
 *   build: the native build folder; match: a regular expression that chooses tests by name; env: for the native tests; slower: than
 *   an ordinary build they are, so many times
 */

const LIMIT_MS = 40 * 60_000;
// Seeds cost 0.1 to 0.2 s of CPU time each: the time decides how many of them a machine comes to.
const SEEDS = 10_000;
const SEEDS_FOR_MS = 5 * 60_000;
const WILD_SEEDS = 400;
const CRASH = /\/test\/crash\//;
const MESOS = /\/test\/mesos\//;

/** @type {Suite[]} */
export const SUITES = [
  { name: "as-pect", about: "the policy's units, in the fake world", run: asPect },
  {
    name: "scripts",
    about: "how results are read",
    run: (context) =>
      nodeTests(
        filesAt("scripts").filter((file) => file.endsWith(".test.mjs")),
        context,
      ),
  },
  {
    name: "host",
    about: "the TypeScript tools",
    run: async (context) => nodeTests(await bundleTests("host"), context),
  },
  { name: "ctest", about: "the native units", run: ctest },
  { name: "simulation", about: "histories in which everything goes wrong", run: simulation },
  nodeSuite(
    "e2e",
    "the shipped blob, the programs, plugins that nobody here wrote",
    (file) => !CRASH.test(file) && !MESOS.test(file),
  ),
  nodeSuite("crash", "death at every point", (file) => CRASH.test(file)),
  { name: "fuzz", about: "libFuzzer's targets on their corpora, and shortly beyond", run: fuzzShortly },
];

/** Real agents, which are no part of this project: `npm run test:mesos` says where they are. @type {Suite} */
export const MESOS_SUITE = nodeSuite("mesos", "the module in real agents", (file) => MESOS.test(file));

/** The policy's reader of JSON beside another one: shortly in e2e, as long as is wanted by `npm run fuzz`. @type {Suite} */
export const JSON_SUITE = nodeSuite("json-differential", "the policy's reader of JSON beside JSON.parse", (file) =>
  file.includes("json-differential"),
);

/** Death at each point's first passage; `npm run crash` and `npm run soak -- --kills N` have more of it. */
export const CRASH_SUITE = SUITES.find(({ name }) => name === "crash");

/** The bundles of test/ for which `belongs` is true. */
function nodeSuite(name, about, belongs) {
  return { name, about, run: async (context) => nodeTests((await bundleTests("test")).filter(belongs), context) };
}

async function asPect({ match, onTest }) {
  const { code, log, results } = await runAsPect({ timeoutMs: LIMIT_MS });
  const all = readAsPect(results);
  const tests = all.filter((test) => !match || new RegExp(match).test(test.name));
  tests.forEach(onTest);
  const failed = tests.some((test) => test.outcome === "failed");
  if (code !== 0 && all.every((test) => test.outcome !== "failed"))
    return { tests, problem: `as-pect ended with ${code}`, log: log };
  return { tests, log: failed ? log : undefined };
}

/** The short form; `npm run soak` has as many seeds as are wanted. */
async function simulation({ build = NATIVE, match, onTest }) {
  const tests = [];
  const end = (test) => {
    tests.push(test);
    onTest(test);
  };
  // Its tests have no names of their own to choose by.
  if (match) return { tests };
  const run = (what, seeds, second, forMs) =>
    soak(
      {
        program: join(build, "native/sim/dvdi-sim"),
        second,
        from: 1,
        seeds,
        jobs: cpus().length,
        progress: new Progress("", { from: 1, seeds }),
        block: 100,
        forMs,
        onBlock: ({ from, to, failed, log }) =>
          end({
            name: `${what}seeds ${from} to ${to}`,
            outcome: failed.length === 0 ? "passed" : "failed",
            detail: failed.length === 0 ? undefined : log.trimEnd(),
          }),
      },
      () => {},
    );
  await run("a wild policy, ", WILD_SEEDS, WILD_POLICY);
  const done = await run("", SEEDS, HOUSE_POLICY, SEEDS_FOR_MS);
  if (done.seeds < SEEDS) {
    const detail = `${done.seeds} of ${SEEDS} seeds took the five minutes that they have here; npm run soak runs all`;
    end({ name: `seeds ${done.seeds + 1} to ${SEEDS}`, outcome: "skipped", detail });
  }
  return { tests };
}

async function fuzzShortly({ match, onTest }) {
  const why = lacking();
  const tests = [];
  const end = (test) => {
    tests.push(test);
    onTest(test);
  };
  const targets = TARGETS.filter(({ name }) => !match || new RegExp(match).test(name));
  if (!why && targets.length > 0) await buildTargets(() => {});
  const one = async (target) => {
    if (why) return end({ name: target.name, outcome: "skipped", detail: why });
    // Of one program, the same inputs each time: what it finds is there again in the next run.
    const { code, log, artifact } = await fuzz(target, { runs: target.short, fresh: true, seed: 1 });
    const detail = code === 0 ? undefined : `${log.split("\n").slice(-120).join("\n")}\n${howTo(target, artifact)}`;
    end({ name: target.name, outcome: code === 0 ? "passed" : "failed", detail });
  };
  const left = targets.values();
  const worker = async () => {
    for (const target of left) await one(target);
  };
  await Promise.all(cpus().map(worker));
  return { tests };
}

async function nodeTests(files, { build, match, onTest }) {
  if (files.length === 0) return { tests: [], problem: "it has no files" };
  const tests = [];
  let output = "";
  const onLine = (line) => {
    const read = readNodeLine(line, { files, filtered: match !== undefined });
    if (read?.output) output += read.output;
    if (!read?.test) return;
    tests.push(read.test);
    onTest(read.test);
  };
  const args = ["--enable-source-maps", "--test", "--test-reporter=./scripts/lib/node-reporter.mjs"];
  if (match) args.push(`--test-name-pattern=${match}`);
  const { code, log } = await run(process.execPath, [...args, ...files], {
    env: { DVDI_NATIVE_BUILD: build, DVDI_ROOT: ROOT },
    onLine,
    timeoutMs: LIMIT_MS,
  });
  const failed = tests.some((test) => test.outcome === "failed");
  if (code !== 0 && !failed) return { tests, problem: `node --test ended with ${code}`, log: output || log };
  return { tests, log: failed ? output : undefined };
}

async function ctest({ build = NATIVE, match, env, slower = 1, onTest }) {
  // CMake lists a new program's tests when ctest is first at it. Two at once would each read half of what the other one writes.
  await locked(
    join(build, ".lock"),
    () => {},
    () => run("ctest", ["--test-dir", build, "--show-only"], { env, timeoutMs: LIMIT_MS }),
  );
  // Its own: another command may run tests of this folder, too.
  const folder = mkdtempSync(join(build, "ctest-"));
  const junit = join(folder, "ctest.xml");
  const sizes = ["--test-output-size-passed", "65536", "--test-output-size-failed", "1048576"];
  const args = [
    "--timeout",
    String(300 * slower),
    "--test-dir",
    build,
    // One at a time: some tests look at what real time does to threads and mounts.
    "-j",
    "1",
    // Chosen by name, nothing of it is nothing to say.
    `--no-tests=${match ? "ignore" : "error"}`,
    "--output-junit",
    junit,
    ...sizes,
  ];
  if (match) args.push("-R", match);
  const { code, log } = await run("ctest", args, { env, timeoutMs: LIMIT_MS });
  const tests = readCtest(existsSync(junit) ? readFileSync(junit, "utf8") : "", log);
  rmSync(folder, { recursive: true, force: true });
  tests.forEach(onTest);
  if (code !== 0 && !tests.some((test) => test.outcome === "failed")) {
    return { tests, problem: `ctest ended with ${code}`, log };
  }
  return { tests };
}
