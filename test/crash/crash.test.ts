// `dvdi` dies at each of its crash points, with the driver that ships and one that nobody here wrote; what is left is what a
// recovery makes good, within two of its periods.
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ask } from "../e2e/lib/ask.ts";
import { until } from "../e2e/lib/process.ts";
import { BUILD, DRIVER, DVDI, ROOT, skip, World } from "../e2e/lib/world.ts";
import {
  chosen,
  died,
  failEverywhere,
  killEverywhere,
  killed,
  LISTED,
  ONLY,
  passed,
  type Round,
  type Scenario,
} from "./lib/harness.ts";
import { mounts } from "./lib/look.ts";
import {
  both,
  bystanders,
  bystandersGo,
  driverDies,
  driverLives,
  ledgerFiles,
  node,
  only,
  withoutPeer,
} from "./lib/nodes.ts";
import { OF_POLICIES } from "./lib/policies.ts";
import { isRefused, LOCK, oneWriter, twoAreSeen, TWO_WRITERS } from "./lib/writers.ts";

/** Writes into its volume, if nobody else writes there. */
const WRITER = `${LOCK}; echo x > "$0/mark" && echo x > "$1"`;
/** The same, and leaves a process behind that goes on as a writer. */
const STAYER = `${WRITER}; sleep 300 < /dev/null > /dev/null 2>&1 & echo $! > "$1-pid"`;

const started = ({ world, n }: Round): string => join(world.home, `started-${n}`);

function writes(round: Round, name: string, script = WRITER): string[] {
  const target = round.world.target(`${name}-dvdi`);
  return ["run", ...both(round, name), "--", "sh", "-c", script, target, started(round)];
}

/** Ends the process that a dead run has left. Returns whether there was one. */
async function stayerEnds(round: Round): Promise<boolean> {
  const file = `${started(round)}-pid`;
  if (!existsSync(file)) return false;
  const pid = Number(readFileSync(file, "utf8"));
  rmSync(file);
  process.kill(pid, "SIGKILL");
  await until("it has ended", () => !existsSync(`/proc/${pid}`));
  return true;
}

/** Deaths after which a command went on. */
let wentOn = 0;

/** The same volume beside the process that was left, and when that has ended. */
async function beside(round: Round, name: string): Promise<void> {
  if (existsSync(`${started(round)}-pid`)) isRefused(await round.world.dvdi(writes(round, name, LOCK)));
  if (await stayerEnds(round)) wentOn++;
  await again(round, name);
}

/** The same volume again: it never has two writers, and has what was written. */
async function again(round: Round, name: string): Promise<void> {
  const { world } = round;
  const target = world.target(`${name}-dvdi`);
  const had = existsSync(started(round));
  const script = `${WRITER}; cat "$0/mark"`;
  const args = [
    "run",
    ...both(round, name),
    "--",
    "sh",
    "-c",
    had ? 'cat "$0/mark" && exec sh -c "$2" "$0" "$1"' : script,
  ];
  for (let i = 0; i < 2; i++) {
    const done = await world.dvdi([...args, target, started(round), WRITER]);
    assert.notEqual(done.code, TWO_WRITERS, `two writers: ${done.all}`);
    if (done.code === 0) {
      rmSync(started(round), { force: true });
      return assert.equal(done.out, "x\n", done.all);
    }
    assert.equal(done.code, 125, done.all);
    // What the dead one began is being undone, or its command has not ended.
    const recovered = await world.dvdi(["recover", "--wait"]);
    if (i === 1) assert.fail(`${done.all}\n${recovered.all}`);
  }
}

/** A run that has died when all was mounted, or at another point. */
async function dead(round: Round, at: string, volumes: string[] = both(round, "dead")): Promise<void> {
  const result = await killed(round.world, at, ["run", ...volumes, "--", "true"]);
  assert.equal(result.signal, "SIGKILL", result.all);
}
const COMMITTED = "after 1 commit committed";

/** IDs of what is given up. */
const forgotten = new Map<World, string[]>();

