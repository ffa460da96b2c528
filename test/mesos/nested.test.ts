// Containers in containers: task groups, standalone ones, and those nested in them.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";

import { ScriptedPlugin } from "../e2e/lib/plugin.ts";
import { Cluster, skip } from "./lib/cluster.ts";
import { docker, RESOURCES } from "./lib/framework.ts";

test("a task group shares a volume", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const wait = "for i in $(seq 200); do [ -e e/x ] && exit 0; sleep 0.1; done; exit 9";
    await framework.group([
      { id: "writer", command: "echo x > d/x; sleep 1", volumes: [docker("group", "d")] },
      { id: "reader", command: wait, volumes: [docker("group", "e")] },
    ]);
    for (const id of ["writer", "reader"]) {
      const { state, message } = await framework.ended(id);
      assert.equal(state, "TASK_FINISHED", `${id}: ${message}`);
    }
  });
});

test("standalone and nested containers", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const { agent } = cluster;
    const outer = { value: `outer-${process.pid}` };
    const inner = { value: "inner", parent: outer };
    const launch = async (container_id: object, command: string, path: string, more: object): Promise<void> => {
      const container = { type: "MESOS", volumes: [docker("alone", path)] };
      const launch_container = { container_id, command: { value: command }, container, ...more };
      const { status, text } = await agent.ask({ type: "LAUNCH_CONTAINER", launch_container });
      assert.equal(status, 200, text);
    };
    const code = async (container_id: object): Promise<number> => {
      const { text } = await agent.ask({ type: "WAIT_CONTAINER", wait_container: { container_id } });
      return (JSON.parse(text) as { wait_container: { exit_status?: number } }).wait_container.exit_status ?? -1;
    };
    const until = (file: string): string => `for i in $(seq 300); do [ -e ${file} ] && exit 0; sleep 0.1; done; exit 9`;
    await launch(outer, `echo x > d/x; ${until("d/done")}`, "d", { resources: RESOURCES });
    await launch(inner, `until [ -e e/x ]; do sleep 0.1; done; touch e/done`, "e", {});
    assert.equal(await code(inner), 0);
    assert.equal(await code(outer), 0);
    await cluster.settled();
  });
});

test("a launch whose caller hangs up while its driver mounts gives the volume back", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const { agent, world } = cluster;
    let open = (): void => undefined;
    const gate = new Promise<void>((opened) => (open = opened));
    const plugin: ScriptedPlugin = await ScriptedPlugin.serve(world, "slow", {
      volumes: ["v"],
      Mount: async (body) => (await gate, plugin.usual("Mount", body)),
    });
    const container = { type: "MESOS", volumes: [docker("v", "d", { driver: "slow" })] };
    const command = { value: "sleep 1000" };
    const launch_container = { container_id: { value: "left" }, command, container, resources: RESOURCES };
    await agent.hangUp({ type: "LAUNCH_CONTAINER", launch_container }, () =>
      cluster.until("the driver mounts", () => plugin.count("Mount") > 0),
    );
    // The agent has to see it before there is an answer.
    await new Promise((later) => setTimeout(later, 1000));
    open();
    await agent.says(/Failed to launch container left: discarded/);
    await cluster.settled();
    assert.equal(plugin.count("Unmount"), 1);
  });
});

test("many who ask what is attached are one question to the engine", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const { agent } = cluster;
    const container_id = { value: "asked" };
    const container = { type: "MESOS", volumes: [docker("v", "d")] };
    const launch_container = { container_id, command: { value: "sleep 1000" }, container, resources: RESOURCES };
    const { status, text } = await agent.ask({ type: "LAUNCH_CONTAINER", launch_container });
    assert.equal(status, 200, text);
    const threads = (): number => readdirSync(`/proc/${agent.process?.pid}/task`).length;
    const before = threads();
    let most = before;
    const looking = setInterval(() => (most = Math.max(most, threads())), 5);
    const pages = await Promise.all(Array.from({ length: 300 }, () => agent.page("/dvdi/volumes")));
    clearInterval(looking);
    for (const page of pages) assert.match(JSON.stringify(page), /"name":"v"/);
    await agent.ask({ type: "KILL_CONTAINER", kill_container: { container_id } });
    await cluster.settled();
    assert.ok(most < before + 50, `${most} threads, and ${before} before`);
  });
});
