// docs/security.md: each claim names its tests, and they are there.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT } from "./paths.mjs";
import { allTests } from "./tests.mjs";

/** The rows of the tables whose last column is `test`: the claim, and the names in that column. */
export function claims(text) {
  const rows = [];
  let columns = [];
  for (const line of text.split("\n")) {
    if (!line.startsWith("|")) {
      columns = [];
      continue;
    }
    const cells = line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
    if (columns.length === 0) columns = cells;
    else if (columns.at(-1) === "test" && !/^-+$/.test(cells[0])) {
      rows.push({ claim: cells[0], tests: [...(cells.at(-1) ?? "").matchAll(/`([^`]+)`/g)].map(([, name]) => name) });
    }
  }
  return rows;
}

test("claims and their tests are read", () => {
  const table =
    "| a | test |\n|---|---|\n| one | `A.B`, `c d` |\n| two | none |\n\n| x | y |\n|---|---|\n| z | `q` |\n";
  assert.deepEqual(claims(table), [
    { claim: "one", tests: ["A.B", "c d"] },
    { claim: "two", tests: [] },
  ]);
});

test("each claim of docs/security.md names tests that are there", () => {
  const names = new Set(allTests().map(({ name }) => name));
  const all = claims(readFileSync(join(ROOT, "docs/security.md"), "utf8"));
  assert.ok(all.length > 20);
  for (const { claim, tests } of all) {
    assert.ok(tests.length > 0, `no test is named: ${claim}`);
    assert.deepEqual(
      tests.filter((name) => !names.has(name)),
      [],
      claim,
    );
  }
});
