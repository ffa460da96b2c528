// The house rule of examples/: it compiles with the tools that a house has, and it is it that decides.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { Blob, healthy, prepareInput, ROOT, volume, type World } from "./instance.ts";

const folder = mkdtempSync(join(tmpdir(), "dvdi-house-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("a house rule is a file of a few lines, and decides", () => {
  const out = join(folder, "house.wasm");
  const entry = join(ROOT, "examples/house-rule/main.ts");
  const tool = join(ROOT, "build/host/dvdi-policy.mjs");
  const args = ["build", "--entry", entry, "--name", "house", "--version", "1.0.0", "--out", out];
  execFileSync(process.execPath, [tool, ...args], { cwd: ROOT, stdio: "pipe" });
  const house = new Blob(readFileSync(out));
  const stock = Blob.shipped();
  const missing: World = {
    ...healthy,
    plugin: (call) => (call.method === "Get" ? { kind: "error", error: "none" } : healthy.plugin(call)),
  };

  const sized = prepareInput([volume(0, { options: { size: "5" } })]);
  const unsized = prepareInput([volume(0, { options: {} })]);
  assert.match(house.run("prepare", sized, missing).text, /"notes":\["decided by the house rule, for 1 volume\(s\)"\]/);
  assert.match(stock.run("prepare", sized, missing).text, /"notes":\[\]/);
  assert.ok(stock.run("prepare", unsized, missing).answer.ok);
  const refused = house.run("prepare", unsized, missing);
  assert.equal(refused.answer.error?.["code"], "refused");
  assert.equal(
    refused.answer.error["message"],
    "house rule: volume v0 does not exist yet, and none is created without a size",
  );
  assert.doesNotMatch(JSON.stringify(refused.calls), /Create|Mount/);
  assert.ok(house.run("canary", { config: {} }).answer.ok);
});
