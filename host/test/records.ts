// Records for the tests and benchmarks of replay: what a blob decided in the fake world, as an engine would keep it.
import { simulate, type Simulation } from "../src/simulate.ts";

const MOUNT = "type=volume,src=data,dst=/data,volume-driver=nfs,volume-opt=size=5";

/** One record of a prepare, and what was simulated. */
export function recordOf(blob: Uint8Array, more: Partial<Simulation> = {}, members: object = {}): object {
  const usual: Simulation = {
    ...{ form: "mount", text: MOUNT, settings: {}, missing: [], global: [], used: [], seed: 1, faults: 0 },
  };
  const told = simulate(blob, { ...usual, ...more });
  const { input, answer, calls, error } = told;
  const kept = ({ parse, prepare }: typeof input): object => ({ parse, prepare });
  return {
    ...{ operation: "0123456789abcdef", kind: "prepare", owner: "run", scope: "s1" },
    ...{ started_ms: 1_700_000_000_000, duration_ms: 12.5, outcome: error?.code ?? "ok" },
    policy: { name: "stock", version: "0.1.0", sha256: "0".repeat(64) },
    input: kept(input),
    answer: kept(answer),
    calls: calls.map(({ import: call, request, answer: said }) => ({ call, request, answer: said, ms: 1.25 })),
    ...(error === null ? {} : { error }),
    ...members,
  };
}

/** A file of records: with a head, unless `settings` is null. */
export function exported(records: object[], settings: object | null = {}): string {
  const head = settings === null ? [] : [{ dvdi: "records", version: 1, node: "n1", settings }];
  return [...head, ...records].map((one) => `${JSON.stringify(one)}\n`).join("");
}
