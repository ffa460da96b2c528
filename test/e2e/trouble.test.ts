// Drivers that die, stop, are late, or live elsewhere: nothing is lost, and nothing is left.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin, type Answer } from "./lib/plugin.ts";
import { until, type Process } from "./lib/process.ts";
import { Relay } from "./lib/relay.ts";
import { DRIVER, skip, World } from "./lib/world.ts";

const SHIPPED = ["--volume-driver", "dvdi"];
const QUICK = "policy:\n  retry: {attempts: 20, base_ms: 50, max_ms: 200}\n";

/** A driver behind a relay, so that a test knows when it is asked for something. */
async function relayed(world: World): Promise<{ relay: Relay; driver: () => Promise<Process> }> {
  const socket = join(world.home, "driver.sock");
  const driver = (): Promise<Process> => {
    rmSync(socket, { force: true });
    return world.driver(socket);
  };
  return { relay: await Relay.serve(world, "dvdi", socket), driver };
}

const MOMENTS = {
  "before it sees the Mount": { forward: false, afterMs: 0 },
  "while it formats": { forward: true, afterMs: 40 },
  "when it has mounted and not answered": { forward: true, afterMs: null },
};

for (const [moment, { forward, afterMs }] of Object.entries(MOMENTS)) {
  test(`a driver killed during a mount, ${moment}: started again, it goes on`, { skip }, async (t) => {
    const world = await World.make(t, { machine: true, settings: QUICK });
    const { relay, driver } = await relayed(world);
    let serving = await driver();
    let killed = 0;
    relay.before("/VolumeDriver.Mount", async (pass) => {
      if (killed++ > 0) return pass();
      const answered = forward ? pass.silently() : Promise.resolve();
      if (afterMs === null) await answered;
      else await new Promise((done) => setTimeout(done, afterMs));
      serving.kill("SIGKILL");
      await serving.ended;
      serving = await driver();
      return "lose";
    });
    const target = world.target("data");
    const done = await world.dvdi([
      "run",
      "-v",
      `data:${target}`,
      ...SHIPPED,
      "--",
      "sh",
      "-c",
      'echo 1 > "$0/f"',
      target,
    ]);
    assert.equal(done.code, 0, done.all);
    assert.ok(killed > 1, "the Mount was sent again");
    await world.nothingLeft();
    const again = await world.dvdi(["run", "-v", `data:${target}`, ...SHIPPED, "--", "cat", `${target}/f`]);
    assert.equal(again.out, "1\n", again.all);
    assert.match(again.err, /^dvdi: re-attached data /m);
  });
}

