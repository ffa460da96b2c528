// What Mesos's own docker/volume isolator runs, call by call, as transcripts: the command line, what it printed, how it
// ended, and what the driver was asked. A driver sees one ID from mount to unmount.
import assert from "node:assert/strict";
import { readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin, type Behaviour } from "./lib/plugin.ts";
import { until, type Result } from "./lib/process.ts";
import { skip, World } from "./lib/world.ts";

const NO_RETRIES = "policy:\n  retry: {attempts: 1, base_ms: 50, max_ms: 200}\n";

/** A node with one scripted driver, and the transcript of what was done on it. */
class Stage {
  #seen = 0;
  readonly #ids: string[] = [];
  readonly #folders: string[] = [];

  private constructor(
    readonly world: World,
    readonly plugin: ScriptedPlugin,
  ) {}

  static async set(t: Parameters<typeof World.make>[0], behaviour: Behaviour, settings = NO_RETRIES): Promise<Stage> {
    const world = await World.make(t, { settings });
    return new Stage(world, await ScriptedPlugin.serve(world, "d", behaviour));
  }

  /** Runs it as Mesos does, and tells what happened. */
  async run(verb: string, flags: string[] = [], volume = "v"): Promise<string> {
    const args = [verb, "--volumedriver=d", ...(volume ? [`--volumename=${volume}`] : []), ...flags];
    return this.told(args, await this.world.dvdcli(args));
  }

  told(args: string[], result: Result): string {
    return [
      `$ dvdcli ${args.map((arg) => (/[ ,"]/.test(arg) ? `'${arg}'` : arg)).join(" ")}`,
      ...lines(result.out).map((line) => `out: ${this.#plain(line)}`),
      ...lines(result.err).map((line) => `err: ${this.#plain(line)}`),
      `exit ${result.code.toString()}`,
      ...this.calls().map((line) => `driver: ${line}`),
      "",
    ].join("\n");
  }

  /** What the driver was asked since the last time; what every client asks first is left out. */
  calls(): string[] {
    const bodies = this.plugin.bodies.slice(this.#seen);
    this.#seen = this.plugin.bodies.length;
    return bodies
      .filter(({ method }) => method !== "Activate" && method !== "Capabilities")
      .map(({ method, body }) => {
        const options = body.Opts && Object.keys(body.Opts).length ? ` ${JSON.stringify(body.Opts)}` : "";
        const id = body.ID === undefined ? "" : ` ${this.#name(this.#ids, body.ID, "ID")}`;
        return [method, body.Name].filter(Boolean).join(" ") + id + options;
      });
  }

  /** FOLDER1, FOLDER2, …: stages, in the order in which they were seen. */
  #plain(line: string): string {
    return line.replaceAll(new RegExp(`${this.world.stageRoot}/[0-9a-f]{64}/[0-9a-f]{12}-[0-9]+`, "g"), (path) =>
      this.#name(this.#folders, path, "FOLDER"),
    );
  }

  #name(known: string[], value: string, kind: string): string {
    assert.ok(kind !== "ID" || /^[0-9a-f]{64}$/.test(value), `an ID that is none: ${value}`);
    if (!known.includes(value)) known.push(value);
    return `${kind}${(known.indexOf(value) + 1).toString()}`;
  }
}

function lines(text: string): string[] {
  return text ? text.replace(/\n$/, "").split("\n") : [];
}

function expect(told: string[], golden: string): void {
  const wanted = golden
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .join("\n");
  assert.equal(told.join("").replaceAll("\n\n", "\n").trim(), wanted);
}

test("mount, mount again, unmount: one Mount, one Unmount, one ID", { skip }, async (t) => {
  const stage = await Stage.set(t, {});
  expect(
    [
      await stage.run("mount", ["--volumeopts=size=5", "--volumeopts=label=two words", "--volumeopts=o=ro,noatime"]),
      // For the next container; the answer must be the same, whatever the options.
      await stage.run("mount", ["--volumeopts=o=ro,noatime", "--volumeopts=label=two words", "--volumeopts=size=5"]),
      await stage.run("mount", ["--volumeopts=size=7"]),
      await stage.run("path"),
      await stage.run("unmount"),
      await stage.run("unmount"),
      await stage.run("path"),
    ],
    `
    $ dvdcli mount --volumedriver=d --volumename=v --volumeopts=size=5 '--volumeopts=label=two words' '--volumeopts=o=ro,noatime'
    out: FOLDER1
    err: dvdcli: created new volume v
    exit 0
    driver: Get v
    driver: List
    driver: Create v {"label":"two words","o":"ro,noatime","size":"5"}
    driver: Mount v ID1
    $ dvdcli mount --volumedriver=d --volumename=v '--volumeopts=o=ro,noatime' '--volumeopts=label=two words' --volumeopts=size=5
    out: FOLDER1
    exit 0
    $ dvdcli mount --volumedriver=d --volumename=v --volumeopts=size=7
    out: FOLDER1
    exit 0
    $ dvdcli path --volumedriver=d --volumename=v
    out: FOLDER1
    exit 0
    $ dvdcli unmount --volumedriver=d --volumename=v
    exit 0
    driver: Unmount v ID1
    $ dvdcli unmount --volumedriver=d --volumename=v
    exit 0
    $ dvdcli path --volumedriver=d --volumename=v
    exit 0
    driver: Get v
    `,
  );
});

