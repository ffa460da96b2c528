// Two drivers of one node's id over one pool, the second of which is started some other way (in a container, by other clocks).
import assert from "node:assert/strict";
import { join } from "node:path";

import { ask } from "./ask.ts";
import { DRIVER, type World } from "./world.ts";

/** Starts the second one behind `how`. Neither takes a volume from the other while that lives: it is `refused`. */
export async function takesNothingFromItsTwin(world: World, how: string[], refused: RegExp): Promise<void> {
  await world.driver();
  const first = world.socket("dvdi");
  const second = world.socket("second");
  const call = async (socket: string, method: string, body: object): Promise<string> =>
    (await ask(socket, `/VolumeDriver.${method}`, { Name: "v", ...body })).body.Err;
  assert.equal(await call(first, "Create", { Opts: { size: "32M" } }), "");
  assert.equal(await call(first, "Mount", { ID: "one" }), "");
  const root = join(world.home, "second");
  const options = ["--pool", world.pool, "--node-id", world.node, "--socket", second, "--mount-root", root];
  const inside = world.serve([...how, DRIVER, ...options]);
  await inside.says(/serves pool/);
  assert.match(await call(second, "Mount", { ID: "two" }), refused);
  assert.equal(await call(first, "Unmount", { ID: "one" }), "");
  assert.equal(await call(second, "Mount", { ID: "two" }), "", "it was given back");
  assert.match(await call(first, "Mount", { ID: "one" }), refused);
  assert.equal(await call(second, "Unmount", { ID: "two" }), "");
  inside.kill("SIGKILL"); // unshare waits for its child, whatever it is sent
  await inside.ended;
  // What it made for itself is the test's to remove.
  for (const path of world.mounts().filter((mounted) => mounted === root)) await world.must(["umount", path]);
}
