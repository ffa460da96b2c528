// A later run that asks for more gets more, with its data; one that asks for less is told what there is.
import assert from "node:assert/strict";
import { test } from "node:test";

import { skip, World } from "./lib/world.ts";

test("a volume grows with a later run, and never shrinks", { skip }, async (t) => {
  const world = await World.make(t);
  await world.driver();
  const target = world.target("data");
  const run = (size: string, ...command: string[]): ReturnType<World["dvdi"]> =>
    world.dvdi([
      "run",
      "--mount",
      `type=volume,src=data,dst=${target},volume-driver=dvdi,volume-opt=size=${size}`,
      "--",
      ...command,
    ]);
  assert.equal((await run("64m", "touch", `${target}/kept`)).code, 0);
  const grown = await run("128m", "df", "-m", "--output=size", target, `${target}/kept`);
  assert.equal(grown.code, 0, grown.all);
  assert.ok(Number(/^ *(\d+)$/m.exec(grown.out)?.[1]) > 100, grown.out);
  const smaller = await run("32m", "true");
  assert.equal(smaller.code, 125);
  assert.match(smaller.err, /exists with size 128 MiB, and cannot be made smaller \(32 MiB\)/);
  await world.nothingLeft();
});
