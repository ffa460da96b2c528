// libFuzzer's targets (native/fuzz): built with clang in a folder of their own, run on their corpora.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";

import { CLANG, COMPILERS } from "./clang.mjs";
import { buildNative } from "./native.mjs";
import { ROOT } from "./paths.mjs";
import { capture, run } from "./proc.mjs";
import { StepError } from "./ui.mjs";
import { ensureWasmtime } from "./wasmtime.mjs";

/**
 * @typedef {{name: string, about: string, longest: number, short: number, options?: string[]}} Target
 *   longest: bytes of an input; short: inputs of a short run, the corpus among them: some seconds; options: more of libFuzzer's
 */

/** @type {Target[]} */
export const TARGETS = [
  {
    name: "plugin_http",
    about: "a plugin's answers as bytes, through the real transport",
    longest: 4096,
    short: 4_000,
  },
  { name: "plugin_json", about: "what a plugin's answers mean", longest: 4096, short: 40_000 },
  { name: "policy_parse", about: "every form of a statement, through the shipped blob", longest: 2048, short: 4_000 },
  { name: "policy_input", about: "the policy's exports, and answers to its host calls", longest: 4096, short: 4_000 },
  { name: "policy_blob", about: "blobs, manifests, keys, signatures, state.json", longest: 4096, short: 4_000 },
  {
    name: "ledger",
    about: "files of a ledger, and an engine that works with them",
    longest: 16_384,
    short: 400,
    // Each input reaches thousands of features: to count how rare each is takes as long as the input itself.
    options: ["-entropic=0"],
  },
];

/** How libFuzzer ends whom somebody has ended (its option -interrupted_exit_code). */
export const INTERRUPTED = 72;
const BUILD = join(ROOT, "build/fuzz");
/** What a run finds worth keeping is there for the next one; findings lie beside it. */
const WORK = join(ROOT, "build/fuzz-work");
const KEPT = join(ROOT, "test/fuzz/corpus");

const SANITIZERS = {
  ASAN_OPTIONS: "detect_leaks=1:abort_on_error=1:strict_string_checks=1:detect_stack_use_after_return=0",
  UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1",
};
/** A million times: where memory came from and went is kept by its caller alone. One input again shows the whole way. */
const SPARING = {
  ...SANITIZERS,
  ASAN_OPTIONS: `${SANITIZERS.ASAN_OPTIONS}:malloc_context_size=1:quarantine_size_mb=32`,
};

/** Why nothing can be fuzzed here, or "". */
export function lacking() {
  const found = capture(CLANG, ["-print-file-name=libclang_rt.fuzzer-x86_64.a"]);
  if (found === null) return `${CLANG} is not there`;
  const runtime = capture(CLANG, ["-print-resource-dir"])?.trim() ?? "";
  const folder = join(runtime, "lib/linux");
  const files = existsSync(folder) ? readdirSync(folder) : [];
  if (!files.some((file) => /^libclang_rt\.fuzzer-.*\.a$/.test(file))) return `${CLANG} has no libFuzzer in ${folder}`;
  return "";
}

/** Builds the targets. The policy and npm's packages must be there. */
export async function buildTargets(report, targets = TARGETS) {
  const { folder } = await ensureWasmtime(report);
  const options = {
    ...COMPILERS,
    DVDI_SANITIZE: "address,undefined",
    DVDI_FUZZ: "ON",
    DVDI_TESTS: "OFF",
  };
  const names = targets.map(({ name }) => `fuzz_${name}`);
  return buildNative({ build: BUILD, wasmtime: folder, options, targets: names }, report);
}

/** The kept inputs of a target. */
export const corpus = (name) => join(KEPT, name);

