// dvdi-sanity against the driver that ships, which has no finding, and against plugins that nobody here wrote: what it finds
// there is expected, each with a reason, so that a new finding is a failure and so is one that went away.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import { PEERS } from "./lib/peers.ts";
import type { Result } from "./lib/process.ts";
import { BUILD, ROOT, skip, World } from "./lib/world.ts";

const SANITY = join(BUILD, "native/sanity/dvdi-sanity");
/** The command that has the plugin restarted: it asks this process, and ends when that is done. */
const ASK = `require("node:net").connect(process.argv[1]).resume().on("close", () => process.exit(0))`;

async function sanity(world: World, args: string[], restart: () => Promise<void>): Promise<Result> {
  const socket = join(world.home, "restart.sock");
  let failed: unknown;
  const server = createServer((asking) => {
    asking.on("error", () => undefined);
    void restart()
      .catch((error: unknown) => (failed = error))
      .finally(() => asking.destroy());
  });
  await new Promise<void>((done) => server.listen(socket, done));
  const began = world.start([SANITY, ...args, "--", process.execPath, "-e", ASK, socket]);
  const result = await began.ended;
  server.close();
  if (failed instanceof Error) throw failed;
  return result;
}

/** The test points of a TAP stream: id and what stands before and after it. */
function points(tap: string): { id: string; ok: boolean; directive: string }[] {
  return [...tap.matchAll(/^(not )?ok \d+ - (\S+) .*?(?:(?<!\\)# (.*))?$/gm)].map(([, not, id, directive]) => ({
    id: id ?? "",
    ok: not === undefined,
    directive: directive ?? "",
  }));
}

test("the driver that ships has no finding", { skip }, async (t) => {
  const world = await World.make(t);
  let driver = await world.driver();
  const restart = async (): Promise<void> => {
    await driver.stop();
    driver = await world.driver();
  };
  const junit = join(world.home, "junit.xml");
  const args = ["--socket", world.socket("dvdi"), "--create-opt", "size=64m", "--junit", junit];
  const result = await sanity(world, args, restart);
  assert.equal(result.code, 0, result.all);
  const all = points(result.out);
  assert.equal(`1..${all.length}`, /^1\.\.\d+$/m.exec(result.out)?.[0], "the plan is kept");
  const notPassed = all.filter(({ ok, directive }) => !ok || directive !== "").map(({ id }) => id);
  assert.deepEqual(notPassed, ["volume.no-options"], "it was given an option, so this one check is skipped");
  const xml = readFileSync(junit, "utf8");
  assert.match(xml, new RegExp(`tests="${all.length}" failures="0" skipped="1"`));

  const without = ["--socket", world.socket("dvdi"), "--only", "volume.no-options", "--only", "protocol"];
  const rest = await sanity(world, without, restart);
  assert.equal(rest.code, 0, rest.all);
});

test("what is not a plugin is said to be none", { skip }, async (t) => {
  const world = await World.make(t, { machine: true });
  const none = await world.run([SANITY, "--socket", world.socket("none")]);
  assert.equal(none.code, 3, none.all);
  assert.match(none.err, /^dvdi-sanity: unix:.*none\.sock: .*is the plugin running.*\n$/);
  for (const wrong of [
    [],
    ["--socket", "tcp://x"],
    ["--socket", "/x", "--only", "nothing"],
    ["--socket", "/x", "--only", "mount", "--only", "load.one"],
    ["--no-such-option"],
    ["--socket", "/x", "--junit", "/nonexistent/junit.xml"],
  ]) {
    const result = await world.run([SANITY, ...wrong]);
    assert.equal(result.code, 2, result.all);
    assert.match(result.err, /^dvdi-sanity: .+\n$/);
  }
});

for (const kind of PEERS) {
  test(`${kind.title}: what is found is what is expected`, async (t) => {
    const reason = await kind.skip();
    if (reason) return t.skip(reason);
    const { name, world, options, restart } = await kind.start(t);
    const expected = join(ROOT, "test/e2e/sanity", `${name}.yaml`);
    const opts = Object.entries(options).flatMap(([key, value]) => ["--create-opt", `${key}=${value}`]);
    const args = ["--socket", world.socket(name), ...opts, "--timeout", "10", "--expected", expected];
    const tried = async (): Promise<Result> => {
      const result = await sanity(world, args, restart);
      // What the plugin itself has left mounted belongs to what was found.
      for (const path of world.mounts().filter((one) => one.includes("/dvdi-sanity-"))) {
        await world.must(["umount", "--lazy", path]);
      }
      return result;
    };
    let result = await tried();
    // One of them can come to wait for itself without end, at any Mount (rclone.yaml): that is no finding of the check at which it
    // did, and does not happen three times.
    for (let again = 0; again < 2 && result.code !== 0 && result.out.includes("it answers no more"); ++again) {
      t.diagnostic("it answered no more: once again");
      result = await tried();
    }
    assert.equal(result.code, 0, result.all);
    const all = points(result.out);
    assert.equal(`1..${all.length}`, /^1\.\.\d+$/m.exec(result.out)?.[0], "the plan is kept");
    t.diagnostic(/^dvdi-sanity: .*$/m.exec(result.err)?.[0] ?? "");
  });
}
