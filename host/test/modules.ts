// Small WebAssembly modules, written byte by byte, so that a test can have one of every shape.

const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const I32 = 0x7f;
const I64 = 0x7e;

/** A number of less than 16384 as LEB128. */
function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 0x7f) | 0x80, value >> 7];
}

export function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...leb(bytes.length), ...bytes];
}

export function vec(...entries: number[][]): number[] {
  return [...leb(entries.length), ...entries.flat()];
}

export function section(id: number, payload: number[]): number[] {
  return [id, ...leb(payload.length), ...payload];
}

/** A module of these sections. */
export function customBytes(...sections: number[][]): Uint8Array {
  return Uint8Array.from([...HEADER, ...sections.flat()]);
}

const TYPES = vec(
  [0x60, ...vec([I32], [I32]), ...vec([I64])], // 0: an operation, a host call
  [0x60, ...vec([I32]), ...vec([I32])], // 1: dvdi_alloc
  [0x60, ...vec([I32], [I32], [I32], [I32]), ...vec()], // 2: env.abort
  [0x60, ...vec(), ...vec()], // 3: a start function
);
const OPERATIONS = ["configure", "parse", "prepare", "cleanup", "recover", "canary"];

export interface Shape {
  imports?: [module: string, name: string, type: number][];
  /** The limits of the memory, as bytes; several memories where there are several. */
  memories?: number[][];
  /** Exports to leave out. */
  without?: string[];
  /** Exports of operations get this type instead. */
  operationType?: number;
  start?: boolean;
  /** The operations do not come to an end, in place of trapping; dvdi_alloc answers. */
  endless?: boolean;
  /** What the operations answer, in place of trapping. */
  answer?: string;
}

/** Where the text of an answer lies: beyond any input. */
const ANSWER_AT = 32_768n;

/** A number as signed LEB128. */
function sleb(value: bigint): number[] {
  const low = Number(BigInt.asUintN(7, value));
  const rest = value >> 7n;
  return rest === 0n && low < 64 ? [low] : [low | 0x80, ...sleb(rest)];
}

/** A module with all that a policy needs (its functions do nothing), or with what `shape` makes of it. */
export function policyModule(shape: Shape = {}): Uint8Array {
  const imports = shape.imports ?? [
    ["env", "abort", 2],
    ["dvdi", "log", 0],
  ];
  const operation = shape.operationType ?? 0;
  const first = imports.length;
  const exports: [name: string, kind: number, index: number][] = [
    ["memory", 2, 0],
    ["dvdi_abi_1", 3, 0],
    ["dvdi_alloc", 0, first + 1],
    ...OPERATIONS.map((name): [string, number, number] => [name, 0, first]),
  ];
  const kept = exports.filter(([name]) => !shape.without?.includes(name));
  const unreachable = [3, 0, 0x00, 0x0b];
  const answer = [...new TextEncoder().encode(shape.answer ?? "")];
  const packed = sleb((ANSWER_AT << 32n) | BigInt(answer.length));
  const operations = shape.endless
    ? [8, 0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x00, 0x0b]
    : answer.length > 0
      ? [3 + packed.length, 0, 0x42, ...packed, 0x0b]
      : unreachable;
  const alloc = shape.endless || answer.length > 0 ? [4, 0, 0x41, 0, 0x0b] : unreachable;
  return customBytes(
    section(1, TYPES),
    section(2, vec(...imports.map(([module, name, type]) => [...text(module), ...text(name), 0, type]))),
    section(3, vec([operation], [1], [3])),
    section(5, vec(...(shape.memories ?? [[0, 1]]))),
    section(6, vec([I32, 0, 0x41, 1, 0x0b])),
    section(7, vec(...kept.map(([name, kind, index]) => [...text(name), kind, index]))),
    ...(shape.start ? [section(8, [first + 2])] : []),
    section(10, vec(operations, alloc, unreachable)),
    ...(answer.length > 0
      ? [section(11, vec([0, 0x41, ...sleb(ANSWER_AT), 0x0b, ...leb(answer.length), ...answer]))]
      : []),
  );
}