const QUIET = { make: node, stays: bystanders, goes: bystandersGo };

const RECOVER = (): string[] => ["recover", "--wait"];

const SCENARIOS: Scenario[] = [
  {
    ...QUIET,
    title: "a run of volumes that are there",
    args: (round) => writes(round, "data"),
    next: (round) => again(round, "data"),
  },
  {
    ...QUIET,
    title: "a run of new volumes",
    args: (round) => writes(round, `new-${round.n}`),
    next: (round) => again(round, `new-${round.n}`),
  },
  {
    ...QUIET,
    title: "a run that leaves a writer behind",
    whole: /^(commit (attached|committed)|unlink ~\/state\/instances\/ID)$/,
    args: (round) => writes(round, "data", STAYER),
    next: (round) => beside(round, "data"),
    after: async (round) => void (await stayerEnds(round)),
    goes: async (world) => {
      await bystandersGo(world);
      assert.ok(ONLY || wentOn > 0, "no death left a writer behind");
    },
  },
  {
    title: "the first command on a node",
    make: node,
    stays: async (world) => void (await world.dvdi(["ls"])),
    before: async ({ world }) => {
      await world.run(["umount", world.stageRoot]);
      for (const folder of [world.state, join(world.home, "runtime")]) rmSync(folder, { recursive: true, force: true });
    },
    args: (round) => writes(round, "data"),
    next: (round) => again(round, "data"),
  },
  {
    ...QUIET,
    title: "a prepare that fails when all is mounted",
    args: (round) => ["run", ...both(round, `new-${round.n}`, ",volume-subpath=missing"), "--", "true"],
  },
  {
    ...QUIET,
    title: "a prepare that is refused",
    args: () => ["run", "-v", "data:/etc", "--volume-driver", "dvdi", "--", "true"],
  },
  {
    ...QUIET,
    title: "a run whose volume becomes its user's",
    args: ({ world }) => {
      const volume = {
        name: "owned",
        driver: "dvdi",
        container_path: world.target("owned"),
        ownership: "recursive",
        size: "16MiB",
      };
      const statement = join(world.home, "statement.json");
      writeFileSync(statement, JSON.stringify({ volumes: [volume] }));
      return ["run", "--statement", statement, "--user", "65534:65534", "--", "true"];
    },
  },
  {
    ...QUIET,
    title: "the recovery of what was prepared",
    whole: true,
    before: (round) => dead(round, COMMITTED),
    args: RECOVER,
    repeats: true,
  },
  {
    ...QUIET,
    title: "the recovery of a prepare that was under way",
    before: (round) => dead(round, "sent 1 Mount dvdi"),
    args: RECOVER,
    repeats: true,
  },
  {
    title: "a recovery whose driver is dead",
    make: async (t) => World.make(t),
    stays: (world) => driverLives({ world, n: 0 }),
    before: async (round) => {
      await driverLives(round);
      await dead(round, COMMITTED, only(round.world, "dvdi", "data"));
      await driverDies(round);
    },
    args: RECOVER,
    repeats: true,
    after: driverLives,
  },
  {
    title: "the operator's last word",
    // What is given up is in it no longer, and the driver's still.
    ledgerLost: true,
    make: async (t) => World.make(t),
    stays: (world) => driverLives({ world, n: 0 }),
    before: async (round) => {
      await driverLives(round);
      await dead(round, COMMITTED, only(round.world, "dvdi", "data"));
      await driverDies(round);
      await round.world.dvdi(["recover", "--wait"]);
      forgotten.set(
        round.world,
        readdirSync(round.world.stageRoot).filter((name) => /^[0-9a-f]{64}$/.test(name)),
      );
    },
    args: () => ["forget", "dvdi/data"],
    after: async (round) => {
      await driverLives(round);
      // What was given up is the driver's still: the operator gives it back by hand.
      for (const ID of forgotten.get(round.world) ?? [])
        await ask(round.world.socket("dvdi"), "/VolumeDriver.Unmount", { Name: "data", ID });
    },
  },
  {
    ...QUIET,
    title: "the recovery of a ledger that is gone",
    ledgerLost: true,
    stays: async (world) => {
      // Nobody will know any more who made a folder for a target.
      for (const name of ["keep", "dead"]) {
        for (const driver of ["dvdi", "rclone"]) mkdirSync(world.target(`${name}-${driver}`));
      }
      await bystanders(world);
    },
    goes: async (world) => {
      await bystandersGo(world);
      for (const name of readdirSync(world.targets)) rmSync(world.target(name), { recursive: true });
    },
    before: async (round) => {
      await dead(round, COMMITTED);
      for (const name of ledgerFiles(round.world)) rmSync(join(round.world.state, name));
    },
    args: RECOVER,
    repeats: true,
  },
  {
    title: "the recovery of a ledger that is damaged",
    ledgerLost: true,
    make: async (t) => World.make(t),
    stays: async (world) => {
      await driverLives({ world, n: 0 });
      mkdirSync(world.target("keep"));
      const mounted = await world.dvdi(["mount", ...only(world, "dvdi", "keep"), "--name", "bystander"]);
      assert.equal(mounted.code, 0, mounted.all);
    },
    goes: async (world) => {
      await world.dvdi(["unmount", "--name", "bystander"]);
      rmSync(world.target("keep"), { recursive: true });
    },
    before: ({ world }) => {
      for (const name of readdirSync(world.state).filter((one) => one.startsWith("ledger.db.damaged-")))
        rmSync(join(world.state, name));
      for (const name of ledgerFiles(world)) writeFileSync(join(world.state, name), "no ledger".repeat(4096));
    },
    args: RECOVER,
  },
  ...(withoutPeer ? [] : [afterPowerLoss()]),
  {
    ...QUIET,
    title: "a volume that is created",
    args: ({ n }) => ["create", "-d", "dvdi", "-o", "size=16MiB", `op-${n}`],
  },
  {
    ...QUIET,
    title: "a volume that is removed",
    before: async ({ world, n }) => {
      const made = await world.dvdi(["create", "-d", "dvdi", "-o", "size=16MiB", `op-${n}`]);
      assert.equal(made.code, 0, made.all);
    },
    args: ({ n }) => ["rm", `dvdi/op-${n}`],
  },
  {
    ...QUIET,
    title: "a volume that is taken from a node",
    args: () => ["fence", "--node-is-dead", "dvdi/data"],
    before: async ({ world }) => void (await world.dvdi(["create", "-d", "dvdi", "-o", "size=16MiB", "data"])),
  },
  ...OF_POLICIES,
];

