// A policy blob as the engine runs it: a fresh instance, one export, the world played by a few functions.
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { PolicyBlob } from "../../host/src/runner.ts";

export const ROOT = process.env["DVDI_ROOT"] ?? process.cwd();
/** The blob that ships. */
export const SHIPPED = join(ROOT, "build/policy.wasm");

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Named = Record<string, Json>;

export interface PluginCall {
  method: string;
  driver?: string;
  volume?: number;
  options?: Named;
  timeout_ms?: number;
}

/** What the engine and the plugins answer. A text is given as it is; other values as JSON. */
export interface World {
  plugin: (call: PluginCall) => Json;
  stage: (stage: Named) => Json;
  now: () => Json;
}

export const healthy: World = {
  plugin: ({ method, volume }) => {
    switch (method) {
      case "Activate":
        return { kind: "ok", implements: ["VolumeDriver"] };
      case "Capabilities":
        return { kind: "ok", scope: "global" };
      case "List":
        return { kind: "ok", volumes: [] };
      case "Mount":
        return { kind: "ok", mountpoint: `/plugin/${volume ?? -1}` };
      default:
        return { kind: "ok" };
    }
  },
  stage: () => ({ ok: true }),
  now: () => ({ ok: { unix_ms: 1_700_000_000_000, left_ms: 60_000 } }),
};

export interface Run {
  /** The answer as it came. */
  text: string;
  answer: { ok?: Json; error?: Named };
  /** `plugin_call [{"method":…`: the host calls, in order. */
  calls: { name: string; request: Named }[];
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
  run(name: string, input: Json, world: World = healthy): Run {
    const calls: Run["calls"] = [];
    const instance = this.policy.begin();
    const given = typeof input === "string" ? input : JSON.stringify(input);
    const text = instance.call(name, given, (called, asked) => {
      const request = JSON.parse(asked) as Named;
      calls.push({ name: called, request });
      const answer = answerTo(world, called, request);
      return typeof answer === "string" ? answer : JSON.stringify(answer);
    });
    return { text, answer: JSON.parse(text) as Run["answer"], calls, memoryBytes: instance.memoryBytes };
  }
}

function answerTo(world: World, called: string, request: Named): Json {
  switch (called) {
    case "plugin_call":
      return { ok: { answers: (request["calls"] as unknown as PluginCall[]).map((call) => world.plugin(call)) } };
    case "stage":
      return { ok: { stages: (request["stages"] as Named[]).map((stage) => world.stage(stage)) } };
    case "now":
      return world.now();
    case "random":
      return { ok: { u32: 4_000_000_000 } };
    default:
      return { ok: {} };
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
