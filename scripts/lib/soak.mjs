// Seeds of the simulation in blocks, by several processes; what is done is kept in a file.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { run } from "./proc.mjs";
import { StepError } from "./ui.mjs";

const BLOCK = 250;

/** What a seed's history depends on: a digest of the program and the policies. */
export function digestOf(files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(createHash("sha256").update(readFileSync(file)).digest());
  return hash.digest("hex");
}

/**
 * Which blocks of a range are done. Another range, another program (`of`: its digest) or `fresh` begins anew: what an earlier
 * program did with a seed, well or not, says nothing about this one.
 */
export class Progress {
  constructor(file, { from, seeds, fresh, of = "" }) {
    this.file = file;
    this.state = { from, seeds, of, blocks: [], failed: [], operations: 0, histories: 0 };
    /** Whether there was something to go on with, of another program. */
    this.changed = false;
    if (fresh || !file || !existsSync(file)) return;
    const kept = JSON.parse(readFileSync(file, "utf8"));
    if (kept.from !== from || kept.seeds !== seeds) return;
    if (kept.of === of) this.state = kept;
    else this.changed = true;
  }

  has(block) {
    return this.state.blocks.includes(block);
  }

  add(block, result) {
    this.state.blocks.push(block);
    this.state.failed.push(...result.failed);
    this.state.operations += result.operations;
    this.state.histories += result.count;
    if (!this.file) return;
    mkdirSync(dirname(this.file), { recursive: true });
    const part = `${this.file}.${process.pid}`;
    writeFileSync(part, JSON.stringify(this.state));
    renameSync(part, this.file);
  }
}

/** The last line that dvdi-sim writes. */
export function readSummary(log) {
  const line = log.trimEnd().split("\n").at(-1) ?? "";
  try {
    const summary = JSON.parse(line);
    return Array.isArray(summary.failed) ? summary : null;
  } catch {
    return null;
  }
}

/**
 * Runs the seeds.
 * @param {{program: string, second?: string, from: number, seeds: number, jobs: number, progress: Progress,
 *   block?: number, onBlock?: (seeds: {from: number, to: number, failed: number[], log: string}) => void, forMs?: number}} what
 *   block: so many are run by one process, and told together; forMs: no block is begun later than that, where given
 * @param {(line: string) => void} say
 * @returns {Promise<{seeds: number, operations: number, failed: number[]}>}
 */
export async function soak({ program, second, from, seeds, jobs, progress, block = BLOCK, onBlock, forMs }, say) {
  const began = performance.now();
  const inTime = () => forMs === undefined || performance.now() - began < forMs;
  const blocks = [];
  for (let at = from; at < from + seeds; at += block) if (!progress.has(at)) blocks.push(at);
  // Compiled once, not by each of the processes.
  const compiled = mkdtempSync(join(tmpdir(), "dvdi-soak-"));
  if (progress.changed) say("  the program is another one than the last time: all seeds anew");
  if (progress.state.histories > 0) say(`  ${progress.state.histories} seeds were done before`);
  const one = async (_, job) => {
    for (let at = blocks.shift(); at !== undefined && inTime(); at = blocks.shift()) {
      const count = Math.min(block, from + seeds - at);
      const args = ["--from", String(at), "--count", String(count), "--compiled", join(compiled, "policies")];
      args.push("--processor", String(job));
      if (second) args.push("--second-policy", second);
      const { code, log } = await run(program, args);
      const summary = readSummary(log);
      if (summary === null)
        throw new StepError(`seeds ${at} to ${at + count - 1}: dvdi-sim ended with ${code}`, { log });
      if (summary.failed.length > 0) say(log.trimEnd());
      progress.add(at, summary);
      onBlock?.({ from: at, to: at + count - 1, failed: summary.failed, log });
      const done = progress.state.histories;
      say(`  ${done} of ${seeds} seeds, ${progress.state.failed.length} failed (${summary.ms} ms for ${count})`);
    }
  };
  try {
    await Promise.all(Array.from({ length: jobs }, one));
  } finally {
    rmSync(compiled, { recursive: true });
  }
  const { histories, operations, failed } = progress.state;
  return { seeds: histories, operations, failed: failed.sort((a, b) => a - b) };
}
