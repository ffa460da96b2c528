// Plugins that nobody here wrote: a volume is made, written, found again, shared, and nothing is left mounted.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ask, PEERS } from "./lib/peers.ts";

for (const kind of PEERS) {
  test(`${kind.title}: create, write, read, share, remove`, async (t) => {
    const reason = await kind.skip();
    if (reason) return t.skip(reason);
    const { name: driver, world, options } = await kind.start(t);
    const target = world.target("data");
    const opts = Object.entries(options).map(([key, value]) => `,volume-opt=${key}=${value}`);
    const mount = `type=volume,src=data,dst=${target},volume-driver=${driver}${opts.join("")}`;
    const shell = (script: string): string[] => ["--", "sh", "-c", script, target];

    const written = await world.dvdi(["run", "--mount", mount, ...shell('echo kept > "$0/file"; mkdir "$0/folder"')]);
    assert.equal(written.code, 0, written.all);
    assert.equal(written.err, "dvdi: created new volume data\n");
    await world.nothingLeft();

    const held = await world.hold(["--mount", mount]);
    assert.match(held.err, /^dvdi: re-attached data \(last used .*\)$/m);
    const reader = await world.dvdi([
      ...["run", "--mount", `${mount},readonly`],
      ...shell('cat "$0/file"; touch "$0/new" 2>/dev/null && echo written'),
    ]);
    assert.equal(reader.out, "kept\n", reader.all);
    assert.match(reader.err, /^dvdi: shares data with run\//m);
    const [listed] = await world.ls();
    assert.equal(listed?.users.length, 1, "the reader has ended, the holder has not");
    assert.equal((await held.release()).code, 0);
    await world.nothingLeft();

    const inspected = await world.dvdi(["inspect", `${driver}/data`]);
    assert.equal(inspected.code, 0, inspected.all);
    await ask(world, driver, "VolumeDriver.Remove", { Name: "data" });
    const statement = join(world.home, "statement.yaml");
    const volume = { name: "data", driver, container_path: target, create: "never", options };
    writeFileSync(statement, JSON.stringify({ volumes: [volume] }));
    const gone = await world.dvdi(["run", "--statement", statement, ...shell("true")]);
    assert.equal(gone.code, 125, gone.all);
    assert.match(gone.err, /^dvdi: .*data.*does not exist.*$/m);
  });
}
