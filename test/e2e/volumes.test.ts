// Volumes themselves, as people know them from `docker volume`: create, ls, inspect, rm, prune, with the driver that
// ships and with a scripted one.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin } from "./lib/plugin.ts";
import { until } from "./lib/process.ts";
import { DVDI, skip, World } from "./lib/world.ts";

const QUICK = "policy:\n  retry: {attempts: 1, base_ms: 50, max_ms: 200}\n";

test("create, use, remove: the driver that ships", { skip }, async (t) => {
  const world = await World.make(t);
  await world.driver();
  const created = await world.dvdi(["create", "-d", "dvdi", "-o", "size=16m", "data"]);
  assert.equal(created.code, 0, created.all);
  assert.equal(created.out, "data\n");
  assert.match(created.err, /created new volume data/);
  assert.ok(existsSync(join(world.pool, "data")));
  const again = await world.dvdi(["create", "-d", "dvdi", "-o", "size=16m", "data"]);
  assert.deepEqual([again.code, again.out], [0, "data\n"]);
  const shown = await world.dvdi(["ls", "--format", "{{.Driver}} {{.Name}} {{.State}} {{.Unused}}"]);
  assert.equal(shown.out, "dvdi data created true\n");
  const size = await world.dvdi(["inspect", "dvdi/data", "--format", "{{.Status.size_bytes}}"]);
  assert.equal(size.out, `${(16 << 20).toString()}\n`, size.all);

  const held = await world.hold(["-v", `data:${world.target("d")}`, "--volume-driver", "dvdi"]);
  const refused = await world.dvdi(["rm", "data"]);
  assert.equal(refused.code, 12, refused.all);
  assert.match(refused.err, /volume data is in use on this node by scope .* of run: it is not removed/);
  assert.equal((await held.release()).code, 0);
  await world.nothingLeft();
  const removed = await world.dvdi(["rm", "data"]);
  assert.deepEqual([removed.code, removed.out], [0, "data\n"], removed.all);
  assert.ok(!existsSync(join(world.pool, "data")));
  assert.equal((await world.dvdi(["rm", "dvdi/data"])).code, 13);
  assert.equal((await world.dvdi(["rm", "-f", "dvdi/data"])).code, 0);
  assert.deepEqual(await world.ls(), []);
});

test("mount asked for again: a target that went wrong takes nothing from the others", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data", "logs"] });
  const [data, logs] = [world.target("data"), world.target("logs")];
  const mount = ["mount", "-v", `data:${data}`, "-v", `logs:${logs}`, "--volume-driver", "plain"];
  const mounted = await world.dvdi(mount);
  assert.deepEqual([mounted.code, mounted.out], [0, `${data}\n${logs}\n`], mounted.all);
  await world.must(["umount", logs]);
  await world.must(["rmdir", logs]);
  const again = await world.dvdi(mount);
  assert.equal(again.code, 17, again.all);
  assert.match(again.err, /logs.*No such file or directory.*\. The earlier mount is left as it is: put this right and/);
  assert.ok(world.mounts().includes(data));
  assert.equal((await world.ls()).filter(({ state }) => state === "attached").length, 2);
  assert.equal((await world.dvdi(["rm", "plain/data"])).code, 12, "it is in use");
  assert.equal(plugin.count("Unmount"), 0);

  await world.must(["mkdir", logs]);
  assert.equal((await world.dvdi(mount)).code, 0, "what it said to do helps");
  assert.deepEqual([plugin.count("Mount"), world.mounts().includes(logs)], [2, true]);
  const ended = await world.dvdi(["unmount", "--name", "manual:plain/data"]);
  assert.equal(ended.code, 0, ended.all);
  await world.must(["rm", "-rf", logs]);
  await world.nothingLeft();
});

test(
  "unmount takes nothing that was mounted in another mount namespace from who uses it there",
  { skip },
  async (t) => {
    const world = await World.make(t);
    const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
    const env = { DVDI_CONFIG: world.config };
    const apart = ["unshare", "--mount", "--propagation", "slave"];
    const refused = async (from: string[]): Promise<void> => {
      const result = await world.run([...from, DVDI, "unmount", "data"], { env });
      assert.equal(result.code, 12, result.all);
      assert.match(
        result.err,
        / was mounted in another mount namespace, and may be in use there .*`dvdi unmount` there/,
      );
      assert.equal(plugin.count("Unmount"), 0);
    };
    // As a service with PrivateMounts: nobody sees what it mounts.
    const script = '"$@" && cd "$("$@")" && echo "at work" && cat && test -d "$PWD" && ls -d "$PWD"';
    const mount = [DVDI, "mount", "plain/data"];
    const service = world.start([...apart, "sh", "-c", script, "sh", ...mount], { env });
    await service.says(/^at work$/m);
    await refused([]);
    service.closeInput();
    assert.equal((await service.end()).code, 0, "it had its folder to the end");
    await until("its namespace is over", async () => (await world.dvdi(["unmount", "data"])).code === 0);
    assert.equal(plugin.count("Unmount data"), 1);
    plugin.calls.length = 0;
    // And the other way round.
    const held = await world.dvdi(["mount", "plain/data"]);
    assert.equal(held.code, 0, held.all);
    await refused(apart);
    assert.ok(world.mounts().includes(held.out.trim()));
    assert.equal((await world.dvdi(["unmount", "data"])).code, 0);
    await world.nothingLeft();
  },
);

