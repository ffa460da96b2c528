// Root that may not look at other processes (without CAP_SYS_PTRACE, as in a container by default): what it cannot see it takes
// neither for ended nor for the same as its own.
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { goesOnAlone, tellsOfNamespaces } from "./lib/alone.ts";
import { until } from "./lib/process.ts";
import { DRIVER, DVDI, skip, World } from "./lib/world.ts";

const SHIPPED = ["--volume-driver", "dvdi"];
const BLIND = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"];

test("who may not look at a run's processes does not clean up after it", { skip }, async (t) => {
  const world = await World.make(t);
  const driver = await world.driver();
  const env = { DVDI_CONFIG: world.config };
  const { scope, end } = await goesOnAlone(world, "dvdi");
  for (const verb of ["ls", "recover"]) {
    const blind = await world.run([...BLIND, DVDI, verb, "--json"], { env });
    assert.equal(blind.code, 0, blind.all);
    assert.doesNotMatch(blind.all, /cleaned up|"ended":\["/);
  }
  assert.ok(!driver.err.includes("unmounted volume data"), driver.err);
  assert.ok(world.mounts().includes(`${world.mountRoot}/data`));
  assert.deepEqual((await world.ls())[0]?.users, [scope], "nor has anybody else anything to clean up");
  await end();
  if (tellsOfNamespaces())
    assert.match((await world.run([...BLIND, DVDI, "recover"], { env })).out, /^ended the scope \w+$/m);
  else assert.match((await world.dvdi(["recover"])).out, /^ended the scope \w+$/m);
  await world.nothingLeft();
});

test("what a run's command leaves behind under another user keeps its volumes", { skip }, async (t) => {
  const world = await World.make(t);
  const driver = await world.driver();
  const env = { DVDI_CONFIG: world.config };
  const args = ["run", "-v", `data:${world.target("data")}`, ...SHIPPED, "--user", "65534:65534"];
  const script = 'sleep 600 > /dev/null 2>&1 < /dev/null & echo "it is $!"';
  const ran = await world.run([...BLIND, DVDI, ...args, "--", "sh", "-c", script], { env });
  const pid = Number(/^it is (\d+)$/m.exec(ran.out)?.[1]);
  assert.ok(pid > 0, ran.all);
  let goesOn = true;
  world.atEnd(() => void (goesOn && process.kill(pid, "SIGKILL")));
  assert.match(ran.err, /^dvdi: note: the command left processes behind/m);
  assert.ok(!driver.err.includes("unmounted volume data"), driver.err);
  assert.ok(world.mounts().includes(`${world.mountRoot}/data`));
  process.kill(pid, "SIGKILL");
  goesOn = false;
  await until("it is gone", () => !existsSync(`/proc/${pid.toString()}`));
  assert.match((await world.dvdi(["recover"])).out, /^ended the scope \w+$/m);
  if (!tellsOfNamespaces()) return;
  // And where it leaves none, the volumes are released at once.
  const whole = await world.run([...BLIND, DVDI, ...args, "--", "true"], { env });
  assert.equal(whole.code, 0, whole.all);
  assert.doesNotMatch(whole.err, /left/);
  await world.nothingLeft();
});

test("of a driver that may not be looked at a plain folder is refused", { skip }, async (t) => {
  const world = await World.make(t);
  const target = world.target("data");
  // In a mount namespace of its own: its volumes are mounted there alone.
  const where = ["--node-id", world.node, "--socket", world.socket("dvdi"), "--mount-root", world.mountRoot];
  const driver = world.serve(["unshare", "--mount", DRIVER, "--pool", world.pool, ...where]);
  await driver.says(/serves pool/);
  const args = ["run", "-v", `data:${target}`, ...SHIPPED, "--", "sh", "-c", 'echo > "$0/lost"', target];
  const done = await world.run([...BLIND, DVDI, ...args], { env: { DVDI_CONFIG: world.config } });
  assert.equal(done.code, 125, done.all);
  assert.match(done.err, /^dvdi: .*nothing is mounted at .*may not be looked at.*CAP_SYS_PTRACE.*\n$/);
  assert.match(driver.err, /mounted volume data/, "it did mount, where nobody here sees it");
  const written = readdirSync(world.folder, { recursive: true }).filter((path) => String(path).endsWith("/lost"));
  assert.deepEqual(written, []);
  await world.nothingLeft();
});

test("a /proc that hides processes is refused, before anything is made", { skip }, async (t) => {
  const world = await World.make(t);
  const script = 'mount -t proc -o hidepid=2,gid=4711 proc /proc && exec "$@"';
  const hidden = ["unshare", "--mount", "sh", "-c", script, "sh"];
  const done = await world.run([...hidden, ...BLIND, DVDI, "ls"], { env: { DVDI_CONFIG: world.config } });
  assert.equal(done.code, 17, done.all);
  assert.match(done.err, /^dvdi: the \/proc here hides processes.*CAP_SYS_PTRACE.*\n$/);
  assert.ok(!existsSync(`${world.state}/ledger.db`));
  const allowed = await world.run([...hidden, DVDI, "ls"], { env: { DVDI_CONFIG: world.config } });
  assert.equal(allowed.code, 0, allowed.all);
});
