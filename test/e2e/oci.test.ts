// Volumes of containers that a real OCI runtime starts: the hooks that `dvdi oci bundle` adds, called by crun.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { onlyCgroup2 } from "./lib/containers.ts";
import { run, until, type Result } from "./lib/process.ts";
import { skip, World } from "./lib/world.ts";

interface Container {
  annotations?: Record<string, string>;
  /** The program, in a shell of the machine. */
  script: string;
  user?: { uid: number; gid: number };
  cwd?: string;
  /** A user namespace that it joins. */
  userNamespace?: string;
}

class Runtime {
  private constructor(
    readonly world: World,
    readonly rootfs: string,
  ) {}

  static async make(t: TestContext, settings = ""): Promise<Runtime | undefined> {
    if ((await run(["which", "crun"])).code !== 0) return void t.skip("crun is not installed");
    const world = await World.make(t, { settings });
    await world.driver();
    await onlyCgroup2(world);
    // A root of empty folders and links, with the machine's programs in it.
    const rootfs = join(world.home, "rootfs");
    for (const name of ["usr", "proc", "dev", "sys", "tmp"]) mkdirSync(join(rootfs, name), { recursive: true });
    for (const name of ["bin", "sbin", "lib", "lib64"]) {
      if (existsSync(`/${name}`)) symlinkSync(`usr/${name}`, join(rootfs, name));
    }
    return new Runtime(world, rootfs);
  }

  /** The file of what the hooks said. */
  get said(): string {
    return join(this.world.home, "hooks.log");
  }

  /** A bundle of the machine's own root, with the hooks. */
  async bundle(name: string, container: Container): Promise<string> {
    const { annotations, script, user, cwd, userNamespace } = container;
    const folder = join(this.world.home, name);
    mkdirSync(folder);
    // Others are not the joined namespace's to make.
    const namespaces = userNamespace
      ? [{ type: "pid" }, { type: "mount" }, { type: "user", path: userNamespace }]
      : [{ type: "pid" }, { type: "ipc" }, { type: "uts" }, { type: "mount" }];
    const config = {
      ociVersion: "1.0.0",
      process: {
        terminal: false,
        user: user ?? { uid: 0, gid: 0 },
        args: ["/bin/sh", "-c", script],
        env: ["PATH=/usr/bin:/usr/sbin"],
        cwd: cwd ?? "/",
        noNewPrivileges: true,
      },
      root: { path: this.rootfs, readonly: false },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
        { destination: "/usr", type: "bind", source: "/usr", options: ["rbind", "ro"] },
      ],
      // crun throws away what hooks say unless it is told where to put it.
      annotations: { "run.oci.hooks.stderr": this.said, ...annotations },
      linux: { namespaces },
    };
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    const added = await this.world.dvdi(["oci", "bundle", folder]);
    assert.equal(added.code, 0, added.all);
    return folder;
  }

  crun(args: string[], umask = "022"): Promise<Result> {
    const root = join(this.world.home, "crun");
    const command = ["crun", "--root", root, "--cgroup-manager", "disabled", ...args];
    return this.world.run(["sh", "-c", `umask ${umask}; exec "$@"`, "sh", ...command]);
  }

  /** Starts one that sleeps, until the test ends. */
  async start(
    t: TestContext,
    name: string,
    annotations: Record<string, string>,
  ): Promise<{ bundle: string; pid: number }> {
    const pidFile = join(this.world.home, "pid");
    const log = join(this.world.home, "log");
    const bundle = await this.bundle(name, { annotations, script: "exec sleep 300" });
    const root = join(this.world.home, "crun");
    // Detached, so that nobody waits for it; its output is not ours to wait for either.
    const detach = ["run", "--detach", "--pid-file", pidFile, "--bundle", bundle, name];
    const command = ["crun", "--root", root, "--cgroup-manager", "disabled", ...detach];
    const started = await this.world.run(["sh", "-c", '"$@" </dev/null >"$0" 2>&1', log, ...command]);
    assert.equal(started.code, 0, readFileSync(log, "utf8"));
    const pid = Number(readFileSync(pidFile, "utf8"));
    t.after(() => void run(["kill", "-KILL", String(pid)]));
    return { bundle, pid };
  }

  /** Runs it to its end. */
  async run(name: string, container: Container, umask?: string): Promise<Result> {
    const bundle = await this.bundle(name, container);
    return this.crun(["run", "--bundle", bundle, name], umask);
  }
}

const data = (more = ""): Record<string, string> => ({
  "dvdi.volume.data": `data:/srv/data${more}`,
  "dvdi.driver": "dvdi",
});