/** What libFuzzer printed, as numbers and as a finding where there is one. */
export function readFuzzer(log) {
  const done = /^Done (\d+) runs in (\d+) second/m.exec(log) ?? /^stat::number_of_executed_units: +(\d+)$/m.exec(log);
  const last = [...log.matchAll(/cov: (\d+) ft: (\d+)(?: corp: (\d+))?/g)].at(-1);
  return {
    runs: Number(done?.[1] ?? [...log.matchAll(/^#(\d+)/gm)].at(-1)?.[1] ?? 0),
    edges: Number(last?.[1] ?? 0),
    features: Number(last?.[2] ?? 0),
    inputs: Number(last?.[3] ?? 0),
    artifact: /Test unit written to (\S+)/.exec(log)?.[1],
  };
}

const program = (name) => join(BUILD, "native/fuzz", `fuzz_${name}`);

function common({ name, longest, options = [] }) {
  const findings = join(WORK, "findings");
  mkdirSync(findings, { recursive: true });
  return [
    `-max_len=${longest}`,
    `-artifact_prefix=${findings}/${name}-`,
    "-timeout=30",
    "-rss_limit_mb=4096",
    "-print_final_stats=1",
    ...options,
    ...dictionary(name),
  ];
}

function dictionary(name) {
  const file = join(ROOT, "test/fuzz/dictionaries", `${name}.dict`);
  return existsSync(file) ? [`-dict=${file}`] : [];
}

/**
 * Runs a target from its corpus on.
 * @param {Target} target
 * @param {{runs?: number, seconds?: number, fresh?: boolean, seed?: number, jobs?: number}} bounds
 *   fresh: without what earlier runs found; jobs: processes side by side, which take over what the others found: each runs a part
 *   of `runs`, and all of `seconds`
 */
export async function fuzz(target, { runs, seconds, fresh = false, seed, jobs = 1 }, onLine) {
  const kept = join(WORK, "corpus", target.name);
  mkdirSync(kept, { recursive: true });
  // What is fresh is of nobody else, also where several targets or commands fuzz at once.
  const work = fresh ? mkdtempSync(join(WORK, `fresh-${target.name}-`)) : kept;
  const args = [
    ...common(target),
    ...(runs === undefined ? [] : [`-runs=${Math.ceil(runs / jobs)}`]),
    ...(seconds === undefined ? [] : [`-max_total_time=${seconds}`]),
    ...(seed === undefined ? [] : [`-seed=${seed}`]),
    work,
    corpus(target.name),
  ];
  const processes = Array.from({ length: jobs }, () => run(program(target.name), args, { env: SPARING, onLine }));
  const ended = await Promise.all(processes);
  if (fresh) rmSync(work, { recursive: true, force: true });
  const done = ended.map(({ code, log }) => ({ code, log, ...readFuzzer(log) }));
  const failed = done.filter(({ code }) => code !== 0);
  const shown = failed.find(({ code }) => code !== INTERRUPTED) ?? failed[0] ?? done[0];
  const most = (what) => Math.max(...done.map((one) => one[what]));
  const all = done.reduce((sum, one) => sum + one.runs, 0);
  return { ...shown, runs: all, edges: most("edges"), features: most("features") };
}

/** Runs a target on these inputs alone. */
export async function reproduce(target, files) {
  return run(program(target.name), [...common(target), ...files], { env: SANITIZERS });
}

/** Takes into the corpus what earlier runs found and it does not reach. Returns libFuzzer's words on it. */
export async function merge(target) {
  const from = join(WORK, "corpus", target.name);
  if (!existsSync(from)) throw new StepError(`there is nothing at ${relative(ROOT, from)}: fuzz ${target.name} first`);
  mkdirSync(corpus(target.name), { recursive: true });
  const args = [...common(target), "-merge=1", corpus(target.name), from];
  const { code, log } = await run(program(target.name), args, { env: SANITIZERS });
  if (code !== 0) throw new StepError(`${target.name} cannot be merged`, { log });
  return /MERGE-OUTER: (\d+ new files .*)/.exec(log)?.[1] ?? "";
}

/** How to see a finding again. */
export function howTo(target, artifact) {
  const file = artifact ? relative(ROOT, artifact) : "FILE";
  return `npm run fuzz -- --target ${target.name} ${file}`;
}
