// Kills `dvdi` at its crash points, recovers, and looks whether all is as it was before. The command that dies is the one
// with crash points in its seam (native/crash); all others are those that ship.
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { until, type Result } from "../../e2e/lib/process.ts";
import { BUILD, ROOT, type World } from "../../e2e/lib/world.ts";
import { difference, look, uncovered } from "./look.ts";

export const CRASH = join(BUILD, "native/crash/dvdi_crash");

const LIST = "test/crash/points.txt";
/** The names of all points of all scenarios, sorted: somebody has looked at what a death there leaves. */
export const LISTED = readFileSync(join(ROOT, LIST), "utf8").trimEnd().split("\n");

/** One time that the command of a scenario runs. */
export interface Round {
  world: World;
  /** A number that no other round of that world has. */
  n: number;
}

export interface Scenario {
  title: string;
  /** A node with its drivers. */
  make: (t: TestContext) => Promise<World>;
  /** What is so on the node all the time, and must stay so. */
  stays?: (world: World) => Promise<void>;
  /** Its end, when all is over. */
  goes?: (world: World) => Promise<void>;
  /** What is done before the command. */
  before?: (round: Round) => Promise<void> | void;
  /** The command that dies. */
  args: (round: Round) => string[] | Promise<string[]>;
  /** What becomes of its volumes when nobody has recovered yet. Looked at before `after`. */
  next?: (round: Round) => Promise<void>;
  /** What else is done before the recovery: a driver is started again, … */
  after?: (round: Round) => Promise<void>;
  /** The command may find nothing to do yet: a process of who died before is still about to end. It is tried again then. */
  repeats?: boolean;
  /** The ledger is what is lost here, so it need not know all until it was recovered. */
  ledgerLost?: boolean;
  /** Its points are killed even where another scenario has them; or those of these names. */
  whole?: boolean | RegExp;
}

/** "MOMENT N NAME", as DVDI_CRASH_AT has it. */
type At = string;

/** What every scenario of this run has passed, and died in. */
export const passed = new Set<string>();
export const died = new Set<string>();

/** What is chosen by hand: `npm run crash`. */
const ALL = process.env["DVDI_CRASH_ALL"] === "1";
export const ONLY = process.env["DVDI_CRASH_ONLY"];
/** How often each death is died. */
const TIMES = Number(process.env["DVDI_CRASH_TIMES"] ?? (process.env["CI"] ? "3" : "1"));
/** Worlds side by side: each waits most of the time. */
const LANES = Number(process.env["DVDI_CRASH_LANES"] ?? "2");

const momentsOf = (name: string): string[] =>
  /^[A-Z]/.test(name) ? ["before", "sent", "acted", "after"] : ["before", "acted", "after"];

/** The command with crash points. Its umask is one that keeps others out, so that what it makes for them is made open. */
function crashing(world: World, args: string[], more: Record<string, string>): Promise<Result> {
  const env = { DVDI_CONFIG: world.config, DVDI_CRASH_HOME: world.home, ...more };
  return world.run(["sh", "-c", 'umask 077 && exec "$0" "$@"', CRASH, ...args], { env });
}

/** Runs it until it dies there. */
export const killed = (world: World, at: At, args: string[]): Promise<Result> =>
  crashing(world, args, { DVDI_CRASH_AT: at });

class Lane {
  #n = 0;
  #base: string[] = [];

  constructor(
    readonly world: World,
    readonly scenario: Scenario,
  ) {}

  async begin(): Promise<void> {
    await this.scenario.stays?.(this.world);
    // What is only so the first time is no leftover, and no point of later times.
    const round = { world: this.world, n: this.#n++ };
    await this.#run(round, {});
    await this.scenario.after?.(round);
    await this.world.dvdi(["recover", "--wait"]);
    this.#base = await look(this.world, 0);
  }

  async end(): Promise<void> {
    await this.scenario.goes?.(this.world);
  }

  async #run(round: Round, more: Record<string, string>): Promise<Result> {
    const { world, scenario } = this;
    await scenario.before?.(round);
    const args = await scenario.args(round);
    let result = await crashing(world, args, more);
    for (let i = 0; scenario.repeats && more["DVDI_CRASH_AT"] && result.signal === null && i < 3; i++) {
      result = await crashing(world, args, more);
    }
    return result;
  }

