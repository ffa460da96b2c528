// Commands and drivers that die at random moments, over and over, on one node: each start finds what the one before it left,
// and at the end nothing of all of them is there. `npm run soak -- --kills N` has as many as are wanted.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";

import { until, type Process } from "../e2e/lib/process.ts";
import { skip, World } from "../e2e/lib/world.ts";
import { Dice } from "../fuzz/json-documents.ts";
import { difference, look } from "./lib/look.ts";
import { LOCK, oneWriter, TWO_WRITERS } from "./lib/writers.ts";

const KILLS = Number(process.env["DVDI_CRASH_KILLS"] ?? "40");
const SEED = Number(process.env["DVDI_CRASH_SEED"] ?? String(Date.now() % 1_000_000));
/** So many deaths in a row, and then all must become as it was. */
const ROUND = 20;
const VOLUMES = ["a", "b", "c"];

/** What a long-lived server has open, and its memory. */
function cost(server: Process): { descriptors: number; kib: number } {
  const kib = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]);
  return { descriptors: readdirSync(`/proc/${server.pid}/fd`).length, kib };
}

test(
  `${KILLS} commands and drivers killed at random moments: nothing is lost, nothing is left`,
  { skip },
  async (t) => {
    t.diagnostic(`seed ${SEED}`);
    const dice = new Dice(SEED);
    const world = await World.make(t, { settings: "policy:\n  retry: {attempts: 3, base_ms: 20, max_ms: 100}\n" });
    let driver = await world.driver();
    const run = (name: string, script: string): string[] => [
      ...[
        "run",
        "--mount",
        `type=volume,src=${name},dst=${world.target(name)},volume-driver=dvdi,volume-opt=size=16MiB`,
      ],
      ...["--", "sh", "-c", script, world.target(name)],
    ];
    // Every workload reads what the one before it wrote, and adds a line, if nobody else writes there.
    const write = `${LOCK}; test -s "$0/log" || exit 98; echo x >> "$0/log"; sync "$0/log"`;
    // One of three goes on for a while, so that others come by.
    const slow = `${write}; exec sleep 0.5`;
    for (const name of VOLUMES) {
      const made = await world.dvdi(run(name, 'echo x > "$0/log"'));
      assert.equal(made.code, 0, made.all);
    }
    const volume = `type=volume,src=a,dst=${world.target("a")},volume-driver=dvdi`;
    await oneWriter(world, ["--mount", volume], world.target("a"));
    const mount = (name: string): string[] => ["mount", `dvdi/${name}`, "--name", `by-hand-${name}`];
    const unmount = (name: string): string[] => ["unmount", "--name", `by-hand-${name}`];
    const actions: ((name: string) => string[])[] = [
      ...[write, write, slow].map((script) => (name: string) => run(name, script)),
      mount,
      unmount,
      () => ["recover", "--wait"],
    ];
    const timed = async (args: string[]): Promise<number> => {
      const began = performance.now();
      await world.dvdi(args);
      return performance.now() - began;
    };
    const usual = await timed(run("a", write));
    const base = await look(world, 0);
    const atFirst = cost(driver);
    let died = 0;
    let drivers = 0;
    let completed = 0;
    let settled = 0;
    const settle = async (): Promise<void> => {
      for (const name of VOLUMES) await world.dvdi(unmount(name));
      let left: string[] = [];
      const asBefore = async (): Promise<boolean> => {
        const since = Date.now();
        const recovered = await world.dvdi(["recover", "--wait"]);
        left = difference(base, await look(world, since));
        if (left.length > 0) left.push(recovered.all);
        return left.length === 0;
      };
      await until("", asBefore).catch(() => assert.fail(`left after ${died} deaths:\n  ${left.join("\n  ")}`));
      for (const name of VOLUMES) {
        const kept = await world.dvdi(run(name, write));
        assert.equal(kept.code, 0, `after ${died} deaths: ${kept.all}`);
      }
    };
    while (died < KILLS) {
      const action = dice.pick(actions)(dice.pick(VOLUMES));
      const command = world.begin(action);
      command.closeInput();
      const afterMs = dice.below(Math.ceil(usual * 1.2));
      await Promise.race([sleep(afterMs), command.ended]);
      if (command.running) died++;
      command.kill("SIGKILL");
      const ended = await command.ended;
      if (ended.signal === null) completed++;
      assert.notEqual(ended.code, 98, `what was written is gone: ${ended.all}`);
      assert.notEqual(ended.code, TWO_WRITERS, `two writers: ${ended.all}`);
      if (dice.oneIn(12)) {
        driver.kill("SIGKILL");
        await driver.ended;
        rmSync(world.socket("dvdi"), { force: true });
        driver = await world.driver();
        drivers++;
      }
      if (died < settled + ROUND) continue;
      await settle();
      settled = died;
    }
    await settle();
    const atLast = cost(driver);
    t.diagnostic(
      `${died} commands and ${drivers} drivers killed, ${completed} commands ended before; ${JSON.stringify({ atFirst, atLast })}`,
    );
    assert.ok(atLast.descriptors <= atFirst.descriptors + 2, JSON.stringify({ atFirst, atLast }));
    assert.ok(atLast.kib <= atFirst.kib * 1.5 + 4096, JSON.stringify({ atFirst, atLast }));
  },
);
