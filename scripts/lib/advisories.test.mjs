import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";

import { compare, readAccepted, readDatabase } from "./advisories.mjs";

/** A folder of these files, as long as the test runs. */
function folder(t, files) {
  const root = mkdtempSync(join(tmpdir(), "dvdi-advisories-"));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return root;
}

const rustSec = (versions, more = "", after = "") => `\`\`\`toml
[advisory]
id = "RUSTSEC-2020-0001"
package = "a"
date = "2020-01-31"
${more}
[versions]
${versions}
${after}
\`\`\`

# It breaks
`;

const crates = (...versions) => versions.map((version) => ({ type: "cargo", name: "a", version }));
/** The versions of crate "a" that an advisory is against. */
function against(t, text, versions) {
  const database = readDatabase(folder(t, { "crates/a/RUSTSEC-2020-0001.md": text, "README.md": "no advisory" }));
  return compare(database, crates(...versions), []).findings.map((line) => / a (\S+):/.exec(line)?.[1]);
}

test("RustSec: a version that is neither patched nor unaffected is a finding", (t) => {
  const several = rustSec('patched = [">= 1.2.3, < 1.3.0", ">= 1.3.4"]\nunaffected = ["<= 0.1.2"]');
  const versions = ["0.1.2", "0.1.3", "1.2.2", "1.2.3", "1.3.0", "1.3.3", "1.3.4", "2.0.0", "1.3.4-rc.1"];
  assert.deepEqual(against(t, several, versions), ["0.1.3", "1.2.2", "1.3.0", "1.3.3", "1.3.4-rc.1"]);
  assert.deepEqual(against(t, rustSec("patched = []"), ["0.0.1", "9.0.0+metadata"]), ["0.0.1", "9.0.0+metadata"]);
  // Without an operator it is as with a caret.
  assert.deepEqual(against(t, rustSec('patched = ["1.2.3"]'), ["1.2.2", "1.9.0", "2.0.0"]), ["1.2.2", "2.0.0"]);
  assert.deepEqual(against(t, rustSec('patched = ["^0.2.1", "=0.4.0"]'), ["0.2.4", "0.3.0", "0.4.0", "0.4.1"]), [
    "0.3.0",
    "0.4.1",
  ]);
});

test("RustSec: what was withdrawn and what is of another system is none; what is told says what it is", (t) => {
  const also = { "crates/b/RUSTSEC-2021-0002.md": rustSec("patched = []").replace('"a"', '"b"') };
  const read = (text) => readDatabase(folder(t, { ...also, "crates/a/RUSTSEC-2020-0001.md": text }));
  const findings = (text) => compare(read(text), crates("1.0.0"), []).findings;
  assert.deepEqual(findings(rustSec("patched = []", 'withdrawn = "2020-02-02"')), []);
  assert.deepEqual(findings(rustSec("patched = []", "", '[affected]\nos = ["windows"]')), []);
  const here = rustSec("patched = []", 'informational = "unsound"', '[affected]\nos = ["windows", "linux"]');
  assert.deepEqual(findings(here), ["crate a 1.0.0: RUSTSEC-2020-0001 (unsound) It breaks"]);
  assert.equal(read(here).newest, "2020-01-31");
  assert.equal(read(here).layout, "RustSec");
  assert.deepEqual(compare(read(here), [{ type: "npm", name: "a", version: "1.0.0" }], []).findings, []);
});

const osv = (affected, more = {}) =>
  JSON.stringify({ id: "GHSA-1", modified: "2024-05-06T07:08:09Z", summary: "It breaks", affected, ...more });
const npm = (events, more = {}) => ({
  package: { ecosystem: "npm", name: "@x/a" },
  ranges: [{ type: "SEMVER", events }],
  ...more,
});

