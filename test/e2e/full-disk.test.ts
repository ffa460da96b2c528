// What the node runs out of: room on the disk of the state folder, descriptors. What cannot begin says so, what has begun
// can be ended.
import assert from "node:assert/strict";
import { closeSync, existsSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin } from "./lib/plugin.ts";
import { must } from "./lib/process.ts";
import { skip, World } from "./lib/world.ts";

const PLAIN = ["--volume-driver", "plain"];

/** Writes a file on the node's state folder until nothing more goes in. */
function fill(world: World): string {
  const file = join(world.outside(world.state), "filler");
  const fd = openSync(file, "a");
  try {
    // Smaller and smaller, until not even a byte has room.
    for (let size = 1 << 16; size > 0; size >>= 1) {
      for (;;) {
        try {
          if (writeSync(fd, Buffer.alloc(size)) < size) break;
        } catch {
          break;
        }
      }
    }
  } finally {
    closeSync(fd);
  }
  return file;
}

/** Goes with the node's namespace: what the engine mounts in there keeps it busy until then. */
async function mountState(world: World, args: string[]): Promise<void> {
  await world.must(["mount", ...args, world.state]);
  await world.must(["chmod", "700", world.state]);
  world.own(world.state);
}

const DISKS: Record<string, (world: World) => Promise<void>> = {
  "in memory": (world) => mountState(world, ["-t", "tmpfs", "-o", "size=4m", "tmpfs"]),
  ext4: async (world) => {
    const image = join(world.folder, "disk.img");
    await must(["truncate", "--size", "8M", image]);
    await must(["mkfs.ext4", "-q", "-m", "0", image]);
    await mountState(world, [await world.loop(image)]);
  },
  // Here a store to a mapped page needs room too.
  btrfs: async (world) => {
    const image = join(world.folder, "disk.img");
    await must(["truncate", "--size", "128M", image]);
    await must(["mkfs.btrfs", "-q", image]);
    await mountState(world, ["-t", "btrfs", await world.loop(image)]);
  },
};

for (const [kind, disk] of Object.entries(DISKS)) {
  test(`the disk of the state folder is full (${kind}): nothing begins, and all can be ended`, { skip }, async (t) => {
    const world = await World.make(t);
    await disk(world);
    const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data", "other", "third"] });
    const reserve = join(world.outside(world.state), "ledger.db.reserve");
    // Before the one that lives: it ends with the policy compiled well. An engine that is still at that makes room
    // behind the filler, by the form that it replaces.
    const orphan = await world.dvdi(["mount", "--driver", "plain", "other"]);
    assert.equal(orphan.code, 0, orphan.all);
    const held = await world.hold(["-v", `data:${world.target("data")}`, ...PLAIN]);
    assert.equal(statSync(reserve).size, 1 << 20, "room is set aside");
    const settle = () => world.must(["sync", "--file-system", world.state]);
    fill(world);
    await settle();
    const filler = fill(world);

    const third = ["run", "-v", `third:${world.target("third")}`, ...PLAIN, "--", "true"];
    const refused = await world.dvdi(third);
    assert.equal(refused.code, 125, refused.all);
    assert.match(refused.err, /^dvdi: [^\n]*(no room|full|No space)[^\n]*make room on the filesystem[^\n]*\n$/i);
    assert.match(refused.err, /\(volume third, driver plain\)\. Make room/);
    assert.equal(plugin.count("Mount third"), 0);
    const full = await world.dvdi(["status"]);
    assert.match(full.out, /^State folder: +\S+: full, .* are free; until there is room no workload/m);
    const doctor = await world.dvdi(["doctor"]);
    assert.equal(doctor.code, 1, doctor.all);
    assert.match(doctor.out, /state folder .* free\. To get it: make room on its filesystem/);

    // The one that lives ends, and one whose process is gone: each writes to the ledger.
    assert.equal((await held.release()).code, 0);
    assert.ok(!existsSync(world.target("data")), "its target folder is gone");
    const unmounted = await world.dvdi(["unmount", "--driver", "plain", "other"]);
    assert.equal(unmounted.code, 0, unmounted.all);
    const recovered = await world.dvdi(["recover", "--wait"]);
    assert.equal(recovered.code, 0, recovered.all);
    assert.equal(plugin.count("Unmount"), 2);
    assert.deepEqual(
      (await world.ls()).flatMap(({ users }) => users),
      [],
    );

    rmSync(filler);
    await settle(); // btrfs has the room with its next transaction
    assert.match((await world.dvdi(["status"])).out, new RegExp(`^State folder: +${world.state}$`, "m"));
    const done = await world.dvdi(third);
    assert.equal(done.code, 0, done.all);
    assert.equal(statSync(reserve).size, 1 << 20, "and it is set aside anew");
    await world.nothingLeft();
  });
}
