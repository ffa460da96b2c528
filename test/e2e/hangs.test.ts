// Drivers that accept and never answer, that answer a byte a second, that die in the middle of a call, and a filesystem behind
// which nobody is: whoever asked has an answer by its deadline, others do not notice, and when the driver is well again all settles.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { ScriptedPlugin, type Answer, type Method } from "./lib/plugin.ts";
import { run, until, type Process } from "./lib/process.ts";
import { Relay } from "./lib/relay.ts";
import { skip, World } from "./lib/world.ts";

/** The breaker stays out of it: it would answer in a sick driver's place. */
const SETTINGS = `breaker: {failures: 0}
deadlines: {call_max_ms: 3s}
release: {base_ms: 100ms, max_ms: 200ms}
policy:
  retry: {attempts: 2, base_ms: 10, max_ms: 20}
`;
const DEADLINE_MS = 3000;

/** What a sick driver does instead of an answer. */
const SICK: Record<string, (response: ServerResponse) => void> = {
  "never answers": () => undefined,
  "answers a byte a second": (response) => {
    const text = '{"Err": "", "Mountpoint": "/srv", "Volumes": []}';
    response.writeHead(200, { "Content-Length": text.length });
    let sent = 0;
    const timer = setInterval(() => {
      if (response.destroyed || sent >= text.length) clearInterval(timer);
      else response.write(text[sent++]);
    }, 1000);
    timer.unref();
  },
  "dies in the middle of its answer": (response) => {
    response.writeHead(200, { "Content-Length": 1000 });
    response.write('{"Err"', () => response.destroy());
  },
  "dies in the middle of the call": (response) => void response.destroy(),
};
/** All that a workload's beginning and end send. */
const METHODS = ["Activate", "Capabilities", "Get", "List", "Create", "Mount", "Unmount"] as const;

/** Who waits for a sick driver has a deadline; what the others take is the machine's business. */
const timeout = (driver: string): string[] => (driver === "well" ? [] : ["--timeout", `${DEADLINE_MS}ms`]);

