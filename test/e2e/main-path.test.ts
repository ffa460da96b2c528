// The main path on the driver that ships: a volume is made, formatted, used, found again, here and on another node.
import assert from "node:assert/strict";
import { closeSync, constants, mkdirSync, openSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { must, until } from "./lib/process.ts";
import { ScriptedPlugin } from "./lib/plugin.ts";
import { skip, World } from "./lib/world.ts";

const SHIPPED = ["--volume-driver", "dvdi"];

for (const filesystem of ["ext4", "xfs"]) {
  test(`two nodes over one pool, ${filesystem}`, { skip }, async (t) => {
    const a = await World.make(t, { node: "node-a" });
    const b = await World.make(t, { node: "node-b", beside: a });
    await a.driver();
    await b.driver();
    const options = `volume-driver=dvdi,volume-opt=newfstype=${filesystem},volume-opt=size=320m`;
    const mount = (world: World): string[] => ["--mount", `type=volume,src=data,dst=${world.target("d")},${options}`];

    const held = await a.hold(mount(a));
    assert.match(held.err, /^dvdi: created new volume data$/m);
    const refused = await b.dvdi(["run", ...mount(b), "--", "true"]);
    assert.equal(refused.code, 125, refused.all);
    assert.match(refused.err, /^dvdi: .*volume data is in use on node node-a since .*$/m);
    assert.equal(refused.err.trim().split("\n").length, 1, "one line");
    assert.equal((await held.release()).code, 0);

    const written = await a.dvdi(["run", ...mount(a), "--", "sh", "-c", 'echo from a > "$0/file"', a.target("d")]);
    assert.equal(written.code, 0, written.all);
    assert.match(written.err, /^dvdi: re-attached data \(last used /m);

    const read = await b.dvdi(["run", ...mount(b), "--", "sh", "-c", 'cat "$0/file"; stat -fc %T "$0"', b.target("d")]);
    assert.equal(read.code, 0, read.all);
    assert.match(read.out, /^from a\n/);
    assert.match(read.out, filesystem === "xfs" ? /^xfs$/m : /^ext2\/ext3$/m);
    assert.match(read.err, /^dvdi: re-attached data \(.*not used on this node before\)$/m);
  });
}

for (const propagation of ["private", "shared"] as const) {
  test(`with / ${propagation}, a workload that began earlier keeps no other's device busy`, { skip }, async (t) => {
    const world = await World.make(t, { propagation });
    await world.driver();
    const volume = (name: string): string[] => ["-v", `${name}:${world.target(name)}`, ...SHIPPED];
    const first = await world.hold(volume("first"));
    // Its namespace is a copy of one in which `first` is mounted.
    const second = await world.hold(volume("second"));
    const device = (await world.loops()).find((line) => line.includes("/first/"))?.split(/\s/)[0];
    assert.ok(device);
    assert.throws(() => openSync(device, constants.O_RDWR | constants.O_EXCL), { code: "EBUSY" });
    assert.equal((await first.release()).code, 0);
    // Its driver detached it, which the kernel does only when nobody has it mounted; whoever lists devices may have it
    // open for a moment.
    await until("it is detached", async () => !(await world.loops()).some((line) => line.includes("/first/")));
    closeSync(openSync(device, constants.O_RDWR | constants.O_EXCL));
    assert.ok(
      (await world.loops()).some((line) => line.includes("/second/")),
      "the other one is untouched",
    );
    assert.equal((await second.release()).code, 0);
  });
}

test("a device that stays attached opens with O_EXCL once its workload ended", { skip }, async (t) => {
  // As with a disk of a cloud: the plugin mounts and unmounts, the device stays.
  const world = await World.make(t, { machine: true });
  const devices = new Map<string, string>();
  for (const name of ["first", "second"]) {
    const image = join(world.home, `${name}.img`);
    writeFileSync(image, "");
    truncateSync(image, 16 << 20);
    await must(["mkfs.ext4", "-q", image]);
    devices.set(name, await world.loop(image));
  }
  const at = (name: string): string => join(world.home, "mnt", name);
  await ScriptedPlugin.serve(world, "disks", {
    volumes: ["first", "second"],
    Mount: async ({ Name }) => {
      mkdirSync(at(Name), { recursive: true });
      await must(["mount", devices.get(Name) ?? "", at(Name)]);
      return { Mountpoint: at(Name) };
    },
    Unmount: async ({ Name }) => {
      await must(["umount", at(Name)]);
      return {};
    },
  });
  const volume = (name: string): string[] => ["-v", `${name}:${world.target(name)}`, "--volume-driver", "disks"];
  const first = await world.hold(volume("first"));
  const second = await world.hold(volume("second"));
  const exclusive = (name: string): void =>
    closeSync(openSync(devices.get(name) ?? "", constants.O_RDWR | constants.O_EXCL));
  assert.throws(() => exclusive("first"), { code: "EBUSY" });
  assert.equal((await first.release()).code, 0);
  exclusive("first");
  assert.throws(() => exclusive("second"), { code: "EBUSY" });
  assert.equal((await second.release()).code, 0);
  exclusive("second");
  assert.deepEqual(readdirSync(at("first")), []);
});
