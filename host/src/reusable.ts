// A module changed for many short lives: what its instances do stays the same, but to make one takes a tenth of the time.
// Its memory is imported, so that instances can have the same one after another, and its data is in one piece: a compiler
// leaves thousands, each of which is a step of every instantiation.
import { leb128, MAGIC, Reader, readModule, SECTION, type MemoryType, WasmError } from "./wasm.ts";

/** What the memory is imported as. */
export const MEMORY = { module: "memory", name: "memory" } as const;

const PAGE = 65_536;
/** More than any policy has; what lies far apart is not put together. */
const MOST_DATA = 4 << 20;

export interface Reusable {
  bytes: Uint8Array;
  /** What the memory has to be, and filled with zeroes. */
  memory: MemoryType;
}

/** The module as above, or null where it is not of a kind that can be changed so, or none at all. */
export function reusable(bytes: Uint8Array): Reusable | null {
  try {
    return changed(bytes);
  } catch (error) {
    if (error instanceof WasmError) return null;
    throw error;
  }
}

function changed(bytes: Uint8Array): Reusable | null {
  const { sections, memories, imports } = readModule(bytes);
  const [memory] = memories;
  const own = sections.find(({ id }) => id === SECTION.memory);
  if (memory === undefined || own === undefined || memories.length !== 1) return null;
  if (memory.shared || memory.memory64 || memory.ownPages) return null;
  const data = sections.find(({ id }) => id === SECTION.data);
  const image = data === undefined ? null : imageOf(data.payload, memory.min * PAGE);
  if (data !== undefined && image === null) return null;
  const before = sections.find(({ id }) => id === SECTION.import);
  const others = before?.payload.subarray(leb128(imports.length).length) ?? new Uint8Array();
  // What is behind the number of memories, which is one, are the limits.
  const entry = [...text(MEMORY.module), ...text(MEMORY.name), 0x02, ...own.payload.subarray(1)];
  const imported = made(SECTION.import, [...leb128(imports.length + 1), ...others, ...entry]);
  const kept = sections.flatMap((section): Uint8Array[] => {
    if (section === own || section === before || section.id === SECTION.dataCount) return [];
    if (section === data && image !== null) return [made(SECTION.data, image)];
    return [bytes.subarray(section.begin, section.end)];
  });
  // Imports follow the types, before which there may be sections of tools.
  const types = sections.findIndex(({ id }) => id === SECTION.type);
  kept.splice(types + 1, 0, imported);
  const all = Buffer.concat([MAGIC, ...kept]);
  // Code that uses its pieces of data by number is not valid without that number.
  return WebAssembly.validate(all) ? { bytes: all, memory } : null;
}

/** A data section of one piece that leaves the same bytes in a memory of zeroes; null where there is none. */
function imageOf(payload: Uint8Array, memoryBytes: number): Uint8Array | null {
  const reader = new Reader(payload, 0, payload.length, "data");
  const pieces: { at: number; bytes: Uint8Array }[] = [];
  for (let left = reader.count(); left > 0; left -= 1) {
    // 0: copied into the only memory when the module is instantiated.
    if (reader.byte() !== 0) return null;
    const at = reader.constantI32();
    if (at === null) return null;
    const piece = { at, bytes: reader.take(reader.u32()) };
    if (at + piece.bytes.length > memoryBytes) return null;
    pieces.push(piece);
  }
  reader.done();
  if (pieces.length === 0) return Uint8Array.of(0);
  const from = pieces.reduce((least, { at }) => Math.min(least, at), Infinity);
  const to = pieces.reduce((most, { at, bytes }) => Math.max(most, at + bytes.length), 0);
  if (to - from > MOST_DATA) return null;
  const image = new Uint8Array(to - from);
  for (const { at, bytes } of pieces) image.set(bytes, at - from);
  return Buffer.concat([Uint8Array.from([1, 0, 0x41, ...signedLeb128(from), 0x0b, ...leb128(image.length)]), image]);
}

function text(value: string): number[] {
  const encoded = new TextEncoder().encode(value);
  return [...leb128(encoded.length), ...encoded];
}

function made(id: number, payload: ArrayLike<number>): Uint8Array {
  return Buffer.concat([Uint8Array.from([id, ...leb128(payload.length)]), Uint8Array.from(payload)]);
}

/** Of a number that is not negative. */
function signedLeb128(value: number): number[] {
  const bytes = leb128(value);
  const last = bytes.length - 1;
  // The highest bit of the last group is the sign.
  if (((bytes[last] ?? 0) & 0x40) === 0) return bytes;
  return [...bytes.slice(0, last), (bytes[last] ?? 0) | 0x80, 0x00];
}
