// `npm run bench [-- REGEX]`: set-up, then each program of native/bench and host/bench; a table for people, all of it in build/bench.json.
//
// A program is called NAME_bench (in host/, NAME.bench.ts) and writes Google Benchmark's JSON with --benchmark_out. Its counters become
// part of its line. The figures that the design sets goals for come last (docs/performance.md).
import { accessSync, constants, existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { basename, join } from "node:path";

import { measure } from "./lib/bench.mjs";
import { bundleTests } from "./lib/host.mjs";
import { NATIVE, POLICY, ROOT } from "./lib/paths.mjs";
import { capture } from "./lib/proc.mjs";
import { setup } from "./lib/setup.mjs";
import { bold, dim, main, StepError } from "./lib/ui.mjs";

const FOLDER = join(NATIVE, "native/bench");
const LIBRARY = join(NATIVE, "native/engine/libdvdi.so");
// What the design asks for: of which benchmark, its number, and at most (or at least) how much.
const FIGURES = [
  { what: "decision, 1 volume", of: "BM_Decision/1", value: (r) => r.median_us, unit: "us", goal: 20 },
  { what: "decision, 10 volumes", of: "BM_Decision/10", value: (r) => r.median_us, unit: "us" },
  { what: "decision, 100 volumes", of: "BM_Decision/100", value: (r) => r.median_us, unit: "us" },
  { what: "operation / reference, on disk", of: "operation/disk", value: (r) => r.ratio, unit: "x", goal: 1.5 },
  {
    what: "operation / reference, with dvdi-driver",
    of: "operation/driver",
    value: (r) => r.ratio,
    unit: "x",
    goal: 1.5,
  },
  { what: "operation / reference, in memory", of: "operation/memory", value: (r) => r.ratio, unit: "x" },
  { what: "100,000 volumes / 10", of: "many/volumes", value: (r) => r.ratio, unit: "x", goal: 1.2 },
  { what: "the same, and 10,000 records", of: "many/volumes_records", value: (r) => r.ratio, unit: "x", goal: 1.2 },
  { what: "100 workloads x 4 volumes / ideal", of: "load/100", value: (r) => r.ratio, unit: "x", goal: 1.2 },
  { what: "1,000 workloads x 4 volumes / ideal", of: "load/1000", value: (r) => r.ratio, unit: "x", goal: 1.2 },
  { what: "recovery, 1,000 volumes mounted", of: "recover/1000", value: (r) => r.real_time / 1e6, unit: "s" },
  {
    what: "recovery, 10,000 volumes mounted",
    of: "recover/10000",
    value: (r) => r.real_time / 1e6,
    unit: "s",
    goal: 1,
  },
  { what: "after a reboot, 1,000 volumes", of: "reboot/1000", value: (r) => r.real_time / 1e6, unit: "s" },
  { what: "after a reboot, 10,000 volumes", of: "reboot/10000", value: (r) => r.real_time / 1e6, unit: "s" },
  {
    what: "dvdcli / true and the reference, on disk",
    of: "dvdcli/disk",
    value: (r) => r.ratio,
    unit: "x",
    goal: 1.3,
  },
  { what: "dvdcli / true and the reference, in memory", of: "dvdcli/memory", value: (r) => r.ratio, unit: "x" },
  {
    what: "a shell for each call, wall time / ours",
    of: "shell",
    value: (r) => r.times_our_wall,
    unit: "x",
    least: 10,
  },
  { what: "a shell for each call, CPU time / ours", of: "shell", value: (r) => r.times_our_cpu, unit: "x", least: 20 },
  {
    what: "memory of an attached volume",
    of: "recover/10000",
    value: (r) => r.kib_for_an_attached_volume,
    unit: "KiB",
  },
  { what: "memory grown over 4,000 operations", of: "memory/flat", value: (r) => r.grown_kib / 1024, unit: "MiB" },
  { what: "replay of 100,000 records", of: "replay/100000", value: (r) => r.real_time / 1000, unit: "s", goal: 60 },
  { what: "open, compiled blob cached", of: "open", value: (r) => r.real_time / 1000, unit: "ms", goal: 2 },
  { what: "open and first decision", of: "open", value: (r) => r.open_and_first_us / 1000, unit: "ms" },
  {
    what: "answer of a stuck driver, after its deadline",
    of: "hang/never",
    value: (r) => r.late_ms,
    unit: "ms",
    goal: 1000,
  },
  {
    what: "the same, of one that answers a byte a second",
    of: "hang/drip",
    value: (r) => r.late_ms,
    unit: "ms",
    goal: 1000,
  },
  {
    what: "operation beside 64 of a stuck driver / alone",
    of: "hang/never",
    value: (r) => r.ratio,
    unit: "x",
    goal: 1.2,
  },
  { what: "failed of operations during 1,000 swaps", of: "policy/swap", value: (r) => r.failed, unit: "", goal: 0 },
  { what: "swap with a canary of 200 records", of: "policy/swap", value: (r) => r.real_time / 1000, unit: "ms" },
  { what: "install to active", of: "policy/install", value: (r) => r.real_time / 1000, unit: "ms", goal: 150 },
  {
    what: "first operation behind a swap, more",
    of: "policy/first",
    value: (r) => r.more_us / 1000,
    unit: "ms",
    goal: 1,
  },
  { what: "shadow, CPU time more", of: "policy/shadow", value: (r) => r.cpu_more_us, unit: "us" },
  { what: "the same / one decision", of: "policy/shadow", value: (r) => r.cpu_more_per_decision, unit: "x", goal: 1 },
  { what: "shadow, answer later by", of: "policy/shadow", value: (r) => r.answer_more_us, unit: "us" },
  { what: "memory of an open engine", of: "open", value: (r) => r.memory_first_kib / 1024, unit: "MiB" },
];
// What Google Benchmark says of every benchmark; anything else is a counter of the benchmark's own.
const USUAL = new Set(
  "name run_name run_type family_index per_family_instance_index repetitions repetition_index threads iterations real_time cpu_time time_unit aggregate_name aggregate_unit label".split(
    " ",
  ),
);

/** The programs of host/bench, bundled. */
async function hostPrograms() {
  const files = await bundleTests("host/bench", ".bench.ts");
  return files.map((file) => ({
    name: basename(file, ".mjs"),
    command: [process.execPath, "--enable-source-maps", file],
  }));
}

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

const nativePrograms = () => programs().map((name) => ({ name, command: [join(FOLDER, name)] }));

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

/** The library's size as it is built and without its symbols, in bytes. */
function librarySize() {
  const stripped = join(ROOT, "build/bench/libdvdi.stripped.so");
  if (capture("strip", ["-o", stripped, LIBRARY]) === null) return { bytes: statSync(LIBRARY).size };
  const size = { bytes: statSync(LIBRARY).size, stripped_bytes: statSync(stripped).size };
  rmSync(stripped);
  return size;
}

/** One line for each figure: what was asked for, what was seen. */
function figures(report) {
  const all = Object.values(report.programs).flatMap(({ benchmarks }) => benchmarks);
  return FIGURES.flatMap(({ what, of, value, unit, goal, least }) => {
    const result = all.find(({ name, iterations }) => name === of && iterations > 0);
    if (result === undefined) return [];
    const seen = Number(value(result).toPrecision(3));
    if (least !== undefined) return [{ what, seen, unit, goal: least, met: seen >= least }];
    return [{ what, seen, unit, ...(goal === undefined ? {} : { goal, met: seen <= goal }) }];
  });
}

await main(async () => {
  const [only, ...more] = process.argv.slice(2);
  if (more.length > 0) {
    const all = [only, ...more];
    const hint = `npm run bench -- '${all.join("|")}'`;
    throw new StepError(`one regular expression chooses benchmarks, and ${all.length} were given`, { hint });
  }
  await setup({ groups: ["build", "run"] });
  const found = [...nativePrograms(), ...(await hostPrograms())];
  if (found.length === 0) throw new StepError(`there is no benchmark in ${FOLDER}`, { hint: "npm run build" });
  const env = { DVDI_NATIVE_BUILD: NATIVE, DVDI_POLICY: POLICY };
  const programs = await measure(found, { folder: join(ROOT, "build/bench"), only, env });
  const report = { machine: { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release() }, programs };
  for (const [name, { benchmarks }] of Object.entries(report.programs)) {
    process.stdout.write(`\n${bold(name)}\n`);
    for (const result of benchmarks) process.stdout.write(`${row(result)}\n`);
  }
  report.library = librarySize();
  report.figures = figures(report);
  process.stdout.write(`\n${bold("figures")}\n`);
  for (const { what, seen, unit, goal, met } of report.figures) {
    const asked = goal === undefined ? "" : `goal ${goal} ${unit}${met ? "" : ": missed"}`;
    process.stdout.write(`  ${what.padEnd(44)} ${`${number(seen)} ${unit}`.padStart(14)}   ${asked}\n`);
  }
  const { bytes, stripped_bytes: stripped } = report.library;
  const mib = (n) => `${(n / 2 ** 20).toFixed(1)} MiB`;
  const rest = stripped === undefined ? "" : `${mib(stripped)} without symbols`;
  process.stdout.write(`  ${"libdvdi.so".padEnd(44)} ${mib(bytes).padStart(14)}   ${rest}\n`);
  const file = join(ROOT, "build/bench.json");
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(dim(`\n${file}\n`));
});