test("the folder holds the volume, and is writable", { skip }, async (t) => {
  const stage = await Stage.set(t, { volumes: ["v"] });
  const mounted = await stage.world.dvdcli(["mount", "--volumedriver=d", "--volumename=v"]);
  assert.equal(mounted.code, 0, mounted.all);
  writeFileSync(stage.world.outside(join(mounted.out.trim(), "file")), "x");
  assert.equal(await stage.world.must(["cat", join(stage.plugin.folder, "v/file")]), "x");
  assert.equal((await stage.world.dvdcli(["unmount", "--volumedriver=d", "--volumename=v"])).code, 0);
});

test("a mount that fails: the driver's reason, and an unmount that succeeds", { skip }, async (t) => {
  const stage = await Stage.set(t, {
    volumes: ["v", "w"],
    Mount: (body) => ({ status: 500, text: JSON.stringify({ Err: `no device for ${body.Name}` }) }),
  });
  expect(
    [
      await stage.run("mount"),
      // Mesos unmounts all volumes of the container then, also those that were never mounted.
      await stage.run("unmount"),
      await stage.run("unmount", [], "w"),
    ],
    `
    $ dvdcli mount --volumedriver=d --volumename=v
    err: dvdcli: driver d answered Mount of volume "v" with "no device for v" (volume v, driver d). This is the driver's own answer; its log may say more
    exit 1
    driver: Get v
    driver: Mount v ID1
    driver: Unmount v ID1
    $ dvdcli unmount --volumedriver=d --volumename=v
    exit 0
    $ dvdcli unmount --volumedriver=d --volumename=w
    exit 0
    `,
  );
});

test("--explicitcreate: what is not there is not created", { skip }, async (t) => {
  const stage = await Stage.set(t, {});
  expect(
    [
      await stage.run("mount", ["--explicitcreate=true"]),
      await stage.run("create", ["--volumeopts=size=5"]),
      await stage.run("create", ["--volumeopts=size=5"]),
      await stage.run("mount", ["--explicitcreate"]),
      await stage.run("unmount"),
    ],
    `
    $ dvdcli mount --volumedriver=d --volumename=v --explicitcreate=true
    err: dvdcli: volume "v" (driver d) does not exist (the driver says "no volume v"), and it is not created because create is never (volume v, driver d). Check the name, create the volume first, or say create: if-missing
    exit 1
    driver: Get v
    driver: List
    $ dvdcli create --volumedriver=d --volumename=v --volumeopts=size=5
    err: dvdcli: created new volume v
    exit 0
    driver: Get v
    driver: List
    driver: Create v {"size":"5"}
    $ dvdcli create --volumedriver=d --volumename=v --volumeopts=size=5
    err: dvdcli: v exists already
    exit 0
    driver: Get v
    $ dvdcli mount --volumedriver=d --volumename=v --explicitcreate
    out: FOLDER1
    exit 0
    driver: Get v
    driver: Mount v ID1
    $ dvdcli unmount --volumedriver=d --volumename=v
    exit 0
    driver: Unmount v ID1
    `,
  );
});

test("an unmount that the driver refuses is an error, and is tried again with the same ID", { skip }, async (t) => {
  let busy = true;
  const stage = await Stage.set(t, {
    volumes: ["v"],
    Get: ({ Name }) => ({ Volume: { Name, Mountpoint: join(stage.plugin.folder, Name) }, Err: "" }),
    Unmount: () => (busy ? { Err: "still detaching" } : { Err: "" }),
  });
  expect(
    [await stage.run("mount"), await stage.run("unmount"), ((busy = false), await stage.run("unmount"))],
    `
    $ dvdcli mount --volumedriver=d --volumename=v
    out: FOLDER1
    exit 0
    driver: Get v
    driver: Mount v ID1
    $ dvdcli unmount --volumedriver=d --volumename=v
    err: dvdcli: not unmounted: still detaching (volume v, driver d). It is tried again by the next unmount and by \`dvdi recover\`
    exit 1
    driver: Unmount v ID1
    driver: Get v
    $ dvdcli unmount --volumedriver=d --volumename=v
    exit 0
    driver: Unmount v ID1
    `,
  );
});

