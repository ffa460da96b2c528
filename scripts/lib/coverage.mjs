// What the tests run of the code, part by part. A further part is one more entry of PARTS.
import { runAsPect } from "./as-pect.mjs";
import { measureNative } from "./coverage-native.mjs";
import { filesAt } from "./stamp.mjs";
import { StepError } from "./ui.mjs";

/**
 * @typedef {{all: number, run: number}} Count
 * @typedef {{file: string, counts: Record<string, Count>, missed: number[]}} FileCoverage
 *   counts: by kind ("functions", …), the same kinds for all files of a part; missed: lines of what was not run
 * @typedef {{name: string, about: string, groups: string[], policy?: boolean, house?: boolean, plugins?: boolean,
 *            measure: (report: (line: string) => void, onFailure: (error: StepError) => void) => Promise<FileCoverage[]>}} Part
 *   groups: of Debian packages that it wants; policy, house, plugins: what else of the set-up (lib/setup.mjs);
 *   onFailure: is told of tests that fail, where what the others run can be counted all the same
 */

const LIMIT_MS = 40 * 60_000;

/** @type {Part[]} */
export const PARTS = [
  { name: "assembly", about: "the policy, by its unit tests (as-pect)", groups: ["test"], measure: measureAssembly },
  {
    name: "native",
    about: "the engine's core, by the native units (ctest) and the end-to-end tests",
    groups: ["build", "run", "test", "clang"],
    policy: true,
    house: true,
    plugins: true,
    measure: measureNative,
  },
];

async function measureAssembly(report) {
  report("as-pect, with points to count");
  const { code, log, points } = await runAsPect({ coverage: true, timeoutMs: LIMIT_MS });
  if (code !== 0 || points === "") {
    throw new StepError("the policy's tests fail when they are counted", { log, hint: "npm test -- --suite as-pect" });
  }
  const files = filesAt("assembly").filter((file) => file.endsWith(".ts") && !file.includes("__tests__/"));
  return readPoints(points, files);
}

const KINDS = ["functions", "branches", "expressions"];

/**
 * as-covers's points (one JSON line each) as files. A file that no test compiles has no points: it stands there with
 * empty counts, so that it is not forgotten.
 * @param {string} text
 * @param {string[]} files those that count
 * @returns {FileCoverage[]}
 */
export function readPoints(text, files) {
  const byFile = new Map(files.map((file) => [file, { file, counts: emptyCounts(), missed: new Set() }]));
  for (const line of text.split("\n").filter(Boolean)) {
    const point = JSON.parse(line);
    const entry = byFile.get(point.file);
    if (entry === undefined) continue;
    const count = entry.counts[KINDS[point.type]];
    count.all += 1;
    if (point.covered) count.run += 1;
    else entry.missed.add(point.line);
  }
  return [...byFile.values()].map(({ missed, ...rest }) => ({ ...rest, missed: [...missed].sort((a, b) => a - b) }));
}

function emptyCounts() {
  return Object.fromEntries(KINDS.map((kind) => [kind, { all: 0, run: 0 }]));
}

/**
 * The sums of a part.
 * @param {FileCoverage[]} files
 * @returns {Record<string, Count>}
 */
export function sums(files) {
  const out = {};
  for (const { counts } of files) {
    for (const [kind, { all, run }] of Object.entries(counts)) {
      out[kind] ??= { all: 0, run: 0 };
      out[kind].all += all;
      out[kind].run += run;
    }
  }
  return out;
}

/** `97.2 %`; `-` where there is nothing. Never 100 % where something is missing. */
export function percent({ all, run }) {
  return all === 0 ? "-" : `${(Math.floor((run / all) * 1000) / 10).toFixed(1)} %`;
}

/**
 * Lines as ranges: `3, 7-9`.
 * @param {number[]} lines sorted, each once
 */
export function ranges(lines) {
  const out = [];
  for (const line of lines) {
    const last = out.at(-1);
    if (last !== undefined && line === last.to + 1) last.to = line;
    else out.push({ from: line, to: line });
  }
  return out.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(", ");
}
