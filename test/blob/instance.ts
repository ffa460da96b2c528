// A policy blob as the engine runs it: a fresh instance, one export, the world played by a few functions.
import { readFileSync } from "node:fs";
import { join } from "node:path";

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
  readonly module: WebAssembly.Module;

  constructor(bytes: Uint8Array) {
    this.module = new WebAssembly.Module(Uint8Array.from(bytes));
  }

  static shipped(): Blob {
    return new Blob(readFileSync(SHIPPED));
  }

  /** Calls an export in a fresh instance. Throws where the blob traps or answers anything but UTF-8 JSON. */
  run(name: string, input: Json, world: World = healthy): Run {
    const calls: Run["calls"] = [];
    const decoder = new TextDecoder("utf-8", { fatal: true });
    const parse = (bytes: Uint8Array): Named => JSON.parse(decoder.decode(bytes)) as Named;
    const host =
      (called: string) =>
      (ptr: number, len: number): bigint => {
        const request = parse(read(ptr, len));
        calls.push({ name: called, request });
        const answer = answerTo(world, called, request);
        return write(typeof answer === "string" ? answer : JSON.stringify(answer));
      };
    const names = ["plugin_call", "stage", "query", "log", "now", "sleep", "random"];
    const instance = new WebAssembly.Instance(this.module, {
      dvdi: Object.fromEntries(names.map((called) => [called, host(called)])),
      env: {
        abort: (message: number, file: number, line: number) => {
          throw new Error(`abort: ${utf16(message)} (${utf16(file)}:${line})`);
        },
      },
    });
    const exports = instance.exports as {
      memory: WebAssembly.Memory;
      dvdi_alloc: (len: number) => number;
    } & Record<string, (ptr: number, len: number) => bigint>;

    function read(ptr: number, len: number): Uint8Array {
      return new Uint8Array(exports.memory.buffer, ptr >>> 0, len >>> 0);
    }
    function write(text: string): bigint {
      const bytes = new TextEncoder().encode(text);
      const ptr = exports.dvdi_alloc(bytes.length) >>> 0;
      read(ptr, bytes.length).set(bytes);
      return (BigInt(ptr) << 32n) | BigInt(bytes.length);
    }
    function utf16(ptr: number): string {
      if (ptr === 0) return "";
      const length = new DataView(exports.memory.buffer).getUint32(ptr - 4, true);
      return new TextDecoder("utf-16le").decode(read(ptr, length));
    }

    const given = write(typeof input === "string" ? input : JSON.stringify(input));
    const operation = exports[name];
    if (operation === undefined) throw new Error(`the blob has no export ${name}`);
    const packed = BigInt.asUintN(64, operation(Number(given >> 32n), Number(given & 0xffff_ffffn)));
    const bytes = read(Number(packed >> 32n), Number(packed & 0xffff_ffffn));
    const text = decoder.decode(bytes);
    return { text, answer: parse(bytes), calls, memoryBytes: exports.memory.buffer.byteLength };
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
