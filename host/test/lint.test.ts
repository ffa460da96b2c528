import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

import { lintPolicy } from "../src/lint.ts";
import { withManifest } from "../src/manifest.ts";
import { PolicyBlob, PolicyTrap } from "../src/runner.ts";
import { policyModule, section, text, vec } from "./modules.ts";

const folder = mkdtempSync(join(tmpdir(), "dvdi-lint-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const TEXT = { name: "stock", version: "1.2.3", description: "a policy" };

test("a shape that the engine refuses is said before anything runs", () => {
  assert.match(lintPolicy(withManifest(policyModule({ start: true }), TEXT)).join("; "), /start function/);
  assert.match(lintPolicy(policyModule()).join("; "), /manifest/);
});

test("a policy that traps or answers nothing sensible is said, by operation", () => {
  // Its functions are of the right type and do nothing but trap.
  const [first = "", ...rest] = lintPolicy(withManifest(policyModule(), TEXT));
  assert.match(first, /^configure: it trapped: unreachable in function 3$/);
  assert.deepEqual(rest, []);
  // With the number goes the name, where the blob has names.
  const names = section(0, [...text("name"), ...section(1, vec([3, ...text("House#alloc")]))]);
  const [named] = lintPolicy(withManifest(Uint8Array.from([...policyModule(), ...names]), TEXT));
  assert.equal(named, "configure: it trapped: unreachable in function 3 (House#alloc)");
});

test("a call that cannot be made is a trap of its own kind", () => {
  const instance = new PolicyBlob(withManifest(policyModule(), TEXT)).begin();
  assert.throws(() => instance.call("other", "{}", () => "{}"), PolicyTrap);
  assert.throws(() => instance.call("memory", "{}", () => "{}"), PolicyTrap);
});

test("the tool's exit code tells", () => {
  const file = join(folder, "bad.wasm");
  writeFileSync(file, withManifest(policyModule(), TEXT));
  const tool = spawnSync(process.execPath, [resolve("build/host/dvdi-policy.mjs"), "lint", file], { encoding: "utf8" });
  assert.equal(tool.status, 3, tool.stderr);
  assert.match(tool.stdout, /bad\.wasm: configure: it trapped: unreachable/);
});
