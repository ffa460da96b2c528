import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

import { parse } from "yaml";

const TOOL = resolve("build/host/dvdi-policy.mjs");
const folder = mkdtempSync(join(tmpdir(), "dvdi-project-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function tool(cwd: string, ...args: string[]): { status: number | null; out: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [TOOL, ...args], { cwd, encoding: "utf8" });
  return { status, out: stdout + stderr };
}

/** What `npm install` would do here: the library is this checkout, the tools are those that it has. */
function install(project: string): void {
  mkdirSync(join(project, "node_modules"));
  for (const name of readdirSync("node_modules")) {
    if (!name.startsWith(".")) symlinkSync(resolve("node_modules", name), join(project, "node_modules", name));
  }
  symlinkSync(resolve("."), join(project, "node_modules/dvdi"));
}

test("a new policy has its tests pass, and is one that an engine takes", () => {
  const made = tool(folder, "new", "house-x");
  assert.equal(made.status, 0, made.out);
  const project = join(folder, "house-x");
  const json = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as {
    devDependencies: Record<string, string>;
  };
  const own = JSON.parse(readFileSync("package.json", "utf8")) as { devDependencies: Record<string, string> };
  assert.equal(json.devDependencies["assemblyscript"], own.devDependencies["assemblyscript"]);
  assert.equal(resolve(project, json.devDependencies["dvdi"]?.replace("file:", "") ?? ""), resolve("."));
  assert.ok(readFileSync(join(project, "assembly/main.ts"), "utf8").split("\n").length <= 30);
  install(project);

  const tested = tool(project, "test");
  assert.equal(tested.status, 0, tested.out);
  assert.match(tested.out, /Pass: 2 \/ 2/);
  const built = tool(project, "build", "--name", "house-x");
  assert.equal(built.status, 0, built.out);
  // A trap is told by the function's name, here and on a node.
  assert.match(tool(project, "inspect", "build/policy.wasm").out, /^section {2}name \(/m);
  const linted = tool(project, "lint", "build/policy.wasm");
  assert.equal(linted.status, 0, linted.out);

  // A rule that is gone is noticed.
  const house = join(project, "assembly/house.ts");
  writeFileSync(house, readFileSync(house, "utf8").replace('has("size")', 'has("size") || true'));
  assert.equal(tool(project, "test").status, 1);
  rmSync(join(project, "assembly/__tests__/house.spec.ts"));
  const none = tool(project, "test");
  assert.equal(none.status, 1);
  assert.match(none.out, /there is no test/);
});

test("a new policy's workflow does on a server what its scripts do", () => {
  assert.equal(tool(folder, "new", "served").status, 0);
  const read = (file: string): string => readFileSync(join(folder, "served", file), "utf8");
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const { jobs } = parse(read(".github/workflows/policy.yml")) as {
    jobs: Record<string, { steps: { run?: string }[] }>;
  };
  const run = Object.values(jobs).flatMap(({ steps }) => steps.flatMap((step) => step.run?.trim().split("\n") ?? []));
  const wanted = run.map((line) => /^npm (?:run )?(\S+)$/.exec(line)?.[1] ?? line);
  assert.deepEqual(
    wanted.filter((name) => name !== "install" && name !== "ci").sort(),
    Object.keys(scripts).sort(),
    "each once, and nothing else",
  );
});

test("new writes into no folder that has something in it, and takes no name that no policy can have", () => {
  mkdirSync(join(folder, "full/x"), { recursive: true });
  assert.match(tool(folder, "new", "full").out, /full is not empty/);
  assert.match(tool(folder, "new", "a b").out, /a b cannot be a policy's folder: name "a b" must be/);
  assert.equal(tool(folder, "test").status, 1);
});
