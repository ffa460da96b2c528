// What lies on the node's disk is damaged, missing, or not to be trusted: workloads go on, and somebody is told.
import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { run, until } from "./lib/process.ts";
import { ScriptedPlugin } from "./lib/plugin.ts";
import { DVDI, skip, World } from "./lib/world.ts";

const PLAIN = ["--volume-driver", "plain"];

interface Summary {
  ledger: { ok: boolean; note: string };
  scopes: number;
  policy: { name?: string; error?: { message: string } };
}

/** Where it depends on SQLite what of a file can still be read, and so which of the ways it is found out. */
const REBUILT = /was (damaged|missing).*rebuilt from the stage folder/;

/** What happens to the ledger while a workload runs, and how `dvdi status` tells of it. */
const DAMAGES: Record<string, { damage: (ledger: string) => void; note: RegExp }> = {
  "overwritten with garbage, its log and index gone": {
    damage: (ledger) => {
      writeFileSync(ledger, "garbage ".repeat(10_000));
      for (const end of ["-wal", "-shm"]) rmSync(ledger + end, { force: true });
    },
    note: /was damaged \(.*\); it is kept as .*ledger\.db\.damaged-\d+ and was rebuilt/,
  },
  "cut off": {
    damage: (ledger) => {
      truncateSync(ledger, 5000);
      for (const end of ["-wal", "-shm"]) rmSync(ledger + end, { force: true });
    },
    note: REBUILT,
  },
  "garbage in its log": {
    damage: (ledger) => {
      rmSync(`${ledger}-shm`, { force: true });
      writeFileSync(`${ledger}-wal`, "garbage ".repeat(10_000));
    },
    note: REBUILT,
  },
  "cut to nothing": { damage: (ledger) => truncateSync(ledger, 0), note: /was damaged \(it is empty\)/ },
  "a folder in its place": {
    damage: (ledger) => {
      rmSync(ledger);
      mkdirSync(ledger);
    },
    note: /was damaged \(it is no file\)/,
  },
  removed: { damage: (ledger) => rmSync(ledger), note: /was missing, or had lost all/ },
  "removed, with all that belongs to it": {
    damage: (ledger) => {
      for (const end of ["", "-wal", "-shm"]) rmSync(ledger + end, { force: true });
    },
    note: /was missing, or had lost all/,
  },
};

for (const [what, { damage, note }] of Object.entries(DAMAGES)) {
  test(`the ledger is damaged under a workload: ${what}`, { skip }, async (t) => {
    const world = await World.make(t);
    const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data", "other"] });
    // One that is there: after this, nobody knows any more who made a target folder, so it would stay.
    const target = join(world.home, "target");
    mkdirSync(target);
    const held = await world.hold(["-v", `data:${target}`, ...PLAIN]);
    damage(join(world.state, "ledger.db"));

    // Any verb may be the one that finds it; `status` says it all the same.
    const [listed] = await world.ls();
    assert.deepEqual([listed?.name, listed?.state, listed?.users.length], ["data", "attached", 1], "still in use");
    for (let i = 0; i < 2; i++) {
      const status = await world.json<Summary>(["status"]);
      assert.match(status.ledger.note, note);
      assert.equal(status.ledger.ok, status.ledger.note === "");
      assert.equal(status.scopes, 1);
    }
    const recovered = await world.dvdi(["recover", "--wait"]);
    assert.equal(recovered.code, 0, recovered.all);
    assert.equal(plugin.count("Unmount"), 0, "nothing is unmounted under a live workload");
    const second = await world.dvdi(["run", "-v", `data:${world.target("x")}`, ...PLAIN, "--", "true"]);
    assert.equal(second.code, 125, "the volume has its writer still");
    const other = await world.dvdi(["run", "-v", `other:${world.target("o")}`, ...PLAIN, "--", "true"]);
    assert.equal(other.code, 0, other.all);

    const done = await held.release();
    assert.equal(done.code, 0, done.all);
    assert.equal((await world.dvdi(["recover", "--wait"])).code, 0);
    await until("it is released", () => plugin.count("Unmount data") >= 1);
    await world.nothingLeft();
    const noted = join(world.state, "ledger.db.note");
    if (existsSync(noted)) rmSync(noted);
    assert.equal((await world.json<Summary>(["status"])).ledger.ok, true);
  });
}

