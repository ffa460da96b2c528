// The names of all tests, read from their sources: what documents and test/promises.json say must be there.
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./paths.mjs";
import { filesAt } from "./stamp.mjs";

const GOOGLE = /^\s*(?:TEST|TEST_F|TEST_P|TYPED_TEST)\(\s*(\w+)\s*,\s*(\w+)\s*\)/gm;
const CALLED = /\b(?:test|it)\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)/g;

/** The names in one source: `Suite.Test` of GoogleTest, the first argument of test() and it() elsewhere. */
export function testsIn(file, text) {
  if (file.endsWith(".cc")) return [...text.matchAll(GOOGLE)].map(([, suite, name]) => `${suite}.${name}`);
  return [...text.matchAll(CALLED)].map(([, quoted]) => quoted.slice(1, -1).replace(/\\(.)/g, "$1"));
}

/**
 * Every test of the checkout.
 * @returns {{file: string, name: string}[]}
 */
export function allTests() {
  const files = ["native", "host", "test", "assembly", "scripts"].flatMap((folder) => filesAt(folder));
  return files
    .filter((file) => /(_test\.cc|\.test\.ts|\.test\.mjs|\.spec\.ts)$/.test(file))
    .flatMap((file) => testsIn(file, readFileSync(join(ROOT, file), "utf8")).map((name) => ({ file, name })));
}
