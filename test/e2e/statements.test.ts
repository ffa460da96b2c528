// Every way to declare volumes, through the command line, to a driver that says what it was asked for.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { ScriptedPlugin } from "./lib/plugin.ts";
import { skip, World } from "./lib/world.ts";

const POOLS = `policy:
  default_driver: plain
  pools:
    - name: bulk
      driver: other
      attributes: {media: hdd}
    - name: fast
      driver: plain
      options: {volumetype: io1, iops: "\${iops}"}
      attributes: {media: [ssd, nvme], iops: {min: 100, max: 20000}}
`;

interface Place {
  world: World;
  plugin: ScriptedPlugin;
  file: (name: string, text: string) => string;
}

async function place(t: TestContext): Promise<Place> {
  const world = await World.make(t, { settings: POOLS });
  const plugin = await ScriptedPlugin.serve(world, "plain");
  const file = (name: string, text: string): string => {
    const path = join(world.home, name);
    writeFileSync(path, text);
    return path;
  };
  return { world, plugin, file };
}

/** What Create was asked for, of each volume. */
function created(plugin: ScriptedPlugin): Record<string, Record<string, string>> {
  const calls = plugin.bodies.filter(({ method }) => method === "Create");
  return Object.fromEntries(calls.map(({ body }) => [body.Name, body.Opts ?? {}]));
}

const STATEMENT = (target: string): object => ({
  volumes: [
    { name: "journal", container_path: `${target}/journal`, size: "10GB", options: { mode: "0750", fast: true, n: 3 } },
    { name: "models", driver: "plain", container_path: `${target}/models`, mode: "ro" },
  ],
});

function yaml(target: string): string {
  return `# two volumes
volumes:
  - name: journal
    container_path: ${target}/journal
    size: 10GB
    options:
      mode: "0750"
      fast: true
      n: 3
  - name: models
    driver: plain
    container_path: ${target}/models
    mode: ro
`;
}

test("a statement in YAML, in JSON, and on standard input: the same", { skip }, async (t) => {
  const { world, plugin, file } = await place(t);
  const target = world.target("d");
  const script = 'touch "$0/journal/file" && ls "$0/journal"; touch "$0/models/file" 2>/dev/null || echo read-only';
  const json = JSON.stringify(STATEMENT(target));
  const ways: [string, string | undefined][] = [
    [file("s.yaml", yaml(target)), undefined],
    [file("s.json", json), undefined],
    [file("without-a-name", json), undefined],
    ["-", yaml(target)],
    ["-", json],
  ];
  for (const [from, input] of ways) {
    const options = input === undefined ? {} : { input };
    const done = await world.dvdi(["run", "--statement", from, "--", "sh", "-c", script, target], options);
    assert.equal(done.out, "file\nread-only\n", done.all);
    assert.deepEqual(created(plugin), { journal: { size: "10GB", mode: "0750", fast: "true", n: "3" }, models: {} });
  }
});

test("--volume and --mount, as docker run has them", { skip }, async (t) => {
  const { world, plugin } = await place(t);
  const [a, b] = [world.target("a"), world.target("b,c")];
  const mount = `type=volume,"dst=${b}",src=two,readonly,volume-driver=plain,volume-opt=size=5,"volume-opt=o=x,y=z"`;
  const script = 'touch "$0/file" && ls "$0"; touch "$1/file" 2>/dev/null || echo read-only';
  const done = await world.dvdi(["run", "-v", `one:${a}`, "--mount", mount, "--", "sh", "-c", script, a, b]);
  assert.equal(done.out, "file\nread-only\n", done.all);
  assert.deepEqual(created(plugin), { one: {}, two: { size: "5", o: "x,y=z" } });
  assert.equal(done.err, "dvdi: created new volume one\ndvdi: created new volume two\n");
});