for (const [what, harm] of Object.entries<(folder: string) => void>({
  "the file that names its volume": (folder) => writeFileSync(join(folder, "meta.json"), "garbage"),
  "the file that names its workload": (folder) => {
    for (const name of readdirSync(folder).filter((file) => /-\d+\.json$/.test(file))) rmSync(join(folder, name));
  },
})) {
  test(`a volume whose ledger is lost, and ${what}, gets no second writer`, { skip }, async (t) => {
    const world = await World.make(t);
    const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data", "other"] });
    const target = join(world.home, "target");
    mkdirSync(target);
    const held = await world.hold(["-v", `data:${target}`, ...PLAIN]);
    for (const end of ["", "-wal", "-shm"]) rmSync(join(world.state, `ledger.db${end}`), { force: true });
    const stages = world.outside(join(world.state, "stage"));
    const [id = ""] = readdirSync(stages).filter((name) => !name.startsWith("."));
    harm(join(stages, id));

    const again = ["run", "-v", `data:${world.target("x")}`, ...PLAIN, "--", "true"];
    for (let i = 0; i < 2; i++) {
      const second = await world.dvdi(again);
      assert.equal(second.code, 125, second.all);
      assert.match(
        second.all,
        /data.* is in use: .* is mounted, and nothing tells for which workload.*unmount it once/s,
      );
    }
    const other = await world.dvdi(["run", "-v", `other:${world.target("o")}`, ...PLAIN, "--", "true"]);
    assert.equal(other.code, 0, other.all);
    await world.dvdi(["recover", "--wait", "--timeout", "1"]);
    assert.equal(plugin.count("Unmount data"), 0, "it is in use");

    // The workload ends; what it had is the operator's, who is told where it lies.
    assert.equal((await held.release()).code, 0);
    const status = await world.dvdi(["status"]);
    const stage = world.mounts().find((path) => path.startsWith(join(world.state, "stage", id)));
    assert.ok(stage !== undefined && status.all.includes(id), status.all);
    await world.must(["umount", stage]);
    const done = await world.dvdi(again);
    assert.equal(done.code, 0, done.all);
    await world.dvdi(["recover", "--wait"]);
    rmSync(join(stages, id), { recursive: true, force: true });
    await world.nothingLeft();
  });
}

test("who shares a volume since its ledger was removed keeps it when the other ends", { skip }, async (t) => {
  const world = await World.make(t, { settings: "policy:\n  defaults: {access: multi-writer}\n" });
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const target = join(world.home, "target"); // there before: nobody knows any more who made one
  mkdirSync(target);
  const shared = ["-v", `data:${target}`, ...PLAIN];
  const first = await world.hold(shared);
  for (const end of ["", "-wal", "-shm"]) rmSync(join(world.state, `ledger.db${end}`), { force: true });
  assert.equal((await world.ls())[0]?.users.length, 1);
  const second = await world.hold(shared);
  assert.equal((await world.ls())[0]?.users.length, 2);
  assert.equal((await first.release()).code, 0);
  assert.equal((await world.ls())[0]?.users.length, 1);
  assert.equal(plugin.count("Unmount"), 0, "it is in use");
  assert.equal((await second.release()).code, 0);
  await until("it is released", () => plugin.count("Unmount data") === 1);
  await world.nothingLeft();
});

test("a lost ledger is rebuilt by who does not see the stages: nothing is taken away", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data", "kept"] });
  // As a service with mounts of its own, which is older than the workloads.
  const apart = world.start(["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo here; exec cat"]);
  await apart.says(/^here$/m);
  const held = await world.hold(["-v", `data:${world.target("data")}`, ...PLAIN]);
  assert.equal((await world.dvdi(["mount", "plain/kept", "--name", "kept"])).code, 0);
  for (const end of ["", "-wal", "-shm"]) rmSync(join(world.state, `ledger.db${end}`), { force: true });
  const enter = ["nsenter", `--mount=/proc/${apart.pid.toString()}/ns/mnt`, "--"];
  const there = await world.run([...enter, DVDI, "recover", "--wait"], { env: { DVDI_CONFIG: world.config } });
  assert.equal(there.code, 0, there.all);
  assert.equal(plugin.count("Unmount"), 0, "their workloads go on");
  const users = (await world.ls()).map(({ name, users }) => [name, users.length]);
  assert.deepEqual(users, [
    ["data", 1],
    ["kept", 1],
  ]);
  assert.equal((await held.release()).code, 0);
  rmdirSync(world.target("data")); // of folders that were made a rebuilt ledger knows nothing
  assert.equal((await world.dvdi(["unmount", "--name", "kept"])).code, 0);
  await until("both are unmounted", () => plugin.count("Unmount") === 2);
  await world.nothingLeft();
});

