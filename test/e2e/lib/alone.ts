// A command of `dvdi run` that goes on without it, and what the kernel tells of its mount namespace.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { release } from "node:os";

import { until } from "./process.ts";
import type { Listed, World } from "./world.ts";

/** Whether the kernel tells of a mount namespace that it has ended (Linux 6.11). */
export function tellsOfNamespaces(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 11);
}

export interface Alone {
  scope: Listed["users"][number];
  /** Ends the command, and waits until it is gone. */
  end: () => Promise<void>;
}

/** Runs a command with the volume `data`, and kills the `dvdi` that ran it. */
export async function goesOnAlone(world: World, driver: string): Promise<Alone> {
  const script = 'echo "it is $$"; exec sleep 600';
  const volume = ["-v", `data:${world.target("data")}`, "--volume-driver", driver];
  const run = world.begin(["run", ...volume, "--", "sh", "-c", script]);
  await run.says(/^it is \d+$/m);
  const pid = Number(/^it is (\d+)$/m.exec(run.out)?.[1]);
  let goesOn = true;
  world.atEnd(() => void (goesOn && process.kill(pid, "SIGKILL")));
  run.kill("SIGKILL");
  await until("dvdi is gone", () => !existsSync(`/proc/${run.pid.toString()}`));
  const [scope] = (await world.ls())[0]?.users ?? [];
  assert.ok(scope, "it is in use");
  const end = async (): Promise<void> => {
    process.kill(pid, "SIGKILL");
    goesOn = false;
    await until("the command is gone", () => !existsSync(`/proc/${pid.toString()}`));
  };
  return { scope, end };
}