test("a Marathon app with external volumes", { skip }, async (t) => {
  const { world, plugin, file } = await place(t);
  const target = world.target("d");
  const app = {
    id: "/hello",
    cmd: "/usr/bin/tail -f /dev/null",
    cpus: 0.1,
    mem: 32,
    instances: 1,
    container: {
      type: "MESOS",
      volumes: [
        {
          containerPath: target,
          external: {
            size: 7,
            name: "my-vol",
            provider: "dvdi",
            options: { "dvdi/driver": "plain", "dvdi/iops": "300" },
          },
          mode: "RW",
        },
        { containerPath: "/etc/a", hostPath: "/etc/b", mode: "RO" },
      ],
    },
    upgradeStrategy: { minimumHealthCapacity: 0, maximumOverCapacity: 0 },
  };
  const path = file("app.json", JSON.stringify(app));
  const done = await world.dvdi(["run", "--marathon", path, "--", "touch", join(target, "file")]);
  assert.equal(done.code, 0, done.all);
  assert.deepEqual(created(plugin), { "my-vol": { size: "7", iops: "300" } });
});

test("a Mesos ContainerInfo with DOCKER_VOLUME sources, in either spelling", { skip }, async (t) => {
  const { world, plugin, file } = await place(t);
  const [a, b] = [world.target("a"), world.target("b")];
  const options = { parameter: [{ key: "size", value: "5" }] };
  const info = {
    type: "MESOS",
    volumes: [
      {
        container_path: a,
        mode: "RW",
        source: { type: "DOCKER_VOLUME", docker_volume: { driver: "plain", name: "one", driver_options: options } },
      },
      {
        containerPath: b,
        mode: "RO",
        source: { type: "DOCKER_VOLUME", dockerVolume: { driver: "plain", name: "two" } },
      },
    ],
  };
  const script = 'touch "$0/file" && ls "$0"; touch "$1/file" 2>/dev/null || echo read-only';
  const done = await world.dvdi([
    "run",
    "--mesos",
    file("c.json", JSON.stringify(info)),
    "--",
    "sh",
    "-c",
    script,
    a,
    b,
  ]);
  assert.equal(done.out, "file\nread-only\n", done.all);
  assert.deepEqual(created(plugin), { one: { size: "5" }, two: {} });
});

test(
  "the variables of the original module, bare and with a digit; only where they are asked for",
  { skip },
  async (t) => {
    const { world, plugin } = await place(t);
    const [a, b] = [world.target("a"), world.target("b")];
    const env = {
      DVDI_VOLUME_NAME: "one",
      DVDI_VOLUME_CONTAINERPATH: a,
      DVDI_VOLUME_OPTS: "size=5,iops=150,volumetype=io1",
      DVDI_VOLUME_NAME3: "two",
      DVDI_VOLUME_DRIVER3: "plain",
      DVDI_VOLUME_CONTAINERPATH3: b,
      DVDI_VOLUME_EXPLICITCREATE3: "true",
    };
    const done = await world.dvdi(["run", "--env", "--", "sh", "-c", 'touch "$0/file" "$1/file"', a, b], { env });
    assert.equal(done.code, 0, done.all);
    assert.deepEqual(created(plugin), { one: { size: "5", iops: "150", volumetype: "io1" }, two: {} });
    const without = await world.dvdi(["run", "--", "true"], { env });
    assert.equal(without.code, 125, without.all);
    assert.match(without.err, /--env takes them/);
    const dvdcli = await world.dvdi(["run", "--env", "--", "true"], { env: { ...env, DVDI_VOLUME_DVDCLI: "/bin/sh" } });
    assert.equal(dvdcli.code, 125, dvdcli.all);
    assert.match(dvdcli.err, /^dvdi: .*DVDI_VOLUME_DVDCLI.*\n$/);
  },
);

