// Tasks of a real agent and their volumes: every way to declare them, every kind of path and user.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT } from "../e2e/lib/world.ts";
import { Cluster, dvdcli, skip } from "./lib/cluster.ts";
import { docker } from "./lib/framework.ts";
import { boxImage, MASKED, noImage } from "./lib/image.ts";

const DOC = readFileSync(join(ROOT, "docs/mesos.md"), "utf8");

const statement = (...volumes: object[]): Record<string, string> => ({ "dvdi.statement": JSON.stringify({ volumes }) });

test("a task writes into its volume, and a later one reads it", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const volumes = [docker("data", "data")];
    await framework.must({ id: "write", command: "echo first > data/f && stat -f -c %T data", volumes });
    assert.match(cluster.agent.sandbox(framework, "write"), /ext2\/ext3/, "it is the driver's filesystem");
    // At once: the first one's container is still ending.
    await framework.must({ id: "read", command: "cat data/f", volumes });
    assert.match(cluster.agent.sandbox(framework, "read"), /^first$/m);
    assert.match(cluster.agent.log, /re-attached data \(last used/);
    // Nothing is recorded of a wait but that there was one.
    const prepares = await cluster.prepares();
    const outcomes = prepares.map(({ outcome }) => outcome);
    assert.deepEqual(outcomes, ["ok", "ok"]);
    t.diagnostic(`the second one: ${prepares[0]?.notes?.join("; ") ?? "did not wait"}`);
    await cluster.settled();
  });
});

test("several volumes, one of them read-only", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const all = [docker("one", "a"), docker("two", "deep/b"), docker("three", "c")];
    await framework.must({ id: "all", command: "echo 1 > a/f; echo 2 > deep/b/f; echo 3 > c/f", volumes: all });
    const command = "cat c/f && ! touch c/g && grep ' /.*/c ro,' /proc/self/mountinfo";
    await framework.must({ id: "ro", command, volumes: [docker("three", "c", { mode: "RO" })] });
    assert.match(cluster.agent.sandbox(framework, "ro", "stderr"), /Read-only file system/);
    assert.match(cluster.agent.sandbox(framework, "ro"), /nosuid,nodev/);
  });
});

test("a statement in a task's label, its ownership, and a user who is not root", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const labels = statement({ driver: "dvdi", name: "own", container_path: "d", ownership: "root-dir" });
    await framework.must({ id: "write", command: "id -u; touch d/x", labels, user: "nobody" });
    assert.doesNotMatch(cluster.agent.sandbox(framework, "write"), /^0$/m);
    const wrong = await framework.run({ id: "wrong", command: "true", labels: { "dvdi.volum": "x:/d" } });
    assert.match(wrong.message ?? "", /DVDI: label dvdi\.volum is not known/);
  });
});

test("variables of the command, and both ways at once", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const env = { DVDI_VOLUME_NAME: "v", DVDI_VOLUME_DRIVER: "dvdi", DVDI_VOLUME_CONTAINERPATH: "d" };
    await framework.must({ id: "env", command: "echo env > d/f", env });
    const volumes = [docker("v", "d", { mode: "RO" })];
    await framework.must({ id: "both", command: "cat d/f && ! touch d/g", env, volumes });
    assert.match(cluster.agent.sandbox(framework, "both"), /^env$/m);
    assert.match(
      cluster.agent.log,
      /container .*: volume "v" \(driver dvdi\) is declared in .* is taken; they differ in mode/,
    );
  });
});

