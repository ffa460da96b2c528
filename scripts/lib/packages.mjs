// Debian packages: what is missing is installed, or the command that would do it is printed.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./paths.mjs";
import { run } from "./proc.mjs";
import { StepError } from "./ui.mjs";

/** The packages of these groups in scripts/debian-packages.txt. */
export function packagesOf(groups) {
  const lines = readFileSync(join(ROOT, "scripts/debian-packages.txt"), "utf8").split("\n");
  const stated = lines.flatMap((line) => {
    const match = /^(\w+):\s*(.*)$/.exec(line);
    return match && groups.includes(match[1]) ? match[2].trim().split(/\s+/) : [];
  });
  return [...new Set(stated)];
}

function missing(packages) {
  // It fails where any of them is unknown, and prints the others all the same.
  const args = ["-W", "-f=${Package}\\t${db:Status-Status}\\n", ...packages];
  const { error, stdout } = spawnSync("dpkg-query", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  if (error) {
    throw new StepError(`dpkg-query cannot be run (${error.code}): set-up knows Debian 12 only`, {
      hint: `install what corresponds to ${packages.join(" ")}, and set DVDI_SKIP_PACKAGES=1`,
    });
  }
  const installed = new Set(stdout.split("\n").filter((line) => line.endsWith("\tinstalled")));
  return packages.filter((name) => !installed.has(`${name}\tinstalled`));
}

/** Installs what these groups lack. */
export async function ensurePackages(groups, report) {
  if (process.env.DVDI_SKIP_PACKAGES) return "skipped: DVDI_SKIP_PACKAGES is set";
  const lacking = missing(packagesOf(groups));
  if (lacking.length === 0) return "all installed";
  const command = ["apt-get", "install", "-y", "--no-install-recommends", ...lacking];
  if (process.getuid() !== 0) {
    throw new StepError(`these Debian packages are missing: ${lacking.join(" ")}`, {
      hint: `run: sudo apt-get update && sudo ${command.join(" ")}`,
    });
  }
  report(`installing ${lacking.join(" ")}`);
  const options = {
    env: { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" },
    onLine: report,
  };
  const args = ["-o", "DPkg::Lock::Timeout=300", ...command.slice(1)];
  let result = await run("apt-get", args, options);
  if (result.code !== 0) {
    // The package lists may be missing or old, as on a fresh machine.
    const update = await run("apt-get", ["-o", "DPkg::Lock::Timeout=300", "update"], options);
    if (update.code !== 0) throw new StepError("apt-get update failed", { log: update.log });
    result = await run("apt-get", args, options);
  }
  if (result.code !== 0) throw new StepError(`${command.join(" ")} failed`, { log: result.log });
  return `installed ${lacking.length}`;
}
