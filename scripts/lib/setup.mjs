// All that has to be there before anything runs: each step is skipped in milliseconds when it is up to date.
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";

import { ensureHostTool } from "./host.mjs";
import { locked } from "./lock.mjs";
import { buildNative } from "./native.mjs";
import { ensurePackages } from "./packages.mjs";
import { HOST_TOOL, HOUSE_POLICY, POLICY, ROOT, WILD_POLICY } from "./paths.mjs";
import { must } from "./proc.mjs";
import { ensureTestPlugins } from "./plugins.mjs";
import { hashOf, isFresh, remember } from "./stamp.mjs";
import { bold, dim, seconds, step, StepError } from "./ui.mjs";
import { ensureWasmtime } from "./wasmtime.mjs";

const NODE = 20;

/** npm writes node_modules/.package-lock.json when it has installed: older than the lock file is out of date. */
async function ensureNodeModules(report) {
  const installed = join(ROOT, "node_modules/.package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(ROOT, "package-lock.json")).mtimeMs) {
    return "up to date";
  }
  report("npm ci");
  // No package of ours needs its install script.
  await must("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { onLine: report });
  return "installed";
}

/** A policy's sources, and what it is compiled with. */
const POLICY_INPUTS = ["assembly", "asconfig.json", "host/src", "package.json", "package-lock.json"];

async function ensurePolicy(report) {
  const hash = hashOf(POLICY_INPUTS);
  if (isFresh("policy", hash, [POLICY])) return "up to date";
  report("compiling AssemblyScript");
  await must(process.execPath, [HOST_TOOL, "build", "--entry", "assembly/main.ts", "--out", "build/policy.wasm"], {
    onLine: report,
  });
  remember("policy", hash);
  return `${statSync(POLICY).size} bytes`;
}

/** What tests put beside the stock policy, or in its place. */
const OTHER_POLICIES = [
  {
    name: "house",
    folder: "examples/house-rule",
    out: HOUSE_POLICY,
    about: "No volume without a size, and none beyond a cap",
  },
  { name: "wild", folder: "native/sim/wild", out: WILD_POLICY, about: "What no sane policy does" },
];

async function ensureOtherPolicy({ name, folder, out, about }, report) {
  const hash = hashOf([...POLICY_INPUTS, folder]);
  if (isFresh(name, hash, [out])) return "up to date";
  report("compiling AssemblyScript");
  const entry = ["--entry", join(folder, "main.ts"), "--out", out];
  const text = ["--name", name, "--version", "1.0.0", "--description", about];
  await must(process.execPath, [HOST_TOOL, "build", ...entry, ...text], { onLine: report });
  remember(name, hash);
  return `${statSync(out).size} bytes`;
}

/** Of two commands that begin at once in this checkout, one makes it, and the other one finds it made. */
const once = (ensure) => (report) => {
  mkdirSync(join(ROOT, "build"), { recursive: true });
  return locked(join(ROOT, "build/set-up.lock"), report, () => ensure(report));
};

/**
 * Runs the steps that a command needs, in order.
 * @param {{groups: string[], policy?: boolean, native?: boolean, targets?: string[], build?: string,
 *          options?: Record<string, string>, house?: boolean, wild?: boolean, plugins?: boolean}} needs
 *   house, wild: these policies too, beside the stock one
 *   groups: of scripts/debian-packages.txt; targets: of ninja, all where none is named
 * @returns {Promise<{wasmtime: string}>}
 */
export async function setup(needs) {
  const began = performance.now();
  if (Number(process.versions.node.split(".")[0]) < NODE) {
    throw new StepError(`Node is ${process.versions.node}; ${NODE} or later is needed`);
  }
  process.stdout.write(`${bold("set-up")}\n`);
  let wasmtime = "";
  await step("Debian packages", (report) => ensurePackages(needs.groups, report));
  await step("npm packages", once(ensureNodeModules));
  await step("dvdi-policy", once(ensureHostTool));
  if (needs.policy ?? true) await step("policy blob", once(ensurePolicy));
  for (const policy of OTHER_POLICIES.filter(({ name }) => needs[name]))
    await step(
      `${policy.name} policy`,
      once((report) => ensureOtherPolicy(policy, report)),
    );
  if (needs.native ?? true) {
    await step("wasmtime", async (report) => {
      const { folder, detail } = await ensureWasmtime(report);
      wasmtime = folder;
      return detail;
    });
    await step("native build", (report) => buildNative({ ...needs, wasmtime }, report));
  }
  if (needs.plugins) await step("plugins for tests", ensureTestPlugins);
  process.stdout.write(dim(`  ready after ${seconds(began)}\n\n`));
  return { wasmtime };
}
