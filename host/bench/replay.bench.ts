// Replay of 100,000 records by the blob that ships, reading included: of operations that a node did for it, each again and
// again. Writes Google Benchmark's JSON, as native/bench does.
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { ScriptedPlugin } from "../../test/e2e/lib/plugin.ts";
import { skip, World } from "../../test/e2e/lib/world.ts";

const NAME = "replay/100000";
const RECORDS = 100_000;
/** Workloads of one to four volumes; some of these are new, some are not, and every fifth is refused. */
const WORKLOADS = 40;

const { values } = parseArgs({
  options: {
    benchmark_out: { type: "string" },
    benchmark_out_format: { type: "string" },
    benchmark_filter: { type: "string" },
  },
});
const wanted = new RegExp(values.benchmark_filter ?? "").test(NAME);
if (wanted && skip !== false) process.stderr.write(`${NAME} is left out: ${skip}\n`);
const benchmarks = wanted && skip === false ? [await measure()] : [];
writeFileSync(values.benchmark_out ?? "/dev/stdout", JSON.stringify({ benchmarks }, null, 2));

async function measure(): Promise<object> {
  const folder = mkdtempSync(join(tmpdir(), "dvdi-replay-bench-"));
  try {
    const own = join(folder, "own.jsonl");
    await operate(own);
    const file = join(folder, "records.jsonl");
    repeat(own, file);
    const began = performance.now();
    const policy = process.env["DVDI_POLICY"] ?? "build/policy.wasm";
    const args = ["build/host/dvdi-policy.mjs", "replay", file, "--policy", policy, "--json"];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", maxBuffer: 64 << 20 });
    const ms = performance.now() - began;
    if (status !== 0) throw new Error(`replay ended with ${status}: ${stderr}`);
    const { counts } = JSON.parse(stdout) as { counts: { same: number } };
    if (counts.same !== RECORDS) throw new Error(`only ${counts.same} of ${RECORDS} came out the same`);
    const mib = statSync(file).size / 2 ** 20;
    return { name: NAME, iterations: 1, real_time: ms, cpu_time: ms, time_unit: "ms", records: RECORDS, mib };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Operations on a node of their own, exported to the file. */
async function operate(file: string): Promise<void> {
  const ends: (() => Promise<void> | void)[] = [];
  try {
    const world = await World.make({ after: (end) => void ends.push(end) });
    await ScriptedPlugin.serve(world, "plain", { volumes: ["a", "b"] });
    for (let i = 0; i < WORKLOADS; i++) {
      const names = ["a", "b", `new-${i}`, "c"].slice(0, 1 + (i % 4));
      const mounts = names.flatMap((name) => ["-v", `${name}:${i % 5 === 0 ? "/proc" : world.target(name)}`]);
      await world.dvdi(["run", ...mounts, "--volume-driver", "plain", "--", "true"]);
    }
    const exported = await world.dvdi(["explain", "--export", "--output", file]);
    if (exported.code !== 0) throw new Error(exported.all);
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

/** The file's records, again and again. */
function repeat(from: string, to: string): void {
  const [head = "", ...records] = readFileSync(from, "utf8").trimEnd().split("\n");
  const out = openSync(to, "w");
  writeSync(out, `${head}\n`);
  for (let left = RECORDS; left > 0; left -= records.length) {
    writeSync(out, `${records.slice(0, left).join("\n")}\n`);
  }
  closeSync(out);
}
