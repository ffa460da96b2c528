// Drivers that accept and never answer, that answer a byte a second, that die in the middle of a call, and a filesystem behind
// which nobody is: whoever asked has an answer by its deadline, others do not notice, and when the driver is well again all settles.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin, type Answer, type Method } from "./lib/plugin.ts";
import { run, until, type Process } from "./lib/process.ts";
import { skip, World } from "./lib/world.ts";

/** The breaker stays out of it: it would answer in a sick driver's place. */
const SETTINGS = `breaker: {failures: 0}
deadlines: {call_max_ms: 2s}
release: {base_ms: 100ms, max_ms: 200ms}
policy:
  retry: {attempts: 2, base_ms: 10, max_ms: 20}
`;
const DEADLINE_MS = 2000;

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
const METHODS: Method[] = ["Activate", "Get", "List", "Create", "Mount", "Unmount"];

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
        [method]: (body: { Name: string }): Answer => (sick ? sickness : plugin.usual(method, body)),
      });
      plugins.set(method, plugin);
    }
    const timed = async (driver: string): Promise<{ ms: number; code: number; all: string; err: string }> => {
      const target = world.target(driver);
      const began = performance.now();
      const process = world.begin([
        ...["run", "--timeout", `${DEADLINE_MS}ms`, "-v", `data:${target}`, "--volume-driver", driver],
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
      // The command runs where only the end hangs; the release is left to others.
      assert.equal(answer.code, method === "Unmount" ? 0 : 125, `${method}: ${answer.all}`);
      const deadline = method === "Unmount" ? 2 * DEADLINE_MS : DEADLINE_MS;
      assert.ok(answer.ms <= deadline + 1000 + slowest, `${method}: ${Math.round(answer.ms)} ms`);
      if (method !== "Unmount") assert.match(answer.err, new RegExp(`sick-${method}`), "it says whose fault it is");
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
      const again = await timed(`sick-${method}`);
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

test(
  "nobody is behind a volume's filesystem: a deadline ends it, others go on, and it is given back",
  { skip },
  async (t) => {
    if (!existsSync("/dev/fuse")) return t.skip("there is no /dev/fuse");
    if ((await run(["which", "bindfs"])).code !== 0) return t.skip("bindfs is not installed");
    const world = await World.make(t, { settings: SETTINGS });
    const at = (name: string): string => join(world.home, name);
    for (const name of ["behind", "fuse"]) mkdirSync(at(name));
    const fuse = world.serve(["bindfs", "-f", at("behind"), at("fuse")]);
    world.own(at("fuse"));
    await until("it is mounted", async () => (await world.run(["mountpoint", "-q", at("fuse")])).code === 0);
    const dead = await ScriptedPlugin.serve(world, "dead", {
      volumes: ["data"],
      Mount: () => ({ Mountpoint: at("fuse"), Err: "" }),
    });
    const well = await ScriptedPlugin.serve(world, "well", { volumes: ["data"] });
    const go = (driver: string): ReturnType<World["dvdi"]> =>
      world.dvdi([
        ...["run", "--timeout", `${DEADLINE_MS}ms`, "--mount"],
        `type=volume,src=data,dst=${world.target(driver)},volume-driver=${driver},volume-subpath=sub`,
        ...["--", "true"],
      ]);
    mkdirSync(at("behind/sub"));
    mkdirSync(join(well.folder, "data/sub"));
    const healthy = await go("dead");
    assert.equal(healthy.code, 0, healthy.all);

    fuse.kill("SIGSTOP");
    const began = performance.now();
    const [failed, beside] = await Promise.all([go("dead"), go("well")]);
    const ms = performance.now() - began;
    assert.equal(failed.code, 125, failed.all);
    assert.match(failed.err, /^dvdi: [^\n]*(did not answer|deadline|hang)[^\n]*\n/m);
    assert.equal(beside.code, 0, beside.all);
    assert.ok(ms <= 2 * DEADLINE_MS + 1000, `${Math.round(ms)} ms`);
    fuse.kill("SIGCONT");
    const recovered = await world.dvdi(["recover", "--wait"]);
    assert.equal(recovered.code, 0, recovered.all);
    assert.equal(dead.count("Unmount"), dead.count("Mount"));
    const again = await go("dead");
    assert.equal(again.code, 0, again.all);
    await world.nothingLeft();
    world.atEnd(async () => void (await world.run(["umount", "-l", at("fuse")])));
  },
);
