// What runs for us, as process groups: who ends us ends them, and we are over only when they are.
import { setTimeout as sleep } from "node:timers/promises";

/** So long may they take to clean up. */
const ENDS_MS = 30_000;
const SIGNALS = ["SIGHUP", "SIGINT", "SIGTERM"];
const running = new Set();
let ending = false;

/** Whether somebody is ending us: nothing more is begun then, and nothing that ended is looked at. */
export const isEnding = () => ending;

/** Sends a signal (0: none) to all of a group. Returns whether there is anybody in it. */
function send(group, signal) {
  try {
    return process.kill(-group, signal);
  } catch (error) {
    if (error.code === "ESRCH") return false;
    throw error;
  }
}

/** Ends a group: with time to clean up, then without. */
export async function endGroup(group) {
  send(group, "SIGTERM");
  for (const end = performance.now() + ENDS_MS; performance.now() < end; await sleep(20)) if (!send(group, 0)) return;
  send(group, "SIGKILL");
}

async function interrupted(signal) {
  if (ending) {
    // Somebody does not want to wait.
    for (const group of running) send(group, "SIGKILL");
    return;
  }
  ending = true;
  await Promise.all([...running].map(endGroup));
  for (const one of SIGNALS) process.off(one, interrupted);
  // As it would have been without us: whoever waits sees that it was a signal.
  process.kill(process.pid, signal);
}

/** @param {number} group its leader's process id: it was spawned `detached` */
export function begun(group) {
  if (running.size === 0) for (const signal of SIGNALS) process.on(signal, interrupted);
  running.add(group);
}

/** @param {number} group the leader has ended */
export function over(group) {
  if (ending) return;
  running.delete(group);
  if (running.size === 0) for (const signal of SIGNALS) process.off(signal, interrupted);
}
