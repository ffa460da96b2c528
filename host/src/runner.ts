// A policy blob in Node's WebAssembly, called as the engine calls it, but without the engine's limits.
import { IMPORT_MODULE, IMPORTS } from "./abi.ts";
import { MEMORY, reusable } from "./reusable.ts";

/** Answers one host call: the import's name, the request as it came, the answer as it is to go. */
export type HostCall = (name: string, request: string) => string;

interface Exports {
  memory: WebAssembly.Memory;
  dvdi_alloc: (len: number) => number;
}

/** What ended a call that did not answer: a trap, an abort, text that is not UTF-8. */
export class PolicyTrap extends Error {
  override name = "PolicyTrap";
}

/** Writing zeroes takes longer than to have a new memory where there are more of them. */
const MOST_KEPT = 1 << 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A blob, compiled once. */
export class PolicyBlob {
  private readonly module: WebAssembly.Module;
  /** What its memory has to be; null where it brings its own. */
  private readonly memory: { initial: number; maximum?: number } | null;
  /** A memory that no instance uses: to make one takes longer than most operations. */
  private spare: WebAssembly.Memory | null = null;

  constructor(bytes: Uint8Array) {
    const changed = reusable(bytes);
    this.module = new WebAssembly.Module(Uint8Array.from(changed?.bytes ?? bytes));
    const { min: initial, max } = changed?.memory ?? { min: 0, max: null };
    this.memory = changed === null ? null : { initial, ...(max === null ? {} : { maximum: max }) };
  }

  /** A fresh instance for one operation. */
  begin(): PolicyInstance {
    if (this.memory === null) return new PolicyInstance(this.module, null, () => undefined);
    const memory = this.spare ?? new WebAssembly.Memory(this.memory);
    this.spare = null;
    return new PolicyInstance(this.module, memory, () => this.keep(memory));
  }

  /** The next instance finds nothing in it. It may be larger than that asks for, which no code can rely on. */
  private keep(memory: WebAssembly.Memory): void {
    if (memory.buffer.byteLength > MOST_KEPT) return;
    new Uint8Array(memory.buffer).fill(0);
    this.spare = memory;
  }
}

export class PolicyInstance {
  private readonly exports: Exports & Record<string, unknown>;
  private host: HostCall = () => "";

  /** @param end what to do when nobody calls it any more */
  constructor(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory | null,
    readonly end: () => void,
  ) {
    const imports = IMPORTS.map((name) => [
      name,
      (ptr: number, len: number): bigint => this.write(this.host(name, this.text(ptr, len))),
    ]);
    const abort = (message: number, file: number, line: number): never => {
      throw new PolicyTrap(`it aborted: ${this.utf16(message)} (${this.utf16(file)}:${line})`);
    };
    const { exports } = new WebAssembly.Instance(module, {
      [IMPORT_MODULE]: Object.fromEntries(imports) as Record<string, unknown>,
      env: { abort },
      ...(memory === null ? {} : { [MEMORY.module]: { [MEMORY.name]: memory } }),
    });
    this.exports = exports as Exports & Record<string, unknown>;
  }

  get memoryBytes(): number {
    return this.exports.memory.buffer.byteLength;
  }

  /** Calls an export with a text; returns its answer as it came. @throws PolicyTrap, and what `host` throws */
  call(name: string, input: string, host: HostCall): string {
    this.host = host;
    const operation = this.exports[name];
    if (typeof operation !== "function") throw new PolicyTrap(`it has no export ${name}`);
    const given = this.write(input);
    const run = operation as (ptr: number, len: number) => bigint;
    const packed = BigInt.asUintN(
      64,
      trapped(() => run(Number(given >> 32n), Number(given & 0xffff_ffffn))),
    );
    return this.text(Number(packed >> 32n), Number(packed & 0xffff_ffffn));
  }

  private bytes(ptr: number, len: number): Uint8Array {
    const { buffer } = this.exports.memory;
    if ((ptr >>> 0) + (len >>> 0) > buffer.byteLength) throw new PolicyTrap("it named bytes outside of its memory");
    return new Uint8Array(buffer, ptr >>> 0, len >>> 0);
  }

  private text(ptr: number, len: number): string {
    try {
      return decoder.decode(this.bytes(ptr, len));
    } catch (error) {
      if (error instanceof PolicyTrap) throw error;
      throw new PolicyTrap("it gave text that is not UTF-8");
    }
  }

  private write(text: string): bigint {
    const bytes = encoder.encode(text);
    const ptr = trapped(() => this.exports.dvdi_alloc(bytes.length)) >>> 0;
    this.bytes(ptr, bytes.length).set(bytes);
    return (BigInt(ptr) << 32n) | BigInt(bytes.length);
  }

  /** A text of AssemblyScript's: UTF-16, its length in bytes before it. */
  private utf16(ptr: number): string {
    if (ptr === 0) return "";
    const length = new DataView(this.bytes(ptr - 4, 4).buffer, ptr - 4, 4).getUint32(0, true);
    return new TextDecoder("utf-16le").decode(this.bytes(ptr, length));
  }
}

/** The function that trapped, by the number that an engine says, and by its name where the blob has names; "" where V8 says none. */
function functionOf(stack: string | undefined): string {
  const frame = /^ *at (?:(.+) \()?wasm:\/\/\S*wasm-function\[(\d+)\]/m.exec(stack ?? "");
  if (frame === null) return "";
  const [, name, number] = frame;
  return ` in function ${number}${name === undefined ? "" : ` (${name})`}`;
}

/** Runs Wasm; a trap becomes a PolicyTrap. */
function trapped<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    // Node throws WebAssembly.RuntimeError, which has no type here, and RangeError for a stack that is used up.
    const { name, message, stack } = error as Error;
    if (name === "RuntimeError" || error instanceof RangeError)
      throw new PolicyTrap(`it trapped: ${message}${functionOf(stack)}`);
    throw error;
  }
}
