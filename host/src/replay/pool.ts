// Replays many records on all processors. A policy that does not come to an end costs its record, not the replay.
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

import { UserError } from "../errors.ts";
import type { Json } from "./records.ts";
import { CONFIGURING, type Batch, type BatchDone, type Finding, type WorkerData } from "./worker.ts";

const BATCH = 100;
/** Records that do not come to an end before the replay is given up. */
const MOST_STUCK = 3;

export interface Job {
  /** Where the lines are from, for errors. */
  file: string;
  blob: Uint8Array;
  /** What `configure` gets; undefined where no settings are known. */
  settings: Json | undefined;
  /** The file of this tool, which a thread begins with. */
  tool: string;
  /** A record that takes longer does not come to an end, in milliseconds. */
  patienceMs: number;
}

interface Thread {
  worker: Worker;
  counter: Int32Array;
  seen: number;
  since: number;
  batch: Batch | null;
}

/** Replays every line. Findings come in the order of the lines. Returns how many came out the same. */
export async function replayLines(
  lines: AsyncGenerator<string, void>,
  job: Job,
  onFinding: (finding: Finding, line: string) => void,
): Promise<{ same: number; all: number }> {
  const pool = new Pool(job);
  try {
    return await pool.run(lines, onFinding);
  } finally {
    await pool.end();
  }
}

class Pool {
  private readonly threads: Thread[] = [];
  private readonly watch: NodeJS.Timeout;
  private wake: () => void = () => undefined;
  private failure: Error | null = null;
  private stuck = 0;
  /** What is done, until it is its turn to be told. */
  private readonly done = new Map<number, { lines: string[]; done: BatchDone }>();
  /** Batches that a thread took with it when it was ended. */
  private readonly again: Batch[] = [];

  constructor(private readonly job: Job) {
    for (let i = 0; i < Math.min(availableParallelism(), 16); i++) this.threads.push(this.start());
    this.watch = setInterval(() => this.look(), Math.min(1000, job.patienceMs / 2));
  }

  async run(lines: AsyncGenerator<string, void>, onFinding: (finding: Finding, line: string) => void) {
    let all = 0;
    let same = 0;
    let told = 0;
    let more = true;
    for (;;) {
      const free = this.threads.find(({ batch }) => batch === null);
      // What is told in order must not pile up behind a record that is slow.
      if (free !== undefined && (this.again.length > 0 || (more && this.done.size < 8 * this.threads.length))) {
        const batch = this.again.shift() ?? { from: all, lines: await take(lines, BATCH) };
        more = batch.from < all || batch.lines.length === BATCH;
        all = Math.max(all, batch.from + batch.lines.length);
        if (batch.lines.length > 0) this.give(free, batch);
      } else if (this.threads.some(({ batch }) => batch !== null)) {
        await new Promise<void>((resolve) => (this.wake = resolve));
      } else if (this.done.size === 0) {
        return { same, all };
      }
      if (this.failure !== null) throw this.failure;
      for (let next = this.done.get(told); next !== undefined; next = this.done.get(told)) {
        this.done.delete(told);
        told += next.lines.length;
        same += next.done.same;
        for (const finding of next.done.findings) onFinding(finding, next.lines[finding.index - next.done.from] ?? "");
        if (next.done.damaged !== undefined) {
          const { index, why } = next.done.damaged;
          throw new UserError(
            `${this.job.file}: record ${index + 1} cannot be read: ${why}`,
            "export the records anew",
          );
        }
      }
    }
  }

  async end(): Promise<void> {
    clearInterval(this.watch);
    await Promise.all(this.threads.map(({ worker }) => worker.terminate()));
  }

  private start(): Thread {
    const begun = new SharedArrayBuffer(8);
    const data: WorkerData = { blob: this.job.blob, settings: this.job.settings, begun };
    const worker = new Worker(this.job.tool, { workerData: data });
    const thread: Thread = { worker, counter: new Int32Array(begun), seen: 0, since: 0, batch: null };
    worker.on("message", (done: BatchDone) => {
      if (thread.batch === null) return;
      this.done.set(done.from, { lines: thread.batch.lines, done });
      thread.batch = null;
      this.wake();
    });
    worker.on("error", (error) => {
      this.failure ??= new UserError(error.message, null);
      this.wake();
    });
    return thread;
  }

  private give(thread: Thread, batch: Batch): void {
    thread.batch = batch;
    thread.since = performance.now();
    thread.worker.postMessage(batch);
  }

  /** Ends threads whose record does not come to an end. */
  private look(): void {
    this.threads.forEach((thread, place) => {
      const begun = Atomics.load(thread.counter, 1);
      if (begun !== thread.seen || thread.batch === null) {
        thread.seen = begun;
        thread.since = performance.now();
        return;
      }
      if (performance.now() - thread.since < this.job.patienceMs) return;
      if (begun === 0) return; // it is still being started
      if (Atomics.load(thread.counter, 0) === CONFIGURING) {
        if (this.job.settings === undefined) return;
        this.failure = new UserError("configure does not come to an end", "dvdi-policy lint says more");
        return this.wake();
      }
      this.giveUp(thread, thread.batch, Atomics.load(thread.counter, 0));
      thread.batch = null;
      this.threads[place] = this.start();
      this.wake();
    });
  }

  private giveUp({ worker }: Thread, { from, lines }: Batch, index: number): void {
    void worker.terminate();
    this.stuck += 1;
    if (this.stuck >= MOST_STUCK) {
      const often = `the policy did not come to an end for ${this.stuck} records`;
      this.failure = new UserError(`${often}, at last for record ${index + 1}`, "look for a loop in the hooks");
    }
    const at = index - from;
    const result = { outcome: "failed", at: "failure", why: "it does not come to an end" } as const;
    const line = lines[at] ?? "";
    this.done.set(index, { lines: [line], done: { from: index, same: 0, findings: [{ index, result, trace: [] }] } });
    if (at > 0) this.again.push({ from, lines: lines.slice(0, at) });
    if (at + 1 < lines.length) this.again.push({ from: index + 1, lines: lines.slice(at + 1) });
  }
}

async function take(lines: AsyncGenerator<string, void>, count: number): Promise<string[]> {
  const taken: string[] = [];
  while (taken.length < count) {
    const line = await lines.next();
    if (line.done) break;
    taken.push(line.value);
  }
  return taken;
}
