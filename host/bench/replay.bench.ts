// Replay of 100,000 records by the blob that ships, reading included. Writes Google Benchmark's JSON, as native/bench does.
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { exported, recordOf } from "../test/records.ts";

const NAME = "replay/100000";
const RECORDS = 100_000;
/** Of so many kinds, each again and again: their volumes, faults and ends differ. */
const KINDS = 500;

const { values } = parseArgs({
  options: {
    benchmark_out: { type: "string" },
    benchmark_out_format: { type: "string" },
    benchmark_filter: { type: "string" },
  },
});
const wanted = new RegExp(values.benchmark_filter ?? "").test(NAME);
const benchmarks = wanted ? [measure()] : [];
writeFileSync(values.benchmark_out ?? "/dev/stdout", JSON.stringify({ benchmarks }, null, 2));

function measure(): object {
  const policy = process.env["DVDI_POLICY"] ?? "build/policy.wasm";
  const folder = mkdtempSync(join(tmpdir(), "dvdi-replay-bench-"));
  try {
    const file = join(folder, "records.jsonl");
    writeRecords(file, readFileSync(policy));
    const began = performance.now();
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

function writeRecords(file: string, blob: Uint8Array): void {
  const names = ["a", "b", "c", "d"];
  const kinds = Array.from({ length: KINDS }, (_, seed) => {
    const volumes = names.slice(0, 1 + (seed % 4)).map((name) => ({ name, driver: "nfs", container_path: `/${name}` }));
    const text = JSON.stringify({ volumes });
    return recordOf(blob, { form: "statement", text, seed, faults: 0.1, missing: seed % 3 === 0 ? ["a"] : [] });
  });
  const out = openSync(file, "w");
  writeSync(out, exported([]));
  const lines = exported(kinds, null);
  for (let left = RECORDS; left > 0; left -= KINDS) writeSync(out, lines);
  closeSync(out);
}
