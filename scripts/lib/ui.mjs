// What a person sees of a long command: one line for each step, with its time; moving only on a terminal.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./paths.mjs";

const terminal = process.stdout.isTTY === true && process.env.TERM !== "dumb";
const coloured = terminal && !process.env.NO_COLOR;
const paint = (code) => (text) => (coloured ? `\u001b[${code}m${text}\u001b[0m` : text);

export const bold = paint("1");
export const dim = paint("2");
export const red = paint("31");
export const green = paint("32");
export const yellow = paint("33");
export const cyan = paint("36");

const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const HEARTBEAT_MS = 15_000;
const LOG_TAIL_LINES = 60;
// eslint-disable-next-line no-control-regex -- taken out of other programs' output
const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]|[\u0000-\u001f\u007f]/g;

/** An error of a step: what to tell, what to do, and the step's output where there is one. */
export class StepError extends Error {
  /** @param {string} message @param {{hint?: string, log?: string}} [more] */
  constructor(message, more = {}) {
    super(message);
    this.hint = more.hint;
    this.log = more.log;
  }
}

export const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/**
 * Runs one step and prints its line. `work` gets a function that takes the step's latest output line; what it
 * returns (a few words) ends up in the step's line.
 * @param {string} title
 * @param {(report: (line: string) => void) => Promise<string | undefined> | string | undefined} work
 */
export async function step(title, work) {
  const began = performance.now();
  let latest = "";
  let frame = 0;
  let told = began;
  const label = title.padEnd(20);
  const draw = () => {
    const width = (process.stdout.columns ?? 80) - label.length - 16;
    const text = latest.length > width ? `${latest.slice(0, Math.max(0, width - 1))}…` : latest;
    process.stdout.write(
      `\r\u001b[K  ${cyan(SPINNER[frame++ % SPINNER.length])} ${label} ${dim(text)} ${seconds(began)}`,
    );
  };
  const beat = () => {
    if (terminal) return draw();
    // Without a terminal nothing can be drawn over: a line now and then shows that it goes on.
    if (performance.now() - told < HEARTBEAT_MS) return undefined;
    told = performance.now();
    return process.stdout.write(`    ${label} ${seconds(began)}  ${latest}\n`);
  };
  const timer = setInterval(beat, terminal ? 100 : 1000);
  const end = (mark, text) => {
    clearInterval(timer);
    if (terminal) process.stdout.write("\r\u001b[K");
    process.stdout.write(`  ${mark} ${label} ${text.padEnd(40)} ${dim(seconds(began).padStart(8))}\n`);
  };
  try {
    const detail = await work((line) => {
      latest = line.replace(ESCAPES, "").trim() || latest;
    });
    end(green("✓"), detail ?? "done");
  } catch (error) {
    end(red("✗"), red("failed"));
    throw error;
  }
}

/** Prints an error as the end of a command, keeps a step's whole output in build/logs, and sets the exit code. */
export function fail(error) {
  process.exitCode = 1;
  const out = process.stderr;
  if (!(error instanceof StepError)) {
    out.write(`\n${red("error:")} ${error?.stack ?? error}\n`);
    return;
  }
  if (error.log) {
    const lines = error.log.trimEnd().split("\n");
    out.write(`\n${lines.slice(-LOG_TAIL_LINES).join("\n")}\n`);
    if (lines.length > LOG_TAIL_LINES) {
      const file = join(ROOT, "build/logs/failed-step.log");
      mkdirSync(join(ROOT, "build/logs"), { recursive: true });
      writeFileSync(file, error.log);
      out.write(dim(`(the last ${LOG_TAIL_LINES} of ${lines.length} lines; all of them: ${file})\n`));
    }
  }
  out.write(`\n${red("error:")} ${error.message}\n`);
  if (error.hint) out.write(`  hint: ${error.hint}\n`);
}

/** Runs a command's main function; an error ends it with exit code 1 and a message. */
export async function main(run) {
  try {
    await run();
  } catch (error) {
    fail(error);
  }
}