/** The most threads and the most memory that a process had while it waited. */
function watch(process: Process): { threads: number; kilobytes: number; stop: () => void } {
  const most = { threads: 0, kilobytes: 0, stop: (): void => clearInterval(timer) };
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${process.pid}/status`, "utf8");
      most.threads = Math.max(most.threads, Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? 0));
      most.kilobytes = Math.max(most.kilobytes, Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0));
    } catch {
      // It has ended.
    }
  }, 50);
  return most;
}

for (const [what, sickness] of Object.entries(SICK)) {
  test(`a driver ${what}, at each call: an answer by the deadline, and all settles`, { skip }, async (t) => {
    const world = await World.make(t, { settings: SETTINGS });
    const well = await ScriptedPlugin.serve(world, "well", { volumes: ["data"] });
    let sick = true;
    const plugins = new Map<Method, ScriptedPlugin>();
    for (const method of METHODS) {
      const plugin: ScriptedPlugin = await ScriptedPlugin.serve(world, `sick-${method}`, {
        volumes: method === "List" || method === "Create" ? [] : ["data"],
        [method]: (body: { Name: string; ID?: string }): Answer => {
          if (!sick) return plugin.usual(method, body);
          if (what.startsWith("dies")) plugin.mounts.clear(); // its mounts end with it
          return sickness;
        },
      });
      plugins.set(method, plugin);
    }
    const timed = async (driver: string): Promise<{ ms: number; code: number; all: string; err: string }> => {
      const target = world.target(driver);
      const began = performance.now();
      const process = world.begin([
        ...["run", ...timeout(driver), "-v", `data:${target}`, "--volume-driver", driver],
        ...["--", "true"],
      ]);
      process.closeInput();
      const most = watch(process);
      const done = await process.end();
      most.stop();
      assert.ok(most.threads <= 16, `${driver}: ${most.threads} threads`);
      assert.ok(most.kilobytes <= 200_000, `${driver}: ${most.kilobytes} KiB`);
      return { ...done, ms: performance.now() - began };
    };

    // The first command compiles the policy.
    await timed("well");
    // What a process costs on this machine at this moment is measured by one that does not wait.
    const alone = await timed("well");
    assert.equal(alone.code, 0, alone.all);
    const sickOnes = Promise.all(METHODS.map((method) => timed(`sick-${method}`)));
    const beside = await timed("well");
    assert.equal(beside.code, 0, beside.all);
    const answers = await sickOnes;
    const slowest = Math.max(alone.ms, beside.ms);
    for (const [i, method] of METHODS.entries()) {
      const answer = answers[i] ?? assert.fail();
      // The command runs where only the end is sick, whose release is left to others; and a driver that has sent no
      // Capabilities in its time is a local one, as the protocol has it.
      const runs = method === "Unmount" || (method === "Capabilities" && what.startsWith("dies"));
      assert.equal(answer.code, runs ? 0 : 125, `${method}: ${answer.all}`);
      const deadline = method === "Unmount" ? 2 * DEADLINE_MS : DEADLINE_MS;
      assert.ok(answer.ms <= deadline + 1000 + slowest, `${method}: ${Math.round(answer.ms)} ms`);
      if (!runs) assert.match(answer.err, new RegExp(`sick-${method}`), "it says whose fault it is");
      // One that dies says by its next answer that nothing is mounted.
      const note =
        /^dvdi: note: data \(driver sick-Unmount\) is not released yet: [^\n]+\. `dvdi recover` tries again$/m;
      assert.equal(note.test(answer.err), method === "Unmount" && !what.startsWith("dies"), answer.err);
    }
    t.diagnostic(
      `well: ${Math.round(alone.ms)} ms alone, ${Math.round(beside.ms)} ms beside ${METHODS.length} sick ones`,
    );

    sick = false;
    await until("all has settled", async () => {
      const recovered = await world.dvdi(["recover", "--wait"]);
      assert.equal(recovered.code, 0, recovered.all);
      return (await world.json<{ pending: unknown[] }>(["status"])).pending.length === 0;
    });
    await world.nothingLeft();
    for (const method of METHODS) {
      const args = ["run", "-v", `data:${world.target("again")}`, "--volume-driver", `sick-${method}`, "--", "true"];
      const again = await world.dvdi(args);
      assert.equal(again.code, 0, `${method}: ${again.all}`);
    }
    for (const plugin of [well, ...plugins.values()]) {
      await until("each Mount has its Unmount", () => {
        const ids = (method: string): Set<string | undefined> =>
          new Set(plugin.bodies.filter((call) => call.method === method).map(({ body }) => body.ID));
        return [...ids("Mount")].every((id) => ids("Unmount").has(id));
      });
    }
  });
}

for (const method of [...METHODS, "Remove"] as const) {
  test(`the driver that ships, killed in the middle of ${method}: an answer, and all settles`, { skip }, async (t) => {
    const world = await World.make(t, { machine: true, settings: SETTINGS });
    const socket = join(world.home, "driver.sock");
    const relay = await Relay.serve(world, "dvdi", socket);
    const well = await ScriptedPlugin.serve(world, "well", { volumes: ["data"] });
    const serving = await world.driver(socket);
    const target = world.target("data");
    const use = ["run", "-v", `data:${target}`, "--volume-driver", "dvdi", "--", "true"];
    const impatient = [...timeout("dvdi"), ...use];
    const remove = [...timeout("dvdi"), "rm", "data", "--driver", "dvdi"];
    const beside = ["run", "-v", `data:${world.target("w")}`, "--volume-driver", "well", "--", "true"];
    // What a process costs on this machine at this moment; the first compiles the policy.
    let usual = 0;
    for (let i = 0; i < 2; i++) {
      usual = -performance.now();
      assert.equal((await world.dvdi(beside)).code, 0);
      usual += performance.now();
    }
    if (method === "Remove") assert.equal((await world.dvdi(use)).code, 0);
    let killed = 0;
    relay.before(`/${method === "Activate" ? "Plugin" : "VolumeDriver"}.${method}`, async (pass) => {
      killed += 1;
      void pass.silently();
      serving.kill("SIGKILL");
      await serving.ended;
      return "lose";
    });
    const began = performance.now();
    const done = await world.dvdi(method === "Remove" ? remove : impatient);
    const ms = performance.now() - began;
    assert.ok(killed > 0, `${method} was never sent: ${done.all}`);
    assert.equal(done.code === 0, method === "Unmount", done.all);
    // A command's end is an operation of its own.
    const deadline = method === "Unmount" ? 2 * DEADLINE_MS : DEADLINE_MS;
    assert.ok(ms <= deadline + 1000 + usual, `${Math.round(ms)} ms: ${done.all}`);
    if (done.code !== 0) assert.match(done.err, /^dvdi: [^\n]*driver dvdi[^\n]*\n/m);
    assert.equal((await world.dvdi(beside)).code, 0, "others go on");
    assert.equal(well.count("Mount"), well.count("Unmount"));

    relay.before(`/${method === "Activate" ? "Plugin" : "VolumeDriver"}.${method}`, (pass) => pass());
    rmSync(socket, { force: true });
    await world.driver(socket);
    const recovered = await world.dvdi(["recover", "--wait"]);
    assert.equal(recovered.code, 0, recovered.all);
    await world.nothingLeft();
    assert.deepEqual((await world.json<{ pending: unknown[] }>(["status"])).pending, []);
    assert.equal((await world.dvdi(use)).code, 0, "and it works again");
  });
}

/** A driver whose volume is a filesystem of bindfs, and one with a plain folder; each volume has the folders "sub" and "new". */
async function overFuse(t: TestContext): Promise<{
  world: World;
  dead: ScriptedPlugin;
  serve: () => Promise<Process>;
  mount: (driver: string, sub?: string) => string[];
  go: (driver: string, args?: string[], sub?: string) => ReturnType<World["dvdi"]>;
}> {
  const world = await World.make(t, { machine: true, settings: `${SETTINGS}  defaults: {access: multi-writer}\n` });
  const at = (name: string): string => join(world.home, name);
  for (const name of ["behind/sub", "behind/new", "fuse"]) mkdirSync(at(name), { recursive: true });
  world.own(at("fuse"));
  world.atEnd(async () => void (await world.run(["umount", "-l", at("fuse")])));
  const serve = async (): Promise<Process> => {
    const fuse = world.serve(["bindfs", "-f", at("behind"), at("fuse")]);
    await until("it is mounted", async () => (await world.run(["mountpoint", "-q", at("fuse")])).code === 0);
    return fuse;
  };
  const dead = await ScriptedPlugin.serve(world, "dead", {
    volumes: ["data"],
    Mount: () => ({ Mountpoint: at("fuse"), Err: "" }),
  });
  const well = await ScriptedPlugin.serve(world, "well", { volumes: ["data"] });
  mkdirSync(join(well.folder, "data/sub"));
  const mount = (driver: string, sub = "sub"): string[] => [
    "--mount",
    `type=volume,src=data,dst=${world.target(driver)},volume-driver=${driver}${sub && `,volume-subpath=${sub}`}`,
  ];
  const go = (driver: string, args = timeout(driver), sub = "sub"): ReturnType<World["dvdi"]> =>
    world.dvdi(["run", ...args, ...mount(driver, sub), "--", "true"]);
  return { world, dead, serve, mount, go };
}

/** Why there is no FUSE here, or false. */
const noFuse = skip || (!existsSync("/dev/fuse") && "there is no /dev/fuse");

const ENDS: Record<string, { signal: NodeJS.Signals; says: RegExp }> = {
  "is stopped": { signal: "SIGSTOP", says: /did not answer|deadline|hang/ },
  "is dead": { signal: "SIGKILL", says: /not connected/ },
};
for (const [what, { signal, says }] of Object.entries(ENDS)) {
  test(
    `the server of a volume's filesystem ${what}: a deadline ends it, others go on, and it is given back`,
    { skip: noFuse },
    async (t) => {
      if ((await run(["which", "bindfs"])).code !== 0) return t.skip("bindfs is not installed");
      const { world, dead, serve, mount, go } = await overFuse(t);
      const fuse = await serve();
      const healthy = await go("dead", []);
      assert.equal(healthy.code, 0, healthy.all);
      const held = await world.hold(mount("dead"));

      fuse.kill(signal);
      if (signal === "SIGKILL") await fuse.ended;
      let usual = -performance.now();
      assert.equal((await go("well")).code, 0);
      usual += performance.now();
      const began = performance.now();
      // A folder that the kernel does not remember.
      const failing = go("dead", timeout("dead"), "new").then((result) => ({ result, ms: performance.now() - began }));
      const beside = await go("well");
      const { result: failed, ms: failedMs } = await failing;
      assert.equal(failed.code, 125, failed.all);
      assert.match(failed.err, says);
      assert.match(failed.err, /^dvdi: [^\n]*\n/m);
      assert.equal(beside.code, 0, beside.all);
      assert.ok(failedMs <= DEADLINE_MS + 1000 + 2 * usual, `${Math.round(failedMs)} ms`);
      // Nor does one begin that has the whole volume, whose folder the kernel does remember.
      const whole = await go("dead", timeout("dead"), "");
      assert.equal(whole.code, 125, whole.all);
      assert.match(whole.err, says);
      const ended = await held.release();
      assert.equal(ended.code, 0, ended.all);
      await world.nothingLeft();
      assert.equal(dead.count("Unmount"), 2, "each last user's end is the volume's");

      if (signal === "SIGKILL") {
        await world.must(["umount", "-l", join(world.home, "fuse")]);
        await serve();
      } else {
        fuse.kill("SIGCONT");
      }
      const recovered = await world.dvdi(["recover", "--wait"]);
      assert.equal(recovered.code, 0, recovered.all);
      const again = await go("dead", []);
      assert.equal(again.code, 0, again.all);
      assert.equal(dead.count("Unmount"), dead.count("Mount"));
      await world.nothingLeft();
    },
  );
}