test("crun's container has its volume, and the next one has the same data", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const { world } = runtime;
  const first = await runtime.run("first", {
    annotations: data(),
    script: "echo kept > /srv/data/file; grep -c ' /srv/data ' /proc/self/mountinfo",
  });
  assert.equal(first.code, 0, first.all);
  assert.equal(first.out, "1\n", first.all);
  await until("it was released", async () => (await world.ls())[0]?.state === "known");
  assert.ok(!existsSync(join(runtime.rootfs, "srv/data/file")), "it is in the volume, not in the root folder");

  const second = await runtime.run("second", {
    annotations: { ...data(":ro"), "dvdi.statement": "volumes: [{name: more, driver: dvdi, container_path: inner}]" },
    script: "cat /srv/data/file; touch /srv/data/x 2>/dev/null || echo read-only; touch /tmp/inner/y && pwd",
    cwd: "/tmp",
  });
  assert.equal(second.out, "kept\nread-only\n/tmp\n", second.all);
  await world.nothingLeft();
});

test("a container whose volumes are not to be had does not start", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const { world } = runtime;
  const refusals: [string, Record<string, string>, RegExp][] = [
    ["wrong", { "dvdi.statement": "volumes: [{name: data, driver: dvdi, pathh: /srv}]" }, /"pathh" is not known/],
    ["in-proc", { "dvdi.volume": "data:/proc/x", "dvdi.driver": "dvdi" }, /a volume cannot be at \/proc\/x/],
    [
      "on-file",
      { "dvdi.volume.a": "data:/srv/x", "dvdi.volume.b": "other:/file", "dvdi.driver": "dvdi" },
      /target \/file in the container's root: Not a directory \(volume other, driver dvdi\)\. A volume is a folder/,
    ],
  ];
  writeFileSync(join(runtime.rootfs, "file"), "");
  for (const [name, annotations, why] of refusals) {
    const refused = await runtime.run(name, { annotations, script: "echo it runs" });
    assert.notEqual(refused.code, 0, refused.all);
    assert.equal(refused.out, "", refused.all);
    assert.match(readFileSync(runtime.said, "utf8"), why);
    await runtime.crun(["delete", "--force", name]);
  }
  const folder = join(world.home, "mistyped");
  mkdirSync(folder);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ annotations: { "dvdi.volumes": "data:/srv" } }));
  const mistyped = await world.dvdi(["oci", "bundle", folder]);
  assert.equal(mistyped.code, 11, mistyped.all);
  assert.match(mistyped.err, /annotation dvdi\.volumes is not known/);
  await until("all is undone", async () => {
    await world.dvdi(["recover", "--wait"]);
    return (await world.json<{ scopes: number }>(["status"])).scopes === 0;
  });
});

test("what a killed container leaves behind is cleaned up without its runtime", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const { world } = runtime;
  const { pid } = await runtime.start(t, "killed", data());
  const [volume] = await world.ls();
  assert.deepEqual(
    volume?.users.map(({ owner, scope }) => `${owner} ${scope}`),
    ["oci killed"],
  );
  // Nothing that is asked meanwhile ends it.
  assert.equal((await world.dvdi(["recover", "--wait"])).code, 0);
  assert.equal((await world.ls())[0]?.state, "attached");

  process.kill(pid, "SIGKILL");
  await until("recover has cleaned up", async () => {
    const recovered = await world.dvdi(["recover", "--wait"]);
    assert.equal(recovered.code, 0, recovered.all);
    return (await world.ls())[0]?.state === "known";
  });
  await world.nothingLeft();
  const deleted = await runtime.crun(["delete", "--force", "killed"]);
  assert.equal(deleted.code, 0, deleted.all);
});

test("a hook that is called twice, and fails then, takes nothing from the container", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const { world } = runtime;
  const { bundle, pid } = await runtime.start(t, "called", data());
  // Its root is not where it was when the runtime called the hook.
  const state = JSON.stringify({ ociVersion: "1.0.0", id: "called", status: "created", pid, bundle });
  const again = await world.dvdi(["oci", "hook"], { input: state });
  assert.equal(again.code, 17, again.all);
  assert.match(again.err, /cannot open the container's root folder/);
  const [volume] = await world.ls();
  assert.deepEqual([volume?.state, volume?.users.length], ["attached", 1]);
  process.kill(pid, "SIGKILL");
  await until("recover has cleaned up", async () => {
    await world.dvdi(["recover", "--wait"]);
    return (await world.ls())[0]?.state === "known";
  });
  const deleted = await runtime.crun(["delete", "--force", "called"]);
  assert.equal(deleted.code, 0, deleted.all);
});

