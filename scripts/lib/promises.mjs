// test/promises.json, and whether what it names is in the sources.
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./paths.mjs";
import { SUITES } from "./suites.mjs";
import { allTests } from "./tests.mjs";

export function readPromises() {
  return JSON.parse(readFileSync(join(ROOT, "test/promises.json"), "utf8"));
}

/**
 * What does not fit: a guard that the code does not have guards nothing, and a test that is not there shows nothing.
 * @param {ReturnType<typeof readPromises>} promises
 * @param {{file: string, name: string}[]} tests those that there are
 * @returns {string[]}
 */
export function mismatches(promises, tests = allTests()) {
  const listed = readFileSync(join(ROOT, "native/base/guards.list"), "utf8").split("\n");
  const wrong = [];
  for (const { promise, guard, tests: named } of promises) {
    const site = readFileSync(join(ROOT, guard.file), "utf8");
    if (!listed.includes(guard.name)) wrong.push(`${guard.name} is not in native/base/guards.list`);
    if (!site.includes(`DVDI_GUARD(${guard.name})`)) wrong.push(`${guard.file} has no DVDI_GUARD(${guard.name})`);
    if (!site.includes(guard.symbol)) wrong.push(`${guard.file} has no ${guard.symbol}`);
    if (!named?.length) wrong.push(`promise ${promise}, guard ${guard.name}: no test is named`);
    for (const { suite, match } of named ?? []) {
      if (!SUITES.some(({ name }) => name === suite)) wrong.push(`there is no suite ${suite} (guard ${guard.name})`);
      const native = suite === "ctest";
      const pattern = new RegExp(match);
      const found = tests.some(({ file, name }) => file.endsWith(".cc") === native && pattern.test(name));
      if (!found) wrong.push(`no test of suite ${suite} matches ${match} (guard ${guard.name})`);
    }
  }
  for (const name of listed.filter((line) => /^[a-z][a-z0-9_]*$/.test(line))) {
    if (!promises.some(({ guard }) => guard.name === name)) {
      wrong.push(`guard ${name} is in no promise of test/promises.json`);
    }
  }
  return wrong;
}
