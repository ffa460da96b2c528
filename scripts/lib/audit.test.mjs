import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { acceptable, cargoLicences, cargoSources, npmSources, readNpmAudit } from "./audit.mjs";
import { ROOT } from "./paths.mjs";

test("all that is locked comes from the registries, and its content is fixed", () => {
  assert.deepEqual(npmSources(readFileSync(join(ROOT, "package-lock.json"), "utf8")), []);
  assert.deepEqual(cargoSources(readFileSync(join(ROOT, "native/wasmtime/Cargo.lock"), "utf8")), []);
});

test("what comes from elsewhere or has no hash is found", () => {
  const npm = (entry) => npmSources(JSON.stringify({ packages: { "": {}, "node_modules/a": entry } }));
  assert.match(npm({ resolved: "git+ssh://x/a.git", integrity: "sha512-AA" })[0], /comes from git\+ssh/);
  assert.match(npm({ resolved: "https://registry.npmjs.org/a/-/a-1.tgz", integrity: "sha1-AA" })[0], /no SHA-512/);
  assert.match(npm({})[0], /no SHA-512/);
  assert.deepEqual(npm({ integrity: "sha512-AA" }), []);
  const cargo = (lines) => cargoSources(`version = 4\n\n[[package]]\nname = "a"\nversion = "1.0.0"\n${lines}`);
  assert.deepEqual(cargo(""), [], "the project's own");
  assert.match(cargo('source = "git+https://x/a"\n')[0], /crate a comes from git/);
  const crates = 'source = "registry+https://github.com/rust-lang/crates.io-index"\n';
  assert.match(cargo(crates)[0], /no checksum/);
  assert.deepEqual(cargo(`${crates}checksum = "${"a".repeat(64)}"\n`), []);
});

test("licences of crates: a choice that is accepted is enough, and each part needs one", () => {
  const good = [
    "MIT OR Apache-2.0",
    "MIT/Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "(MIT OR Apache-2.0) AND Unicode-3.0",
  ];
  for (const one of good) assert.ok(acceptable(one), one);
  for (const one of ["GPL-3.0", "", "MIT AND GPL-3.0", "AGPL-3.0 OR LGPL-3.0"]) assert.ok(!acceptable(one), one);
  const packages = [
    { name: "own", version: "1.0.0", license: null, source: null },
    { name: "bad", version: "1.0.0", license: "GPL-3.0", source: "registry" },
  ];
  assert.deepEqual(cargoLicences(JSON.stringify({ packages })), ["crate bad 1.0.0 is under GPL-3.0"]);
});

test("npm audit: findings, none, or the reason why there is no answer", () => {
  const found = { vulnerabilities: { a: { name: "a", severity: "high", range: "<2" } } };
  assert.deepEqual(readNpmAudit(JSON.stringify(found)), { findings: ["a <2: high"] });
  assert.deepEqual(readNpmAudit('npm warn x\n{"vulnerabilities": {}}\n'), { findings: [] });
  const refused = readNpmAudit('npm warn audit 405\n{"message": "405 Method Not Allowed"}\n');
  assert.equal(refused.skipped, "405 Method Not Allowed");
  assert.match(readNpmAudit("npm error network\n").skipped, /network/);
  assert.ok(readNpmAudit("").skipped);
});
