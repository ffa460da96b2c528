// What runtimes of containers want of a node.
import { existsSync } from "node:fs";

import type { World } from "./world.ts";

/** crun refuses a machine with both versions of cgroups: in the node's own namespace there is one. */
export async function onlyCgroup2(world: World): Promise<void> {
  if (!existsSync("/sys/fs/cgroup/cgroup.controllers")) {
    await world.mount(["-t", "cgroup2", "cgroup2"], "/sys/fs/cgroup");
  }
}
