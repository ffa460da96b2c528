// Containers: who does not see a workload's processes does not say that it has ended, and who does not see a driver's mounts
// takes no plain folder for one.
import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { test } from "node:test";

import { goesOnAlone, tellsOfNamespaces } from "./lib/alone.ts";
import { takesNothingFromItsTwin } from "./lib/twin.ts";
import { DRIVER, DVDI, type Listed, skip, World } from "./lib/world.ts";

const SHIPPED = ["--volume-driver", "dvdi"];

/** In a PID namespace and a mount namespace of its own, as in a container; with its own /proc, or the node's. */
const container = (proc: boolean): string[] => ["unshare", "--pid", "--fork", ...(proc ? ["--mount-proc"] : [])];

test("a container does not clean up after a run of the node whose processes it cannot see", { skip }, async (t) => {
  const world = await World.make(t);
  const driver = await world.driver();
  const env = { DVDI_CONFIG: world.config };
  const { scope, end } = await goesOnAlone(world, "dvdi");
  const there = await world.run([...container(true), DVDI, "ls", "--json"], { env });
  assert.equal(there.code, 0, there.all);
  assert.doesNotMatch(there.err, /cleaned up/);
  assert.ok(!driver.err.includes("unmounted volume data"), driver.err);
  assert.ok(world.mounts().includes(`${world.mountRoot}/data`));
  assert.deepEqual((await world.ls())[0]?.users, [scope], "nor has the node anything to clean up");
  await end();
  assert.match((await world.dvdi(["recover"])).out, /^ended the scope \w+$/m);
  await world.nothingLeft();
});

test("a driver in a container takes no volume from one of the same node id that it cannot see", { skip }, async (t) => {
  const how = [...container(true), "--kill-child"];
  const refused = /in use .* with the same node id .* of another PID namespace/;
  await takesNothingFromItsTwin(await World.make(t), how, refused);
});

test("what a container that has ended leaves is cleaned up by the next one", { skip }, async (t) => {
  if (!tellsOfNamespaces()) return t.skip("the kernel tells nobody of the mount namespaces that have ended");
  const world = await World.make(t);
  const env = { DVDI_CONFIG: world.config };
  // The driver is in the container too, and ends with it.
  const script =
    '"$0" --pool "$1" --node-id "$2" --socket "$3" --mount-root "$4" & until test -S "$3"; do sleep 0.1; done; shift 4; exec "$@"';
  const inside = (command: string[]): string[] => {
    rmSync(world.socket("dvdi"), { force: true });
    const [pool, node, socket] = [world.pool, world.node, world.socket("dvdi")];
    return [
      ...container(true),
      "--kill-child",
      "sh",
      "-c",
      script,
      DRIVER,
      pool,
      node,
      socket,
      world.mountRoot,
      ...command,
    ];
  };
  const args = ["run", "-v", `data:${world.target("data")}`, ...SHIPPED, "--", "sh", "-c", "echo it runs; exec cat"];
  const first = world.start(inside([DVDI, ...args]), { env });
  await first.says(/^it runs$/m);
  first.kill("SIGKILL");
  await first.end();
  const next = await world.run(inside([DVDI, "recover"]), { env });
  assert.equal(next.code, 0, next.all);
  assert.match(next.out, /^ended the scope \w+$/m);
  const listed = JSON.parse((await world.run(inside([DVDI, "ls", "--json"]), { env })).out) as { volumes: Listed[] };
  assert.deepEqual(
    listed.volumes.map((volume) => [volume.name, volume.users]),
    [["data", []]],
  );
});

test("a driver outside of the container's PID namespace: its plain folder is refused", { skip }, async (t) => {
  const world = await World.make(t);
  const driver = await world.driver();
  const env = { DVDI_CONFIG: world.config };
  const target = world.target("data");
  const command = ["sh", "-c", 'echo > "$0/lost"', target];
  const args = ["run", "-v", `data:${target}`, ...SHIPPED, "--", ...command];
  const done = await world.run([...container(true), DVDI, ...args], { env });
  assert.equal(done.code, 125, done.all);
  assert.match(done.err, /^dvdi: .*nothing is mounted at .*cannot be seen from this PID namespace.*--pid=host.*\n$/);
  assert.match(driver.err, /mounted volume data/, "it did mount, where nobody here sees it");
  const written = readdirSync(world.folder, { recursive: true }).filter((path) => String(path).endsWith("/lost"));
  assert.deepEqual(written, []);
  await world.nothingLeft();
});

test("the /proc of another PID namespace is refused, before anything is made", { skip }, async (t) => {
  const world = await World.make(t);
  const done = await world.run([...container(false), DVDI, "ls"], { env: { DVDI_CONFIG: world.config } });
  assert.equal(done.code, 17, done.all);
  assert.match(done.err, /^dvdi: the \/proc here is of another PID namespace.*--mount-proc.*\n$/);
  assert.ok(!existsSync(`${world.state}/ledger.db`));
});
