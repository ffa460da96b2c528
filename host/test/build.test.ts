import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, test } from "node:test";

import { buildPolicy } from "../src/build.ts";
import { UserError } from "../src/errors.ts";
import { inspectPolicy } from "../src/inspect.ts";

// The runner's current folder is the repository's.
const TOOL = resolve("build/host/dvdi-policy.mjs");
const TEXT = { name: "house", version: "2.0.1", description: "for the tests" };

const POLICY = `import { log } from "./dvdi";
import { JSON } from "json-as";

@json
class Answer { text: string = "für"; }

export const dvdi_abi_1: i32 = 1;
export function dvdi_alloc(len: i32): i32 { return <i32>heap.alloc(len); }
function answer(ptr: i32, len: i32): i64 { log(ptr, len); return JSON.stringify(new Answer()).length; }
export function configure(ptr: i32, len: i32): i64 { return answer(ptr, len); }
export function parse(ptr: i32, len: i32): i64 { return answer(ptr, len); }
export function prepare(ptr: i32, len: i32): i64 { return answer(ptr, len); }
export function cleanup(ptr: i32, len: i32): i64 { return answer(ptr, len); }
export function recover(ptr: i32, len: i32): i64 { return answer(ptr, len); }
export function canary(ptr: i32, len: i32): i64 { return answer(ptr, len); }
`;
const OPTIONS = {
  transform: ["json-as", resolve("assembly/transform/lazy-start.mjs")],
  runtime: "stub",
  bindings: "raw",
  exportStart: "_start",
  optimizeLevel: 1,
};
const IMPORTS = "export declare function log(ptr: i32, len: i32): i64;\n";

const temporary = mkdtempSync(join(tmpdir(), "dvdi-policy-test-"));
after(() => rmSync(temporary, { recursive: true, force: true }));

/** A package with these files and the repository's node_modules. */
function packageWith(name: string, files: Record<string, string>): string {
  const root = join(temporary, name);
  const asconfig = JSON.stringify({ options: OPTIONS });
  const all = { "package.json": '{"version":"3.1.4"}', "asconfig.json": asconfig, ...files };
  for (const [file, contents] of Object.entries(all)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), contents);
  }
  symlinkSync(resolve("node_modules"), join(root, "node_modules"));
  return root;
}

const build = (root: string, entry: string): Promise<Uint8Array> =>
  buildPolicy({ root, entry: join(root, entry), text: TEXT });

/** The error that a build ends with. */
async function failure(root: string, entry: string): Promise<UserError> {
  const error: unknown = await build(root, entry).then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof UserError, `a UserError, not ${String(error)}`);
  return error;
}

test("the same source gives the same bytes in another folder, with its manifest", async () => {
  const files = { "assembly/main.ts": POLICY, "assembly/dvdi.ts": IMPORTS };
  const one = await build(packageWith("one", files), "assembly/main.ts");
  const two = await build(packageWith("two/deeper", files), "assembly/main.ts");
  assert.equal(Buffer.from(one).equals(two), true);
  const inspection = inspectPolicy(one);
  assert.deepEqual(inspection.problems, []);
  assert.deepEqual(inspection.manifest, { ...TEXT, abi: 1, imports: ["log"] });
});

test("an asconfig.json's options count and its entries do not", async () => {
  const other = "export function other(): i32 { return 1; }\n";
  const asconfig = JSON.stringify({
    entries: ["assembly/other.ts"],
    options: { ...OPTIONS, initialMemory: 7 },
  });
  const files = { "assembly/main.ts": POLICY, "assembly/dvdi.ts": IMPORTS, "assembly/other.ts": other };
  const root = packageWith("configured", { ...files, "asconfig.json": asconfig });
  const inspection = inspectPolicy(await build(root, "assembly/main.ts"));
  assert.equal(inspection.memory?.min_pages, 7);
  assert.equal(
    inspection.exports.some((entry) => entry.name === "other"),
    false,
  );
});

test("a source that does not compile gives the compiler's words", async () => {
  const root = packageWith("broken", { "assembly/main.ts": 'export const x: i32 = "text";\n' });
  assert.match((await failure(root, "assembly/main.ts")).message, /does not compile[^]*assembly\/main\.ts/);
});

test("a module that is no policy is refused with what it lacks", async () => {
  const root = packageWith("lacking", { "assembly/main.ts": "export function prepare(a: i32): i32 { return a; }\n" });
  const { message } = await failure(root, "assembly/main.ts");
  assert.match(message, /export prepare is \(i32\) -> i32/);
  assert.match(message, /does not export cleanup/);
});

test("an entry that cannot work is refused before the compiler starts", async () => {
  const root = packageWith("entries", { "assembly/index.ts": POLICY, "assembly/dvdi.ts": IMPORTS });
  assert.match((await failure(root, "assembly/index.ts")).message, /cannot be an entry/);
  assert.match((await failure(root, "assembly/none.ts")).message, /cannot be read/);
  assert.match((await failure(root, "../broken/assembly/main.ts")).message, /outside of/);
});

test("the tool builds and inspects, and says what is wrong with an exit code", () => {
  const root = packageWith("tool", { "assembly/main.ts": POLICY, "assembly/dvdi.ts": IMPORTS });
  const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [TOOL, ...args], { cwd: root, encoding: "utf8", timeout: 60_000 });

  const built = run("build", "--out", "out/p.wasm", "--name", "house", "--description", "ours");
  assert.equal(built.status, 0, built.stderr);
  assert.match(built.stdout, /^out\/p\.wasm: house 3\.1\.4, \d+ bytes, sha256 [0-9a-f]{64}\n$/);
  assert.deepEqual(readdirSync(join(root, "out")), ["p.wasm"]);

  const inspected = run("inspect", "out/p.wasm", "--json");
  assert.equal(inspected.status, 0, inspected.stderr);
  assert.deepEqual((JSON.parse(inspected.stdout) as { problems: string[] }).problems, []);
  assert.match(run("inspect", "out/p.wasm").stdout, /^policy +house 3\.1\.4 \(ABI 1\)$/m);

  writeFileSync(join(root, "cut.wasm"), readFileSync(join(root, "out/p.wasm")).subarray(0, 100));
  const cut = run("inspect", "cut.wasm");
  assert.equal(cut.status, 3);
  assert.match(cut.stdout, /would refuse it/);

  const missing = run("inspect", "none.wasm");
  assert.equal(missing.status, 1);
  assert.equal(
    missing.stderr,
    "dvdi-policy: none.wasm cannot be read: no such file or directory\n  hint: name a policy blob (.wasm)\n",
  );
  assert.equal(run("inspect").status, 64);
  assert.equal(run("build", "--name", "Not A Name").status, 1);
  assert.equal(run("--help").status, 0);
});
