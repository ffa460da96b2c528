// The house rule of examples/: it compiles with the tools that a house has, and it is it that decides.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { Blob, prepareInput, ROOT, volume } from "./instance.ts";

const folder = mkdtempSync(join(tmpdir(), "dvdi-house-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("a house rule is a file of a few lines, and decides", () => {
  const out = join(folder, "house.wasm");
  const entry = join(ROOT, "examples/house-rule/main.ts");
  const tool = join(ROOT, "build/host/dvdi-policy.mjs");
  const args = ["build", "--entry", entry, "--name", "house", "--version", "2.0.0", "--out", out];
  execFileSync(process.execPath, [tool, ...args], { cwd: ROOT, stdio: "pipe" });
  const house = new Blob(readFileSync(out));
  const stock = Blob.shipped();

  const small = prepareInput([volume(0, { options: { size: "10GiB" } })]);
  const large = prepareInput([volume(0, { options: { size: "1TB" } })]);
  assert.match(
    house.run("prepare", small).text,
    /"notes":\["decided by the house rules 2\.0: at most 10 GB for a volume"\]/,
  );
  assert.match(stock.run("prepare", small).text, /"notes":\[\]/);
  assert.ok(stock.run("prepare", large).answer.ok);
  const refused = house.run("prepare", large);
  assert.equal(refused.answer.error?.["code"], "refused");
  assert.equal(
    refused.answer.error["message"],
    'volume "v0" (driver rexray) is asked for with size 1TB, and the house gives at most 10 GB',
  );
  assert.deepEqual(refused.calls, []);
  assert.ok(house.run("canary", { config: {} }).answer.ok);
});