test("a settings file that others could write is refused", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const refused = async (what: RegExp, code: number): Promise<void> => {
    const done = await world.dvdi(["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "true"]);
    assert.equal(done.code, 125, done.all);
    assert.match(done.err, /^dvdi: [^\n]*config\.yaml[^\n]*\n$/);
    assert.match(done.err, what);
    assert.equal((await world.dvdi(["ls"])).code, code);
  };
  chmodSync(world.config, 0o664);
  await refused(/can be written by its group or by others\. Run: chmod go-w/, 12);
  chmodSync(world.config, 0o646);
  await refused(/can be written by its group or by others/, 12);
  chmodSync(world.config, 0o644);
  chownSync(world.config, 65534, 65534);
  await refused(/belongs to user 65534/, 12);
  chownSync(world.config, 0, 0);
  world.settings("no_such_setting: 1\n");
  await refused(/line \d+: there is no setting no_such_setting/, 11);
  for (const text of [
    "\u0000",
    "- a\n",
    "node: &x 1\n",
    `node: ${"x".repeat(2 << 20)}\n`,
    "node: [\n",
    "a: 1\na: 2\n",
  ]) {
    writeFileSync(world.config, text);
    await refused(/./, 11);
  }
  rmSync(world.config);
  await refused(/there is no settings file/, 13);
  symlinkSync("/dev/zero", world.config);
  await refused(/not a regular file/, 11);
  rmSync(world.config);
  await world.must(["mkfifo", world.config]);
  await refused(/not a regular file/, 11);
  assert.deepEqual(plugin.calls, []);
  rmSync(world.config);
  world.settings("");
  assert.equal((await world.dvdi(["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "true"])).code, 0);
});

test("a state folder on FUSE is refused", { skip }, async (t) => {
  if (!existsSync("/dev/fuse")) return t.skip("there is no /dev/fuse");
  if ((await run(["which", "bindfs"])).code !== 0) return t.skip("bindfs is not installed");
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const [behind, fuse] = [join(world.home, "behind"), join(world.home, "fuse")];
  mkdirSync(behind);
  mkdirSync(fuse);
  await world.must(["bindfs", behind, fuse]);
  world.atEnd(async () => void (await world.must(["umount", fuse])));
  world.own(fuse);
  const done = await world.dvdi([
    ...["run", "--state-dir", join(fuse, "state"), "-v", `data:${world.target("d")}`, ...PLAIN],
    ...["--", "true"],
  ]);
  assert.equal(done.code, 125, done.all);
  assert.match(done.err, /^dvdi: the state folder .* is on a network or FUSE filesystem\. .*local disk.*\n$/);
  assert.deepEqual(plugin.calls, []);
  assert.ok(!existsSync(join(behind, "state/ledger.db")), "and nothing is begun there");
});

test("a state folder that others could write is refused", { skip }, async (t) => {
  const world = await World.make(t);
  await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const run = ["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "true"];
  chmodSync(world.state, 0o777);
  const writable = await world.dvdi(run);
  assert.equal(writable.code, 125, writable.all);
  chmodSync(world.state, 0o755);
  chownSync(world.state, 65534, 65534);
  const foreign = await world.dvdi(run);
  assert.equal(foreign.code, 125, foreign.all);
  chownSync(world.state, 0, 0);
  assert.equal((await world.dvdi(run)).code, 0);
});

test("what lies in the stage folder and is not ours is told, and not touched", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const run = ["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "true"];
  assert.equal((await world.dvdi(run)).code, 0);
  const strangers = ["f".repeat(64), "notes"].map((name) => join(world.stageRoot, name));
  for (const folder of strangers) mkdirSync(folder);
  writeFileSync(join(strangers[0] ?? "", "meta.json"), "{");
  writeFileSync(join(strangers[1] ?? "", "file"), "kept");
  assert.equal((await world.dvdi(["recover", "--wait"])).code, 0);
  const status = await world.json<{ reported: string[] }>(["status"]);
  for (const folder of strangers)
    assert.ok(
      status.reported.some((line) => line.includes(folder)),
      folder,
    );
  assert.equal(readFileSync(join(strangers[1] ?? "", "file"), "utf8"), "kept");
  assert.equal((await world.dvdi(run)).code, 0);
  assert.equal(plugin.count("Unmount"), plugin.count("Mount"));
  assert.equal(readdirSync(world.stageRoot).length, 2);
  for (const folder of strangers) rmSync(folder, { recursive: true });
});