test("OSV: ranges, lists of versions, and what is of another ecosystem", (t) => {
  const findings = (text, ...versions) => {
    const other = osv([npm([{ introduced: "0" }])]).replace("@x/a", "other");
    const database = readDatabase(folder(t, { "2024/GHSA-1.json": text, "2024/GHSA-2.json": other }));
    const packages = versions.map((version) => ({ type: "npm", name: "@x/a", version }));
    return compare(database, packages, []).findings.map((line) => / @x\/a (\S+):/.exec(line)?.[1]);
  };
  const fixed = osv([
    npm([{ introduced: "0" }, { fixed: "1.2.0" }, { introduced: "2.0.0" }, { last_affected: "2.1.0" }]),
  ]);
  assert.deepEqual(findings(fixed, "0.0.1", "1.1.9", "1.2.0", "2.0.0", "2.1.0", "2.1.1"), [
    "0.0.1",
    "1.1.9",
    "2.0.0",
    "2.1.0",
  ]);
  assert.deepEqual(
    findings(osv([npm([{ introduced: "3.0.0" }], { versions: ["1.0.0"] })]), "1.0.0", "1.0.1", "3.0.0"),
    ["1.0.0", "3.0.0"],
  );
  const python = osv([npm([{ introduced: "0" }])]).replace('"npm"', '"PyPI"');
  assert.deepEqual(findings(python, "1.0.0"), []);
  assert.deepEqual(findings(osv([npm([{ introduced: "0" }])], { withdrawn: "2024-06-01T00:00:00Z" }), "1.0.0"), []);
});

test("what is no database, or cannot be read, is an error and not nothing", (t) => {
  const wrong = (files, reason) => assert.throws(() => readDatabase(folder(t, files)), reason);
  assert.throws(() => readDatabase("/nowhere"), /no folder of advisories at \/nowhere/);
  wrong({}, /has no advisory/);
  wrong({ "crates/README": "" }, /has no advisory/);
  wrong({ "crates/a/RUSTSEC-1.md": "# no TOML" }, /RUSTSEC-1\.md cannot be read: it does not begin with TOML/);
  wrong({ "crates/a/RUSTSEC-1.md": rustSec("patched = [") }, /RUSTSEC-1\.md cannot be read/);
  wrong({ "crates/a/RUSTSEC-1.md": rustSec("") }, /no versions\.patched/);
  wrong({ "crates/a/RUSTSEC-1.md": rustSec('patched = ["one"]') }, /RUSTSEC-1\.md cannot be read/);
  wrong({ "crates/a/RUSTSEC-1.md": rustSec("patched = []").replace("id =", "no =") }, /no advisory\.id/);
  wrong({ "a.json": "{" }, /a\.json cannot be read/);
  wrong({ "package.json": "{}" }, /package\.json cannot be read: it is not in OSV's format/);
  wrong({ "a.json": osv([npm([{ fixed: "no version" }])]) }, /an event is not as OSV has it/);
  wrong({ "a.json": osv([npm([], { ranges: [] })]) }, /does not say which versions/);
});

test("what is accepted is no finding as long as it occurs, and needs a reason", (t) => {
  const database = readDatabase(folder(t, { "crates/a/RUSTSEC-2020-0001.md": rustSec('patched = [">= 2.0.0"]') }));
  const accepted = (more = {}) =>
    readAccepted(JSON.stringify([{ id: "RUSTSEC-2020-0001", package: "a", reason: "not called", ...more }]));
  assert.deepEqual(compare(database, crates("1.0.0"), accepted()), { findings: [], accepted: 1, asked: 1 });
  const gone = compare(database, crates("2.0.0"), accepted()).findings;
  assert.deepEqual(gone, ["RUSTSEC-2020-0001 is accepted for a, and does not apply any more: take it out"]);
  assert.equal(compare(database, crates("1.0.0"), accepted({ package: "b" })).findings.length, 2);
  // Nothing can be said of what this database does not know.
  assert.deepEqual(compare(database, crates("2.0.0"), accepted({ id: "GHSA-1" })).findings, []);
  assert.throws(() => accepted({ reason: " " }), /needs an id, a package and a reason/);
});