test("kill -9 in the middle of a mount: unmount undoes it, and mount begins anew", { skip }, async (t) => {
  let answer = (): void => undefined;
  let asked = 0;
  const stage = await Stage.set(t, {
    volumes: ["v"],
    Mount: async ({ Name }) => {
      if (asked++ % 2 === 0) await new Promise<void>((done) => (answer = done));
      return { Mountpoint: join(stage.plugin.folder, Name), Err: "" };
    },
  });
  const begun = async (): Promise<void> => {
    const mounts = stage.plugin.count("Mount");
    const mounting = stage.world.beginDvdcli(["mount", "--volumedriver=d", "--volumename=v"]);
    await until("the driver is asked", () => stage.plugin.count("Mount") > mounts);
    mounting.kill("SIGKILL");
    await mounting.ended;
    answer();
  };
  await begun();
  assert.deepEqual(stage.calls(), ["Get v", "Mount v ID1"]);
  expect(
    [await stage.run("unmount"), await stage.run("mount"), await stage.run("unmount")],
    `
    $ dvdcli unmount --volumedriver=d --volumename=v
    exit 0
    driver: Unmount v ID1
    $ dvdcli mount --volumedriver=d --volumename=v
    out: FOLDER1
    exit 0
    driver: Get v
    driver: Mount v ID2
    $ dvdcli unmount --volumedriver=d --volumename=v
    exit 0
    driver: Unmount v ID2
    `,
  );
  // Mounted again without an unmount between: what was begun is undone first, or taken over.
  await begun();
  stage.calls();
  const told = await stage.run("mount");
  assert.match(told, /out: FOLDER2\nexit 0\n/);
  assert.match(await stage.run("unmount"), /exit 0\ndriver: Unmount v ID\d\n/);
  assert.equal(stage.plugin.count("Unmount") >= 3, true);
});

test("two mounts at once are one", { skip }, async (t) => {
  let answer = (): void => undefined;
  const stage = await Stage.set(t, {
    volumes: ["v"],
    Mount: async ({ Name }) => {
      await new Promise<void>((done) => (answer = done));
      return { Mountpoint: join(stage.plugin.folder, Name), Err: "" };
    },
  });
  const args = ["mount", "--volumedriver=d", "--volumename=v"];
  const first = stage.world.beginDvdcli(args);
  await until("the driver is asked", () => stage.plugin.count("Mount") === 1);
  const second = stage.world.beginDvdcli(args);
  // Whether the second one has begun yet or not, the outcome is the same.
  answer();
  const [one, two] = await Promise.all([first.ended, second.ended]);
  assert.equal(one.code, 0, one.all);
  assert.equal(two.code, 0, two.all);
  assert.equal(one.out, two.out);
  assert.equal(stage.plugin.count("Mount"), 1);
  assert.match(await stage.run("unmount"), /exit 0/);
});

test("a volume that somebody else uses stays mounted after the unmount", { skip }, async (t) => {
  const stage = await Stage.set(t, { volumes: ["v"] }, `${NO_RETRIES}  defaults: {access: multi-writer}\n`);
  assert.match(await stage.run("mount"), /exit 0/);
  const held = await stage.world.hold(["-v", `v:${stage.world.target("v")}`, "--volume-driver", "d"]);
  assert.match(await stage.run("unmount"), /exit 0\n$/);
  assert.equal(stage.plugin.count("Unmount"), 0);
  assert.equal((await held.release()).code, 0);
  await until("it is unmounted", () => stage.plugin.count("Unmount") === 1);
});

