// A replay as one page that needs nothing else: no script, no other file. All that came with the records is escaped.
import { createHash } from "node:crypto";

import { printable } from "../printable.ts";
import { canonical, recordedItems, type Answered, type Item } from "./items.ts";
import { decisionOf } from "./decision.ts";
import { jsonOrNothing, RECORDED, type Export, type OperationRecord, type RecordedCall } from "./records.ts";
import type { Result, Trace } from "./replay.ts";
import { STYLE } from "./style.ts";
import { operationTitle, type Example, type Group, type Summary } from "./summary.ts";
import { answerInWords, answerText, itemInWords, volumesOf, type Named } from "./words.ts";

const OUTCOMES = ["same", "different", "failed", "undecidable", "skipped"] as const;

/** Text as HTML, for elements and quoted attributes. */
export function escaped(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return printable(text).replace(/[&<>"']/g, (c) => entities[c] ?? c);
}

/** The page. */
export function page(summary: Summary): string {
  const { policy, counts, all, groups } = summary;
  const nodes = [...summary.nodes].map(escaped).join(", ");
  const ofNodes = nodes === "" ? "" : ` of node${summary.nodes.size > 1 ? "s" : ""} ${nodes}`;
  const hash = createHash("sha256").update(STYLE).digest("base64");
  const title = `${policy.name} ${policy.version}, replayed`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-${hash}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p>${all} operations${ofNodes}, decided again by the policy
<b>${escaped(policy.name)} ${escaped(policy.version)}</b> (sha256 <code>${escaped(policy.sha256)}</code>).</p>
<ul class="counts">
${OUTCOMES.map((outcome) => `<li class="${outcome}"><b>${counts[outcome]}</b> ${outcome}</li>`).join("\n")}
</ul>
<h2>Groups</h2>
<table class="groups">
<thead><tr><th>outcome</th><th>operations</th><th>what they have in common</th><th>first host call that differs</th></tr></thead>
<tbody>
${groups.map(groupRow).join("\n")}
</tbody>
</table>
${groups.map(groupSection).join("\n")}
</body>
</html>
`;
}

function groupRow({ outcome, title, count, examples }: Group, index: number): string {
  return `<tr class="${outcome}"><td class="outcome">${outcome}</td><td class="number">${count}</td>
<td><a href="#group-${index}">${escaped(title)}</a></td><td>${escaped(examples[0]?.first_call ?? "")}</td></tr>`;
}

function groupSection({ outcome, title, count, examples }: Group, index: number): string {
  const more = count > examples.length ? `<p>The first ${examples.length} of ${count}.</p>` : "";
  return `<section id="group-${index}" class="${outcome}">
<h2>${escaped(title)}</h2>
${more}${examples.map(operation).join("\n")}
</section>`;
}

/** One operation: both decisions side by side, then every call with its time. */
function operation({ number, record, result, trace, first_call }: Example): string {
  const decided = RECORDED.filter((name) => record.input?.[name] !== undefined);
  const policy = record.policy === undefined ? "then" : `${record.policy.name ?? ""} ${record.policy.version ?? ""}`;
  return `<details id="record-${number}">
<summary>${escaped(operationTitle(record))}${first_call === null ? "" : `<span class="first">${escaped(first_call)}</span>`}</summary>
${result.why === undefined ? "" : `<p>${escaped(result.why)}</p>`}
<table class="decisions">
<thead><tr><th></th><th>${escaped(policy)}, as recorded</th><th>decided again</th></tr></thead>
<tbody>
${decided.map((name) => decisionRow(name, record, result, trace)).join("\n")}
</tbody>
</table>
${timeline(record, trace, result)}
</details>`;
}

function decisionRow(name: Export, record: OperationRecord, result: Result, trace: Trace): string {
  const answer = jsonOrNothing(record.answer?.[name]);
  const noted = trace.find((one) => one.export === name);
  const again =
    noted === undefined ? "not asked" : noted.answer === undefined ? "did not come to it" : answerText(noted.answer);
  const differs = result.export === name && result.outcome !== "same";
  const decision = (value: unknown): string => `<pre>${escaped(JSON.stringify(value, null, 2))}</pre>`;
  const both = differs && noted?.answer !== undefined;
  const then = both ? decision(decisionOf(name, answer)) : "";
  const now = both ? decision(decisionOf(name, noted.answer)) : "";
  return `<tr class="${differs ? "differs" : ""}"><th>${name}</th><td>${escaped(answerText(answer))}${then}</td><td>${escaped(again)}${now}</td></tr>`;
}

/** What was asked for then, when, and whether it was asked for again; at last what was asked for only now. */
function timeline(record: OperationRecord, trace: Trace, result: Result): string {
  const recorded = recordedItems(record.calls ?? []);
  const asked = trace.find((one) => one.export === "prepare")?.asked;
  if (recorded.length === 0 && (asked?.length ?? 0) === 0) return "";
  const volumes = volumesOf(record);
  const again = new Map<string, number>();
  for (const { item } of asked ?? []) again.set(canonical(item), (again.get(canonical(item)) ?? 0) + 1);
  const take = (item: Item): boolean => {
    const left = again.get(canonical(item)) ?? 0;
    if (left > 0) again.set(canonical(item), left - 1);
    return left > 0;
  };
  const rows = times(record, recorded).map(({ answered, from, width }) => {
    const silent = answered.item.call === "sleep" || answered.item.call === "log";
    const kept = take(answered.item) || silent || asked === undefined;
    return row(answered, volumes, kept ? "" : "gone", kept ? "" : "not asked for again", from, width);
  });
  const now = result.at === "call" ? result.now : undefined;
  const added = (asked ?? []).filter(({ item }) => take(item) && item.call !== "sleep" && item.call !== "log");
  rows.push(...added.map((answered) => row(answered, volumes, "new", "asked for only now", 0, 0)));
  if (now !== null && now !== undefined) {
    rows.push(
      row({ item: now as Item, answer: null }, volumes, "new", "asked for only now: nobody knows the answer", 0, 0),
    );
  }
  return `<table class="timeline">
<thead><tr><th>time</th><th>asked</th><th>answered</th><th>decided again</th></tr></thead>
<tbody>
${rows.join("\n")}
</tbody>
</table>`;
}

/** When each item began and how long it took, in hundredths of the whole. */
function times(record: OperationRecord, items: Answered[]): { answered: Answered; from: number; width: number }[] {
  // Items of one host call ran side by side.
  const took = ({ ms }: RecordedCall): number => (typeof ms === "number" ? ms : 0);
  const spans = (record.calls ?? []).flatMap((call) => recordedItems([call]).map(() => call));
  let at = 0;
  let before: RecordedCall | undefined;
  const placed = items.map((answered, i) => {
    if (spans[i] !== before) at += before === undefined ? 0 : took(before);
    before = spans[i];
    return { answered, from: at, width: answered.ms ?? 0 };
  });
  const all = Math.max(0.001, at + (before === undefined ? 0 : took(before)));
  return placed.map(({ answered, from, width }) => ({
    answered,
    from: (100 * from) / all,
    width: (100 * width) / all,
  }));
}

function row(answered: Answered, volumes: Named[], kind: string, said: string, from: number, width: number): string {
  const { item, answer, ms } = answered;
  const time = ms === undefined ? "" : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  const bar = `<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none"><rect x="${from.toFixed(2)}" width="${Math.max(width, 0.5).toFixed(2)}" height="1"/></svg>`;
  return `<tr class="${kind}"><td class="time">${ms === undefined ? "" : bar}${time}</td><td>${escaped(itemInWords(item, volumes))}</td><td>${
    answer === null ? "" : escaped(answerInWords(item, answer))
  }</td><td>${said}</td></tr>`;
}
