// The command itself: what it writes, and when it ends.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { withManifest } from "../src/manifest.ts";
import { policyModule } from "./modules.ts";

const TOOL = resolve("build/host/dvdi-policy.mjs");
const folder = mkdtempSync(join(tmpdir(), "dvdi-tool-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A policy that does not come to an end. */
function endless(): string {
  const file = join(folder, "endless.wasm");
  writeFileSync(
    file,
    withManifest(policyModule({ endless: true }), { name: "house", version: "1.2.3", description: "" }),
  );
  return file;
}

/** The one child of a process; nothing where it has none (yet). */
const childOf = (pid: number | undefined): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());

const isThere = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

test("who ends the tool ends the policy that it runs", async () => {
  const file = endless();
  for (const args of [
    ["lint", file],
    ["simulate", "--policy", file, "--form", "volume", "data:/data"],
  ]) {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const tool = spawn(process.execPath, [TOOL, ...args], { stdio: "ignore" });
      const ended = once(tool, "exit");
      let child = 0;
      while (child === 0) {
        await sleep(20);
        child = childOf(tool.pid);
      }
      tool.kill(signal);
      assert.deepEqual(await ended, [null, signal]);
      for (let n = 0; isThere(child) && n < 500; n += 1) await sleep(20);
      const stays = isThere(child);
      if (stays) process.kill(child, "SIGKILL");
      assert.ok(!stays, `${args[0] ?? ""} goes on behind ${signal}`);
    }
  }
});

test("a policy that does not come to an end costs a simulation its patience", () => {
  const file = endless();
  const args = ["simulate", "--policy", file, "--patience", "1", "--form", "volume", "data:/data"];
  const tool = spawnSync(process.execPath, [TOOL, ...args], {
    encoding: "utf8",
    timeout: 30_000,
    killSignal: "SIGKILL",
  });
  assert.equal(tool.status, 1, tool.stderr);
  assert.match(tool.stderr, /^dvdi-policy: .*endless\.wasm: it does not come to an end within 1 s \(--patience\)\n/);
  // lint reaches no hook that a statement does.
  assert.match(tool.stderr, /look for a loop in the hooks\n$/);
});

test("an answer that an engine calls malformed is no decision to simulate and lint", () => {
  const cases: [answer: string, why: string][] = [
    ['{"error":{"code":"nope","message":"no"}}', 'its error has the unknown code "nope"; there are invalid, refused,'],
    ['{"error":{"code":"refused","message":" "}}', "its error has no code or no message"],
    ['{"error":5}', "its error has no code or no message"],
    ['{"ok":{},"more":1}', 'it must have one member, "ok" or "error"'],
    ["5", 'it must have one member, "ok" or "error"'],
  ];
  for (const [answer, why] of cases) {
    const file = join(folder, "malformed.wasm");
    writeFileSync(file, withManifest(policyModule({ answer }), { name: "house", version: "1.2.3", description: "" }));
    const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
      spawnSync(process.execPath, [TOOL, ...args], { encoding: "utf8" });
    const said = `configure: its answer is malformed: ${why}`;
    const simulated = run("simulate", "--policy", file, "--form", "volume", "data:/data");
    assert.equal(simulated.status, 1);
    assert.ok(simulated.stderr.startsWith(`dvdi-policy: ${said}`), simulated.stderr);
    const linted = run("lint", file);
    assert.equal(linted.status, 3);
    assert.ok(linted.stdout.includes(said), linted.stdout);
  }
});

test("an output that cannot be written is said in a line, and a reader that has gone is no failure", () => {
  spawnSync("mkfifo", [join(folder, "gone")]);
  const into = (redirected: string): { status: number | null; stderr: string } =>
    spawnSync("sh", ["-c", redirected, process.execPath, TOOL, "help"], { cwd: folder, encoding: "utf8" });
  const full = into('"$0" "$@" > /dev/full');
  assert.equal(full.status, 1);
  assert.equal(full.stderr, "dvdi-policy: standard output cannot be written: no space left on device\n");
  const gone = into('exec 3<> gone 4> gone 3<&-; "$0" "$@" >&4');
  assert.equal(gone.stderr, "");
  assert.equal(gone.status, 0);
});