test("the Marathon app of docs/mesos.md, as it arrives in Mesos", { skip }, async (t) => {
  interface App {
    id: string;
    container: { volumes: { containerPath: string; mode: string; external: External }[] };
  }
  interface External {
    name: string;
    size: number;
    options: Record<string, string>;
  }
  const [json] =
    /^\{"id": "db"[^]*?^ "upgradeStrategy".*\}$/m.exec(DOC) ?? assert.fail("docs/mesos.md has no Marathon app");
  const app = JSON.parse(json) as App;
  // Marathon 1.11: options of the provider without its prefix, trimmed, all but the driver's; external.size over dvdi/size.
  const asMesos = ({ containerPath, mode, external }: App["container"]["volumes"][number]): object => {
    const { "dvdi/driver": driver, ...own } = external.options;
    const options = { ...own, "dvdi/size": String(external.size) };
    const parameter = Object.entries(options).flatMap(([key, value]) =>
      key.startsWith("dvdi/") ? [{ key: key.slice("dvdi/".length), value: value.trim() }] : [],
    );
    const volume = { driver, name: external.name, driver_options: { parameter } };
    return { mode, container_path: containerPath, source: { type: "DOCKER_VOLUME", docker_volume: volume } };
  };
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const volumes = app.container.volumes.map(asMesos);
    await framework.must({ id: app.id, command: "df -k --output=size data", volumes });
    const size = Number(/^\s*(\d+)$/m.exec(cluster.agent.sandbox(framework, app.id))?.[1]);
    const GiB = 1024 * 1024;
    assert.ok(size > 9 * GiB && size <= 10 * GiB, `it has the size that was asked for, not ${size} KiB`);
  });
});

test("an absolute path without an image; a system folder is refused", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const path = cluster.world.target("made/here");
    await framework.must({ id: "abs", command: `echo x > ${path}/f`, volumes: [docker("abs", path)] });
    const lib = await framework.run({ id: "lib", command: "true", volumes: [docker("abs", "/lib/x")] });
    assert.equal(lib.state, "TASK_FAILED");
    assert.match(lib.message ?? "", /DVDI: .*system folder/);
  });
});

test("a container with an image: absolute and relative paths, read-only ones", { skip: skip || noImage }, async (t) => {
  const shape = { isolators: "docker/runtime", flags: [] as string[] };
  await Cluster.with(
    t,
    [shape],
    async (cluster) => {
      const framework = await cluster.framework();
      const image = "box";
      const probe = await framework.run({ id: "probe", command: "true", image });
      if (probe.state !== "TASK_FINISHED") {
        const said = cluster.agent.sandbox(framework, "probe", "stderr");
        assert.match(said, MASKED, `a container without a volume ends with ${probe.message}: ${said}`);
        return t.skip(`this kernel has not all that Mesos masks in an image: ${said.trim().split("\n").at(-1)}`);
      }
      const volumes = [docker("in", "/data"), docker("box", "d")];
      await framework.must({ id: "write", command: "echo abs > /data/f; echo rel > d/f; ls /", volumes, image });
      assert.doesNotMatch(cluster.agent.sandbox(framework, "write"), /^home$/m, "it is the image's root");
      const swapped = [docker("in", "d"), docker("box", "/data")];
      await framework.must({ id: "read", command: "cat d/f /data/f", volumes: swapped, image });
      assert.match(cluster.agent.sandbox(framework, "read"), /^abs\nrel$/m);
      const reading = [docker("in", "/data", { mode: "RO" }), docker("box", "d", { mode: "RO" })];
      const command = "cat /data/f d/f && ! touch /data/g && ! touch d/g";
      await framework.must({ id: "ro", command, volumes: reading, image });
      assert.match(cluster.agent.sandbox(framework, "ro"), /^abs\nrel$/m);
      assert.equal(cluster.agent.sandbox(framework, "ro", "stderr").match(/Read-only file system/g)?.length, 2);
      // A path that the image does not have is made, in the container's own copy of it.
      await framework.must({ id: "deep", command: "cat /not/there/f", volumes: [docker("in", "/not/there")], image });
      await cluster.settled();
    },
    async (world) => void shape.flags.push(...(await boxImage(world))),
  );
});

test("one volume in several containers at once", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    const labels = statement({ driver: "dvdi", name: "many", container_path: "d", access: "multi-writer" });
    const meet = (own: string, other: string): string =>
      `touch d/${own}; for i in $(seq 200); do [ -e d/${other} ] && exit 0; sleep 0.1; done; exit 9`;
    await framework.launch([
      { id: "a", command: meet("a", "b"), labels },
      { id: "b", command: meet("b", "a"), labels },
    ]);
    assert.deepEqual(
      [(await framework.ended("a")).state, (await framework.ended("b")).state],
      ["TASK_FINISHED", "TASK_FINISHED"],
    );
  });
});

