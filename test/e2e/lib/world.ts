// A node to test on: a folder, settings, and a mount namespace of its own, with the real `dvdi` and `dvdi-driver`. At the
// end of the test it is looked at, and everything that was left is a failure.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { whenInterrupted } from "./interrupted.ts";
import { begin, must, run, until, type Options, type Process, type Result } from "./process.ts";

export const ROOT = process.env["DVDI_ROOT"] ?? process.cwd();
export const BUILD = process.env["DVDI_NATIVE_BUILD"] ?? join(ROOT, "build/native");
export const DVDI = join(BUILD, "native/cli/dvdi");
/** Plays another boot of the kernel to whoever is started with it (native/crash/other_boot.cc). */
const OTHER_BOOT = join(BUILD, "native/crash/libdvdi_other_boot.so");
export const DRIVER = join(BUILD, "native/driver/dvdi-driver");

/** Why none of this can run here, or false: the `skip` of every test. */
export const skip: string | false = process.getuid?.() === 0 ? false : "mounting needs root";

/** What a world lives in: a test, which does this at its end. */
export interface Ending {
  after(end: () => Promise<void> | void): void;
}

export interface Shape {
  /** A node's name; also what its driver is called. */
  node?: string;
  /** What the node's mounts do to those of other namespaces, as seen from inside of the node. */
  propagation?: "private" | "shared";
  /** Live in the machine's own namespace: for plugins that the test itself is. */
  machine?: boolean;
  /** The folder of the node's plugin sockets, where it is not one of its own. */
  plugins?: string;
  /** More settings, in YAML. */
  settings?: string;
  /** Share the folder, and so the pool, of another node, with which it ends. */
  beside?: World;
}

/** One volume in the answer of `dvdi ls --json`, as far as tests look at it. */
export interface Listed {
  driver: string;
  name: string;
  id: string;
  state: string;
  mountpoint: string;
  users: { owner: string; scope: string; mode: string }[];
}

export class World {
  readonly folder: string;
  readonly home: string;
  readonly node: string;
  readonly plugins: string;
  readonly specs: string;
  readonly state: string;
  readonly pool: string;
  readonly stageRoot: string;
  readonly mountRoot: string;
  readonly config: string;
  /** Where volumes are to appear: targets are made in here, and must be gone at the end. */
  readonly targets: string;
  readonly #beside: World[] = [];
  readonly #started: Process[] = [];
  /** What to do at the end, the last first. */
  readonly #undo: (() => Promise<void> | void)[] = [];
  /** Mountpoints and loop devices of the test itself. */
  readonly #own = new Set<string>();
  #holder: Process | undefined;
  #boot: string | undefined;

  private constructor(private readonly shape: Shape) {
    this.folder = shape.beside?.folder ?? mkdtempSync(join(tmpdir(), "dvdi-e2e-"));
    this.node = shape.node ?? "node-a";
    this.home = join(this.folder, this.node);
    this.plugins = shape.plugins ?? join(this.home, "plugins");
    this.specs = join(this.home, "specs");
    this.state = join(this.home, "state");
    this.stageRoot = join(this.state, "stage");
    this.targets = join(this.home, "t");
    this.mountRoot = join(this.home, "mounts");
    this.config = join(this.home, "config.yaml");
    this.pool = join(this.folder, "pool");
  }