  /** Each passage of a point, in order, of a round in which nobody dies. */
  async list(): Promise<string[]> {
    const log = join(this.world.home, "crash-points");
    rmSync(log, { force: true });
    const round = { world: this.world, n: this.#n++ };
    await this.#run(round, { DVDI_CRASH_LOG: log });
    assert.ok(existsSync(log), "it passed no point");
    const names = readFileSync(log, "utf8").trimEnd().split("\n");
    rmSync(log);
    await this.#recovered(round);
    return names;
  }

  /** One death, what follows, and what is wrong then. */
  async die(at: At): Promise<string[]> {
    const round = { world: this.world, n: this.#n++ };
    const wrong: string[] = [];
    const attempt = async (action: () => Promise<void> | undefined): Promise<void> => {
      try {
        await action();
      } catch (error) {
        wrong.push(error instanceof Error ? error.message : String(error));
      }
    };
    await attempt(async () => {
      const result = await this.#run(round, { DVDI_CRASH_AT: at });
      // Through nsenter, which becomes the command.
      assert.equal(result.signal, "SIGKILL", `it did not die there: ${result.all}`);
    });
    if (!this.scenario.ledgerLost)
      await attempt(async () => assert.deepEqual(await uncovered(this.world, this.#base), []));
    await attempt(() => this.scenario.next?.(round));
    await attempt(() => this.#recovered(round));
    // The next death is to be judged for itself.
    if (wrong.length > 0) this.#base = await look(this.world, 0);
    return wrong;
  }

  /** One failure of a system call, and what is wrong then. */
  async fail(at: At): Promise<string[]> {
    const round = { world: this.world, n: this.#n++ };
    const wrong: string[] = [];
    const result = await this.#run(round, { DVDI_CRASH_AT: at });
    if (result.code !== 0 && (result.code !== 125 || !/^dvdi: [^\n]+\n$/m.test(result.err))) wrong.push(result.all);
    await this.#recovered(round).catch((error: unknown) => wrong.push(`${String(error)}\n${result.all}`));
    if (wrong.length > 0) this.#base = await look(this.world, 0);
    return wrong;
  }

  /** Within two rounds of recovery all must be as it was. */
  async #recovered(round: Round): Promise<void> {
    const { world } = this;
    await this.scenario.after?.(round);
    let left: string[] = [];
    let said = "";
    for (let period = 1; period <= 2; period++) {
      const since = Date.now();
      const result = await world.dvdi(["recover", "--wait"]);
      said = result.all;
      const asBefore = async (): Promise<boolean> => {
        left = difference(this.#base, await look(world, since));
        return left.length === 0;
      };
      // A reconcile period: that of the settings' first retry.
      if (
        await until("", asBefore, 1500).then(
          () => true,
          () => false,
        )
      )
        return;
    }
    assert.fail(`after two recoveries:\n  ${left.join("\n  ")}\n${said}`);
  }
}

/** The scenario's command with a system call that fails: it says so in one line or goes on without, and nothing is left. */
export async function failEverywhere(
  t: TestContext,
  scenario: Scenario,
  calls: string[],
  errors: string[],
): Promise<void> {
  const lane = new Lane(await scenario.make(t), scenario);
  await lane.begin();
  const names = await lane.list();
  const wrong: string[] = [];
  let tried = 0;
  for (const call of calls) {
    const name = names.find((one) => one.startsWith(call)) ?? assert.fail(`${call} is no point of ${scenario.title}`);
    for (const error of errors) {
      tried++;
      for (const what of await lane.fail(`${error} 1 ${name}`)) wrong.push(`${error} 1 ${name}: ${what}`);
    }
  }
  await lane.end();
  t.diagnostic(`${tried} combinations of call and errno`);
  assert.equal(wrong.length, 0, wrong.join("\n\n"));
}

/** Every point of the scenario in every moment. Returns how many deaths there were. */
export async function killEverywhere(t: TestContext, scenario: Scenario): Promise<void> {
  const lanes = await Promise.all(
    Array.from({ length: Math.max(1, LANES) }, async () => new Lane(await scenario.make(t), scenario)),
  );
  await Promise.all(lanes.map((lane) => lane.begin()));
  const [first] = lanes;
  assert.ok(first);
  const names = (await first.list()).filter((name) => !BY_CHANCE.test(name));
  const todo = plan(scenario, names);
  const failures: string[] = [];
  let deaths = 0;
  await Promise.all(
    lanes.map(async (lane) => {
      for (let at = todo.shift(); at !== undefined; at = todo.shift()) {
        const wrong = await lane.die(at);
        deaths++;
        for (const what of wrong) failures.push(`${at}: ${what}`);
      }
    }),
  );
  await Promise.all(lanes.map((lane) => lane.end()));
  t.diagnostic(`${scenario.title}: ${new Set(names).size} points, ${deaths} deaths`);
  assert.equal(
    failures.length,
    0,
    `${failures.length} of ${deaths} went wrong (${scenario.title}):\n\n${failures.join("\n\n")}`,
  );
  const strange = [...new Set(names)].filter((name) => !LISTED.includes(name)).sort();
  assert.deepEqual(strange, [], `new points: look at what a death there leaves, then add them to ${LIST}, sorted`);
}

/** Whether it comes by depends on when the ledger last changed: a death there cannot be had for certain. */
const BY_CHANCE = /ledger\.db\.checked$/;

/** How many deaths were chosen, in all scenarios. */
export const chosen = { deaths: 0 };

function plan(scenario: Scenario, names: string[]): At[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const todo: At[] = [];
  for (const [name, count] of counts) {
    passed.add(name);
    const whole = scenario.whole instanceof RegExp ? scenario.whole.test(name) : scenario.whole;
    if (!ALL && !whole && !ONLY && died.has(name)) continue;
    died.add(name);
    for (let n = 1; n <= (ALL ? count : 1); n++) {
      for (const moment of momentsOf(name)) todo.push(`${moment} ${n} ${name}`);
    }
  }
  const wanted = ONLY === undefined ? todo : todo.filter((at) => new RegExp(ONLY).test(at));
  chosen.deaths += wanted.length;
  return Array.from({ length: TIMES }, () => wanted).flat();
}
