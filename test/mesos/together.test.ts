// Two nodes, a policy that changes under a running agent, Mesos's own isolator beside the module, and many launches.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { must } from "../e2e/lib/process.ts";
import { ROOT } from "../e2e/lib/world.ts";
import { Cluster, dvdcli, skip } from "./lib/cluster.ts";
import { docker } from "./lib/framework.ts";

const LAUNCHES = 200;

test("two agents and a pool that both reach", { skip }, async (t) => {
  await Cluster.with(t, [{}, {}], async (cluster) => {
    const framework = await cluster.framework();
    const volumes = [docker("shared", "d")];
    await framework.must({ id: "write", command: "echo from-a > d/f", volumes }, "node-a");
    await cluster.settled(cluster.agents[0]);
    await framework.must({ id: "read", command: "cat d/f", volumes }, "node-b");
    const [, second] = cluster.agents;
    assert.match(second?.sandbox(framework, "read") ?? "", /^from-a$/m);
    await cluster.settled(second);
    await framework.launch([{ id: "hold", command: "sleep 1000", volumes }], "node-a");
    await framework.running("hold");
    const refused = await framework.run({ id: "refused", command: "true", volumes }, "node-b");
    assert.match(refused.message ?? "", /DVDI: [^\n]*node-a/);
    await framework.kill("hold");
    await framework.ended("hold");
  });
});

test("the policy is swapped between two launches, without a restart", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const { world, agent } = cluster;
    const framework = await cluster.framework();
    await framework.must({ id: "before", command: "touch d/x", volumes: [docker("small", "d")] });
    const house = join(world.home, "house.wasm");
    const entry = ["--entry", join(ROOT, "examples/house-rule/main.ts"), "--name", "house", "--version", "1.0.0"];
    await must([process.execPath, join(ROOT, "build/host/dvdi-policy.mjs"), "build", ...entry, "--out", house], {
      cwd: ROOT,
    });
    const installed = await world.dvdi(["policy", "install", house]);
    assert.equal(installed.code, 0, installed.all);
    const running = agent.process?.pid;
    const refused = await framework.run({ id: "after", command: "true", volumes: [docker("new", "d")] });
    assert.match(refused.message ?? "", /DVDI: house rule: volume new does not exist yet/);
    assert.equal((await cluster.prepares()).filter(({ outcome }) => outcome === "refused").length, 1);
    await framework.must({ id: "known", command: "cat d/x", volumes: [docker("small", "d")] });
    assert.equal(agent.process?.pid, running);
  });
});

test("docker/volume of the same agent with our dvdcli, with and without the module", { skip }, async (t) => {
  for (const without of [true, false]) {
    const shape = { without, isolators: "docker/volume", env: {} as Record<string, string> };
    await Cluster.with(
      t,
      [shape],
      async (cluster) => {
        const framework = await cluster.framework();
        const volumes = [docker("one", "d"), docker("two", "e")];
        await framework.must({ id: "write", command: "echo 1 > d/f; echo 2 > e/f", volumes });
        await cluster.until("its container has ended", async () => (await cluster.agent.containers()) === 0);
        await framework.must({ id: "read", command: "cat d/f e/f && findmnt -no FSTYPE -T d", volumes });
        assert.match(cluster.agent.sandbox(framework, "read"), /^1\n2\next4$/m);
        await cluster.settled();
        if (without) return;
        assert.match(cluster.agent.log, /DOCKER_VOLUME sources are left to docker\/volume/);
        // The module's own forms go on beside it.
        const env = { DVDI_VOLUME_NAME: "one", DVDI_VOLUME_DRIVER: "dvdi", DVDI_VOLUME_CONTAINERPATH: "d" };
        await framework.must({ id: "env", command: "cat d/f", env });
      },
      (world) => {
        shape.env = { PATH: dvdcli(world), DVDI_CONFIG: world.config };
      },
    );
  }
});

test(`${LAUNCHES} launches leave nothing`, { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const lanes = 4;
    const lane = async (number: number): Promise<void> => {
      for (let i = number; i < LAUNCHES; i += lanes) {
        await framework.must({ id: `task-${i}`, command: "touch d/x", volumes: [docker(`lane-${number}`, "d")] });
      }
    };
    await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
    await cluster.settled();
    assert.deepEqual(
      cluster.world.mounts().filter((path) => path.includes("/mounts/")),
      [],
    );
    const status = await cluster.world.json<{ scopes: number }>(["status"]);
    assert.equal(status.scopes, 0);
  });
});