/** The ledger's last pages were not on the disk: it knows nothing of what was mounted before the power went. */
function afterPowerLoss(): Scenario {
  const kept = (world: World): string => join(world.home, "kept");
  const boot = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
  return {
    title: "the recovery after a power loss",
    make: node,
    stays: (world) => Promise.resolve(world.boots(boot(0))),
    before: async (round) => {
      const { world, n } = round;
      await world.dvdi(["recover", "--wait"]);
      rmSync(kept(world), { recursive: true, force: true });
      mkdirSync(kept(world));
      for (const name of ledgerFiles(world)) cpSync(join(world.state, name), join(kept(world), name));
      await dead(round, COMMITTED, both(round, "dead").slice(2));
      for (const { path } of mounts(world)) {
        if (path.startsWith(`${world.stageRoot}/`)) await world.must(["umount", path]);
      }
      for (const name of ledgerFiles(world)) rmSync(join(world.state, name));
      for (const name of readdirSync(kept(world))) cpSync(join(kept(world), name), join(world.state, name));
      rmSync(world.target("dead-rclone"), { recursive: true });
      world.boots(boot(n + 1));
    },
    args: RECOVER,
    repeats: true,
    ledgerLost: true,
  };
}

for (const scenario of SCENARIOS) {
  test(`killed at every point: ${scenario.title}`, { skip }, (t) => killEverywhere(t, scenario));
}

