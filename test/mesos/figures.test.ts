// What the module costs an agent: `npm run test:mesos -- --mesos-root=DIR --figures` prints it. Rounds alternate, since machines change
// their speed.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { BUILD } from "../e2e/lib/world.ts";
import { Cluster, skip, type AgentShape } from "./lib/cluster.ts";
import { docker } from "./lib/framework.ts";

const asked = process.env["DVDI_MESOS_FIGURES"] ? false : "figures are printed where --figures asks for them";
const ROUNDS = 4;
const LAUNCHES = 60;
const LANES = 4;
/** Volumes of a lane, which takes them in turn: an agent keeps a container for a second after its task, and its volume with it. */
const TURNS = 8;

interface Round {
  launchesPerSecond: number;
  residentMiB: number;
  /** In ms: of the module's prepares, where there were any. */
  prepares: number[];
}

const median = (values: number[], part = 0.5): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
};

async function round(t: TestContext, shape: AgentShape, volumes: boolean): Promise<Round> {
  let result: Round | undefined;
  await Cluster.with(t, [shape], async (cluster) => {
    const framework = await cluster.framework();
    const task = (id: string, lane: number, turn: number): Promise<number> =>
      framework.must({
        id,
        command: "true",
        ...(volumes ? { volumes: [docker(`lane-${lane}-${turn % TURNS}`, "d")] } : {}),
      });
    const lanes = Array.from({ length: LANES }, (_, lane) => lane);
    // Volumes are made and formatted before the clock runs.
    for (let turn = 0; turn < (volumes ? TURNS : 1); turn++)
      await Promise.all(lanes.map((lane) => task(`warm-${lane}-${turn}`, lane, turn)));
    await cluster.settled();
    const begun = performance.now();
    await Promise.all(
      lanes.map(async (lane) => {
        for (let i = lane; i < LAUNCHES; i += LANES) await task(`task-${i}`, lane, Math.floor(i / LANES));
      }),
    );
    const seconds = (performance.now() - begun) / 1000;
    const status = readFileSync(`/proc/${cluster.agent.process?.pid ?? assert.fail()}/status`, "utf8");
    const records = volumes
      ? (
          await cluster.world.json<{ operations: { kind: string; outcome: string; duration_ms: number }[] }>([
            ...["explain", "--last", String(8 * LAUNCHES)],
          ])
        ).operations
      : [];
    const prepares = records.filter(({ kind, outcome }) => kind === "prepare" && outcome === "ok");
    result = {
      launchesPerSecond: LAUNCHES / seconds,
      residentMiB: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024,
      prepares: prepares.map(({ duration_ms }) => duration_ms),
    };
  });
  return result ?? assert.fail();
}

test("figures", { skip: skip || asked }, async (t) => {
  const kinds = { without: [] as Round[], idle: [] as Round[], used: [] as Round[] };
  for (let i = 0; i < ROUNDS; i++) {
    const order = [
      async () => kinds.without.push(await round(t, { without: true }, false)),
      async () => kinds.idle.push(await round(t, {}, false)),
      async () => kinds.used.push(await round(t, {}, true)),
    ];
    for (const one of i % 2 === 0 ? order : order.reverse()) await one();
  }
  const rate = (of: Round[]): number => median(of.map(({ launchesPerSecond }) => launchesPerSecond));
  const resident = (of: Round[]): number => median(of.map(({ residentMiB }) => residentMiB));
  const prepares = kinds.used.flatMap((one) => one.prepares);
  assert.ok(prepares.length >= LAUNCHES, "there are records of prepares");
  const figures = {
    "launches/s without the module": rate(kinds.without),
    "launches/s with it, tasks without volumes": rate(kinds.idle),
    "ratio of both": rate(kinds.idle) / rate(kinds.without),
    "launches/s with it, a volume each": rate(kinds.used),
    "prepare, median ms": median(prepares),
    "prepare, p99 ms": median(prepares, 0.99),
    prepares: prepares.length,
    "resident MiB without the module": resident(kinds.without),
    "resident MiB with it": resident(kinds.idle),
    "resident MiB with it, volumes used": resident(kinds.used),
    "launches/s of each round": Object.fromEntries(
      Object.entries(kinds).map(([name, of]) => [name, of.map(({ launchesPerSecond }) => launchesPerSecond)]),
    ),
  };
  writeFileSync(join(BUILD, "mesos-figures.json"), `${JSON.stringify(figures, null, 2)}\n`);
});
