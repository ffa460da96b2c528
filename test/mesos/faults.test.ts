// Drivers that are not there, fail, hang, or lose a volume: the task's user gets one line, and others go on.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin } from "../e2e/lib/plugin.ts";
import { Cluster, skip } from "./lib/cluster.ts";
import { docker } from "./lib/framework.ts";

test("a missing and a failing driver: one line, and nothing is left", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    await ScriptedPlugin.serve(cluster.world, "failing", {
      volumes: ["v"],
      Mount: () => ({ Err: "the array is on fire" }),
    });
    const framework = await cluster.framework();
    const volumes = (driver: string): object[] => [docker("good", "g"), docker("v", "d", { driver })];
    const missing = await framework.run({ id: "missing", command: "true", volumes: volumes("nosuch") });
    assert.equal(missing.state, "TASK_FAILED");
    assert.match(missing.message ?? "", /^Failed to launch container: DVDI: [^\n]*no plugin for driver nosuch[^\n]*$/);
    const failing = await framework.run({ id: "failing", command: "true", volumes: volumes("failing") });
    assert.match(failing.message ?? "", /^Failed to launch container: DVDI: [^\n]*the array is on fire[^\n]*$/);
    await cluster.settled();
    await framework.must({ id: "good", command: "touch g/x", volumes: [docker("good", "g")] });
  });
});

test("a driver that hangs holds up nobody else", { skip }, async (t) => {
  const settings = JSON.stringify({ deadlines: { prepare_ms: 8000 } });
  await Cluster.with(t, [{ parameters: { settings } }], async (cluster) => {
    // It answers nothing but Activate.
    const hang = (): (() => void) => () => undefined;
    await ScriptedPlugin.serve(cluster.world, "stuck", { volumes: ["v"], Get: hang, Mount: hang, List: hang });
    const framework = await cluster.framework();
    await framework.launch([{ id: "stuck", command: "true", volumes: [docker("v", "d", { driver: "stuck" })] }]);
    for (const n of [1, 2, 3]) {
      await framework.must({ id: `plain-${n}`, command: "true" });
      await framework.must({ id: `good-${n}`, command: "touch d/x", volumes: [docker("good", "d")] });
    }
    const last = framework.last("stuck")?.state;
    assert.ok(last === undefined || last === "TASK_STARTING" || last === "TASK_FAILED", `stuck is ${last}`);
    const { state, message } = await framework.ended("stuck");
    assert.equal(state, "TASK_FAILED");
    assert.match(message ?? "", /^Failed to launch container: DVDI: [^\n]*deadline[^\n]*$/);
  });
});

test("an Unmount that fails does not hold up the container's end, and is tried again", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    let broken = true;
    const folder = join(cluster.world.home, "busy/v");
    const plugin = await ScriptedPlugin.serve(cluster.world, "busy", {
      volumes: ["v"],
      // It says what is mounted, which is what a failed Unmount is judged by.
      Get: () => ({ Volume: { Name: "v", Mountpoint: broken ? folder : "" }, Err: "" }),
      Unmount: () => ({ Err: broken ? "device is busy" : "" }),
    });
    const framework = await cluster.framework();
    await framework.must({ id: "task", command: "touch d/x", volumes: [docker("v", "d", { driver: "busy" })] });
    await cluster.until("no container is left", async () => (await cluster.agent.containers()) === 0);
    await cluster.until("Unmount is asked for again", () => plugin.count("Unmount") > 1);
    broken = false;
    await cluster.settled();
  });
});

test("a volume that is lost under its task ends it, where that is asked for", { skip }, async (t) => {
  await Cluster.with(t, [{ parameters: { lost_volume: "kill" } }], async (cluster) => {
    const framework = await cluster.framework();
    await framework.launch([{ id: "task", command: "sleep 1000", volumes: [docker("v", "d")] }]);
    await framework.running("task");
    // As an operator's hand, or a driver that died, takes it away.
    const stage = cluster.world.mounts().find((path) => path.startsWith(cluster.world.stageRoot)) ?? assert.fail();
    await cluster.world.must(["umount", "-l", stage]);
    const { state, message } = await framework.ended("task");
    assert.equal(state, "TASK_FAILED");
    assert.match(message ?? "", /DVDI: volume "v" \(driver dvdi\) is lost at /);
  });
});