test("a mount of another mount namespace is not taken from the processes there", { skip }, async (t) => {
  const stage = await Stage.set(t, { volumes: ["v"] });
  const { world } = stage;
  // As a service with PrivateMounts: it sees what the node mounts, and nobody sees what it mounts.
  const private_ = ["unshare", "--mount", "--propagation", "slave"];
  const mount = ["mount", "--volumedriver=d", "--volumename=v"];
  const script = '"$@" && cd "$("$@")" && echo "at work" && exec cat';
  const env = { DVDI_CONFIG: world.config };
  const service = world.start([...private_, "sh", "-c", script, "sh", world.dvdcliPath, ...mount], { env });
  await service.says(/^at work$/m);
  stage.calls();
  const refused =
    /err: dvdcli: the stage FOLDER\d is not mounted here \(volume v, driver d\)\. Run dvdcli in the mount/;
  for (const flags of [[], ["--volumeopts=size=7"]]) {
    const told = await stage.run("mount", flags);
    assert.match(told, refused);
    assert.match(told, /\nexit 1\n$/, "and no driver is called");
  }
  // There it is what it was.
  const enter = ["nsenter", `--mount=/proc/${service.pid.toString()}/ns/mnt`, "--"];
  const again = await world.run([...enter, world.dvdcliPath, ...mount], { env });
  assert.equal(again.code, 0, again.all);
  assert.equal(`${again.out.trim()}\n`, /^\/.*\n/m.exec(service.out)?.[0]);
  service.closeInput();
  assert.equal((await service.end()).code, 0);
  // Its namespace has ended, and the mount with it.
  if (readlinkSync("/proc/self/ns/pid") === "pid:[4026531836]") {
    assert.match(
      await stage.run("mount"),
      /out: FOLDER\d\nexit 0\ndriver: Unmount v ID1\ndriver: Get v\ndriver: Mount v ID2\n/,
    );
  }
  assert.match(await stage.run("unmount"), /exit 0/);
});

test("a folder that somebody unmounted is mounted anew", { skip }, async (t) => {
  const stage = await Stage.set(t, { volumes: ["v"] });
  for (const flags of [[], ["--volumeopts=size=7"]]) {
    const mounted = await stage.world.dvdcli(["mount", "--volumedriver=d", "--volumename=v"]);
    assert.equal(mounted.code, 0, mounted.all);
    await stage.world.must(["umount", mounted.out.trim()]);
    stage.calls();
    const told = await stage.run("mount", flags);
    assert.match(told, /out: FOLDER\d\nexit 0\ndriver: Unmount v ID\d\ndriver: Get v\ndriver: Mount v ID\d\n/);
    assert.match(await stage.run("unmount"), /exit 0/);
  }
});

test("get, list, remove", { skip }, async (t) => {
  const gone = new Set<string>();
  const stage = await Stage.set(t, {
    volumes: ["v", "w"],
    Remove: ({ Name }) => {
      gone.add(Name);
      stage.plugin.volumes.delete(Name);
      return { Err: "" };
    },
  });
  assert.match(await stage.run("mount", [], "w"), /exit 0/);
  expect(
    [await stage.run("get"), await stage.run("list", [], ""), await stage.run("remove"), await stage.run("get")],
    `
    $ dvdcli get --volumedriver=d --volumename=v
    out: v
    exit 0
    driver: Get v
    $ dvdcli list --volumedriver=d
    out: v
    out: w
    exit 0
    driver: List
    $ dvdcli remove --volumedriver=d --volumename=v
    exit 0
    driver: Get v
    driver: Remove v
    $ dvdcli get --volumedriver=d --volumename=v
    err: dvdcli: the volume is not known on this node, and its driver says: no volume v (volume v, driver d). \`dvdi ls\` lists the volumes of this node, \`dvdi plugins\` the drivers
    exit 1
    driver: Get v
    `,
  );
  // Not what is mounted.
  const told = await stage.run("remove", [], "w");
  assert.match(told, /err: dvdcli: volume w is in use on this node by scope d\/w of dvdcli: it is not removed/);
  assert.match(told, /exit 1\n$/);
  assert.deepEqual([...gone], ["v"]);
  assert.match(await stage.run("unmount", [], "w"), /exit 0/);
});

test("what the old one did wrong", { skip }, async (t) => {
  const stage = await Stage.set(t, {});
  const world = stage.world;
  const ended = async (args: string[]): Promise<[number, string]> => {
    const done = await world.dvdcli(args);
    return [done.code, done.err];
  };
  assert.deepEqual(await ended(["frobnicate"]), [
    1,
    'dvdcli: there is no verb "frobnicate". `dvdcli help` says what is known\n',
  ]);
  assert.deepEqual(await ended(["mount", "--volumedriver=d", "--volumename=v", "--volumeopts=size"]), [
    1,
    "dvdcli: --volumeopts size is no KEY=VALUE. `dvdcli help` says what is known\n",
  ]);
  // A spec without TLSConfig.
  writeFileSync(join(world.specs, "spec.json"), JSON.stringify({ Name: "spec", Addr: `unix://${world.socket("d")}` }));
  assert.deepEqual(await ended(["list", "--volumedriver=spec"]), [0, ""]);
  const [code, error] = await ended(["mount", "--volumedriver=absent", "--volumename=v"]);
  assert.equal(code, 1);
  assert.match(error, /^dvdcli: .*absent.*\n$/);
});
