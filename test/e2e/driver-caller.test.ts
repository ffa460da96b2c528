// What the driver that ships inherits from whoever starts it.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { until } from "./lib/process.ts";
import { DRIVER, skip, World } from "./lib/world.ts";

test("a driver works without standard streams, with SIGCHLD ignored and a limit of files", { skip }, async (t) => {
  const world = await World.make(t);
  const script = "trap '' CHLD; ulimit -S -f 64; exec \"$@\" 0<&- 1>&- 2>&-";
  const where = ["--node-id", world.node, "--socket", world.socket("dvdi"), "--mount-root", world.mountRoot];
  const started = world.serve(["sh", "-c", script, "sh", DRIVER, "--pool", world.pool, ...where]);
  await until("the driver listens", () => existsSync(world.socket("dvdi")));
  const target = world.target("data");
  const args = ["run", "-v", `data:${target}`, "--volume-driver", "dvdi", "--", "sh", "-c", 'echo 1 > "$0/file"'];
  const ran = await world.dvdi([...args, target]);
  assert.equal(ran.code, 0, ran.all);
  // Neither a lock nor an image has the number that its log is written to.
  const streams = [0, 1, 2].map((fd) => join("/proc", started.pid.toString(), "fd", fd.toString()));
  const state = join(world.mountRoot, ".state");
  for (const name of readdirSync(state)) assert.doesNotMatch(readFileSync(join(state, name), "utf8"), /mounted volume/);
  assert.deepEqual(
    streams.map((path) => readFileSync(path).length),
    [0, 0, 0],
  );
  await world.nothingLeft();
});
