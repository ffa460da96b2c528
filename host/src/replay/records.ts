// Records of operations, as `dvdi explain --export` writes them (docs/replay.md): JSON lines, the first of which is a head.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

import { UserError, whyFailed } from "../errors.ts";

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

/** The exports that a record may hold, in the order in which the engine calls them. */
export const RECORDED = ["parse", "prepare", "cleanup", "recover"] as const;
export type Export = (typeof RECORDED)[number];

/** What the engine was asked for, what it answered, and how long that took. */
export interface RecordedCall {
  call: string;
  request: Json;
  answer: Json;
  ms?: number;
}

/** One operation. Anything may be missing: it comes from outside. */
export interface OperationRecord {
  operation?: string;
  kind?: string;
  owner?: string;
  scope?: string;
  started_ms?: number;
  duration_ms?: number;
  outcome?: string;
  policy?: { name?: string; version?: string; sha256?: string };
  /** JSON as text, by export. */
  input?: Partial<Record<Export, string>>;
  answer?: Partial<Record<Export, string>>;
  calls?: RecordedCall[];
  error?: { code?: string; message?: string; hint?: string };
  undone?: Json[];
  notes?: string[];
  cut?: boolean;
}

export interface RecordsHead {
  dvdi: "records";
  version: number;
  node?: string;
  settings?: JsonObject;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value of a JSON text, or undefined where it is none. */
export function jsonOrNothing(text: unknown): Json | undefined {
  if (typeof text !== "string") return undefined;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** @throws Error where the line is no object, or a member that replay needs is of another kind */
export function readRecord(line: string): OperationRecord {
  const value: unknown = JSON.parse(line);
  if (!isObject(value)) throw new Error("it is no object");
  if (typeof value["operation"] !== "string") throw new Error("it is no record of an operation");
  for (const name of ["input", "answer", "policy", "error"]) {
    if (value[name] !== undefined && !isObject(value[name])) throw new Error(`its ${name} is no object`);
  }
  const { calls } = value;
  if (
    calls !== undefined &&
    !(Array.isArray(calls) && calls.every((c) => isObject(c) && typeof c["call"] === "string"))
  )
    throw new Error("its calls are no list of calls");
  return value;
}

/** A head, or null where the line is a record already. */
function readHead(line: string): RecordsHead | null {
  const value = jsonOrNothing(line);
  if (!isObject(value) || value["dvdi"] === undefined) return null;
  if (value["dvdi"] !== "records" || value["version"] !== 1) {
    throw new UserError(
      "the records are of a kind that this tool does not know",
      "take the dvdi-policy of that engine",
    );
  }
  return value as unknown as RecordsHead;
}

/** The operations of an answer of `dvdi explain --json`, or null where the line is none. */
function operationsOf(line: string): string[] | null {
  const value = line.startsWith('{"operations"') ? jsonOrNothing(line) : undefined;
  const list = isObject(value) ? value["operations"] : undefined;
  return Array.isArray(list) ? list.map((one) => JSON.stringify(one)) : null;
}

export interface Records {
  /** Null where the file has none. */
  head: RecordsHead | null;
  /** One record each; empty ones are left out. */
  lines: AsyncGenerator<string, void>;
}

/** Opens a file of what `dvdi explain --export` wrote, or `dvdi explain --json`; `-` is standard input. @throws UserError where it cannot be read */
export async function openRecords(file: string): Promise<Records> {
  const input: Readable = file === "-" ? process.stdin : createReadStream(file);
  const failed = new Promise<never>((_, reject) => {
    input.once("error", (error: NodeJS.ErrnoException) => {
      reject(new UserError(`${file} cannot be read: ${whyFailed(error)}`, "name what `dvdi explain --export` wrote"));
    });
  });
  failed.catch(() => undefined);
  const lines = createInterface({ input, crlfDelay: Infinity })[Symbol.asyncIterator]();
  const next = (): Promise<IteratorResult<string, unknown>> => Promise.race([lines.next(), failed]);
  let first = await next();
  const head = first.done ? null : readHead(first.value);
  if (head !== null) first = await next();
  return {
    head,
    lines: (async function* () {
      for (let line = first; !line.done; line = await next()) {
        if (line.value.trim() !== "") yield* operationsOf(line.value) ?? [line.value];
      }
    })(),
  };
}
