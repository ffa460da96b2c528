// A later run that asks for more gets more, with its data; one that asks for less is told what there is.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
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

test("a volume of a class with a range of sizes comes back once it has grown", { skip }, async (t) => {
  const pool = "{name: p, driver: dvdi, attributes: {size: {max: 1TB}}}";
  const world = await World.make(t, { settings: `policy: {pools: [${pool}]}\n` });
  await world.driver();
  const target = world.target("data");
  const statement = join(world.home, "s.yaml");
  const run = (size: string, ...command: string[]): ReturnType<World["dvdi"]> => {
    writeFileSync(statement, `volumes: [{name: data, container_path: ${target}, class: {size: ${size}}}]\n`);
    return world.dvdi(["run", "--statement", statement, "--", ...command]);
  };
  const made = await run("{min: 64m}", "touch", `${target}/kept`);
  assert.equal(made.code, 0, made.all);
  const grown = await run("128m", "true");
  assert.equal(grown.code, 0, grown.all);
  const again = await run("{min: 64m}", "df", "-m", "--output=size", target, `${target}/kept`);
  assert.equal(again.code, 0, again.all);
  assert.ok(Number(/^ *(\d+)$/m.exec(again.out)?.[1]) > 100, again.out);
  assert.match((await run("32m", "true")).err, /cannot be made smaller/);
  await world.nothingLeft();
});
