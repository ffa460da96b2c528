// Items, decisions and results as lines for a person.
import { askedInWords, saidInWords } from "../words.ts";
import { canonical, recordedItems, type Item } from "./items.ts";
import { isObject, jsonOrNothing, type Json, type OperationRecord, type RecordedCall } from "./records.ts";
import type { Result } from "./replay.ts";

export interface Named {
  driver: string;
  name: string;
}

/** The operation's volumes: as prepare had them, else as they were parsed, else those whose release was asked about. */
export function volumesOf(record: OperationRecord): Named[] {
  const parsed = jsonOrNothing(record.answer?.parse);
  const sources = [
    jsonOrNothing(record.input?.prepare),
    isObject(parsed) ? parsed["ok"] : undefined,
    jsonOrNothing(record.input?.cleanup),
  ];
  for (const source of sources) {
    const volumes = isObject(source) ? source["volumes"] : undefined;
    if (!Array.isArray(volumes)) continue;
    return volumes.filter(isObject).map(({ driver, name }) => ({ driver: text(driver), name: text(name) }));
  }
  return [];
}

function text(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

/** `Create data {"size":"5"}`; the item itself where it is of no known shape. */
export function itemInWords(item: Item, volumes: Named[]): string {
  const { call, ...rest } = item;
  if (call === "plugin_call" && typeof item["method"] !== "string") return canonical(item);
  const request = call === "plugin_call" ? { calls: [rest] } : call === "stage" ? { stages: [rest] } : rest;
  return askedInWords({ import: call, request, answer: {}, at: 0 }, volumes);
}

/** What an item was answered. */
export function answerInWords(item: Item, answer: Json): string {
  const { call, ...rest } = item;
  const error = isObject(answer) && isObject(answer["error"]) ? answer["error"] : null;
  if (error !== null) return `error: ${text(error["message"])}`;
  if (!isObject(answer)) return canonical(answer);
  const parts = call === "plugin_call" ? "answers" : "stages";
  const said = call === "plugin_call" || call === "stage" ? { ok: { [parts]: [answer] } } : {};
  return saidInWords({ import: call, request: rest, answer: said, at: 0 });
}

/** `ok`, `refused`, `no answer`. */
export function decisionInWords(decision: Json | undefined): string {
  if (!isObject(decision)) return "no answer";
  return isObject(decision["error"]) ? text(decision["error"]["code"]) || "an error" : "ok";
}

/** Where two values differ: `volumes[].options.size`; at most a few places. */
export function placesOfDifference(was: Json, now: Json): string[] {
  const places = new Set<string>();
  const walk = (a: Json | undefined, b: Json | undefined, place: string): void => {
    if (a !== undefined && b !== undefined && canonical(a) === canonical(b)) return;
    if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) {
      a.forEach((value, i) => walk(value, b[i], `${place}[]`));
    } else if (isObject(a) && isObject(b)) {
      for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
        walk(a[name], b[name], place === "" ? name : `${place}.${name}`);
      }
    } else {
      places.add(place);
    }
  };
  walk(was, now, "");
  return [...places].slice(0, 5);
}

/** What is alike in results that belong together: without the names of volumes and what is written into options. */
export function kindOf(record: OperationRecord, { outcome, export: name, at, was, now, missing, why }: Result): string {
  const where = name ?? "";
  if (outcome === "same") return "decided the same";
  if (outcome === "skipped") return why ?? "";
  if (at === "failure") return name === undefined ? (why ?? "") : `${name}: ${why ?? ""}`;
  if (at === "call") {
    const item = (now ?? was) as Item;
    const method = text(item["method"]);
    const options = isObject(item["options"]) ? Object.keys(item["options"]).sort() : [];
    const shape = `${method || item.call}${options.length > 0 ? ` with ${options.join(", ")}` : ""}`;
    if (now === null) return `${where}: no ${shape}`;
    return outcome === "different"
      ? `${where}: ${shape}, unlike then`
      : `${where}: asks for ${shape}, which nobody did`;
  }
  const [before, after] = [decisionInWords(was), decisionInWords(now)];
  if (before !== after)
    return `${where}: ${before} → ${after}${missing === undefined ? "" : `, no ${text(missing["method"]) || "stage"}`}`;
  return `${where}: ${before}, with another ${placesOfDifference(was ?? null, now ?? null)
    .join(", ")
    .replaceAll("ok.", "")}`;
}

/** Whether a recorded effect came to something: `made`, or `asked for (refused)`. */
function done(item: Item, calls: RecordedCall[]): string {
  const wanted = canonical(item);
  const answers = recordedItems(calls)
    .filter((recorded) => canonical(recorded.item) === wanted)
    .map(({ answer }) => {
      if (!isObject(answer)) return "no answer";
      return typeof answer["kind"] === "string" ? answer["kind"] : "ok" in answer ? "ok" : "error";
    });
  return answers.includes("ok") ? "made" : `asked for (${answers[0] ?? "no answer"})`;
}

/** The first host call that differs, or null where the difference is none of a call. */
export function firstCall({ at, was, now, missing }: Result, record: OperationRecord): string | null {
  const volumes = volumesOf(record);
  const gone = missing ?? (at === "call" && !isObject(now) && isObject(was) ? (was as Item) : null);
  if (gone !== null) return `${itemInWords(gone, volumes)}: was ${done(gone, record.calls ?? [])}, and would not be`;
  return at === "call" && isObject(now) ? `${itemInWords(now as Item, volumes)}: was not made, and would be` : null;
}

/** The message of an answer's error, or its decision. */
export function answerText(answer: Json | undefined): string {
  if (!isObject(answer)) return "no answer";
  const { error, ok } = answer;
  if (isObject(error)) return `${text(error["code"])}: ${text(error["message"])}`;
  const volumes = isObject(ok) && Array.isArray(ok["volumes"]) ? ok["volumes"].filter(isObject) : [];
  const messages = volumes.map((volume) => text(volume["message"])).filter((message) => message !== "");
  return messages.length > 0 ? `ok: ${messages.join("; ")}` : "ok";
}
