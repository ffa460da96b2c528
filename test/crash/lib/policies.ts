// Policies that are installed, one over another, and rolled back to: whenever it dies, one of the two is in force.
import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { house, STOCK } from "../../e2e/lib/house.ts";
import { World } from "../../e2e/lib/world.ts";
import type { Scenario } from "./harness.ts";

interface Policies {
  /** What was in force before, and is behind it. */
  allowed: string[];
}

const install = (blob: string): string[] => ["policy", "install", blob, "--allow-downgrade"];

async function inForce(world: World): Promise<string> {
  const { policy } = await world.json<{ policy: { source: string; sha256: string } }>(["status"]);
  return `${policy.source} ${policy.sha256}`;
}

const saved = (world: World): string => join(world.home, "saved");

/** The policy folder as it was saved; what is compiled stays, for it takes long to make. */
function begins(world: World): void {
  const folder = join(world.state, "policy");
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder).filter((one) => one !== "compiled"))
    rmSync(join(folder, name), { recursive: true });
  if (existsSync(saved(world))) cpSync(saved(world), folder, { recursive: true });
}

/** `first`: what was installed before. */
function scenario(
  title: string,
  first: ("stock" | "house")[],
  args: (blob: string) => string[],
  more: Partial<Scenario>,
): Scenario {
  const nodes = new Map<World, Policies>();
  const must = async (world: World, command: string[]): Promise<void> => {
    const done = await world.dvdi(command);
    assert.equal(done.code, 0, done.all);
  };
  const command = async (world: World): Promise<string[]> => args(await house(world));
  return {
    title,
    make: (t) => World.make(t),
    stays: async (world) => {
      for (const one of first) await must(world, install(one === "stock" ? STOCK : await house(world)));
      const folder = join(world.state, "policy");
      const left = (path: string): boolean => path !== join(folder, "compiled");
      if (first.length > 0) cpSync(folder, saved(world), { recursive: true, filter: left });
      const before = await inForce(world);
      await must(world, await command(world));
      nodes.set(world, { allowed: [before, await inForce(world)] });
    },
    before: ({ world }) => begins(world),
    args: ({ world }) => command(world),
    next: async ({ world }) => {
      const { allowed } = nodes.get(world) ?? assert.fail();
      assert.equal(new Set(allowed).size, 2, allowed.join());
      const now = await inForce(world);
      assert.ok(allowed.includes(now), `in force is ${now}, and neither of ${allowed.join(", ")}`);
    },
    // Whatever is there, the next installation goes, and takes away what a dead one has left.
    after: async ({ world }) => must(world, install(await house(world))),
    ...more,
  };
}

export const OF_POLICIES: Scenario[] = [
  scenario("a policy that is installed over another", ["stock"], (blob) => install(blob), {}),
  scenario("the first policy that is installed", [], (blob) => install(blob), {}),
  scenario("a policy that is rolled back", ["stock", "house"], () => ["policy", "rollback"], {
    whole: /^(rename|fsync) .*state\.json/,
  }),
];
