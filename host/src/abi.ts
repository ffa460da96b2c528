// What docs/abi.md says of a blob's shape, as data and as one check. The engine makes the same check (and more) when it
// loads a blob; here it tells the author first.
import type { FunctionType, Module } from "./wasm.ts";

export const ABI = 1;
export const MANIFEST_SECTION = "dvdi.manifest";
export const IMPORT_MODULE = "dvdi";
export const IMPORTS: readonly string[] = ["log", "now", "plugin_call", "query", "random", "sleep", "stage"];
export const OPERATIONS: readonly string[] = ["configure", "parse", "prepare", "cleanup", "recover", "canary"];

/** The codes of errors. */
export const CODES: readonly string[] = [
  ..."invalid refused not-found unavailable driver policy system timeout unsupported internal".split(" "),
];

/** The engine's defaults; an operator's settings may be tighter. */
export const LIMITS = { blobBytes: 4 << 20, memoryBytes: 64 << 20 } as const;

/** What a policy's author wrote, by the import that the compiler makes of it. */
const WRITTEN: ReadonlyMap<string, string> = new Map([
  ["env.seed", "Math.random"],
  ["env.Date.now", "Date.now"],
  ["env.performance.now", "performance.now"],
  ["env.trace", "trace"],
]);

const PAGE = 65536;
const HOST_CALL: FunctionType = { params: ["i32", "i32"], results: ["i64"] };
const OPERATION = HOST_CALL;
const ALLOC: FunctionType = { params: ["i32"], results: ["i32"] };
const ABORT: FunctionType = { params: ["i32", "i32", "i32", "i32"], results: [] };

export function typeText(type: FunctionType): string {
  return `(${type.params.join(", ")}) -> ${type.results.join(", ") || "nothing"}`;
}

function wrongType(type: FunctionType | null, wanted: FunctionType): string | null {
  if (type !== null && typeText(type) === typeText(wanted)) return null;
  return `is ${type === null ? "not a function" : typeText(type)}, not ${typeText(wanted)}`;
}

/** Why an engine of ABI 1 would refuse a module of this shape and size, the manifest apart; empty where it would not. */
export function shapeProblems(module: Module, size: number): string[] {
  const problems: string[] = [];
  if (size > LIMITS.blobBytes) problems.push(`the blob has ${size} bytes; the limit is ${LIMITS.blobBytes}`);
  if (module.hasStart) problems.push("it has a start function: nothing may run before an operation");

  for (const entry of module.imports) {
    const full = `${entry.module}.${entry.name}`;
    const written = WRITTEN.get(full) ?? (full.startsWith("env.console.") ? full.slice("env.".length) : undefined);
    const title = written === undefined ? `import ${full}` : `import ${full} (${written} in the source)`;
    const isAbort = entry.module === "env" && entry.name === "abort";
    if (!isAbort && !(entry.module === IMPORT_MODULE && IMPORTS.includes(entry.name))) {
      problems.push(`${title} is not offered; offered are env.abort and, of module dvdi, ${IMPORTS.join(", ")}`);
      continue;
    }
    const wrong = wrongType(entry.type, isAbort ? ABORT : HOST_CALL);
    if (wrong !== null) problems.push(`${title} ${wrong}`);
  }

  const exported = new Map(module.exports.map((entry) => [entry.name, entry]));
  if (exported.get("memory")?.kind !== "memory") problems.push("it exports no memory of the name memory");
  const marker = exported.get("dvdi_abi_1")?.kind;
  if (marker !== "global" && marker !== "function") problems.push("it exports no dvdi_abi_1: the marker of ABI 1");
  for (const name of ["dvdi_alloc", ...OPERATIONS]) {
    const entry = exported.get(name);
    const wrong = entry && wrongType(entry.type, name === "dvdi_alloc" ? ALLOC : OPERATION);
    if (!entry) problems.push(`it does not export ${name}`);
    else if (wrong) problems.push(`export ${name} ${wrong}`);
  }

  if (module.memories.length !== 1) problems.push(`it has ${module.memories.length} memories; it must have one`);
  for (const memory of module.memories) {
    if (memory.memory64) problems.push("its memory is 64-bit; it must be 32-bit");
    if (memory.shared) problems.push("its memory is shared");
    if (memory.ownPages) problems.push("its memory has pages of its own size");
    if (memory.min * PAGE > LIMITS.memoryBytes) {
      problems.push(`its memory begins with ${memory.min} pages of 64 KiB; the limit is ${LIMITS.memoryBytes / PAGE}`);
    }
  }
  return problems;
}
