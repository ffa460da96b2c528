// Tests that somebody ends: of what they had on the machine, nothing stays.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { must, until } from "./lib/process.ts";
import { BUILD, ROOT, skip, World } from "./lib/world.ts";

const SELF = fileURLToPath(import.meta.url);

if (process.env["INTERRUPTED"] !== undefined) {
  test("a world on the machine itself, with a volume in use", { skip }, async (t) => {
    const world = await World.make(t, { machine: true });
    await world.driver(world.socket("dvdi"), ["--default-size", "16m"]);
    await world.hold(["-v", `data:${world.target("data")}`, "--volume-driver", "dvdi"]);
    process.stdout.write(`lives in ${world.folder}\n`);
    await new Promise((done) => setTimeout(done, 600_000));
  });
} else {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    test(`tests that are ended by ${signal} leave no mount, no loop device and no folder`, { skip }, async (t) => {
      // As npm test runs them, and told alone: what it has started is not in its process group on a terminal either.
      const proc = pathToFileURL(join(ROOT, "scripts/lib/proc.mjs")).href;
      const args = JSON.stringify(["--test", "--test-reporter=spec", SELF]);
      const onLine = "{ onLine: (line) => console.log(line) }";
      const code = `import { run } from "${proc}"; await run(process.execPath, ${args}, ${onLine}); console.log("went on");`;
      const env: NodeJS.ProcessEnv = { ...process.env, INTERRUPTED: "1", DVDI_NATIVE_BUILD: BUILD, DVDI_ROOT: ROOT };
      delete env["NODE_TEST_CONTEXT"];
      const child = spawn(process.execPath, ["--input-type=module", "--eval", code], {
        env,
        stdio: ["ignore", "pipe", "inherit"],
      });
      t.after(() => void child.kill("SIGKILL"));
      let said = "";
      child.stdout.on("data", (text: Buffer) => (said += text.toString()));
      await until("the world lives", () => /lives in (\S+)/.test(said));
      const folder = /lives in (\S+)/.exec(said)?.[1] ?? "";
      const mounted = (): boolean => readFileSync("/proc/self/mountinfo", "utf8").includes(` ${folder}/`);
      assert.ok(mounted());

      const ended = once(child, "exit");
      child.kill(signal);
      assert.deepEqual(await ended, [null, signal], said);
      assert.ok(!said.includes("went on"), "it does not go on with what was ended");
      assert.ok(!mounted(), "nothing is mounted any more");
      assert.ok(!existsSync(folder), "the folder is gone");
      // The kernel lets go of it a moment after the last mount.
      await until("no loop device", async () => !(await must(["losetup", "--list"])).includes(folder));
    });
  }
}
