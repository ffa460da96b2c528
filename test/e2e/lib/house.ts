// Policy blobs to install.
import { existsSync } from "node:fs";
import { join } from "node:path";

import { must } from "./process.ts";
import { ROOT, type World } from "./world.ts";

export const STOCK = join(ROOT, "build/policy.wasm");
const TOOL = join(ROOT, "build/host/dvdi-policy.mjs");

/** The example's blob: as set-up built it, or built now. */
export async function house(world: World): Promise<string> {
  const built = join(ROOT, "build/house.wasm");
  if (existsSync(built)) return built;
  const out = join(world.home, "house.wasm");
  const entry = join(ROOT, "examples/house-rule/main.ts");
  const args = ["build", "--entry", entry, "--name", "house", "--version", "1.0.0", "--out", out];
  await must([process.execPath, TOOL, ...args], { cwd: ROOT });
  return out;
}
