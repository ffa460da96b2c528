// A real master and real agents on loopback, each agent on a node of its own (test/e2e/lib/world.ts), with the module loaded.
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { basename, join } from "node:path";
import type { TestContext } from "node:test";

import { begin, run, until, type Process } from "../../e2e/lib/process.ts";
import { BUILD, DVDI, skip as noRoot, World, type Shape } from "../../e2e/lib/world.ts";
import { Framework } from "./framework.ts";

const MESOS = process.env["DVDI_MESOS_ROOT"] ?? "";
const MODULE = join(BUILD, "native/mesos/libdvdi_mesos.so");
const CGROUPS = "/sys/fs/cgroup";

/** Why none of this can run here, or false. */
export const skip: string | false =
  noRoot ||
  (MESOS === "" ? "no installation of Apache Mesos: npm run test:mesos -- --mesos-root=DIR" : false) ||
  ([join(MESOS, "sbin/mesos-agent"), join(MESOS, "sbin/mesos-master"), MODULE]
    .find((path) => !existsSync(path))
    ?.concat(" is missing") ??
    false);

export interface AgentShape extends Shape {
  /** The module's parameters beside those that name the node's folders. */
  parameters?: Record<string, string>;
  /** Isolators beside filesystem/linux and the module. */
  isolators?: string;
  /** The module's name. */
  module?: string;
  /** Its library, where it is not the one of the build. */
  library?: string;
  /** More flags of the agent. */
  flags?: string[];
  env?: Record<string, string>;
  /** Without the module at all. */
  without?: boolean;
}

/** A port that is free now. */
function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer().once("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = address && typeof address === "object" ? address.port : 0;
      server.close(() => done(port));
    });
  });
}

