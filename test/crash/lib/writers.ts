// A volume never has two writers. What tells so is a lock in the volume, which each workload wants; it lasts as long as a
// process that has descriptor 9.
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { until, type Result } from "../../e2e/lib/process.ts";
import type { World } from "../../e2e/lib/world.ts";

/** How a workload ends that finds another writer in its volume. */
export const TWO_WRITERS = 99;

/** The beginning of a workload's script; $0 is the volume. */
export const LOCK = `exec 9> "$0/lock" && flock -n 9 || exit ${TWO_WRITERS}`;

/** A second run of a volume that somebody writes to: it is refused, and says whose the volume is. */
export function isRefused(second: Result): void {
  assert.notEqual(second.code, TWO_WRITERS, `two writers: ${second.all}`);
  assert.equal(second.code, 125, `a second run was had beside the first: ${second.all}`);
  assert.match(second.err, /^dvdi: .* is in use by run\/\S+ .*single-writer/m);
}

/** A run whose command takes the lock, then does what the script says; $1 and on are `more`. */
const locked = (volumes: string[], target: string, script: string, ...more: string[]): string[] => [
  ...["run", ...volumes, "--", "sh", "-c", `${LOCK}; ${script}`, target, ...more],
];

/**
 * A run beside one whose command writes to the volume is refused, also when the first one's `dvdi` was killed and its command
 * goes on; when that has ended it is had. `volumes`: the arguments that say which, for the single writer.
 */
export async function oneWriter(world: World, volumes: string[], target: string): Promise<void> {
  const pidFile = join(world.home, "first-pid");
  const args = (script: string): string[] => locked(volumes, target, script, pidFile);
  const first = world.begin(args('echo x > "$0/mark"; echo $$ > "$1"; echo it runs; exec sleep 300'));
  await first.says(/^it runs$/m);
  try {
    isRefused(await world.dvdi(args("true")));
    first.kill("SIGKILL");
    await until("dvdi is killed", () => !first.running);
    isRefused(await world.dvdi(args("true")));
    await world.dvdi(["recover", "--wait"]);
    isRefused(await world.dvdi(args("true")));
  } finally {
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
    rmSync(pidFile);
  }
  await first.ended;
  let then: Result | undefined;
  const had = async (): Promise<boolean> => (then = await world.dvdi(args('cat "$0/mark"'))).code === 0;
  await until("the volume is had again", had).catch(() => assert.fail(then?.all));
  assert.equal(then?.out, "x\n", then?.all);
}

/** Where a volume may have two writers, the second one's workload tells: a node that gives it by mistake is found out. */
export async function twoAreSeen(world: World, volumes: string[], target: string): Promise<void> {
  const args = (script: string): string[] => locked(volumes, target, script);
  world.settings("policy:\n  defaults: {access: multi-writer}\n");
  const first = world.begin(args("echo it runs; exec cat"));
  await first.says(/^it runs$/m);
  const second = await world.dvdi(args("true"));
  assert.equal(second.code, TWO_WRITERS, second.all);
  first.closeInput();
  await first.ended;
  world.settings("");
}
