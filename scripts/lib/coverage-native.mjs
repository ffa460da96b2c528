// What the tests run of the engine: clang's source coverage of a build of its own, under ctest and the end-to-end tests.
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

import { COMPILERS, llvm } from "./clang.mjs";
import { buildNative } from "./native.mjs";
import { ROOT } from "./paths.mjs";
import { must } from "./proc.mjs";
import { SUITES } from "./suites.mjs";
import { StepError } from "./ui.mjs";
import { ensureWasmtime } from "./wasmtime.mjs";

const BUILD = join(ROOT, "build/coverage-native");

/** The core: what is linked into libdvdi.so, and its helper. Not the programs around it, nor what only tests use. */
const PARTS = ["base", "sys", "observe", "plugin", "settings", "mount", "helper", "ledger", "policy", "engine"];

/** What the end-to-end tests run. */
const PROGRAMS = ["dvdi", "dvdi-helper"];

/** @param {string} file from the project's root */
export function isCore(file) {
  const [top, part, name, ...deeper] = file.split("/");
  const ofTests = /^(test|scripted)_|_test\.cc$/.test(name);
  return top === "native" && PARTS.includes(part) && deeper.length === 0 && /\.(cc|h)$/.test(name) && !ofTests;
}

/** @type {import("./coverage.mjs").Part["measure"]} */
export async function measureNative(report, onFailure) {
  const { folder } = await ensureWasmtime(report);
  const options = { ...COMPILERS, DVDI_COVERAGE: "ON" };
  await buildNative({ build: BUILD, wasmtime: folder, options }, report);
  const profiles = join(BUILD, "profiles");
  rmSync(profiles, { recursive: true, force: true });
  mkdirSync(profiles, { recursive: true });
  let done = 0;
  // The programs of this build write their counts there when they end; one that is killed adds nothing.
  for (const name of ["ctest", "e2e"]) {
    const suite = SUITES.find((one) => one.name === name);
    const onTest = (test) => report(`${(done += 1)} tests: ${test.name}`);
    const { tests, problem, log } = await suite.run({ build: BUILD, onTest });
    const failed = tests.filter(({ outcome }) => outcome === "failed").map((test) => test.name);
    if (problem !== undefined || failed.length > 0) {
      const what = `tests fail when they are counted: ${problem ?? failed.join(", ")}`;
      onFailure(new StepError(what, { log, hint: `npm test -- --suite ${name}` }));
    }
  }
  return readExport(await merged(profiles, report), isCore, ROOT);
}

async function merged(profiles, report) {
  report("the counts of all programs are put together");
  const list = join(profiles, "list");
  const raw = readdirSync(profiles).filter((name) => name.endsWith(".profraw"));
  writeFileSync(list, raw.map((name) => `${join(profiles, name)}\n`).join(""));
  const all = join(profiles, "all.profdata");
  await must(llvm("profdata"), ["merge", "--sparse", "-f", list, "-o", all]);
  const programs = readdirSync(join(BUILD, "native"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && (entry.name.endsWith("_test") || PROGRAMS.includes(entry.name)))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => (statSync(file).mode & 0o111) !== 0);
  if (programs.length === 0) throw new StepError(`no test programs in ${BUILD}`);
  const objects = programs.slice(1).flatMap((file) => ["--object", file]);
  // Through a file: it is larger than what a pipe's reader keeps.
  const out = join(BUILD, "coverage.json");
  const to = openSync(out, "w");
  const args = ["export", "--skip-functions", "--skip-expansions", `--instr-profile=${all}`, programs[0], ...objects];
  // Of all sources: those that are asked for by another path than the one that the compiler was given are left out.
  const { status, stderr } = spawnSync(llvm("cov"), args, {
    stdio: ["ignore", to, "pipe"],
    encoding: "utf8",
  });
  closeSync(to);
  if (status !== 0) throw new StepError(`llvm-cov ended with ${status}`, { log: stderr });
  return JSON.parse(readFileSync(out, "utf8"));
}

/**
 * llvm-cov's export as files. A branch that stands once in the source counts once, in however many templates it is; each
 * of its two ways counts. Branches inside a macro (an error that is passed on) belong to the macro's file.
 * @param {{data: {files: object[]}[]}} exported
 * @param {(file: string) => boolean} wanted by the path from `root`
 * @param {string} root
 * @returns {import("./coverage.mjs").FileCoverage[]}
 */
export function readExport(exported, wanted, root) {
  const out = [];
  for (const { filename, segments, branches, summary } of exported.data.flatMap(({ files }) => files)) {
    const file = relative(root, filename);
    if (!wanted(file)) continue;
    const ways = new Map();
    for (const [line, column, , , taken, refused] of branches) {
      const at = `${line}:${column}`;
      const seen = ways.get(at) ?? { line, taken: 0, refused: 0 };
      ways.set(at, { line, taken: seen.taken + taken, refused: seen.refused + refused });
    }
    const counts = {
      functions: { all: summary.functions.count, run: summary.functions.covered },
      lines: { all: summary.lines.count, run: summary.lines.covered },
      branches: { all: 0, run: 0 },
    };
    const missed = new Set(linesNotRun(segments));
    for (const { line, taken, refused } of ways.values()) {
      counts.branches.all += 2;
      counts.branches.run += (taken > 0) + (refused > 0);
      if (taken === 0 || refused === 0) missed.add(line);
    }
    out.push({ file, counts, missed: [...missed].sort((a, b) => a - b) });
  }
  return out.sort((a, b) => (a.file < b.file ? -1 : 1));
}

// A segment is [line, column, count, has a count, begins a region, is a gap]; it reaches to the next one.
function linesNotRun(segments) {
  const lines = [];
  segments.forEach(([line, , count, counted, entry, gap], i) => {
    if (!counted || !entry || gap || count > 0) return;
    const end = segments[i + 1]?.[0] ?? line;
    for (let at = line; at <= end; at += 1) lines.push(at);
  });
  return lines;
}
