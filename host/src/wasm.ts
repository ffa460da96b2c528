// A reader and writer of WebAssembly's binary format, as far as a policy's shape goes: types, imports, functions,
// memories, globals' existence, exports, the start function, custom sections. Function bodies are not looked at
// (WebAssembly.validate does that). Every length is checked against what is there: a damaged file is a WasmError.

/** The file is not a WebAssembly module that this reader can follow; the message says where and why. */
export class WasmError extends Error {
  override name = "WasmError";
}

export type ExternKind = "function" | "table" | "memory" | "global" | "tag";

/** A function's type, with value types by their names in the text format. */
export interface FunctionType {
  params: string[];
  results: string[];
}

export interface MemoryType {
  /** In pages of 64 KiB. */
  min: number;
  max: number | null;
  shared: boolean;
  memory64: boolean;
  /** Pages of another size than 64 KiB. */
  ownPages: boolean;
}

export interface Import {
  module: string;
  name: string;
  kind: ExternKind;
  type: FunctionType | null;
}

export interface Export {
  name: string;
  kind: ExternKind;
  /** Of functions only. */
  type: FunctionType | null;
}

export interface Section {
  id: number;
  /** Of a custom section; "" for the others. */
  name: string;
  /** Where the section begins (its id byte) and ends in the file. */
  begin: number;
  end: number;
  /** What is in it; for a custom section without its name. */
  payload: Uint8Array;
}

export interface Module {
  sections: Section[];
  imports: Import[];
  exports: Export[];
  /** All memories, imported ones first. */
  memories: MemoryType[];
  hasStart: boolean;
}

