// What the test runners write, read as tests: each function takes text and returns results, and runs nothing.

/** @typedef {import("./suites.mjs").Test} Test */

/**
 * The lines that the as-pect reporter wrote, one for each file.
 * @param {string} text
 * @returns {Test[]}
 */
export function readAsPect(text) {
  const tests = [];
  for (const line of text.split("\n").filter(Boolean)) {
    const file = JSON.parse(line);
    const all = [
      ...file.tests.map((test) => ({ name: `${file.file}: ${test.name}`, outcome: test.pass ? "passed" : "failed" })),
      ...file.todos.map((todo) => ({ name: `${file.file}: ${todo}`, outcome: "skipped", detail: "not written yet" })),
    ];
    if (!file.pass && all.every((test) => test.outcome !== "failed")) {
      all.push({ name: `${file.file}: the file as a whole`, outcome: "failed" });
    }
    if (file.tests.length === 0) {
      all.push({ name: `${file.file}: the file as a whole`, outcome: "failed", detail: "the file has no tests" });
    }
    tests.push(...all);
  }
  return tests;
}

/**
 * One line of the reporter for `node --test`.
 * @param {string} line
 * @param {{files: string[], filtered: boolean}} of the files that run; filtered: whether tests were chosen by name
 * @returns {{test: Test} | {output: string} | null} null for what is no result of its own
 */
export function readNodeLine(line, { files, filtered }) {
  let event;
  try {
    event = JSON.parse(line);
  } catch {
    return { output: `${line}\n` };
  }
  if (event?.type === "output") return { output: event.text };
  if (event?.type !== "test") return { output: `${line}\n` };

  const skipped = event.skip !== undefined && event.skip !== false;
  // A describe block has no result of its own, but one that throws before its tests has nobody else to say so.
  if (event.suite && !skipped && (event.pass || /subtests? failed/.test(event.error ?? ""))) return null;
  // A file without tests is reported as a test of the file's name.
  const isFile = event.nesting === 0 && files.some((file) => event.name.endsWith(file));
  // With a filter Node counts what it left out as a passed file or a skipped test.
  const leftOut = isFile || event.skip === true || event.skip === "test name does not match pattern";
  if (filtered && leftOut && event.pass) return null;

  if (skipped) {
    const reason = typeof event.skip === "string" && event.skip !== "" ? event.skip : "no reason given";
    return { test: { name: event.name, outcome: "skipped", detail: reason } };
  }
  if (isFile && event.pass) return { test: { name: event.name, outcome: "failed", detail: "the file has no tests" } };
  return { test: { name: event.name, outcome: event.pass ? "passed" : "failed", detail: event.error } };
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

/**
 * The JUnit file that ctest wrote, with what it printed: how a test ended (a crash, the time limit) is only there.
 * @param {string} xml
 * @param {string} printed
 * @returns {Test[]}
 */
export function readCtest(xml, printed) {
  const lines = printed.matchAll(/^ *\d+\/\d+ Test +#\d+: (.+?) \.{2,} *(.*?) +[\d.]+ sec/gm);
  const said = new Map([...lines].map(([, name, how]) => [name, how.replace(/\*+/, " ").replace(/:$/, "").trim()]));
  const cases = xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([^]*?)<\/testcase>)/g);
  return [...cases].map(([, attributes, body]) => {
    const test = ctestCase(attributes, body ?? "");
    if (test.outcome === "failed" && said.has(test.name)) test.detail = `${said.get(test.name)}\n${test.detail}`;
    return test;
  });
}