test("unmount takes no folder from whoever uses it", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data", "logs"] });
  const uses = async (folder: string, enter: string[] = []): Promise<() => Promise<void>> => {
    const user = world.start([...enter, "sh", "-c", 'cd "$0" && echo here && exec cat', folder]);
    await user.says(/^here$/m);
    return async () => {
      user.closeInput();
      assert.equal((await user.end()).code, 0);
    };
  };
  const held = await world.dvdi(["mount", "plain/data"]);
  assert.equal(held.code, 0, held.all);
  const folder = held.out.trim();
  // Also in another mount namespace, which has it from here.
  for (const enter of [[], ["unshare", "--mount", "--propagation", "slave"]]) {
    const leave = await uses(folder, enter);
    for (let i = 0; i < 2; ++i) {
      const refused = await world.dvdi(["unmount", "data"]);
      assert.equal(refused.code, 12, refused.all);
      assert.match(
        refused.err,
        / is in use, and stays mounted \(volume data, driver plain\)\. End the processes that use it/,
      );
    }
    assert.ok(world.mounts().includes(folder));
    assert.equal(plugin.count("Unmount"), 0);
    await leave();
  }
  assert.equal((await world.dvdi(["unmount", "data"])).code, 0);
  assert.equal(plugin.count("Unmount data"), 1);

  const [data, logs] = [world.target("data"), world.target("logs")];
  const mount = ["mount", "-v", `data:${data}`, "-v", `logs:${logs}`, "--volume-driver", "plain", "--name", "two"];
  assert.equal((await world.dvdi(mount)).code, 0);
  const before = world.mounts();
  const leave = await uses(logs);
  const refused = await world.dvdi(["unmount", "--name", "two"]);
  assert.equal(refused.code, 12, refused.all);
  assert.deepEqual(world.mounts(), before, "of several none is taken away");
  await leave();
  assert.equal((await world.dvdi(["unmount", "--name", "two"])).code, 0);
  await world.nothingLeft();
});

test("pools and fence: the driver that ships", { skip }, async (t) => {
  const world = await World.make(t, {
    settings: "policy:\n  pools: [{name: small, driver: dvdi, options: {size: 16m}, attributes: {media: hdd}}]\n",
  });
  await world.driver();
  const { pools, tiers } = await world.json<{ pools: { name: string }[]; tiers: { path: string }[] }>(["pools"]);
  assert.deepEqual(
    pools.map(({ name }) => name),
    ["small"],
  );
  assert.deepEqual(
    tiers.map(({ path }) => path),
    [world.pool],
  );
  const created = await world.dvdi(["create", "--class", "media=hdd", "data"]);
  assert.equal(created.code, 0, created.all);
  const fenced = await world.dvdi(["fence", "dvdi/data"]);
  assert.equal(fenced.code, 0, fenced.all);
  assert.match(fenced.out, /^fenced data; generation \d+, waited /);
  const held = await world.hold(["-v", `data:${world.target("d")}`, "--volume-driver", "dvdi"]);
  assert.equal((await world.dvdi(["fence", "dvdi/data"])).code, 12, "this node has it");
  assert.equal((await held.release()).code, 0);
});

test("prune removes what a failed start left behind, and nothing else", { skip }, async (t) => {
  const removed: string[] = [];
  const world = await World.make(t, { settings: QUICK });
  const plugin = await ScriptedPlugin.serve(world, "plain", {
    volumes: ["old"],
    Mount: ({ Name }) => (Name === "stuck" ? { Err: "no device" } : plugin.usual("Mount", { Name })),
    Remove: ({ Name }) => {
      removed.push(Name);
      plugin.volumes.delete(Name);
      return { Err: "" };
    },
  });
  const start = (name: string): Promise<{ code: number; all: string }> =>
    world.dvdi(["run", "-v", `${name}:${world.target("x")}`, "--volume-driver", "plain", "--", "true"]);
  assert.equal((await start("stuck")).code, 125);
  assert.equal((await start("used")).code, 0);
  assert.equal((await start("old")).code, 0);
  const asked = await world.dvdi(["prune"], { input: "y\n" });
  assert.equal(asked.code, 11, "there is no terminal to ask on");
  assert.deepEqual(removed, []);
  const pruned = await world.dvdi(["prune", "--force"]);
  assert.deepEqual([pruned.code, pruned.out], [0, "stuck\n"], pruned.all);
  assert.deepEqual(removed, ["stuck"]);
  const left = await world.ls();
  assert.deepEqual(left.map(({ name }) => name).sort(), ["old", "used"]);
  assert.match((await world.dvdi(["prune", "-f"])).err, /nothing to remove/);
});

test("rm -f forgives what a driver does not have, and nothing that no driver was asked for", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["theirs"] });
  for (const args of [
    ["rm", "theirs"],
    ["rm", "-f", "theirs"],
  ]) {
    const refused = await world.dvdi(args);
    assert.equal(refused.code, 13, refused.all);
    assert.match(
      refused.err,
      /^dvdi: no volume theirs is known on this node\. Name its driver, as in DRIVER\/theirs$/m,
    );
  }
  assert.equal((await world.dvdi(["rm", "-f", "plain/none"])).code, 0);
  const absent = await world.dvdi(["rm", "-f", "absent/theirs"]);
  assert.equal(absent.code, 14, absent.all);
  assert.equal(plugin.count("Remove"), 0);
});

test("plugins: who is there, who answers", { skip }, async (t) => {
  const world = await World.make(t);
  await ScriptedPlugin.serve(world, "plain");
  await ScriptedPlugin.serve(world, "other", { Activate: () => ({ Implements: ["authz"] }) });
  const listed = await world.dvdi(["plugins", "--format", "{{.Name}}: {{.State}} {{.Scope}}"]);
  assert.equal(listed.out, "other: no volume driver \nplain: answers local\n");
  const quiet = await world.dvdi(["plugins", "-q"]);
  assert.equal(quiet.out, "other\nplain\n");
});
