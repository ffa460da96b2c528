// Every test suite: how it runs, and how its results are read. A further suite is one more entry of SUITES.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { bundleTests } from "./host.mjs";
import { jobs } from "./native.mjs";
import { NATIVE, ROOT } from "./paths.mjs";
import { run } from "./proc.mjs";

/**
 * @typedef {{name: string, outcome: "passed" | "failed" | "skipped", detail?: string}} Test
 *   detail: why it was skipped, or the failure in full
 * @typedef {{tests: Test[], problem?: string, log?: string}} Results
 *   problem: why the suite failed as a whole (it crashed, it did not compile)
 * @typedef {{name: string, about: string, run: (context: Context) => Promise<Results>}} Suite
 * @typedef {{build: string, match?: string, env?: Record<string, string>, onTest: (test: Test) => void}} Context
 *   build: the native build folder; match: a regular expression that chooses tests by name; env: for the native tests
 */

const LIMIT_MS = 40 * 60_000;

/** @type {Suite[]} */
export const SUITES = [
  { name: "as-pect", about: "the policy's units, its world mocked", run: asPect },
  { name: "host", about: "the TypeScript tools", run: (context) => nodeTests("host", context) },
  { name: "ctest", about: "the native units", run: ctest },
  {
    name: "e2e",
    about: "the shipped blob, the programs, plugins that nobody here wrote",
    run: (context) => nodeTests("test", context),
  },
];

async function asPect({ match, onTest }) {
  const results = join(ROOT, "build/as-pect.jsonl");
  mkdirSync(join(ROOT, "build"), { recursive: true });
  rmSync(results, { force: true });
  // as-pect's own filters do not work: everything runs, and the names are filtered here.
  const args = ["node_modules/@as-pect/cli/bin/asp.js", "--no-logo", "--config", "scripts/lib/as-pect.config.mjs"];
  const { code, log } = await run(process.execPath, args, {
    env: { JSON_MODE: "NAIVE", JSON_CACHE: "1KB", DVDI_RESULTS: results },
    timeoutMs: LIMIT_MS,
  });
  const files = existsSync(results)
    ? readFileSync(results, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
    : [];
  const tests = [];
  for (const file of files) {
    const all = [
      ...file.tests.map((test) => ({ name: `${file.file}: ${test.name}`, outcome: test.pass ? "passed" : "failed" })),
      ...file.todos.map((todo) => ({ name: `${file.file}: ${todo}`, outcome: "skipped", detail: "not written yet" })),
    ];
    if (!file.pass && all.every((test) => test.outcome !== "failed")) {
      all.push({ name: `${file.file}: the file as a whole`, outcome: "failed" });
    }
    tests.push(...all.filter((test) => !match || new RegExp(match).test(test.name)));
  }
  tests.forEach(onTest);
  const failed = tests.some((test) => test.outcome === "failed");
  if (code !== 0 && !failed && !match) return { tests, problem: `as-pect ended with ${code}`, log: plain(log) };
  return { tests, log: failed ? plain(log) : undefined };
}

// as-pect paints, whether it writes to a terminal or not.
// eslint-disable-next-line no-control-regex -- escapes are what it takes out
const plain = (text) => text.replace(/\u001b\[[0-9;]*m/g, "");

async function nodeTests(folder, { build, match, onTest }) {
  const files = await bundleTests(folder);
  if (files.length === 0) return { tests: [], problem: `there is no *.test.ts beneath ${folder}/` };
  const tests = [];
  let output = "";
  const onLine = (line) => {
    const event = line.startsWith("{") ? JSON.parse(line) : { type: "output", text: `${line}\n` };
    if (event.type === "output") {
      output += event.text;
      return;
    }
    const skipped = event.skip !== undefined && event.skip !== false;
    if (event.suite && !skipped) {
      // A describe block has no result of its own, but one that throws before its tests has nobody else to say so.
      if (event.pass || /subtests? failed/.test(event.error ?? "")) return;
    }
    const isFile = event.nesting === 0 && files.some((file) => event.name.endsWith(file));
    // With a filter Node counts what it left out as passed files or as skipped tests without a reason.
    if (match && (isFile || event.skip === true || event.skip === "test name does not match pattern") && event.pass)
      return;
    const outcome = skipped ? "skipped" : event.pass && !isFile ? "passed" : "failed";
    const detail = skipped
      ? typeof event.skip === "string" && event.skip !== ""
        ? event.skip
        : "no reason given"
      : (event.error ?? (isFile ? "the file has no tests" : undefined));
    const test = { name: event.name, outcome, detail };
    tests.push(test);
    onTest(test);
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

const CTEST_STATUS = { run: "passed", fail: "failed", notrun: "skipped", disabled: "skipped" };

/** One <testcase> of the JUnit file that ctest writes, as a Test. */
function ctestCase(attributes, body) {
  const name = decode(/ name="([^"]*)"/.exec(attributes)?.[1] ?? "?");
  const status = / status="([^"]*)"/.exec(attributes)?.[1] ?? "fail";
  const output = decode(/<system-out>([^]*?)<\/system-out>/.exec(body)?.[1] ?? "");
  const failure = decode(/<failure message="([^"]*)"/.exec(body)?.[1] ?? "");
  let outcome = CTEST_STATUS[status] ?? "failed";
  // A program that was not built or cannot be started is "notrun" too, and that is no skip.
  const skippedByTest = /^\[ {2}SKIPPED \]/m.test(output) || /: Skipped\n/.test(output);
  if (outcome === "skipped" && status === "notrun" && !skippedByTest) outcome = "failed";
  if (outcome === "skipped") {
    const reason = /: Skipped\n([^]*?)\n(?:\[|\n|$)/.exec(output)?.[1]?.trim().replace(/\s+/g, " ");
    return { name, outcome, detail: reason || (status === "disabled" ? "disabled in the source" : "no reason given") };
  }
  return {
    name,
    outcome,
    detail: outcome === "failed" ? `${failure}\n${output || `status ${status}`}`.trim() : undefined,
  };
}

function decode(text) {
  const named = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (whole, dec, hex, name) => {
    if (name) return named[name] ?? whole;
    return String.fromCodePoint(dec ? Number(dec) : parseInt(hex, 16));
  });
}

async function ctest({ build = NATIVE, match, env, onTest }) {
  const junit = join(build, "ctest.xml");
  rmSync(junit, { force: true });
  const args = [
    "--test-dir",
    build,
    "-j",
    String(jobs()),
    "--no-tests=error",
    "--output-junit",
    junit,
    "--timeout",
    "300",
  ];
  if (match) args.push("-R", match);
  const { code, log } = await run("ctest", args, { env, timeoutMs: LIMIT_MS });
  // How a test ended (a crash, the time limit) is only in what ctest prints.
  const printed = log.matchAll(/^ *\d+\/\d+ Test +#\d+: (.+?) \.{2,} *(.*?) +[\d.]+ sec/gm);
  const said = new Map([...printed].map(([, name, how]) => [name, how.replace(/\*+/, " ").replace(/:$/, "")]));
  const xml = existsSync(junit) ? readFileSync(junit, "utf8") : "";
  const tests = [];
  for (const [, attributes, body] of xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([^]*?)<\/testcase>)/g)) {
    const test = ctestCase(attributes, body ?? "");
    if (test.outcome === "failed" && said.has(test.name)) test.detail = `${said.get(test.name)}\n${test.detail}`;
    tests.push(test);
  }
  tests.forEach(onTest);
  if (code !== 0 && !tests.some((test) => test.outcome === "failed")) {
    return { tests, problem: `ctest ended with ${code}`, log };
  }
  return { tests };
}
