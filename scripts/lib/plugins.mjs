// Volume plugins from PyPI that the end-to-end tests run against, in a virtual environment outside of the checkout.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { locked } from "./lock.mjs";
import { CACHE, ROOT } from "./paths.mjs";
import { capture, run } from "./proc.mjs";
import { StepError } from "./ui.mjs";

const REQUIREMENTS = join(ROOT, "test/e2e/requirements.txt");
/** In the environment, once all is in it. */
const MARKER = "complete";

/**
 * Installs them where they are missing, and names the environment to the tests in DVDI_TEST_PLUGINS. Where that cannot
 * be done, the tests that need them are skipped with the reason in DVDI_TEST_PLUGINS_MISSING; in CI it is an error.
 */
export async function ensureTestPlugins(report) {
  if (!existsSync(REQUIREMENTS)) return "none asked for";
  const python = capture("python3", ["--version"]);
  if (python === null) throw new StepError("python3 is not there");
  const key = createHash("sha256").update(readFileSync(REQUIREMENTS)).update(python).digest("hex").slice(0, 16);
  const folder = join(CACHE, `plugins-${key}`);
  process.env.DVDI_TEST_PLUGINS = folder;
  if (existsSync(join(folder, MARKER))) return "cached";
  mkdirSync(CACHE, { recursive: true });
  return locked(`${folder}.lock`, report, () => install(folder, report));
}

async function install(folder, report) {
  const marker = join(folder, MARKER);
  // By another command, meanwhile.
  if (existsSync(marker)) return "cached";
  report("python3 -m venv, pip install");
  // A virtual environment cannot be moved (its scripts name it), so it is made in place and marked at the end.
  rmSync(folder, { recursive: true, force: true });
  const pip = ["install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS];
  const commands = [
    ["python3", ["-m", "venv", folder]],
    [join(folder, "bin/pip"), pip],
  ];
  for (const [file, args] of commands) {
    const { code, log } = await run(file, args, { onLine: report });
    if (code === 0) continue;
    rmSync(folder, { recursive: true, force: true });
    if (process.env.CI) throw new StepError(`${file} ${args.join(" ")} failed`, { log });
    process.env.DVDI_TEST_PLUGINS_MISSING = log.trim().split("\n").at(-1) ?? "pip failed";
    return "not to be had: their tests are skipped";
  }
  writeFileSync(marker, "");
  return "installed";
}
