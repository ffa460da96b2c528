// A policy blob as the engine runs it: a fresh instance, one export, in the fake world.
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { createFake, type Entry, type Fake, type Operation } from "../../assembly/testing/fake.mjs";
import { hostOf } from "../../host/src/fake-host.ts";
import { PolicyBlob } from "../../host/src/runner.ts";

export const ROOT = process.env["DVDI_ROOT"] ?? process.cwd();
/** The blob that ships. */
export const SHIPPED = join(ROOT, "build/policy.wasm");

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Named = Record<string, Json>;

export interface Run {
  /** The answer as it came. */
  text: string;
  answer: { ok?: Json; error?: Named };
  /** The host calls, in order. */
  calls: Entry[];
  memoryBytes: number;
}

/** A blob, compiled once. */
export class Blob {
  private readonly policy: PolicyBlob;

  constructor(private readonly bytes: Uint8Array) {
    this.policy = new PolicyBlob(bytes);
  }

  /** As it ships. */
  get module(): WebAssembly.Module {
    return new WebAssembly.Module(Uint8Array.from(this.bytes));
  }

  static shipped(): Blob {
    return new Blob(readFileSync(SHIPPED));
  }

  /** Calls an export in a fresh instance. Throws where the blob traps or answers anything but UTF-8 JSON. */
  run(name: Operation, input: Json, fake: Fake = createFake()): Run {
    const before = fake.state.log.length;
    const instance = this.policy.begin();
    const given = typeof input === "string" ? input : JSON.stringify(input);
    const text = instance.call(name, given, hostOf(fake, name));
    const calls = fake.state.log.slice(before);
    return { text, answer: JSON.parse(text) as Run["answer"], calls, memoryBytes: instance.memoryBytes };
  }
}

/** A volume of prepare's input. */
export function volume(index: number, members: Named = {}): Named {
  return {
    index,
    driver: "rexray",
    name: `v${index}`,
    options: { size: "5" },
    container_path: `/mnt/${index}`,
    mode: "rw",
    subpath: "",
    access: "single-writer",
    create: "if-missing",
    ownership: "none",
    from: "a test",
    attachment: { state: "none", users: [] },
    history: { known: false, created_by_us: false },
    ...members,
  };
}

export function prepareInput(volumes: Named[], config: Json = {}): Named {
  return { config, node: "a", left_ms: 60_000, scope: { owner: "run", id: "s1" }, volumes };
}

/** The world of these volumes of prepare's input; their plugin does not know those of `missing` (by index). */
export function worldOf(volumes: Named[], missing: number[] = []): Fake {
  const fake = createFake({ volumes: volumes as { driver: string; name: string }[] });
  for (const index of missing) fake.state.missing.add(index);
  return fake;
}

/** The plugins' methods that a run called, in order. */
export function methodsOf({ calls }: Run): string[] {
  return calls.flatMap(({ request }) => request.calls ?? []).map(({ method }) => method);
}
