// Who has other clocks than the node, in a time namespace, takes no process of the node for one that is gone.
import { spawnSync } from "node:child_process";
import { test } from "node:test";

import { takesNothingFromItsTwin } from "./lib/twin.ts";
import { skip as withoutRoot, World } from "./lib/world.ts";

const ELSEWHEN = ["unshare", "--time", "--boottime", "100000", "--monotonic", "5000", "--fork", "--kill-child"];
const skip =
  withoutRoot || (spawnSync("env", [...ELSEWHEN, "true"]).status === 0 ? false : "the kernel has no time namespaces");

test("a driver in a time namespace takes no volume from one of the same node id that lives", { skip }, async (t) => {
  await takesNothingFromItsTwin(await World.make(t), ELSEWHEN, /in use .* with the same node id/);
});
