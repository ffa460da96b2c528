// Child processes: always an argument list, never a shell, no standard input.
import { spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";

import { begun, endGroup, isEnding, over } from "./groups.mjs";
import { ROOT } from "./paths.mjs";
import { StepError } from "./ui.mjs";

const KEPT_LOG = 4 << 20;
// Some programs paint whether they write to a terminal or not.
// eslint-disable-next-line no-control-regex -- escapes are what it takes out
const COLOURS = /\u001b\[[0-9;]*m/g;

/** The environment for a child: `more` on top of ours; undefined takes a variable out. */
export function environment(more = {}) {
  const merged = { ...process.env, ...more };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined));
}

/**
 * Runs a program to its end and returns its exit code (128 + 15 and the like where a signal ended it) and what it wrote. Where we are
 * ended meanwhile, by ^C or by SIGTERM, so are it and what it has started, and we when they have cleaned up.
 * @param {string} file
 * @param {string[]} args
 * @param {{cwd?: string, env?: Record<string, string | undefined>, onLine?: (line: string) => void,
 *          timeoutMs?: number}} [options]
 * @returns {Promise<{code: number, log: string, timedOut: boolean}>}
 */
export function run(file, args, options = {}) {
  const { cwd = ROOT, env, onLine, timeoutMs } = options;
  return new Promise((done, failed) => {
    if (isEnding()) return;
    const stdio = ["ignore", "pipe", "pipe"];
    const child = spawn(file, args, { cwd, env: environment(env), stdio, detached: true });
    if (child.pid !== undefined) begun(child.pid);
    let log = "";
    let timedOut = false;
    const timer =
      timeoutMs &&
      setTimeout(() => {
        timedOut = true;
        void endGroup(child.pid);
      }, timeoutMs);
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream, crlfDelay: Infinity }).on("line", (painted) => {
        const line = painted.replace(COLOURS, "");
        log += `${line}\n`;
        if (log.length > 2 * KEPT_LOG) log = log.slice(-KEPT_LOG);
        onLine?.(line);
      });
    }
    child.once("error", (error) => {
      clearTimeout(timer);
      failed(new StepError(`${file} cannot be started: ${error.code ?? error.message}`));
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      over(child.pid);
      if (isEnding()) return;
      done({ code: code ?? (signal === "SIGKILL" ? 137 : 143), log, timedOut });
    });
  });
}

/** As `run`, but a program that fails is a StepError with its output. Returns the output. */
export async function must(file, args, options = {}) {
  const { code, log, timedOut } = await run(file, args, options);
  if (timedOut) throw new StepError(`${file} did not end in ${options.timeoutMs / 1000} s`, { log });
  if (code !== 0) throw new StepError(`${[file, ...args].join(" ")} ended with ${code}`, { log, hint: options.hint });
  return log;
}

/** What a quick program prints, or null where it is not there or fails. */
export function capture(file, args, options = {}) {
  const { status, stdout } = spawnSync(file, args, {
    encoding: "utf8",
    cwd: ROOT,
    ...options,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return status === 0 ? stdout : null;
}
