// A process that may open few files, whichever few: a workload starts or is refused with the reason, and what it had is given back.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ScriptedPlugin } from "./lib/plugin.ts";
import type { Result } from "./lib/process.ts";
import { DVDI, skip, World } from "./lib/world.ts";

/** With less the dynamic linker does not find the program's libraries. */
const LEAST = 4;
/** So many in a row that worked are enough. */
const ENOUGH = 3;

test(
  "out of descriptors: the reason in one line, nothing left, and the end of a workload is not lost",
  { skip },
  async (t) => {
    const world = await World.make(t);
    const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data", "kept"] });
    const limited = (limit: number, args: string[]): Promise<Result> =>
      world.run(["prlimit", `--nofile=${limit}:${limit}`, DVDI, ...args], { env: { DVDI_CONFIG: world.config } });
    const mount = ["mount", "plain/kept", "--name", "kept"];
    const run = ["run", "-v", `data:${world.target("data")}`, "--volume-driver", "plain", "--", "true"];
    assert.equal((await world.dvdi(run)).code, 0);
    /** Whether it did what it was asked for; it says why where not. */
    const works = (result: Result): boolean => {
      if (result.code === 0) return true;
      assert.notEqual(result.signal, "SIGSEGV", result.all);
      assert.match(
        result.err,
        /^(dvdi: [^\n]*(Too many open files|open files)[^\n]*|[^\n]*error while loading[^\n]*)\n/m,
      );
      return false;
    };
    let failed = 0;
    for (let limit = LEAST, worked = 0; worked < ENOUGH; limit++) {
      assert.ok(limit < 100, "it never worked");
      assert.equal((await world.dvdi(mount)).code, 0);
      const ran = works(await limited(limit, run));
      const ended = works(await limited(limit, ["unmount", "--name", "kept"]));
      worked = ran && ended ? worked + 1 : 0;
      failed += ran && ended ? 0 : 1;
      if (!ended) await world.dvdi(["unmount", "--name", "kept"]);
      const recovered = await world.dvdi(["recover", "--wait"]);
      assert.equal(recovered.code, 0, `${limit} descriptors: ${recovered.all}`);
      await world.nothingLeft();
      assert.deepEqual((await world.json<{ pending: unknown[] }>(["status"])).pending, []);
    }
    assert.ok(failed > 3, `${failed} limits were too low`);
    t.diagnostic(`${failed} limits of open files at which something was refused`);
    const ids = (method: string): unknown[] => [
      ...new Set(plugin.bodies.filter((call) => call.method === method).map(({ body }) => body.ID)),
    ];
    assert.deepEqual(ids("Unmount").sort(), ids("Mount").sort(), "each Mount has its Unmount");
  },
);
