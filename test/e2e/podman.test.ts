// Volumes of containers that a real Podman starts: the hook file that ships, in one of its folders of hooks.
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { onlyCgroup2 } from "./lib/containers.ts";
import { run, until, type Result } from "./lib/process.ts";
import { DVDI, ROOT, skip, World } from "./lib/world.ts";

const IMAGE = "localhost/dvdi-test";

class Podman {
  private constructor(readonly world: World) {}

  static async make(t: TestContext): Promise<Podman | undefined> {
    for (const program of ["podman", "conmon", "crun"]) {
      if ((await run(["which", program])).code !== 0) return void t.skip(`${program} is not installed`);
    }
    if (!existsSync("/bin/busybox")) return void t.skip("busybox-static is not installed");
    const world = await World.make(t);
    await world.driver();
    await onlyCgroup2(world);
    const podman = new Podman(world);
    podman.#hooks();
    await podman.#image();
    return podman;
  }

  #at(name: string): string {
    const folder = join(this.world.home, "podman", name);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  /** The file that the package ships, with this build's program and settings. */
  #hooks(): void {
    const shipped = readFileSync(join(ROOT, "packaging/oci/dvdi.json"), "utf8");
    const hook = JSON.parse(shipped) as { hook: { path: string; args: string[] } };
    assert.deepEqual(hook.hook, { path: "/usr/bin/dvdi", args: ["dvdi", "oci", "hook"] });
    hook.hook = { path: DVDI, args: ["dvdi", "--config", this.world.config, "oci", "hook"] };
    writeFileSync(join(this.#at("hooks"), "dvdi.json"), JSON.stringify(hook));
  }

  /** An image of nothing but a shell. */
  async #image(): Promise<void> {
    const root = this.#at("rootfs");
    for (const name of ["bin", "proc", "dev", "sys", "tmp", "etc"]) mkdirSync(join(root, name), { recursive: true });
    copyFileSync("/bin/busybox", join(root, "bin/busybox"));
    for (const name of ["sh", "cat", "grep", "touch", "sleep", "id", "ls"]) {
      symlinkSync("busybox", join(root, "bin", name));
    }
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\n");
    const tar = join(this.world.home, "image.tar");
    await this.world.must(["tar", "--create", "--file", tar, "--directory", root, "."]);
    const imported = await this.podman(["import", tar, IMAGE]);
    assert.equal(imported.code, 0, imported.all);
  }

  podman(args: string[]): Promise<Result> {
    const where = ["--root", this.#at("root"), "--runroot", this.#at("run"), "--tmpdir", this.#at("tmp")];
    const plain = ["--storage-driver", "vfs", "--runtime", "crun", "--cgroup-manager", "cgroupfs"];
    const hooks = ["--events-backend", "none", "--hooks-dir", this.#at("hooks")];
    return this.world.run(["podman", ...where, ...plain, ...hooks, ...args]);
  }

  /** Runs a script in a container to its end. */
  run(annotations: Record<string, string>, script: string, more: string[] = []): Promise<Result> {
    // Podman asks for more than a machine's own bounds may allow.
    const limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    const said = Object.entries(annotations).flatMap(([key, value]) => ["--annotation", `${key}=${value}`]);
    const alone = ["--rm", "--pull", "never", "--network", "none", "--cgroups", "disabled", ...limits];
    return this.podman(["run", ...alone, ...said, ...more, IMAGE, "/bin/sh", "-c", script]);
  }
}

test(
  "podman's container has its volume by the hook that ships, and the next one the same data",
  { skip },
  async (t) => {
    const podman = await Podman.make(t);
    if (!podman) return;
    const { world } = podman;
    const data = { "dvdi.volume.data": "data:/srv/data", "dvdi.driver": "dvdi" };
    const first = await podman.run(data, "echo kept > /srv/data/file; grep -c ' /srv/data ' /proc/self/mountinfo");
    assert.equal(first.code, 0, first.all);
    assert.equal(first.out, "1\n", first.all);
    await until("it was released", async () => (await world.ls())[0]?.state === "known");

    const second = await podman.run(
      { ...data, "dvdi.volume.data": "data:/srv/data:ro" },
      "cat /srv/data/file; touch /srv/data/x 2>/dev/null || echo read-only",
    );
    assert.equal(second.out, "kept\nread-only\n", second.all);
    await until("it was released", async () => (await world.ls())[0]?.state === "known");

    // Without a word of ours the hook is not called at all.
    const without = await podman.run({}, "ls /srv 2>/dev/null || echo no volume");
    assert.equal(without.out, "no volume\n", without.all);
    await world.nothingLeft();
  },
);

test("podman's container does not start without the volume that it names", { skip }, async (t) => {
  const podman = await Podman.make(t);
  if (!podman) return;
  // crun throws away what hooks say unless it is told where to put it.
  const said = join(podman.world.home, "hooks.log");
  const refused = await podman.run(
    { "dvdi.volume": "data:/proc/x", "dvdi.driver": "dvdi", "run.oci.hooks.stderr": said },
    "echo it runs",
  );
  assert.notEqual(refused.code, 0, refused.all);
  assert.equal(refused.out, "", refused.all);
  assert.match(readFileSync(said, "utf8"), /a volume cannot be at \/proc\/x/);
  await podman.world.nothingLeft();
});