test("mesos-execute, as docs/mesos.md has it", { skip }, async (t) => {
  const [block] = /^ {4}mesos-execute [^]*?\n\n/m.exec(DOC) ?? assert.fail("docs/mesos.md has no mesos-execute");
  const lines = block.split(/^ {4}(?=mesos-execute)/m).filter((line) => line !== "");
  assert.equal(lines.length, 2);
  await Cluster.with(t, [{}], async (cluster) => {
    // Quoted for a shell there; master and name are the cluster's here.
    for (const line of lines) {
      const flags = [...line.matchAll(/(--(?:command|volumes|env))='([^']*)'/g)].map(
        ([, name, value]) => `${name}=${value}`,
      );
      assert.equal(flags.length, 2, line);
      assert.match(await cluster.execute(flags), /TASK_FINISHED/);
    }
    const logs = await cluster.execute([
      "--command=test $(wc -l < data/log) = 1",
      `--volumes=${JSON.stringify([docker("one", "data")])}`,
    ]);
    assert.match(logs, /TASK_FINISHED/);
  });
});

test("what the agent tells: usage, metrics, what is attached", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    const framework = await cluster.framework();
    await framework.launch([
      { id: "hold", command: "head -c 1000000 /dev/zero > d/f; sleep 60", volumes: [docker("u", "d")] },
    ]);
    await framework.running("hold");
    const { agent } = cluster;
    interface Usage {
      statistics: { disk_statistics?: { source?: { id?: string; vendor?: string }; used_bytes?: number }[] };
    }
    const used = async (): Promise<number> => {
      const all = (await agent.page("/monitor/statistics")) as Usage[];
      const disks = all.flatMap(({ statistics }) => statistics.disk_statistics ?? []);
      return disks.find(({ source }) => source?.id === "u" && source.vendor === "dvdi")?.used_bytes ?? 0;
    };
    await cluster.until("the volume's bytes are in the statistics", async () => (await used()) > 900_000);
    const attached = JSON.stringify(await agent.page("/dvdi/volumes"));
    assert.match(attached, /"name":"u"/);
    await cluster.until("metrics of the engine and the volume", async () => {
      const metrics = await agent.metrics();
      return metrics["dvdi/operations_total/prepare/ok"] === 1 && (metrics["dvdi/volume/dvdi/u/inodes"] ?? 0) > 0;
    });
    await framework.kill("hold");
    await framework.ended("hold");
  });
});

test("a wrong parameter, and the module twice, end the agent's start with one line", { skip }, async (t) => {
  await Cluster.with(t, [{}], async (cluster) => {
    for (const [shape, says] of [
      [{ parameters: { state: "/x" } }, /DVDI: the module's parameter "state" is not known/],
      [
        { module: "org_dvdi_DockerVolumeIsolator,com_emccode_mesos_DockerVolumeDriverIsolator" },
        /--isolation names the module twice/,
      ],
      [
        { isolators: "docker/volume", parameters: { docker_volumes: "take" }, env: { PATH: dvdcli(cluster.world) } },
        /"docker_volumes" is "take", and --isolation has docker\/volume/,
      ],
    ] as const) {
      const other = await cluster.other(shape);
      const ended = await other.launch().end();
      assert.notEqual(ended.code, 0);
      assert.match(ended.err, says);
    }
  });
});

test("the original module's name", { skip }, async (t) => {
  await Cluster.with(t, [{ module: "com_emccode_mesos_DockerVolumeDriverIsolator" }], async (cluster) => {
    const framework = await cluster.framework();
    const env = {
      DVDI_VOLUME_NAME: "v",
      DVDI_VOLUME_DRIVER: "dvdi",
      DVDI_VOLUME_CONTAINERPATH: join(cluster.world.targets, "v"),
    };
    await framework.must({ id: "env", command: `touch ${env.DVDI_VOLUME_CONTAINERPATH}/f`, env });
  });
});