test("a container of another user reaches its volume, whatever the umask of its runtime", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const container = { annotations: data(), user: { uid: 1000, gid: 1000 }, script: "stat -c %a /srv; ls /srv/data" };
  const done = await runtime.run("masked", container, "077");
  assert.equal(done.out.split("\n")[0], "755", done.all);
  assert.equal(done.code, 0, done.all);
  await runtime.world.nothingLeft();
});

test("in the user namespace of others, ownership means the user that it has on the node", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const { world } = runtime;
  // As a pod's first container holds it for the others.
  const holder = world.start(["unshare", "--user", "cat"]);
  const map = (kind: string): string => `/proc/${holder.pid}/${kind}_map`;
  await until("it has its namespace", () => readFileSync(map("uid"), "utf8") === "");
  for (const kind of ["uid", "gid"]) writeFileSync(map(kind), "0 100000 65536");
  const done = await runtime.run("of-a-pod", {
    annotations: {
      "dvdi.statement": "volumes: [{name: data, driver: dvdi, container_path: /srv/data, ownership: root-dir}]",
    },
    user: { uid: 5, gid: 6 },
    script: "stat -c %u:%g /srv/data && touch /srv/data/file",
    userNamespace: `/proc/${holder.pid}/ns/user`,
  });
  assert.equal(done.out, "5:6\n", done.all);
  assert.equal(done.code, 0, done.all);
  await world.nothingLeft();
});

test("a symlink in the container's root leads nowhere outside of it", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const { world } = runtime;
  const outside = join(world.home, "outside");
  mkdirSync(outside);
  symlinkSync(outside, join(runtime.rootfs, "evil"));
  mkdirSync(join(runtime.rootfs, outside), { recursive: true }); // where it leads in the container
  const done = await runtime.run("linked", {
    annotations: { "dvdi.volume": "data:/evil/data", "dvdi.driver": "dvdi" },
    script: "echo here > /evil/data/file && cat /evil/data/file",
  });
  assert.ok(!existsSync(join(outside, "data")), "nothing was made on the machine");
  assert.equal(done.out, "here\n", done.all);
  await world.nothingLeft();
});

test("a symlink in the container's root leads no volume to what its runtime has mounted", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const { world } = runtime;
  for (const [name, link] of [
    ["proc", "/proc"],
    ["sys", "proc/../sys"],
  ] as const) {
    symlinkSync(link, join(runtime.rootfs, `to-${name}`));
    const done = await runtime.run(`linked-to-${name}`, {
      annotations: { "dvdi.volume": `data:/to-${name}`, "dvdi.driver": "dvdi" },
      script: "echo started",
    });
    assert.notEqual(done.code, 0, done.all);
    assert.equal(done.out, "");
    assert.match(
      readFileSync(runtime.said, "utf8"),
      new RegExp(`cannot be at /to-${name} .* leads to /${name} \\(volume data, driver dvdi\\)`),
    );
  }
  await world.nothingLeft();
});

test("the hooks are added once, and the rest of a bundle stays as it is", { skip }, async (t) => {
  const runtime = await Runtime.make(t);
  if (!runtime) return;
  const bundle = await runtime.bundle("twice", { annotations: data(), script: "true" });
  const before = readFileSync(join(bundle, "config.json"), "utf8");
  const again = await runtime.world.dvdi(["oci", "bundle", bundle]);
  assert.equal(again.code, 0, again.all);
  assert.equal(readFileSync(join(bundle, "config.json"), "utf8"), before);
  const config = JSON.parse(before) as { annotations: object; hooks: Record<string, { args: string[] }[]> };
  assert.deepEqual(Object.keys(config.hooks), ["createRuntime", "poststop"]);
  assert.deepEqual(config.hooks["poststop"]?.[0]?.args, ["dvdi", "--config", runtime.world.config, "oci", "hook"]);
  assert.equal("run.oci.hooks.stderr" in config.annotations, true);

  // What is no list is not written over.
  for (const hooks of [[], { createRuntime: { path: "/bin/true" } }, { poststop: "none" }]) {
    const wrong = JSON.stringify({ ...config, hooks });
    writeFileSync(join(bundle, "config.json"), wrong);
    const refused = await runtime.world.dvdi(["oci", "bundle", bundle]);
    assert.equal(refused.code, 11, refused.all);
    assert.match(refused.err, /config\.json: hooks\S* is not an? (object|list)\. Mend it/);
    assert.equal(readFileSync(join(bundle, "config.json"), "utf8"), wrong);
  }
});
