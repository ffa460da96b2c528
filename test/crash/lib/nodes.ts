// The nodes of the scenarios: their drivers, what is in use on them all the time, and how they are shaken.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { PEERS } from "../../e2e/lib/peers.ts";
import type { Process } from "../../e2e/lib/process.ts";
import { skip, World } from "../../e2e/lib/world.ts";
import type { Round } from "./harness.ts";

/** The third party's; "" where it cannot run here. */
const peer = PEERS[0] ?? assert.fail();
export const withoutPeer = skip || (await peer.skip());

const SMALL = "volume-opt=size=16MiB";

/** A volume of each driver, in the syntax of `docker run --mount`. */
export function both({ world }: { world: World }, name: string, more = ""): string[] {
  const mount = (driver: string, options: string): string[] => {
    const volume = `type=volume,src=${name},dst=${world.target(`${name}-${driver}`)},volume-driver=${driver}`;
    return ["--mount", `${volume},${options}${more}`];
  };
  return [...mount("dvdi", SMALL), ...(withoutPeer ? [] : mount("rclone", "volume-opt=remote=store:kept"))];
}

/** The node of nearly all scenarios: both drivers. */
export async function node(t: TestContext): Promise<World> {
  const world = withoutPeer ? await World.make(t) : (await peer.start(t)).world;
  await world.driver();
  return world;
}

/**
 * What nobody may touch, whatever happens beside it: a volume of each driver that is in use, by a scope that has no
 * process; and what somebody else has mounted in the stage folder.
 */
export async function bystanders(world: World): Promise<void> {
  const mounted = await world.dvdi(["mount", ...both({ world }, "keep"), "--name", "bystander"]);
  assert.equal(mounted.code, 0, mounted.all);
  mkdirSync(stranger(world));
  await world.must(["mount", "-t", "tmpfs", "tmpfs", stranger(world)]);
}

const stranger = (world: World): string => join(world.stageRoot, "notes");

export async function bystandersGo(world: World): Promise<void> {
  await world.must(["umount", stranger(world)]);
  rmSync(stranger(world), { recursive: true });
  const unmounted = await world.dvdi(["unmount", "--name", "bystander"]);
  assert.equal(unmounted.code, 0, unmounted.all);
}

/** The driver that ships, of each node: it is killed, and started again. */
const drivers = new Map<World, Process>();

export async function driverLives({ world }: Round): Promise<void> {
  if (drivers.get(world)?.running) return;
  rmSync(world.socket("dvdi"), { force: true });
  drivers.set(world, await world.driver());
}

export async function driverDies({ world }: Round): Promise<void> {
  const driver = drivers.get(world) ?? assert.fail();
  driver.kill("SIGKILL");
  await driver.ended;
}

export const only = (world: World, driver: string, name: string): string[] => [
  ...["-v", `${name}:${world.target(name)}`, "--volume-driver", driver],
];

export const ledgerFiles = (world: World): string[] =>
  readdirSync(world.state).filter((name) => /^ledger\.db(-wal|-shm)?$/.test(name));