test(
  "a driver killed during a mount and not started again: refused, and released when it is back",
  { skip },
  async (t) => {
    const settings = "policy:\n  retry: {attempts: 2, base_ms: 20, max_ms: 40}\n";
    const world = await World.make(t, { machine: true, settings });
    const { relay, driver } = await relayed(world);
    const serving = await driver();
    relay.before("/VolumeDriver.Mount", async (pass) => {
      await pass.silently();
      serving.kill("SIGKILL");
      await serving.ended;
      return "lose";
    });
    const target = world.target("data");
    const run = ["run", "-v", `data:${target}`, ...SHIPPED, "--timeout", "3s", "--", "true"];
    const failed = await world.dvdi(run);
    assert.equal(failed.code, 125, failed.all);
    assert.match(failed.err, /^dvdi: .*(volume data|data").*driver dvdi.*$/m);
    assert.ok(world.leased("data"), "the driver had mounted it");
    const status = await world.json<{ pending: { name: string }[] }>(["status"]);
    assert.deepEqual(
      status.pending.map(({ name }) => name),
      ["data"],
      "nobody knows whether it is mounted: it is pending",
    );

    relay.before("/VolumeDriver.Mount", (pass) => pass());
    await driver();
    const recovered = await world.dvdi(["recover", "--wait"]);
    assert.equal(recovered.code, 0, recovered.all);
    await world.nothingLeft();
    assert.equal((await world.dvdi(run)).code, 0);
  },
);

test("a driver that stands still during a mount: a deadline ends it, and recover what it did", { skip }, async (t) => {
  const settings =
    "policy:\n  mount_timeout_ms: 400\n  call_timeout_ms: 400\n  retry: {attempts: 1, base_ms: 20, max_ms: 40}\n";
  const world = await World.make(t, { machine: true, settings });
  const { relay, driver } = await relayed(world);
  const serving = await driver();
  let stopped = false;
  relay.before("/VolumeDriver.Mount", async (pass) => {
    if (!stopped) serving.kill("SIGSTOP");
    stopped = true;
    return pass();
  });
  const target = world.target("data");
  const run = ["run", "-v", `data:${target}`, ...SHIPPED, "--timeout", "2s", "--", "true"];
  const failed = await world.dvdi(run);
  assert.equal(failed.code, 125, failed.all);
  assert.match(failed.err, /^dvdi: .*data.*$/m);
  serving.kill("SIGCONT");
  const recovered = await world.dvdi(["recover", "--wait"]);
  assert.equal(recovered.code, 0, recovered.all);
  await world.nothingLeft();
  assert.equal((await world.dvdi(run)).code, 0);
});

test(
  "recover --wait tries a release again that failed, and says what its time was too short for",
  { skip },
  async (t) => {
    const world = await World.make(t);
    let refusals = 2; // the workload's own try, and the recovery's first
    const plugin: ScriptedPlugin = await ScriptedPlugin.serve(world, "plain", {
      volumes: ["data"],
      Get: () => ({ Volume: { Name: "data", Mountpoint: plugin.folder }, Err: "" }),
      Unmount: (body) => (refusals-- > 0 ? { Err: "busy" } : plugin.usual("Unmount", body)),
    });
    const run = ["run", "-v", `data:${world.target("d")}`, "--volume-driver", "plain", "--", "true"];
    assert.equal((await world.dvdi(run)).code, 0);
    const recovered = await world.dvdi(["recover", "--wait"]);
    assert.equal(recovered.code, 0, recovered.all);
    assert.equal(recovered.out, "released data (driver plain)\n");
    assert.equal(plugin.count("Unmount"), 3);

    refusals = Infinity;
    assert.equal((await world.dvdi(run)).code, 0);
    const short = await world.dvdi(["recover", "--wait", "--timeout", "300ms"]);
    assert.equal(short.code, 18, short.all);
    assert.match(short.err, /^dvdi: not all volumes were released in time\. .*$/m);
    assert.match(short.out, /^still to be released: data \(driver plain\): busy$/m);
    refusals = 0;
    assert.equal((await world.dvdi(["recover", "--wait"])).out, "released data (driver plain)\n");
    await world.nothingLeft();
  },
);

test("a driver that is not up yet is waited for", { skip }, async (t) => {
  const world = await World.make(t);
  const target = world.target("data");
  const waiting = world.begin(["run", "-v", `data:${target}`, ...SHIPPED, "--", "true"]);
  // It has looked for the driver by then, once at least: its scope is known only after that.
  await until("it waits", () => existsSync(join(world.state, "ledger.db")));
  await new Promise((done) => setTimeout(done, 2000));
  assert.ok(waiting.running, waiting.err);
  await world.driver();
  const done = await waiting.end();
  assert.equal(done.code, 0, done.all);
  assert.match(done.err, /^dvdi: created new volume data$/m);
});

test("a driver that goes away before a Create: it is asked anew, and creates once", { skip }, async (t) => {
  const world = await World.make(t, { settings: QUICK });
  const [socket, away] = [world.socket("plain"), join(world.home, "away.sock")];
  let lists = 0;
  const List = (): Answer => (response) => {
    if (lists++ === 0) {
      renameSync(socket, away);
      setTimeout(() => existsSync(away) && renameSync(away, socket), 500);
      response.setHeader("connection", "close");
    }
    response.end('{"Volumes": [], "Err": ""}\n');
  };
  const plugin = await ScriptedPlugin.serve(world, "plain", { List });
  const done = await world.dvdi(["run", "-v", `data:${world.target("d")}`, "--volume-driver", "plain", "--", "true"]);
  assert.equal(done.code, 0, done.all);
  assert.equal(plugin.count("Create data"), 1);
  assert.equal(plugin.count("Mount data"), 1);
});

test("a driver that is not there at all: one line, with what to do", { skip }, async (t) => {
  const settings = "policy:\n  retry: {attempts: 3, base_ms: 20, max_ms: 40}\n";
  const world = await World.make(t, { settings });
  const done = await world.dvdi([
    "run",
    "-v",
    `data:${world.target("data")}`,
    "--volume-driver",
    "nowhere",
    "--",
    "true",
  ]);
  assert.equal(done.code, 125, done.all);
  assert.match(done.err, /^dvdi: .*nowhere.*\n$/);
  assert.ok(done.err.includes(world.plugins), `it names where it looked: ${done.err}`);
});

test(
  "a driver in a mount namespace of its own is refused, and nothing is written to the root disk",
  { skip },
  async (t) => {
    const world = await World.make(t, { settings: QUICK });
    const args = ["--pool", world.pool, "--node-id", world.node, "--socket", world.socket("dvdi")];
    const elsewhere = [
      "unshare",
      "--mount",
      "--propagation",
      "private",
      DRIVER,
      ...args,
      "--mount-root",
      world.mountRoot,
    ];
    const driver = world.serve(elsewhere);
    await driver.says(/serves pool/);
    const target = world.target("data");
    const done = await world.dvdi([
      "run",
      "-v",
      `data:${target}`,
      ...SHIPPED,
      "--",
      "sh",
      "-c",
      'echo > "$0/lost"',
      target,
    ]);
    assert.equal(done.code, 125, done.all);
    assert.match(
      done.err,
      /^dvdi: .*runs in another mount namespace.*is not visible here.*run the driver in the node's mount namespace.*\n$/,
    );
    assert.match(driver.err, /mounted volume data/, "it did mount, where nobody sees it");
    await world.nothingLeft();
    assert.match(driver.err, /unmounted volume data/);
    const written = readdirSync(world.folder, { recursive: true }).filter((path) => String(path).endsWith("/lost"));
    assert.deepEqual(written, []);
    const doctor = await world.dvdi(["doctor"]);
    assert.match(doctor.out, /namespace/, doctor.all);
  },
);

test("sockets of two drivers are exchanged: a volume is released by the one that mounted it", { skip }, async (t) => {
  const world = await World.make(t);
  const root = join(world.home, "second");
  const [here, away] = [world.socket("dvdi"), join(world.home, "away.sock")];
  const other = join(world.folder, "other");
  mkdirSync(other);
  await world.driver(here, ["--default-size", "32M"]);
  const options = ["--pool", other, "--node-id", "second", "--socket", away, "--mount-root", root];
  const second = world.serve([DRIVER, ...options]);
  await second.says(/serves pool/);
  const exchange = (): void => {
    const between = join(world.home, "between.sock");
    renameSync(here, between);
    renameSync(away, here);
    renameSync(between, away);
  };
  assert.equal((await world.dvdi(["mount", "dvdi/data"])).code, 0);
  exchange();
  const ended = await world.dvdi(["unmount", "data"]);
  assert.equal(ended.code, 0, ended.all);
  assert.match((await world.dvdi(["status"])).out, /another driver may have taken the place/);
  assert.ok(world.leased("data"));
  exchange();
  await until("it is released", async () => (await world.dvdi(["recover"])).code === 0 && !world.leased("data"));
  await second.stop();
  for (const path of world.mounts().filter((mounted) => mounted === root)) await world.must(["umount", path]);
});