  /** Makes a node; it ends with the test. */
  static async make(t: Ending, shape: Shape = {}): Promise<World> {
    const world = new World(shape);
    if (shape.beside) shape.beside.#beside.push(world);
    else {
      const stays = whenInterrupted(() => world.#abandon());
      t.after(() => world.#end().finally(stays));
    }
    chmodSync(world.folder, 0o755);
    const folders = [world.home, world.specs, world.state, world.targets, world.pool];
    for (const folder of shape.plugins ? folders : [...folders, world.plugins]) {
      mkdirSync(folder, { recursive: true, mode: 0o755 });
    }
    world.settings(shape.settings ?? "");
    if (!shape.machine) await world.#unshare();
    return world;
  }

  /** Writes the settings file anew: where everything is, and these lines. */
  settings(more: string): void {
    const lines = [
      `node: ${this.node}`,
      `state_dir: ${this.state}`,
      `runtime_dir: ${join(this.home, "runtime")}`,
      ...(more.includes("plugins:") ? [] : ["plugins:", ...this.#folders()]),
      more.replace(/^plugins:$/m, (line) => [line, ...this.#folders()].join("\n")),
    ];
    writeFileSync(this.config, `${lines.join("\n")}\n`, { mode: 0o644 });
  }

  #folders(): string[] {
    return [`  sockets: [${this.plugins}]`, `  specs: [${this.specs}]`];
  }

  socket(name: string): string {
    return join(this.plugins, `${name}.sock`);
  }

  /** A path of this node's namespace, as the test itself reaches it. */
  outside(path: string): string {
    return this.#holder ? `/proc/${this.#holder.pid}/root${path}` : path;
  }

  target(name: string): string {
    return join(this.targets, name);
  }

  /** The command line that runs in this node's namespace. */
  enter(command: string[]): string[] {
    const boot = this.#boot ? ["env", `LD_PRELOAD=${OTHER_BOOT}`, `DVDI_OTHER_BOOT=${this.#boot}`] : [];
    const all = [...boot, ...command];
    if (!this.#holder) return all;
    return ["nsenter", `--mount=/proc/${this.#holder.pid}/ns/mnt`, `--wdns=${process.cwd()}`, "--", ...all];
  }

  /**
   * What is started on this node from now on sees a boot with that id; none: the kernel's. All else that a reboot takes is the test's to
   * take. Not by a file over the kernel's: programs look beneath it.
   */
  boots(id?: string): void {
    if (id !== undefined) assert.ok(existsSync(OTHER_BOOT), `${OTHER_BOOT} is not built`);
    this.#boot = id;
  }

  run(command: string[], options: Options = {}): Promise<Result> {
    return run(this.enter(command), options);
  }

  must(command: string[]): Promise<string> {
    return must(this.enter(command));
  }

  /** `dvdi` on this node, to its end. */
  dvdi(args: string[], options: Options = {}): Promise<Result> {
    return this.run([DVDI, ...args], this.#configured(options));
  }

  /** Starts `dvdi` on this node. */
  begin(args: string[], options: Options = {}): Process {
    return this.#keep(begin(this.enter([DVDI, ...args]), this.#configured(options)));
  }

  /** Starts any program on this node; it ends with the test. */
  start(command: string[], options: Options = {}): Process {
    return this.#keep(begin(this.enter(command), options));
  }

  /** `dvdcli` on this node: the same program by its other name. */
  dvdcli(args: string[], options: Options = {}): Promise<Result> {
    return this.run([this.dvdcliPath, ...args], this.#configured(options));
  }

  /** Starts `dvdcli` on this node. */
  beginDvdcli(args: string[], options: Options = {}): Process {
    return this.#keep(begin(this.enter([this.dvdcliPath, ...args]), this.#configured(options)));
  }

  /** The program by its other name. */
  get dvdcliPath(): string {
    const link = join(this.home, "dvdcli");
    if (!existsSync(link)) symlinkSync(DVDI, link);
    return link;
  }

  #configured(options: Options): Options {
    return { ...options, env: { DVDI_CONFIG: this.config, ...options.env } };
  }

  /**
   * Starts a run that holds its volumes until `release`: its command is a `cat`, which ends with its input, also when
   * the test or `dvdi` is killed. Returns when the command runs.
   */
  async hold(args: string[]): Promise<Process & { release: () => Promise<Result> }> {
    const held = this.begin(["run", ...args, "--", "cat"]);
    held.write("the command runs\n");
    await held.says(/^the command runs$/m);
    const release = (): Promise<Result> => {
      held.closeInput();
      return held.end();
    };
    return Object.assign(held, { release });
  }

  /** `dvdi ARGS --json`, which must not fail. */
  async json<T>(args: string[]): Promise<T> {
    const result = await this.dvdi([...args, "--json"]);
    assert.equal(result.code, 0, result.all);
    return JSON.parse(result.out) as T;
  }

  async ls(): Promise<Listed[]> {
    return (await this.json<{ volumes: Listed[] }>(["ls"])).volumes;
  }

  /** A plugin or another server on this node, until the test ends. It dies with the test, however that ends. */
  serve(command: string[], options: Options = {}): Process {
    return this.#keep(begin(this.enter(["setpriv", "--pdeathsig", "KILL", ...command]), options));
  }

  /** The driver that ships, when it listens. Its pool is the world's, unless `more` names pools. */
  async driver(socket = this.socket("dvdi"), more: string[] = []): Promise<Process> {
    const pool = more.includes("--pool") || more.includes("--config") ? [] : ["--pool", this.pool];
    const args = ["--node-id", this.node, "--socket", socket, "--mount-root", this.mountRoot];
    const started = this.serve([DRIVER, ...pool, ...args, ...more]);
    await started.says(/serves pool/);
    return started;
  }

  /** A mount for the test, for as long as it goes on. */
  async mount(args: string[], at: string): Promise<void> {
    mkdirSync(at, { recursive: true });
    await this.must(["mount", ...args, at]);
    this.#own.add(at);
    this.#undo.push(async () => void (await this.must(["umount", at])));
  }

  /** A file as a loop device, for as long as the test goes on. Returns the device. */
  async loop(file: string): Promise<string> {
    const device = (await must(["losetup", "--find", "--show", file])).trim();
    this.#own.add(device);
    this.#undo.push(async () => void (await must(["losetup", "--detach", device])));
    return device;
  }

  /** Says that a mount or a loop device is the test's own, and nothing that was left behind. */
  own(what: string): void {
    this.#own.add(what);
  }

  /** Something more to do at the end of the test, when the programs have ended; the last first. */
  atEnd(action: () => Promise<void> | void): void {
    this.#undo.push(action);
  }

  /** The mountpoints in this node that lie beneath its folder, without those of the test and those that stay by design. */
  mounts(): string[] {
    const byDesign = [this.stageRoot, this.mountRoot];
    return mountpoints(this.#holder?.pid ?? "self").filter(
      (path) => path.startsWith(`${this.home}/`) && !byDesign.includes(path) && !this.#own.has(path),
    );
  }

  /** The loop devices whose files lie beneath the folder, without those of the test: "/dev/loop3 FILE". */
  async loops(): Promise<string[]> {
    const listed = await must(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]);
    const lines = listed.split("\n").map((line) => line.trim());
    return lines.filter((line) => line.includes(this.folder) && !this.#own.has(line.split(/\s/)[0] ?? ""));
  }

  /** Fails unless all is as it was before: no mount, no loop device, no lease, no stage, no target. */
  async nothingLeft(): Promise<void> {
    const entries = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
    let left: string[] = [];
    const look = async (): Promise<boolean> => {
      left = [
        ...this.mounts().map((path) => `mounted: ${path}`),
        ...(await this.loops()).map((line) => `attached: ${line}`),
        ...entries(this.targets).map((name) => `target: ${this.target(name)}`),
        ...entries(this.stageRoot).map((name) => `stage: ${name}`),
        ...entries(this.pool)
          .filter((volume) => this.leased(volume))
          .map((volume) => `leased: ${volume}`),
      ];
      return left.length === 0;
    };
    // A release goes on behind its answer, and the kernel lets go of a loop device a moment after the last mount.
    await until("nothing is left", look, 12_000).catch(() => assert.fail(`left behind:\n${left.join("\n")}`));
  }

  /** Whether a node has that volume of the pool: the lease with the highest number is not given back. */
  leased(volume: string): boolean {
    const numbers = (kind: string): number[] =>
      readdirSync(join(this.pool, volume)).flatMap((name) =>
        name.startsWith(kind) ? [Number(name.slice(kind.length))] : [],
      );
    const last = Math.max(0, ...numbers("lease."));
    return last > 0 && !numbers("released.").includes(last);
  }

  #keep(started: Process): Process {
    this.#started.push(started);
    return started;
  }

  /** A namespace lives as long as a process in it: here one that ends with its input, so with this process. */
  async #unshare(): Promise<void> {
    // A clone of a shared mount would still send its mounts to the machine: first private, then shared among its own.
    const share = this.shape.propagation === "shared" ? "mount --make-rshared / && " : "";
    const holder = begin(["unshare", "--mount", "--propagation", "private", "sh", "-c", `${share}exec cat`]);
    this.#holder = holder;
    holder.write("here\n");
    await holder.says(/^here$/m);
  }

  /** Looks at what is left, ends everything, and fails where something was left. */
  async #end(): Promise<void> {
    const problems: unknown[] = [];
    const attempt = async (action: () => Promise<void> | void): Promise<void> => {
      try {
        await action();
      } catch (error) {
        problems.push(error);
      }
    };
    const worlds = [this, ...this.#beside];
    // Commands end first. Then it is time to look; the plugins have to be there until then.
    for (const { all } of worlds.map((one) => ({ all: one.#started }))) {
      for (const one of all.filter(({ command }) => command.includes(DVDI))) await attempt(() => one.stop());
    }
    for (const world of worlds) await attempt(() => world.nothingLeft());
    for (const world of worlds) {
      for (const one of world.#started.reverse()) await attempt(() => one.stop());
      for (const action of world.#undo.reverse()) await attempt(action);
      world.#holder?.closeInput();
      await world.#holder?.ended;
    }
    await attempt(() => this.#remove());
    if (problems.length === 1) throw problems[0];
    if (problems.length > 1) throw new AggregateError(problems, problems.map(String).join("\n\n"));
  }

  /** Somebody ends the tests: nobody looks, nobody waits, and nothing stays mounted. */
  #abandon(): void {
    for (const world of [this, ...this.#beside]) {
      for (const one of world.#started) one.kill("SIGKILL");
      world.#holder?.kill("SIGKILL");
    }
    for (const path of this.#inside().reverse()) spawnSync("umount", ["--lazy", path]);
    const { stdout } = spawnSync("losetup", ["--list", "--noheadings", "--output", "NAME,BACK-FILE"]);
    for (const line of String(stdout).split("\n"))
      if (line.includes(this.folder)) spawnSync("losetup", ["--detach", line.trim().split(/\s/)[0] ?? ""]);
    if (this.#inside().length === 0) rmSync(this.folder, { recursive: true, force: true });
  }

  /** What is mounted in the folder, on the machine. */
  #inside(): string[] {
    return mountpoints("self").filter((path) => path.startsWith(`${this.folder}/`));
  }

  /** Removes the folder, unless something that cannot be taken away is mounted in it. */
  async #remove(): Promise<void> {
    for (const path of this.#inside().reverse()) await run(["umount", path]);
    for (const line of await this.loops()) await run(["losetup", "--detach", line.split(/\s/)[0] ?? ""]);
    assert.deepEqual(this.#inside(), [], "still mounted, so the folder is not removed");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The mountpoints that a process sees, in the order of mounting. */
function mountpoints(pid: number | "self"): string[] {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, "utf8").trimEnd().split("\n");
  return lines.map((line) => (line.split(" ")[4] ?? "").replace(/\\040/g, " "));
}
