// Programs under test, and those that they talk to: run to their end, or kept and watched.
import assert from "node:assert/strict";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

/** Longer than anything takes on a busy machine; nothing waits so long unless it is broken. */
export const PATIENCE_MS = 40_000;

export interface Result {
  /** As a shell has it: 128 + n where signal n ended it. */
  code: number;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
  /** Both, and how it ended: for the message of a failed assertion. */
  all: string;
}

export interface Options {
  env?: Record<string, string | undefined>;
  input?: string | Uint8Array;
  cwd?: string;
}

const SIGNAL_NUMBERS: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };

/** The environment of a program under test: ours without what would tell it about volumes or settings. */
function environment(more: Record<string, string | undefined> = {}): Record<string, string> {
  const kept = Object.entries(process.env).filter(([name]) => !/^(DVDI_|NODE_)/.test(name));
  const all = Object.entries({ ...Object.fromEntries(kept), LC_ALL: "C.UTF-8", ...more });
  return Object.fromEntries(all.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** A program that runs. */
export class Process {
  readonly ended: Promise<Result>;
  out = "";
  err = "";
  #result: Result | undefined;

  constructor(
    readonly command: string[],
    private readonly child: ChildProcessWithoutNullStreams,
  ) {
    child.stdout.setEncoding("utf8").on("data", (text: string) => (this.out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.err += text));
    // A program that ends before it has read everything is its own business.
    child.stdin.on("error", () => undefined);
    this.ended = new Promise((done, failed) => {
      child.once("error", failed);
      child.once("close", (code, signal) => {
        this.#result = {
          code: code ?? 128 + ((signal && SIGNAL_NUMBERS[signal]) ?? 0),
          signal,
          out: this.out,
          err: this.err,
          all: `${this.command.join(" ")}\n${this.err}${this.out}(ended with ${signal ?? code ?? "?"})`,
        };
        done(this.#result);
      });
    });
    this.ended.catch(() => undefined);
  }

  get pid(): number {
    const { pid } = this.child;
    assert.ok(pid, `${this.command.join(" ")} was not started`);
    return pid;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  write(text: string): void {
    this.child.stdin.write(text);
  }

  closeInput(): void {
    this.child.stdin.end();
  }

  /** Waits until what it wrote so far matches. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    let match: RegExpExecArray | null = null;
    await until(`${this.command.join(" ")} says ${pattern.source}`, () => {
      match = pattern.exec(this.out) ?? pattern.exec(this.err);
      if (!match && this.#result) assert.fail(`${pattern.source} was not said:\n${this.#result.all}`);
      return match !== null;
    });
    return match ?? assert.fail();
  }

  /** Its end, on its own account; a program that does not end is killed, and that is a failure. */
  async end(): Promise<Result> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.child.kill("SIGKILL");
    }, PATIENCE_MS);
    const result = await this.ended;
    clearTimeout(timer);
    assert.ok(!late, `it did not end, and was killed:\n${result.all}`);
    return result;
  }

  /** Ends it: by closing its input, by SIGTERM, at last by SIGKILL. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.child.stdin.end();
    this.child.kill("SIGTERM");
    // A stopped process gets its signals when it goes on.
    this.child.kill("SIGCONT");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 5000);
    await this.ended;
    clearTimeout(timer);
  }
}

/** Starts a program. Its standard input is open until the test closes it, or ends. */
export function begin(command: string[], options: Options = {}): Process {
  const [file, ...args] = command;
  assert.ok(file);
  const child = spawn(file, args, { cwd: options.cwd, env: environment(options.env), stdio: "pipe" });
  const started = new Process(command, child);
  if (options.input !== undefined) child.stdin.end(options.input);
  return started;
}

/** Runs a program to its end; without `input` its standard input is empty. */
export async function run(command: string[], options: Options = {}): Promise<Result> {
  return begin(command, { input: "", ...options }).end();
}

/** As `run`, for programs of the machine that must not fail. Returns what it wrote. */
export async function must(command: string[], options: Options = {}): Promise<string> {
  const result = await run(command, options);
  assert.equal(result.code, 0, result.all);
  return result.out;
}

/** Waits until something is so, and fails where it never is. */
export async function until(
  what: string,
  check: () => boolean | Promise<boolean>,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  for (const end = performance.now() + patienceMs; !(await check()); await sleep(20)) {
    if (performance.now() > end) assert.fail(`it never came to pass: ${what}`);
  }
}
