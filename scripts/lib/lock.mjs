// Two commands at once, in one checkout or with one cache: what both would make, one makes, and the other one waits.
import { spawn } from "node:child_process";

import { StepError } from "./ui.mjs";

const SOON_MS = 1000;

/**
 * Does `work` while no other process holds the lock of this file, which is made in a folder that must be there. It is given
 * back at the end, or by the kernel, where this process dies.
 * @template T
 * @param {string} file
 * @param {(line: string) => void} report is told where it has to wait
 * @param {() => Promise<T> | T} work
 * @returns {Promise<T>}
 */
export async function locked(file, report, work) {
  // Node has no flock(2). `cat` holds it for as long as we do not close its input; apart, so that a ^C leaves it to us.
  const holder = spawn("flock", ["--exclusive", file, "cat"], { stdio: ["pipe", "pipe", "ignore"], detached: true });
  const ended = new Promise((done) => holder.once("close", done));
  const told = setTimeout(() => report(`another command is at it and has ${file}: waiting`), SOON_MS);
  try {
    await new Promise((done, failed) => {
      holder.once("error", (error) => failed(new StepError(`flock cannot be started: ${error.code}`)));
      holder.once("close", (code) => failed(new StepError(`${file} cannot be locked: flock ended with ${code}`)));
      holder.stdin.on("error", () => undefined); // it has ended, and says so
      holder.stdout.once("data", done);
      holder.stdin.write("\n");
    });
    clearTimeout(told);
    return await work();
  } finally {
    clearTimeout(told);
    holder.stdin.end();
    if (holder.pid !== undefined) await ended;
  }
}
