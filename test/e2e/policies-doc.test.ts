// docs/policies.md, "From an empty folder to a running agent": its commands, as they stand there.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin } from "./lib/plugin.ts";
import { begin } from "./lib/process.ts";
import { DVDI, ROOT, skip, World } from "./lib/world.ts";

const DOC = readFileSync(join(ROOT, "docs/policies.md"), "utf8");
const SECTION = /^## From an empty folder[^]*?(?=^## )/m.exec(DOC)?.[0] ?? "";
const BLOCKS = [...SECTION.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block = ""]) => block);

/** What `npm install` comes to here, without a registry: the library is this checkout, the tools are those that it has. */
const NPM = `#!/bin/bash
[ "$1" = install ] || exec "$REAL_NPM" "$@"
mkdir -p node_modules/.bin
for one in ${ROOT}/node_modules/*; do ln -s "$one" node_modules/; done
ln -s ${ROOT} node_modules/dvdi
ln -s ${ROOT}/build/host/dvdi-policy.mjs node_modules/.bin/dvdi-policy
`;

test("the page's commands go through, from an empty folder to a policy that decides", { skip }, async (t) => {
  assert.ok(BLOCKS.length >= 6, "the page has its commands");
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain");
  const [bin, work] = [join(world.home, "bin"), join(world.home, "work")];
  for (const folder of [bin, work]) mkdirSync(folder);
  symlinkSync(DVDI, join(bin, "dvdi"));
  symlinkSync(join(ROOT, "build/host/dvdi-policy.mjs"), join(bin, "dvdi-policy"));
  writeFileSync(join(bin, "npm"), NPM, { mode: 0o755 });
  const real = (await world.must(["sh", "-c", "command -v npm"])).trim();
  // /mnt is the world's own: what a page calls /mnt/data is made there.
  const script = ["set -eux", `cd ${work}`, ...BLOCKS].join("\n").replaceAll("/mnt/", `${world.targets}/`);
  // Compilers are at work: it may take minutes.
  const ran = await begin(world.enter(["setpriv", "--pdeathsig", "KILL", "bash", "-c", script]), {
    input: "",
    env: { PATH: `${bin}:${process.env["PATH"] ?? ""}`, REAL_NPM: real, DVDI_CONFIG: world.config },
  }).ended;
  assert.equal(ran.code, 0, ran.all);
  assert.match(ran.all, /house rule: volume logs does not exist yet/);
  assert.match(ran.all, /created new volume logs/);
  assert.equal(plugin.count("Create logs"), 1);
  const status = await world.json<{ policy: { name: string } }>(["status"]);
  assert.equal(status.policy.name, "house");
  assert.ok(existsSync(join(work, "house/replay.html")));
});