test("a class is resolved to one of the operator's pools, and explained", { skip }, async (t) => {
  const { world, plugin, file } = await place(t);
  const target = world.target("d");
  const text = (wanted: object): string =>
    JSON.stringify({ volumes: [{ name: "db", container_path: target, class: wanted }] });
  const fits = file("fits.json", text({ media: "ssd", iops: { min: 3000 }, size: "20GB" }));
  const done = await world.dvdi(["run", "--statement", fits, "--", "true"]);
  assert.equal(done.code, 0, done.all);
  assert.deepEqual(created(plugin), { db: { volumetype: "io1", iops: "3000", size: "20GB" } });
  const explained = await world.dvdi(["explain", "plain/db", "--last", "2"]);
  assert.match(explained.out, /bulk/, "the pool that was passed over is named, with the reason");
  assert.match(explained.out, /hdd/);
  const none = await world.dvdi(["run", "--statement", file("none.json", text({ media: "tape" })), "--", "true"]);
  assert.equal(none.code, 125, none.all);
  assert.match(none.err, /^dvdi: .*db.*no pool fits.*bulk has media hdd, not tape; fast has .*\n$/);
});

test("--dry-run takes the whole decision, and does nothing", { skip }, async (t) => {
  const { world, plugin } = await place(t);
  const mount = `type=volume,src=data,dst=${world.target("d")},volume-driver=plain,volume-opt=size=5`;
  const done = await world.dvdi(["run", "--json", "--mount", mount, "--dry-run", "--", "true"]);
  assert.equal(done.code, 0, done.all);
  const answer = JSON.parse(done.out) as {
    volumes: { driver: string; name: string; options: object; message: string }[];
    calls: { call: string }[];
  };
  assert.deepEqual([answer.volumes[0]?.driver, answer.volumes[0]?.name], ["plain", "data"]);
  assert.deepEqual(answer.volumes[0]?.options, { size: "5" });
  assert.deepEqual(
    answer.calls.map(({ call }) => call),
    ["Create", "Mount", "stage"],
  );
  assert.deepEqual([...new Set(plugin.calls)].sort(), ["Activate", "Capabilities", "Get data", "List"]);
  assert.deepEqual(await world.ls(), []);
  const text = await world.dvdi(["run", "--mount", mount, "--dry-run", "--", "true"]);
  assert.match(text.out, /^would Create data of driver plain {"size":"5"}$/m);
  assert.match(text.out, /^would give data at /m);
  // As the run itself would end.
  const bad = mount.replace("volume-opt=size=5", "volume-opt=overwritefs=true");
  const refused = await world.dvdi(["run", "--mount", bad, "--dry-run", "--", "true"]);
  assert.equal(refused.code, 125, refused.all);
  assert.match(
    refused.out,
    /^would fail: .*overwritefs.*drivers\.plain\.overwrite_options \(volume data, driver plain\)$/m,
  );
});

test("mount, ls, inspect, unmount: a volume for an operator, by name or at a path", { skip }, async (t) => {
  const { world, plugin } = await place(t);
  const mounted = await world.dvdi(["mount", "--driver", "plain", "kept"]);
  assert.equal(mounted.code, 0, mounted.all);
  const folder = mounted.out.trimEnd();
  assert.equal((await world.run(["touch", join(folder, "file")])).code, 0);
  const again = await world.dvdi(["mount", "plain/kept"]);
  assert.equal(again.out, mounted.out, "asked for twice, it changes nothing");
  const [listed] = await world.ls();
  assert.deepEqual([listed?.state, listed?.users[0]?.owner], ["attached", "manual"]);
  const inspected = await world.json<{ plugin: { kind: string } }>(["inspect", "kept"]);
  assert.equal(inspected.plugin.kind, "ok");
  const forgotten = await world.dvdi(["forget", "kept"]);
  assert.equal(forgotten.code, 12, "it is in use");
  const released = await world.dvdi(["unmount", "kept"]);
  assert.equal(released.code, 0, released.all);
  await world.nothingLeft();
  assert.equal(plugin.count("Mount"), 1);

  const target = world.target("at");
  const bound = await world.dvdi(["mount", "-v", `kept:${target}`, "--volume-driver", "plain"]);
  assert.equal(bound.out, `${target}\n`, bound.all);
  assert.equal((await world.run(["ls", target])).out, "file\n");
  assert.equal((await world.dvdi(["unmount", "kept"])).code, 0);
});
