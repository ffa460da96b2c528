// The agent is killed, and comes again: at any moment, after a reboot, and after another module.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { ask } from "../e2e/lib/ask.ts";
import { Cluster, skip } from "./lib/cluster.ts";
import { docker, type Framework } from "./lib/framework.ts";

const COUNT = "for i in $(seq 1000); do echo $i >> d/n; sleep 0.1; [ -e d/stop ] && exit 0; done; exit 9";

/** The folder on which the only volume in use is mounted for its container. */
function stageOf({ world }: Cluster): string {
  return world.mounts().find((path) => path.startsWith(`${world.stageRoot}/`)) ?? assert.fail("no stage is mounted");
}

/** A cluster whose task "task" runs, with its volume at d. */
async function withTask(
  t: TestContext,
  command: string,
  body: (cluster: Cluster, framework: Framework) => Promise<void>,
): Promise<void> {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    await framework.launch([{ id: "task", command, volumes: [docker("v", "d")] }]);
    await framework.running("task");
    await body(cluster, framework);
  });
}

test("a task goes on over the death of its agent, and gives its volume back at its end", { skip }, async (t) => {
  await withTask(t, COUNT, async (cluster, framework) => {
    const { agent } = cluster;
    await agent.kill();
    await agent.start();
    assert.match(agent.log, /DVDI: container .* has its volumes still/);
    writeFileSync(cluster.world.outside(join(stageOf(cluster), "stop")), "");
    assert.equal((await framework.ended("task")).state, "TASK_FINISHED");
    await cluster.settled();
  });
});

test("an agent that had nothing comes again", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    await cluster.agent.kill();
    await cluster.agent.start();
    const framework = await cluster.framework();
    await framework.must({ id: "task", command: "touch d/x", volumes: [docker("v", "d")] });
  });
});

test("a container that ends while the agent is down", { skip }, async (t) => {
  await withTask(t, "sleep 2; touch d/end", async (cluster) => {
    const { agent } = cluster;
    await agent.kill();
    const end = cluster.world.outside(join(stageOf(cluster), "end"));
    await cluster.until("the task has ended", () => existsSync(end));
    await agent.start();
    await cluster.settled();
  });
});

test("killed at prepare", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const { agent, driver } = cluster;
    const framework = await cluster.framework();
    driver.kill("SIGSTOP");
    await framework.launch([{ id: "task", command: "true", volumes: [docker("v", "d")] }]);
    await cluster.until("the module prepares", () => agent.log.includes("Starting container"));
    await agent.kill();
    driver.kill("SIGCONT");
    await agent.start();
    assert.notEqual((await framework.ended("task")).state, "TASK_FINISHED");
    await cluster.settled();
    await framework.must({ id: "again", command: "touch d/x", volumes: [docker("v", "d")] });
  });
});

test("killed at cleanup", { skip }, async (t) => {
  await withTask(t, "sleep 1", async (cluster, framework) => {
    const { agent, driver } = cluster;
    driver.kill("SIGSTOP");
    await framework.ended("task");
    const stages = (): boolean => cluster.world.mounts().some((path) => path.startsWith(cluster.world.stageRoot));
    await cluster.until("the stage is gone", () => !stages());
    await agent.kill();
    driver.kill("SIGCONT");
    await agent.start();
    assert.doesNotMatch(agent.log, /\(driver dvdi\): $/m, "a reason is given, or none is announced");
    await cluster.settled();
    await framework.must({ id: "again", command: "touch d/x", volumes: [docker("v", "d")] });
  });
});

test("after a reboot", { skip }, async (t) => {
  await withTask(t, "echo kept > d/f; sleep 1000", async (cluster, framework) => {
    const { agent, world } = cluster;
    const file = world.outside(join(stageOf(cluster), "f"));
    await cluster.until("the task has written", () => existsSync(file) && readFileSync(file, "utf8") !== "");
    // All that a reboot takes: processes, mounts, and the boot's number.
    await agent.kill();
    await agent.sweep();
    await cluster.driver.stop();
    const mine = (path: string): boolean => path.startsWith(world.stageRoot) || path.startsWith(world.mountRoot);
    for (const path of world.mounts().filter(mine).reverse()) await world.must(["umount", path]);
    world.boots("00000000-1111-4222-8333-444444444444");
    await cluster.startDriver();
    await agent.start();
    await cluster.settled();
    await framework.must({ id: "again", command: "cat d/f", volumes: [docker("v", "d")] });
    assert.match(agent.sandbox(framework, "again"), /^kept$/m);
  });
});

/** A field of a protobuf message that has a length. */
function field(number: number, value: Buffer | string): Buffer {
  const bytes = Buffer.from(value);
  assert.ok(bytes.length < 16_384);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}

test("a container that the original module gave a volume", { skip }, async (t) => {
  await Cluster.with(t, [{ without: true }], async (cluster) => {
    const { agent, world } = cluster;
    const framework = await cluster.framework();
    await framework.launch([{ id: "task", command: "sleep 1000" }]);
    await framework.running("task");
    await agent.kill();
    // What the original did: a mount without an ID, and its line in its file.
    assert.equal((await ask(world.socket("dvdi"), "/VolumeDriver.Create", { Name: "old", Opts: {} })).body.Err, "");
    const mounted = await ask(world.socket("dvdi"), "/VolumeDriver.Mount", { Name: "old", ID: "" });
    assert.equal(mounted.body.Err, "");
    const fields = [agent.container(framework, "task"), "dvdi", "old", String(mounted.body["Mountpoint"])];
    const mount = Buffer.concat(fields.map((text, i) => field(i + 1, text)));
    writeFileSync(join(agent.work, "dvdimounts.pb"), field(1, mount), { mode: 0o644 });
    agent.withModule();
    await agent.start();
    assert.ok(existsSync(join(agent.work, "dvdimounts.pb.read")));
    const held = await world.ls();
    assert.deepEqual(
      held.map(({ name, users }) => [name, users.length]),
      [["old", 1]],
      agent.log,
    );
    await framework.kill("task");
    await framework.ended("task");
    await cluster.until("it is given back", async () => (await world.ls()).every(({ users }) => users.length === 0));
    // A driver that counts users still has the original's, which nobody can end but by its own word.
    assert.equal((await ask(world.socket("dvdi"), "/VolumeDriver.Unmount", { Name: "old", ID: "" })).body.Err, "");
  });
});

test("a folder that nobody knows in the stage folder stays", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const { agent, world } = cluster;
    const framework = await cluster.framework();
    await framework.must({ id: "task", command: "touch d/x", volumes: [docker("v", "d")] });
    await cluster.settled();
    mkdirSync(world.outside(join(world.stageRoot, "notes")), { recursive: true });
    await agent.kill();
    await agent.start();
    assert.match(agent.log, /not touched: .*notes is not dvdi's/);
    assert.ok(readdirSync(world.outside(world.stageRoot)).includes("notes"));
    await world.must(["rmdir", join(world.stageRoot, "notes")]);
  });
});
