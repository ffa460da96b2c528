// Records of operations, as `dvdi explain --export` writes them (docs/replay.md): JSON lines, the first of which is a head.
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { isDeepStrictEqual } from "node:util";

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

/** Whether a line behind the first may be a head: the engine writes this member first. */
const BEGINS_AS_HEAD = /^\s*\{\s*"dvdi"\s*:/;

/** The operations of an answer of `dvdi explain --json`, or null where the line is none. */
function operationsOf(line: string): string[] | null {
  const value = line.startsWith('{"operations"') ? jsonOrNothing(line) : undefined;
  const list = isObject(value) ? value["operations"] : undefined;
  return Array.isArray(list) ? list.map((one) => JSON.stringify(one)) : null;
}

export interface Records {
  /** What `configure` got; undefined where the file does not begin with a head. */
  settings: JsonObject | undefined;
  /** The nodes of the heads that were read by now. */
  nodes: Set<string>;
  /** One record each; empty ones are left out. */
  lines: AsyncGenerator<string, void>;
}

// A record has at most `records.max_bytes`; the answer of `dvdi explain --json` has many of them in one line. Beyond this
// there is no text that the runtime could hold as one, so that a file of another kind would end it.
const LONGEST_LINE = 256 << 20;
const EXPORTED = "name what `dvdi explain --export` wrote";

/** The lines of a stream, without their ends. @throws UserError where it cannot be read, or a line is too long */
async function* linesOf(input: Readable, file: string): AsyncGenerator<string, void> {
  let parts: Buffer[] = [];
  let length = 0;
  const keep = (part: Buffer): void => {
    length += part.length;
    if (length > LONGEST_LINE)
      throw new UserError(`${file} cannot be read: a line has more than ${LONGEST_LINE} bytes`, EXPORTED);
    parts.push(part);
  };
  const line = (): string => {
    const text = Buffer.concat(parts, length).toString("utf8");
    parts = [];
    length = 0;
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  };
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      let from = 0;
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
        keep(chunk.subarray(from, at));
        yield line();
        from = at + 1;
      }
      keep(chunk.subarray(from));
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`${file} cannot be read: ${whyFailed(error as NodeJS.ErrnoException)}`, EXPORTED);
  }
  if (length > 0) yield line();
}

/**
 * Opens a file of what `dvdi explain --export` wrote, or `dvdi explain --json`; several exports may be in it, one behind the other.
 * `-` is standard input.
 * @param anySettings whether they may have different settings: they do not count
 * @throws UserError where it cannot be read
 */
export async function openRecords(file: string, anySettings: boolean): Promise<Records> {
  const input: Readable = file === "-" ? process.stdin : createReadStream(file);
  const lines = linesOf(input, file);
  const next = (): Promise<IteratorResult<string, void>> => lines.next();
  const nodes = new Set<string>();
  let first = await next();
  const head = first.done ? null : readHead(first.value);
  if (head?.node !== undefined) nodes.add(head.node);
  if (head !== null) first = await next();
  /** Takes a line that is the head of a further export. */
  const another = (line: string): boolean => {
    const further = BEGINS_AS_HEAD.test(line) ? readHead(line) : null;
    if (further === null) return false;
    if (!anySettings && !isDeepStrictEqual(further.settings, head?.settings))
      throw new UserError(
        `${file}: it is several exports, whose policies had different settings`,
        "replay each of them alone, or name the settings (--settings)",
      );
    if (further.node !== undefined) nodes.add(further.node);
    return true;
  };
  return {
    settings: head?.settings,
    nodes,
    lines: (async function* () {
      for (let line = first; !line.done; line = await next()) {
        if (line.value.trim() === "" || another(line.value)) continue;
        yield* operationsOf(line.value) ?? [line.value];
      }
    })(),
  };
}
