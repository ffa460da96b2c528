// Who has other clocks than the node, in a time namespace, takes no process of the node for one that is gone.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

import { ask } from "./lib/ask.ts";
import { DRIVER, skip as withoutRoot, World } from "./lib/world.ts";

const ELSEWHEN = ["unshare", "--time", "--boottime", "100000", "--monotonic", "5000", "--fork", "--kill-child"];
const skip =
  withoutRoot || (spawnSync("env", [...ELSEWHEN, "true"]).status === 0 ? false : "the kernel has no time namespaces");

test("a driver in a time namespace takes no volume from one of the same node id that lives", { skip }, async (t) => {
  const world = await World.make(t);
  await world.driver();
  const first = world.socket("dvdi");
  const second = world.socket("second");
  const call = async (socket: string, method: string, body: object): Promise<string> =>
    (await ask(socket, `/VolumeDriver.${method}`, { Name: "v", ...body })).body.Err;
  assert.equal(await call(first, "Create", { Opts: { size: "32M" } }), "");
  assert.equal(await call(first, "Mount", { ID: "one" }), "");
  const root = join(world.home, "second");
  const options = ["--pool", world.pool, "--node-id", world.node, "--socket", second, "--mount-root", root];
  const inside = world.serve([...ELSEWHEN, DRIVER, ...options]);
  await inside.says(/serves pool/);
  assert.match(await call(second, "Mount", { ID: "two" }), /in use .* with the same node id/);
  assert.equal(await call(first, "Unmount", { ID: "one" }), "");
  assert.equal(await call(second, "Mount", { ID: "two" }), "", "it was given back");
  assert.match(await call(first, "Mount", { ID: "one" }), /in use .* with the same node id/);
  assert.equal(await call(second, "Unmount", { ID: "two" }), "");
  inside.kill("SIGKILL"); // unshare waits for its child, whatever it is sent
  await inside.ended;
  // What it made for itself is the test's to remove.
  for (const path of world.mounts().filter((mounted) => mounted === root)) await world.must(["umount", path]);
});
