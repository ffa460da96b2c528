// What a replay of many records came to: counted, and what is alike together.
import { printable } from "../printable.ts";
import type { OperationRecord } from "./records.ts";
import type { Outcome, Result, Trace } from "./replay.ts";
import { firstCall, kindOf } from "./words.ts";

/** Operations that are shown of each group. */
const SHOWN = 20;

export interface Example {
  /** The record's number, from 1. */
  number: number;
  record: OperationRecord;
  result: Result;
  trace: Trace;
  /** The first host call that differs, as a line; null where none does. */
  first_call: string | null;
}

export interface Group {
  outcome: Outcome;
  /** What they have in common, as a line. */
  title: string;
  count: number;
  /** The first ones. */
  examples: Example[];
}

export interface PolicyName {
  name: string;
  version: string;
  sha256: string;
}

export class Summary {
  all = 0;
  same = 0;
  readonly counts: Record<Outcome, number> = { same: 0, different: 0, undecidable: 0, failed: 0, skipped: 0 };
  /** The policies that decided then, by their hash. */
  readonly recorded = new Map<string, PolicyName & { count: number }>();
  private readonly byKind = new Map<string, Group>();

  constructor(
    readonly policy: PolicyName,
    /** Where the records are from, as far as they say. */
    readonly nodes: ReadonlySet<string>,
  ) {}

  add(index: number, record: OperationRecord, result: Result, trace: Trace): void {
    if (result.outcome !== "same") this.counts[result.outcome] += 1;
    const title = kindOf(record, result);
    const key = `${result.outcome} ${title}`;
    const group = this.byKind.get(key) ?? { outcome: result.outcome, title, count: 0, examples: [] };
    this.byKind.set(key, group);
    group.count += 1;
    if (group.examples.length >= SHOWN) return;
    const first = firstCall(result, record);
    group.examples.push({ number: index + 1, record, result, trace, first_call: first });
  }

  /** Says how many there were; of those that came out the same only some were told. */
  end({ same, all }: { same: number; all: number }): void {
    this.all = all;
    this.counts.same = same;
    for (const group of this.byKind.values()) if (group.outcome === "same") group.count = same;
  }

  /** The worst first, the most frequent of them first. */
  get groups(): Group[] {
    const order: Outcome[] = ["failed", "different", "undecidable", "skipped", "same"];
    const place = ({ outcome, count }: Group): number => order.indexOf(outcome) * 1e12 - count;
    return [...this.byKind.values()].sort((a, b) => place(a) - place(b));
  }

  /** Operations that would have come out otherwise. */
  get otherwise(): number {
    return this.counts.different + this.counts.failed;
  }

  toJSON(): unknown {
    const { counts, policy, groups } = this;
    return {
      records: this.all,
      counts,
      policy,
      groups: groups
        .filter(({ outcome }) => outcome !== "same")
        .map(({ examples, ...group }) => ({
          ...group,
          examples: examples.map(({ number, record, result, first_call }) => ({
            number,
            operation: record.operation ?? "",
            owner: record.owner ?? "",
            scope: record.scope ?? "",
            first_call,
            result,
          })),
        })),
    };
  }
}

/** `prepare of run/s1 (0123456789abcdef, 2026-01-02 03:04:05)`. */
export function operationTitle({ kind, owner, scope, operation, started_ms }: OperationRecord): string {
  const at = typeof started_ms === "number" && Math.abs(started_ms) < 8.64e15 ? new Date(started_ms) : null;
  const when = at === null ? "" : `, ${at.toISOString().slice(0, 19).replace("T", " ")}`;
  return `${kind ?? "operation"} of ${owner ?? ""}/${scope ?? ""} (${operation ?? ""}${when})`;
}

/** A summary as lines for a person. */
export function summaryText(summary: Summary): string {
  const { counts, policy } = summary;
  const lines = [
    `${summary.all} ${summary.all === 1 ? "record" : "records"}, decided again by ${policy.name} ${policy.version} (sha256 ${policy.sha256.slice(0, 12)})`,
    ...(["same", "different", "failed", "undecidable", "skipped"] as const).map(
      (outcome) => `${String(counts[outcome]).padStart(8)}  ${outcome}`,
    ),
  ];
  for (const { outcome, title, count, examples } of summary.groups) {
    if (outcome === "same") continue;
    lines.push("", `${outcome}: ${title} (${count})`);
    for (const { record, result, first_call } of examples.slice(0, 3)) {
      lines.push(`    ${operationTitle(record)}`);
      if (first_call !== null) lines.push(`        ${first_call}`);
      else if (result.export !== undefined) lines.push(`        no host call: the answer of ${result.export} itself`);
    }
    if (count > 3) lines.push(`    and ${count - Math.min(3, examples.length)} more`);
  }
  return `${lines.map(printable).join("\n")}\n`;
}