export const MAGIC = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);
const KINDS: readonly ExternKind[] = ["function", "table", "memory", "global", "tag"];
const VALUE_TYPES: Readonly<Record<number, string>> = {
  0x7f: "i32",
  0x7e: "i64",
  0x7d: "f32",
  0x7c: "f64",
  0x7b: "v128",
  0x70: "funcref",
  0x6f: "externref",
};
export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  export: 7,
  start: 8,
  code: 10,
  data: 11,
  dataCount: 12,
} as const;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads within [at, end) of the file and never beyond. */
export class Reader {
  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
    private readonly end: number,
    private readonly what: string,
  ) {}

  get left(): number {
    return this.end - this.at;
  }

  fail(reason: string): never {
    throw new WasmError(`${this.what}: ${reason} at byte ${this.at}`);
  }

  byte(): number {
    const value = this.at < this.end ? this.bytes[this.at] : undefined;
    if (value === undefined) this.fail("ends too early");
    this.at += 1;
    return value;
  }

  /** An unsigned LEB128 number of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      if (shift === 28 && byte > 0x0f) this.fail("number of more than 32 bits");
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return this.fail("number of more than 5 bytes");
  }

  /** The value of a constant expression that is one i32.const, or null where it is another one. */
  constantI32(): number | null {
    if (this.byte() !== 0x41) return null;
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift > 28) return null;
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (shift < 28 && (byte & 0x40) !== 0) value |= -1 << (shift + 7);
      break;
    }
    return this.byte() === 0x0b ? value >>> 0 : null;
  }

  /** A limit of a 64-bit memory or table; what is beyond 2^53 pages is far beyond any limit. */
  u64(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return this.fail("number of more than 10 bytes");
  }

  take(length: number): Uint8Array {
    if (length > this.left) this.fail(`${length} bytes are announced where ${this.left} are left`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A vector's length. Every element has at least one byte, so a greater count than bytes is a lie. */
  count(): number {
    const count = this.u32();
    if (count > this.left) this.fail(`${count} entries are announced where ${this.left} bytes are left`);
    return count;
  }

  text(): string {
    const bytes = this.take(this.u32());
    try {
      return utf8.decode(bytes);
    } catch {
      return this.fail("name is not UTF-8");
    }
  }

  valueType(): string {
    const byte = this.byte();
    return VALUE_TYPES[byte] ?? this.fail(`value type 0x${byte.toString(16)} is not known`);
  }

  kind(): ExternKind {
    const byte = this.byte();
    return KINDS[byte] ?? this.fail(`kind ${byte} of import or export is not known`);
  }

  limits(): MemoryType {
    const flags = this.byte();
    if (flags > 15) this.fail(`limits 0x${flags.toString(16)} are not known`);
    const memory64 = (flags & 4) !== 0;
    const number = (): number => (memory64 ? this.u64() : this.u32());
    const min = number();
    const max = (flags & 1) !== 0 ? number() : null;
    const ownPages = (flags & 8) !== 0;
    if (ownPages) this.u32();
    return { min, max, shared: (flags & 2) !== 0, memory64, ownPages };
  }

  done(): void {
    if (this.left > 0) this.fail(`${this.left} bytes too many`);
  }
}

function readSections(bytes: Uint8Array): Section[] {
  if (bytes.length < MAGIC.length || !MAGIC.every((byte, i) => bytes[i] === byte)) {
    throw new WasmError("not a WebAssembly module: it does not begin with \\0asm and version 1");
  }
  const file = new Reader(bytes, MAGIC.length, bytes.length, "sections");
  const sections: Section[] = [];
  while (file.left > 0) {
    const begin = file.at;
    const id = file.byte();
    const size = file.u32();
    const start = file.at;
    file.take(size);
    let name = "";
    let payload = bytes.subarray(start, file.at);
    if (id === SECTION.custom) {
      const custom = new Reader(bytes, start, file.at, "custom section");
      name = custom.text();
      payload = custom.take(custom.left);
    }
    sections.push({ id, name, begin, end: file.at, payload });
  }
  return sections;
}

/**
 * Reads a module's shape.
 * @throws WasmError where the bytes do not hold one.
 */
export function readModule(bytes: Uint8Array): Module {
  const sections = readSections(bytes);
  const types: FunctionType[] = [];
  const functions: (FunctionType | null)[] = [];
  const module: Module = { sections, imports: [], exports: [], memories: [], hasStart: false };
  const seen = new Set<number>();

  const each = (reader: Reader, entry: () => void): void => {
    for (let left = reader.count(); left > 0; left -= 1) entry();
    reader.done();
  };
  const functionType = (reader: Reader): FunctionType => {
    const index = reader.u32();
    return types[index] ?? reader.fail(`type ${index} does not exist`);
  };

  for (const section of sections) {
    if (section.id === SECTION.custom) continue;
    if (seen.has(section.id)) throw new WasmError(`section ${section.id} is there twice`);
    seen.add(section.id);
    const reader = new Reader(bytes, section.end - section.payload.length, section.end, `section ${section.id}`);
    switch (section.id) {
      case SECTION.type:
        each(reader, () => {
          const form = reader.byte();
          if (form !== 0x60) reader.fail(`type 0x${form.toString(16)} is not a function's`);
          const list = (): string[] => Array.from({ length: reader.count() }, () => reader.valueType());
          const params = list();
          types.push({ params, results: list() });
        });
        break;
      case SECTION.import:
        each(reader, () => {
          const from = reader.text();
          const name = reader.text();
          const kind = reader.kind();
          let type: FunctionType | null = null;
          if (kind === "function") {
            type = functionType(reader);
            functions.push(type);
          } else if (kind === "memory") {
            module.memories.push(reader.limits());
          } else if (kind === "table") {
            reader.valueType();
            reader.limits();
          } else if (kind === "global") {
            reader.valueType();
            reader.byte();
          } else {
            reader.byte();
            reader.u32();
          }
          module.imports.push({ module: from, name, kind, type });
        });
        break;
      case SECTION.function:
        each(reader, () => functions.push(functionType(reader)));
        break;
      case SECTION.memory:
        each(reader, () => module.memories.push(reader.limits()));
        break;
      case SECTION.export:
        each(reader, () => {
          const name = reader.text();
          const kind = reader.kind();
          const index = reader.u32();
          if (kind === "function" && index >= functions.length) reader.fail(`function ${index} does not exist`);
          module.exports.push({ name, kind, type: kind === "function" ? (functions[index] ?? null) : null });
        });
        break;
      case SECTION.start:
        module.hasStart = true;
        break;
    }
  }
  return module;
}

/** What the custom sections of that name hold, in their order. */
export function customSections(module: Module, name: string): Uint8Array[] {
  const named = module.sections.filter((section) => section.id === SECTION.custom && section.name === name);
  return named.map((section) => section.payload);
}

export function leb128(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}

/** The module with that custom section at its end, in the place of any others of that name. */
export function withCustomSection(bytes: Uint8Array, name: string, payload: Uint8Array): Uint8Array {
  const kept = readSections(bytes).filter((section) => section.id !== SECTION.custom || section.name !== name);
  const title = new TextEncoder().encode(name);
  const prefix = leb128(title.length);
  const size = prefix.length + title.length + payload.length;
  return Buffer.concat([
    MAGIC,
    ...kept.map((section) => bytes.subarray(section.begin, section.end)),
    Uint8Array.from([SECTION.custom, ...leb128(size), ...prefix]),
    title,
    payload,
  ]);
}
