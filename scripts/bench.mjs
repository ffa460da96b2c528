// `npm run bench [-- REGEX]`: set-up, then each program of native/bench; a table for people, all of it in build/bench.json.
//
// A program is called NAME_bench and writes Google Benchmark's JSON with --benchmark_out. Its counters become
// part of its line.
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";

import { NATIVE, POLICY, ROOT } from "./lib/paths.mjs";
import { must } from "./lib/proc.mjs";
import { setup } from "./lib/setup.mjs";
import { bold, dim, main, StepError, step } from "./lib/ui.mjs";

const FOLDER = join(NATIVE, "native/bench");
// What Google Benchmark says of every benchmark; anything else is a counter of the benchmark's own.
const USUAL = new Set(
  "name run_name run_type family_index per_family_instance_index repetitions repetition_index threads iterations real_time cpu_time time_unit aggregate_name aggregate_unit label".split(
    " ",
  ),
);

function programs() {
  const names = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => /_bench$/.test(name)) : [];
  return names.sort().filter((name) => {
    try {
      accessSync(join(FOLDER, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Three significant digits, with a unit that suits. */
function number(value) {
  return value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

function row(result) {
  const counters = Object.entries(result).filter(([key, value]) => !USUAL.has(key) && typeof value === "number");
  const extra = counters.map(([key, value]) => `${key} ${number(value)}`).join(", ");
  const time = `${number(result.real_time)} ${result.time_unit}`;
  return `  ${result.name.padEnd(44)} ${time.padStart(14)}   ${[result.label, extra].filter(Boolean).join(", ")}`;
}

await main(async () => {
  await setup({ groups: ["build", "run"] });
  const found = programs();
  if (found.length === 0) throw new StepError(`there is no benchmark in ${FOLDER}`, { hint: "npm run build" });
  const filter = process.argv[2] ? [`--benchmark_filter=${process.argv[2]}`] : [];
  const report = { machine: { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release() }, programs: {} };
  mkdirSync(join(ROOT, "build/bench"), { recursive: true });
  for (const name of found) {
    await step(name, async (onLine) => {
      const out = join(ROOT, "build/bench", `${name}.json`);
      await must(join(FOLDER, name), [`--benchmark_out=${out}`, "--benchmark_out_format=json", ...filter], {
        env: { DVDI_NATIVE_BUILD: NATIVE, DVDI_POLICY: POLICY },
        onLine,
      });
      report.programs[name] = JSON.parse(readFileSync(out, "utf8"));
      return `${report.programs[name].benchmarks.length} figures`;
    });
  }
  for (const [name, { benchmarks }] of Object.entries(report.programs)) {
    process.stdout.write(`\n${bold(name)}\n`);
    for (const result of benchmarks) process.stdout.write(`${row(result)}\n`);
  }
  const file = join(ROOT, "build/bench.json");
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(dim(`\n${file}\n`));
});
