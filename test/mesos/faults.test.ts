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
    assert.match(missing.message ?? "", /^Failed to launch container: DVDI: [^\n]*no plugin "nosuch"[^\n]*$/);
    const failing = await framework.run({ id: "failing", command: "true", volumes: volumes("failing") });
    assert.match(failing.message ?? "", /^Failed to launch container: DVDI: [^\n]*the array is on fire[^\n]*$/);
    await cluster.settled();
    await framework.must({ id: "good", command: "touch g/x", volumes: [docker("good", "g")] });
  });
});

/** More than a launch beside a hanging driver may take beyond the slowest one before, in ms. */
const SLACK_MS = 1000;

test(
  "a driver that hangs holds up nobody else: other tasks run within a second more than before",
  { skip },
  async (t) => {
    const settings = JSON.stringify({ deadlines: { prepare_ms: 20_000 } });
    await Cluster.with(t, [{ parameters: { settings } }], async (cluster) => {
      // It answers nothing but Activate.
      const hang = (): (() => void) => () => undefined;
      const hanging = { volumes: ["v"], Get: hang, Mount: hang, List: hang };
      const stuck = await ScriptedPlugin.serve(cluster.world, "stuck", hanging);
      const framework = await cluster.framework();
      // Each with a volume of its own, which waits for no other task's end.
      const slowest = async (round: string): Promise<number> => {
        const took: number[] = [];
        for (const n of [1, 2, 3]) {
          const volumes = [docker(`${round}-${n}`, "d")];
          took.push(await framework.must({ id: `${round}-plain-${n}`, command: "true" }));
          took.push(await framework.must({ id: `${round}-volume-${n}`, command: "touch d/x", volumes }));
        }
        return Math.max(...took);
      };
      const before = await slowest("before");
      await framework.launch([{ id: "stuck", command: "true", volumes: [docker("v", "d", { driver: "stuck" })] }]);
      await cluster.until("the driver is asked", () => stuck.count("Get") > 0);
      const beside = await slowest("beside");
      const last = framework.last("stuck")?.state;
      assert.ok(last === undefined || last === "TASK_STARTING", `prepare hangs all the while, and the task is ${last}`);
      t.diagnostic(`slowest launch: ${before.toFixed()} ms before, ${beside.toFixed()} ms beside`);
      assert.ok(beside < before + SLACK_MS, `${beside.toFixed()} ms, and ${before.toFixed()} ms before`);
      const { state, message } = await framework.ended("stuck");
      assert.equal(state, "TASK_FAILED");
      assert.match(message ?? "", /^Failed to launch container: DVDI: [^\n]*deadline[^\n]*$/);
    });
  },
);

test("what cannot pass is told at once, with one record", { skip }, async (t) => {
  const settings = JSON.stringify({ plugins: { allowed_drivers: ["dvdi"] } });
  await Cluster.with(t, [{ parameters: { settings } }], async (cluster) => {
    const framework = await cluster.framework();
    const volumes = [docker("v", "d", { driver: "other" })];
    const usual = await framework.must({ id: "usual", command: "true" });
    const accepted = await framework.launch([{ id: "other", command: "true", volumes }]);
    const { message, at } = await framework.ended("other");
    assert.match(message ?? "", /DVDI: driver other is not allowed on this node/);
    assert.ok(at - accepted < usual + SLACK_MS, `told after ${(at - accepted).toFixed()} ms`);
    const outcomes = (await cluster.prepares()).map(({ outcome }) => outcome);
    assert.deepEqual(outcomes, ["refused"]);
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
