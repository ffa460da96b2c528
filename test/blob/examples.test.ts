// The policies of examples/: they compile with the tools that a house has, an engine would take them, and it is they that
// decide. What they decide in detail their own tests say, beside them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { Blob, methodsOf, prepareInput, ROOT, volume, worldOf, type Json, type Run } from "./instance.ts";

const folder = mkdtempSync(join(tmpdir(), "dvdi-examples-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The example of that folder, as docs/policies.md builds it. */
function built(example: string): Blob {
  const out = join(folder, `${example}.wasm`);
  const tool = (...args: string[]): unknown =>
    execFileSync(process.execPath, [join(ROOT, "build/host/dvdi-policy.mjs"), ...args], { cwd: ROOT, stdio: "pipe" });
  tool("build", "--entry", `examples/${example}/main.ts`, "--name", example, "--version", "1.0.0", "--out", out);
  tool("lint", out);
  return new Blob(readFileSync(out));
}

test("a house rule is a file of a few lines, and decides", () => {
  const house = built("house-rule");
  const stock = Blob.shipped();
  /** prepare of a volume of these options that does not exist. */
  const missing = (policy: Blob, options: Record<string, string>): Run => {
    const volumes = [volume(0, { options })];
    return policy.run("prepare", prepareInput(volumes), worldOf(volumes, [0]));
  };

  assert.match(missing(house, { size: "5" }).text, /"notes":\["decided by the house rule, for 1 volume\(s\)"\]/);
  assert.match(missing(stock, { size: "5" }).text, /"notes":\[\]/);
  assert.ok(missing(stock, {}).answer.ok);
  const refused = missing(house, {});
  assert.equal(refused.answer.error?.["code"], "refused");
  assert.equal(
    refused.answer.error["message"],
    "house rule: volume v0 does not exist yet, and none is created without a size",
  );
  assert.ok(methodsOf(refused).length > 0);
  assert.deepEqual(
    methodsOf(refused).filter((method) => method === "Create" || method === "Mount"),
    [],
  );
  assert.ok(house.run("canary", { config: {} }).answer.ok);
});

test("one class is each vendor's own options", () => {
  const vendors = built("two-vendors");
  const volumes = [{ name: "data", container_path: "/data", class: { tier: "database", size: 100, iops: 3000 } }];
  const sources = [{ form: "statement", text: JSON.stringify({ volumes }) }];
  /** What becomes of it on a node with one pool, of that driver. */
  const on = (driver: string): Json => {
    const attributes = { tier: ["database", "bulk"], iops: { min: 100, max: 20_000 } };
    const settings = { pools: [{ name: "only", driver, attributes }] };
    const config = vendors.run("configure", { settings, engine: { version: "1.0.0", abi: 1 } }).answer.ok ?? null;
    const parsed = vendors.run("parse", { config, sources }).answer.ok as { volumes: Record<string, Json>[] };
    const [request = {}] = parsed.volumes;
    const asked = [volume(0, request)];
    const made = vendors.run("prepare", prepareInput(asked, config), worldOf(asked, [0]));
    assert.ok(made.answer.ok, made.text);
    const create = made.calls.flatMap(({ request: { calls = [] } }) => calls).find(({ method }) => method === "Create");
    return (create?.options ?? null) as Json;
  };
  assert.deepEqual(on("ebs"), { size: "100", volumetype: "gp3", iops: "3000", encrypted: "true" });
  assert.deepEqual(on("pxd"), {
    size: "100GB",
    io_profile: "db_remote",
    priority_io: "high",
    repl: "3",
    secure: "true",
  });
});