const libraries = (): Record<string, string> => ({
  LD_LIBRARY_PATH: [join(MESOS, "lib"), process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(":"),
});

/** A PATH with `dvdcli` of this build. */
export function dvdcli(world: World): string {
  const bin = join(world.home, "bin");
  mkdirSync(bin);
  symlinkSync(DVDI, join(bin, "dvdcli"));
  return `${bin}:${process.env["PATH"] ?? ""}`;
}

export class Agent {
  process: Process | undefined;
  readonly work: string;
  readonly #cgroup: string;
  #known = false;

  constructor(
    readonly world: World,
    private readonly shape: AgentShape,
    private readonly master: number,
    readonly port: number,
    folder = "agent",
  ) {
    this.work = join(world.home, folder);
    this.#cgroup = `dvdi-test-${process.pid}-${port}`;
  }

  get name(): string {
    return this.world.node;
  }

  /** All that it wrote since its last start. */
  get log(): string {
    return this.process?.err ?? "";
  }

  command(): string[] {
    const { home, config } = this.world;
    const modules = join(home, "modules.json");
    const name = this.shape.module ?? "org_dvdi_DockerVolumeIsolator";
    const given = { config, helper: join(BUILD, "native/helper/dvdi-helper"), ...this.shape.parameters };
    const parameters = Object.entries(given).map(([key, value]) => ({ key, value }));
    // Both names have the same parameters, where a test names both.
    const both = name.split(",").map((one) => ({ name: one, parameters }));
    writeFileSync(modules, JSON.stringify({ libraries: [{ file: this.shape.library ?? MODULE, modules: both }] }));
    const isolation = ["filesystem/linux", this.shape.isolators, this.shape.without ? "" : name]
      .filter(Boolean)
      .join(",");
    return [
      join(MESOS, "sbin/mesos-agent"),
      `--master=127.0.0.1:${this.master}`,
      "--ip=127.0.0.1",
      `--port=${this.port}`,
      `--hostname=${this.name}`,
      `--work_dir=${this.work}`,
      `--runtime_dir=${join(home, "mesos-run")}`,
      "--launcher=linux",
      `--launcher_dir=${join(MESOS, "libexec/mesos")}`,
      `--isolation=${isolation}`,
      ...(this.shape.without ? [] : [`--modules=file://${modules}`]),
      `--cgroups_root=${this.#cgroup}`,
      "--no-systemd_enable_support",
      "--containerizers=mesos",
      "--no-hostname_lookup",
      "--executor_registration_timeout=30secs",
      "--registration_backoff_factor=10ms",
      "--resources=cpus:8;mem:4096;disk:8192",
      ...(this.shape.flags ?? []),
    ];
  }

  /** Starts it, again where it was killed, and waits until the master knows it. */
  async start(): Promise<void> {
    this.launch();
    await this.says(/(Re-r|R)egistered (agent )?with master|Registered with master|Re-registered with master/);
    // What the agent mounts for itself, before it has any container.
    if (!this.#known) for (const path of this.world.mounts()) this.world.own(path);
    this.#known = true;
  }

  /** The same without waiting. */
  launch(): Process {
    mkdirSync(this.work, { recursive: true });
    this.process = this.world.start(this.command(), { env: { ...libraries(), ...this.shape.env } });
    return this.process;
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return this.process?.says(pattern) ?? assert.fail("the agent was not started");
  }

  /** From its next start on it has the module. */
  withModule(): void {
    this.shape.without = false;
  }

  /** As the kernel does it when memory runs out: its executors go on. */
  async kill(): Promise<void> {
    this.process?.kill("SIGKILL");
    await this.process?.ended;
  }

  /** The agent's v1 operator API, and its other pages. */
  ask(message: object): Promise<{ status: number; text: string }> {
    return http(this.port, "/api/v1", message);
  }
  /** The same, and hangs up when that has come. */
  async hangUp(message: object, when: () => Promise<void>): Promise<void> {
    const caller = new AbortController();
    const asked = http(this.port, "/api/v1", message, caller.signal);
    const gone = assert.rejects(asked, { name: "AbortError" });
    await when();
    caller.abort();
    await gone;
  }
  async page(path: string): Promise<unknown> {
    const { status, text } = await http(this.port, path);
    assert.equal(status, 200, text);
    return JSON.parse(text);
  }
  async metrics(): Promise<Record<string, number>> {
    return (await this.page("/metrics/snapshot")) as Record<string, number>;
  }

  /** Containers that it has. */
  async containers(): Promise<number> {
    const { text } = await this.ask({
      type: "GET_CONTAINERS",
      get_containers: { show_nested: true, show_standalone: true },
    });
    return (
      (JSON.parse(text) as { get_containers?: { containers?: unknown[] } }).get_containers?.containers?.length ?? 0
    );
  }

  /** A file in the sandbox of a command task. */
  sandbox(framework: Framework, task: string, file = "stdout"): string {
    return readFileSync(join(this.#run(framework, task), file), "utf8");
  }

  /** The ID of a command task's container. */
  container(framework: Framework, task: string): string {
    return basename(realpathSync(this.#run(framework, task)));
  }

  #run(framework: Framework, task: string): string {
    const slaves = join(this.work, "slaves");
    for (const slave of readdirSync(slaves)) {
      const path = join(slaves, slave, "frameworks", framework.id.value, "executors", task, "runs/latest");
      if (existsSync(path)) return path;
    }
    return assert.fail(`no sandbox of task ${task}`);
  }

  /** Ends what is left of it in its cgroups, and removes them. */
  async sweep(): Promise<void> {
    const found = existsSync(CGROUPS) ? readdirSync(CGROUPS).map((one) => join(CGROUPS, one, this.#cgroup)) : [];
    for (const top of [join(CGROUPS, this.#cgroup), ...found].filter((path) => existsSync(path))) {
      const folders = (path: string): string[] => {
        const inner = readdirSync(path, { withFileTypes: true }).filter((one) => one.isDirectory());
        return [...inner.flatMap(({ name }) => folders(join(path, name))), path];
      };
      for (const folder of folders(top)) {
        const pids = (): string[] => readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
        await until(`no process in ${folder}`, () => {
          for (const pid of pids()) process.kill(Number(pid), "SIGKILL");
          return pids().length === 0;
        });
        rmdirSync(folder);
      }
    }
  }
}

function http(
  port: number,
  path: string,
  message?: object,
  signal?: AbortSignal,
): Promise<{ status: number; text: string }> {
  return new Promise((done, failed) => {
    const headers = { "content-type": "application/json", accept: "application/json" };
    const method = message ? "POST" : "GET";
    const options = { host: "127.0.0.1", port, path, method, headers, agent: false, ...(signal && { signal }) };
    const sent = request(options, (reply) => {
      let text = "";
      reply.setEncoding("utf8").on("data", (part: string) => (text += part));
      reply.on("error", failed).on("end", () => done({ status: reply.statusCode ?? 0, text }));
    });
    sent.on("error", failed).end(message ? JSON.stringify(message) : "");
  });
}

export class Cluster {
  readonly agents: Agent[] = [];
  /** Waits, as test/e2e/lib/process.ts has it. */
  readonly until = until;
  /** The driver of the first node. */
  driver!: Process;
  readonly #frameworks: Framework[] = [];
  #master: Process | undefined;

  private constructor(
    private readonly t: TestContext,
    readonly masterPort: number,
  ) {}

  /** The only agent, or the first. */
  get agent(): Agent {
    return this.agents[0] ?? assert.fail();
  }

  get world(): World {
    return this.agent.world;
  }

  /**
   * A master, and an agent for each shape, whose nodes share a pool; each with the driver that ships. All ends with `body`,
   * and then the nodes are looked at: whatever is left of a volume is a failure. `before` is called when the nodes are there
   * and no agent has started.
   */
  static async with(
    t: TestContext,
    shapes: AgentShape[],
    body: (cluster: Cluster) => Promise<void>,
    before: (world: World) => Promise<void> | void = () => undefined,
  ): Promise<void> {
    const cluster = new Cluster(t, await freePort());
    try {
      for (const shape of shapes) await cluster.#node(shape);
      await cluster.startDriver();
      await before(cluster.world);
      const args = [
        "--ip=127.0.0.1",
        `--port=${cluster.masterPort}`,
        `--work_dir=${join(cluster.world.home, "master")}`,
      ];
      const quick = ["--registry=in_memory", "--allocation_interval=50ms", "--webui_dir=/nonexistent"];
      cluster.#master = begin([join(MESOS, "sbin/mesos-master"), ...args, ...quick], { env: libraries() });
      for (const agent of cluster.agents) await agent.start();
      await body(cluster);
    } finally {
      await cluster.#end();
    }
  }

  async #node(shape: AgentShape): Promise<void> {
    const [first] = this.agents;
    const node = `node-${String.fromCharCode(97 + this.agents.length)}`;
    const beside = first ? { beside: first.world } : {};
    const world = await World.make(this.t, { node, propagation: "shared", ...beside, ...shape });
    if (first) await world.driver();
    this.agents.push(new Agent(world, shape, this.masterPort, await freePort()));
  }

  async framework(name = "test"): Promise<Framework> {
    const framework = await Framework.subscribe(this.masterPort, name);
    this.#frameworks.push(framework);
    return framework;
  }

  /** Starts the first node's driver, again where it was stopped. */
  async startDriver(): Promise<void> {
    this.driver = await this.world.driver();
  }

  /** One more agent on the first node, for a test that starts it itself. */
  async other(shape: AgentShape): Promise<Agent> {
    return new Agent(this.world, shape, this.masterPort, await freePort(), "other");
  }

  /** `mesos-execute` with these arguments, to its end. What it printed. */
  async execute(args: string[]): Promise<string> {
    const master = `--master=127.0.0.1:${this.masterPort}`;
    const result = await run([join(MESOS, "bin/mesos-execute"), master, "--name=execute", ...args], {
      env: libraries(),
    });
    return result.all;
  }

  /** The records of what a node's module prepared, newest first. */
  async prepares(world = this.world): Promise<{ outcome: string; notes?: string[] }[]> {
    interface Operation {
      kind: string;
      outcome: string;
      notes?: string[];
    }
    const { operations } = await world.json<{ operations: Operation[] }>(["explain", "--last", "100"]);
    return operations.filter(({ kind }) => kind === "prepare");
  }

  /** Waits until no container is left, and all of their volumes are given back. */
  async settled(agent = this.agent): Promise<void> {
    await until("no container is left", async () => (await agent.containers()) === 0);
    await agent.world.nothingLeft();
  }

  async #end(): Promise<void> {
    for (const framework of this.#frameworks) await framework.end();
    for (const agent of this.agents) {
      const alive = agent.process?.running === true;
      if (alive)
        await until("no container is left", async () => (await agent.containers()) === 0).catch(() => undefined);
    }
    for (const agent of this.agents) await agent.world.nothingLeft();
    for (const agent of this.agents) {
      agent.process?.kill("SIGKILL");
      await agent.process?.ended;
      await agent.sweep();
    }
    await this.#master?.stop();
  }
}
