// The native side: configured by CMake, built by ninja, in a folder beneath build/.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

import { locked } from "./lock.mjs";
import { NATIVE, POLICY, ROOT } from "./paths.mjs";
import { capture, must } from "./proc.mjs";

/**
 * Configures a build folder where its options have changed, and builds. ninja itself knows what is up to date.
 * @param {{build?: string, wasmtime: string, options?: Record<string, string>, targets?: string[]}} what
 * @param {(line: string) => void} report
 */
export function buildNative(what, report) {
  const { build = NATIVE } = what;
  mkdirSync(build, { recursive: true });
  // Two ninjas in one folder would read what the other one is writing.
  return locked(join(build, ".lock"), report, () => configureAndBuild({ ...what, build }, report));
}

async function configureAndBuild({ build, wasmtime, options = {}, targets = [] }, report) {
  const all = {
    CMAKE_BUILD_TYPE: "RelWithDebInfo",
    DVDI_WASMTIME_ROOT: wasmtime,
    DVDI_BUILTIN_POLICY: POLICY,
    ...(capture("ccache", ["--version"]) === null
      ? {}
      : { CMAKE_C_COMPILER_LAUNCHER: "ccache", CMAKE_CXX_COMPILER_LAUNCHER: "ccache" }),
    ...options,
  };
  const args = [
    "-G",
    "Ninja",
    "-S",
    ROOT,
    "-B",
    build,
    ...Object.entries(all).map(([name, value]) => `-D${name}=${value}`),
  ];
  const stamp = join(build, ".configured");
  const wanted = args.join("\n");
  const current = existsSync(stamp) && existsSync(join(build, "build.ninja")) && readFileSync(stamp, "utf8");
  if (current !== wanted) {
    await must("cmake", args, { onLine: report });
    writeFileSync(stamp, wanted);
  }
  let steps = 0;
  const onLine = (line) => {
    if (/^\[\d+\/\d+\]/.test(line)) steps += 1;
    report(line);
  };
  const log = await must("ninja", ["-C", build, "-j", String(jobs()), ...targets], {
    onLine,
    env: { NINJA_STATUS: "[%f/%t] ", CCACHE_BASEDIR: ROOT, CCACHE_NOHASHDIR: "1" },
  });
  return log.includes("no work to do") ? "up to date" : `${steps} steps`;
}

/** How many things to do side by side. */
export function jobs() {
  return Math.max(1, Number(process.env.DVDI_JOBS) || availableParallelism());
}
