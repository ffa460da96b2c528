// What `npm pack` makes, installed into an empty folder: the tool by its name, and what a policy is built from.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, posix, resolve } from "node:path";
import { after, test } from "node:test";

const folder = mkdtempSync(join(tmpdir(), "dvdi-package-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const OWN = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };

function run(cwd: string, program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: "utf8" });
  assert.equal(status, 0, `${program} ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

test("the package holds the tool and the library, and from an empty folder makes a policy of them", () => {
  const packed = run(".", "npm", "pack", "--json", "--ignore-scripts", "--pack-destination", folder);
  const [{ filename, files, size } = { filename: "", files: [], size: 0 }] = JSON.parse(packed) as {
    filename: string;
    files: { path: string }[];
    size: number;
  }[];
  const paths = files.map(({ path }) => path);
  assert.ok(size < 2_000_000, `${size} bytes`);
  for (const path of ["assembly/library.ts", "assembly/testing.ts", "assembly/transform/lazy-start.mjs", "LICENSE"])
    assert.ok(paths.includes(path), path);
  assert.deepEqual(
    paths.filter((path) => /^(native|test|scripts|build\/(?!host\/dvdi-policy\.mjs$))/.test(path)),
    [],
  );

  // What a writer has is what is in it: no page of it leads to one that is not.
  const pages = paths.filter((path) => /^docs\/.*\.md$/.test(path));
  assert.ok(pages.includes("docs/policies.md") && paths.includes("examples/house-rule/house.ts"));
  for (const page of pages)
    for (const [, to = ""] of readFileSync(page, "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)/g))
      assert.ok(paths.includes(posix.join(dirname(page), to)), `${page} leads to ${to}`);

  const place = join(folder, "empty");
  mkdirSync(place);
  writeFileSync(join(place, "package.json"), "{}");
  run(place, "npm", "install", "--offline", "--no-audit", "--no-fund", join(folder, filename));
  const tool = join(place, "node_modules/.bin/dvdi-policy");
  assert.ok(statSync(tool).mode & 0o100);
  assert.equal(run(place, tool, "--version").trim(), OWN.version);

  run(place, tool, "new", "house");
  const project = join(place, "house");
  const made = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as {
    devDependencies: Record<string, string>;
  };
  // No registry has it: a version alone would be whatever somebody puts there.
  assert.equal(made.devDependencies["dvdi"], `file:../../${filename}`);
  rmSync(join(folder, filename));
  run(place, tool, "new", "later");
  assert.match(readFileSync(join(place, "later/package.json"), "utf8"), /"dvdi": "file:\.\.\/node_modules\/dvdi"/);
  // As npm would: the package as it was packed, and the tools of the versions that the project names.
  mkdirSync(join(project, "node_modules"));
  for (const name of readdirSync("node_modules"))
    if (!name.startsWith(".")) symlinkSync(resolve("node_modules", name), join(project, "node_modules", name));
  cpSync(join(place, "node_modules/dvdi"), join(project, "node_modules/dvdi"), { recursive: true });

  assert.match(run(project, tool, "test"), /Pass: 2 \/ 2/);
  run(project, tool, "build", "--name", "house", "--out", "build/house.wasm");
  const inspected = JSON.parse(run(project, tool, "inspect", "--json", "build/house.wasm")) as { problems: string[] };
  assert.deepEqual(inspected.problems, []);
  assert.match(run(project, tool, "lint", "build/house.wasm"), /an engine would take it/);
  const mount = "type=volume,src=data,dst=/data,volume-driver=plain,volume-opt=size=1g";
  const simulated = run(
    ...([
      project,
      tool,
      "simulate",
      "--policy",
      "build/house.wasm",
      "--missing",
      "data",
      "--form",
      "mount",
      mount,
    ] as const),
  );
  assert.match(simulated, /Create data/);
});
