// A container with a boot id of its own, as those of LXC and systemd-nspawn have: what the node has begun is none of an earlier boot.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { DVDI, skip, World } from "./lib/world.ts";

test("a container with a boot id of its own leaves the node's volumes alone", { skip }, async (t) => {
  const world = await World.make(t);
  const driver = await world.driver();
  const env = { DVDI_CONFIG: world.config };
  const own = join(world.home, "boot_id");
  writeFileSync(own, "01234567-89ab-cdef-0123-456789abcdef\n");
  const script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"';
  const container = ["unshare", "--mount", "sh", "-c", script, own, DVDI];
  const held = await world.hold(["-v", `data:${world.target("data")}`, "--volume-driver", "dvdi"]);
  assert.equal((await world.dvdi(["mount", "dvdi/kept", "--name", "kept"])).code, 0);
  for (const verb of ["ls", "recover"]) {
    const there = await world.run([...container, verb, "--json"], { env });
    assert.equal(there.code, 0, there.all);
  }
  assert.doesNotMatch(driver.err, /unmounted volume/);
  const users = (await world.ls()).map(({ name, users }) => [name, users.length]);
  assert.deepEqual(users, [
    ["data", 1],
    ["kept", 1],
  ]);
  assert.equal((await held.release()).code, 0);
  assert.equal((await world.dvdi(["unmount", "--name", "kept"])).code, 0);
  await world.nothingLeft();
});
