// A container with a boot id of its own, as those of LXC and systemd-nspawn have: what the node has begun is none of an earlier boot.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { DVDI, skip, World } from "./lib/world.ts";

const BOOT_ID = "/proc/sys/kernel/random/boot_id";
const OWN = "01234567-89ab-cdef-0123-456789abcdef";

/** A file with an id as a runtime makes it. */
function own(world: World): string {
  const file = join(world.home, "boot_id");
  writeFileSync(file, `${OWN}\n`);
  return file;
}

const users = async (world: World): Promise<[string, number][]> =>
  (await world.ls()).map(({ name, users }) => [name, users.length]);

test("a container with a boot id of its own leaves the node's volumes alone", { skip }, async (t) => {
  const world = await World.make(t);
  const driver = await world.driver();
  const env = { DVDI_CONFIG: world.config };
  const container = ["unshare", "--mount", "sh", "-c", `mount --bind "$0" ${BOOT_ID} && exec "$@"`, own(world)];
  const held = await world.hold(["-v", `data:${world.target("data")}`, "--volume-driver", "dvdi"]);
  assert.equal((await world.dvdi(["mount", "dvdi/kept", "--name", "kept"])).code, 0);
  for (const verb of ["ls", "recover"]) {
    const there = await world.run([...container, DVDI, verb, "--json"], { env });
    assert.equal(there.code, 0, there.all);
    // Where nobody may look beneath what is mounted, nothing is done.
    const inside = ["unshare", "--user", "--map-root-user", "--mount"];
    const locked = await world.run([...container, ...inside, DVDI, verb, "--json"], { env });
    assert.notEqual(locked.code, 0, locked.all);
    assert.match(locked.all, /something is mounted over \/proc\/sys\/kernel\/random\/boot_id/);
  }
  assert.doesNotMatch(driver.err, /unmounted volume/);
  assert.deepEqual(await users(world), [
    ["data", 1],
    ["kept", 1],
  ]);
  assert.equal((await held.release()).code, 0);
  assert.equal((await world.dvdi(["unmount", "--name", "kept"])).code, 0);
  await world.nothingLeft();
});

test("what an earlier version recorded by a container's own boot id is of this boot", { skip }, async (t) => {
  const world = await World.make(t);
  const before = await world.driver();
  await before.stop();
  world.boots(OWN); // all that such a version saw
  const earlier = await world.driver();
  const held = await world.hold(["-v", `data:${world.target("data")}`, "--volume-driver", "dvdi"]);
  assert.equal((await world.dvdi(["mount", "dvdi/kept", "--name", "kept"])).code, 0);
  earlier.kill("SIGKILL");
  await earlier.ended;
  rmSync(world.socket("dvdi"), { force: true });
  world.boots();
  await world.must(["mount", "--bind", own(world), BOOT_ID]);
  const driver = await world.driver();
  for (const volume of ["data", "kept"]) {
    assert.match(driver.err, new RegExp(`took over volume ${volume}, .* with 1 known users`));
  }
  const found = [
    ["data", 1],
    ["kept", 1],
  ];
  assert.deepEqual(await users(world), found);
  assert.equal((await world.dvdi(["recover", "--wait"])).code, 0);
  assert.deepEqual(await users(world), found);
  assert.doesNotMatch(driver.err, /unmounted volume/);
  // A ledger that is lost meanwhile is rebuilt with them.
  for (const name of readdirSync(world.state).filter((name) => name.startsWith("ledger.db")))
    rmSync(join(world.state, name));
  assert.deepEqual(await users(world), found);
  assert.equal((await held.release()).code, 0);
  assert.equal((await world.dvdi(["unmount", "--name", "kept"])).code, 0);
  rmSync(world.target("data"), { recursive: true }); // that it was made went with the ledger
  await world.nothingLeft();
});

test("a boot that a test plays is that of all programs", { skip }, async (t) => {
  const world = await World.make(t);
  const kernels = readFileSync(BOOT_ID, "utf8").trim();
  const boot = async (): Promise<string> => (await world.json<{ boot_id: string }>(["status"])).boot_id;
  assert.equal(await boot(), kernels);
  world.boots(OWN);
  await world.driver();
  assert.equal(await boot(), OWN);
  assert.equal((await world.dvdi(["mount", "dvdi/kept", "--name", "kept"])).code, 0);
  const lease = readFileSync(join(world.pool, "kept", "lease.1"), "utf8");
  assert.equal((JSON.parse(lease) as { boot_id: string }).boot_id, OWN);
  assert.equal((await world.dvdi(["unmount", "--name", "kept"])).code, 0);
  world.boots();
  assert.equal(await boot(), kernels);
});