test(
  "a second writer is refused, beside a command whose `dvdi` is dead too; two would be seen",
  { skip },
  async (t) => {
    const world = await World.make(t);
    await world.driver();
    const volumes = only(world, "dvdi", "data");
    await oneWriter(world, volumes, world.target("data"));
    await twoAreSeen(world, volumes, world.target("data"));
  },
);

/** What mounting consists of, and what each can fail with. */
const MOUNT_CALLS = [
  "mkdir ~/state/stage/ID/ID-N",
  "open_tree",
  "mount_setattr",
  "move_mount",
  "umount",
  "rmdir ~/state/stage/ID/ID-N",
];
const ERRORS = ["EPERM", "EACCES", "ENOMEM", "EBUSY", "EINVAL", "ENOSPC", "EIO", "ENOENT", "ELOOP", "EMFILE"];

test("every call of mounting fails, with every errno", { skip }, async (t) => {
  const scenario: Scenario = { ...QUIET, title: "", args: (round) => writes(round, "data") };
  await failEverywhere(t, scenario, MOUNT_CALLS, ERRORS);
});

const source = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const found = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map((match) => match[1] ?? "");

/** Calls of the seam that change nothing which outlives the process. */
const LOOKS = [
  "OpenAt2",
  "Close",
  "Read",
  "Fstat",
  "FstatAt",
  "FsType",
  "FsFree",
  "TryLock",
  "ListDir",
  "IsMountRoot",
  "ProcessStart",
  "MountNamespace",
  "MountNamespaceOf",
  "MountNamespaceEnded",
  "PidNamespace",
  "MountId",
  "RealPath",
];
/** Calls of plugins that `dvdi` has, and that change nothing: they need not be in a scenario. */
const ASKS = ["Path", "Tiers"];

test("every crash point there is was died at", { skip: skip || (ONLY ? "only some were chosen" : false) }, (t) => {
  for (const name of [...passed].sort()) t.diagnostic(name);
  const missed = LISTED.filter((name) => !died.has(name) && !(withoutPeer && name.includes("rclone")));
  assert.deepEqual(missed, [], "points that no scenario dies at any more, of test/crash/points.txt");
  assert.deepEqual(LISTED, [...LISTED].sort());
  const heads = new Set([...passed].map((name) => name.split(" ")[0]));
  const commits = found(source("native/ledger/commits.h"), /^ {2}X\((\w+),/gm);
  assert.ok(commits.length > 10);
  for (const commit of commits) assert.ok(passed.has(`commit ${commit}`), `no scenario makes the commit ${commit}`);
  const methods = found(source("native/plugin/client.h"), /^ {2}k(\w+),?$/gm).filter((one) => !ASKS.includes(one));
  assert.ok(methods.includes("Mount"));
  for (const method of methods) assert.ok(heads.has(method), `no scenario calls ${method} of a plugin`);
  const points = source("native/crash/crash_env.cc");
  const calls = found(source("native/sys/sys.h"), /^ {2}virtual (?:int|ssize_t) (\w+)\(/gm);
  for (const call of calls.filter((one) => !LOOKS.includes(one))) {
    assert.ok(new RegExp(` ${call}\\(.*override`, "s").test(points), `Sys::${call} is no crash point`);
  }
  for (const name of found(points, /Effect\((?:\(flags[^?]*\? )?"(\w+)"/g))
    assert.ok(heads.has(name), `no scenario does ${name}`);
});

// Where they are chosen by name, and the name is wrong, every scenario passes without one.
if (ONLY !== undefined) {
  test("a death is died by the name that was asked for", { skip }, () => {
    assert.ok(chosen.deaths > 0, `no death is called ${ONLY}; a scenario's are MOMENT N POINT, as "acted 1 umount …"`);
  });
}

test("what ships has no crash points, and no boot but the kernel's", { skip }, () => {
  for (const file of [DVDI, DRIVER, join(BUILD, "native/engine/libdvdi.so")]) {
    for (const name of ["DVDI_CRASH", "DVDI_OTHER_BOOT"]) assert.ok(!readFileSync(file).includes(name), file);
  }
});
