// Host calls taken apart into items, and the recorded answers to them (docs/replay.md, "Host calls").
import { isObject, type Json, type JsonObject, type RecordedCall } from "./records.ts";

/** What the policy asks for in one piece: `call` is the import, the rest as it is compared. */
export type Item = JsonObject & { call: string };

/** Where the parts of a request and of its answer are. */
const PARTS: Readonly<Record<string, { asked: string; answered: string }>> = {
  plugin_call: { asked: "calls", answered: "answers" },
  stage: { asked: "stages", answered: "stages" },
};
const STAGE_DEFAULTS: JsonObject = { read_only: false, nosuid: true, nodev: true, subpath: "", ownership: "none" };

/** The same text for values that are equal as JSON: the order of an object's members does not matter. */
export function canonical(value: Json): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null) return String(value);
  let text = "";
  if (Array.isArray(value)) {
    for (const one of value) text += (text === "" ? "" : ",") + canonical(one);
    return `[${text}]`;
  }
  for (const name of Object.keys(value).sort())
    text += `${(text === "" ? "" : ",") + JSON.stringify(name)}:${canonical(value[name] ?? null)}`;
  return `{${text}}`;
}

/** The parts of a request, or null where it is taken as a whole. */
function partsOf(call: string, request: Json): JsonObject[] | null {
  const parts = PARTS[call];
  const list = parts && isObject(request) ? request[parts.asked] : undefined;
  return Array.isArray(list) && list.every(isObject) ? list : null;
}

function whole(call: string, request: Json): Item {
  return isObject(request) ? { ...request, call } : { call, request };
}

function part(call: string, asked: JsonObject): Item {
  if (call === "stage") return { ...STAGE_DEFAULTS, ...asked, call };
  const { timeout_ms: deadline, ...rest } = asked;
  void deadline;
  return { ...rest, call };
}

/** Whether the item does something: the others only ask. */
export function isEffect(item: Item): boolean {
  if (item.call === "stage") return true;
  return item.call === "plugin_call" && (item["method"] === "Create" || item["method"] === "Mount");
}

/** The items of a request. */
export function itemsOf(call: string, request: Json): Item[] {
  return partsOf(call, request)?.map((asked) => part(call, asked)) ?? [whole(call, request)];
}

/** An item that was asked for, and what it was answered; `asked` is its place among the recorded ones. */
export interface Answered {
  item: Item;
  answer: Json;
  ms?: number;
}

/** The items of recorded calls with their answers, in their order. */
export function recordedItems(calls: RecordedCall[]): Answered[] {
  return calls.flatMap(({ call, request, answer, ms }) => {
    const time = typeof ms === "number" ? { ms } : {};
    const parts = partsOf(call, request);
    const answers = isObject(answer) && isObject(answer["ok"]) ? answer["ok"][PARTS[call]?.answered ?? ""] : undefined;
    if (parts === null || !Array.isArray(answers)) return [{ item: whole(call, request), answer, ...time }];
    return parts.flatMap((asked, i) => {
      const said = answers[i];
      return said === undefined ? [] : [{ item: part(call, asked), answer: said, ...time }];
    });
  });
}

/** An item that the record has no answer for. */
export class NotRecorded extends Error {
  override name = "NotRecorded";
  constructor(readonly item: Item) {
    super("no recorded answer");
  }
}

/** Recorded answers, each given once, by what was asked. */
export class Answers {
  private readonly left = new Map<string, number[]>();
  private readonly recorded: Answered[];
  private readonly used = new Set<number>();

  constructor(calls: RecordedCall[]) {
    this.recorded = recordedItems(calls.filter(({ call }) => call !== "log" && call !== "sleep"));
    this.recorded.forEach(({ item }, index) => {
      const key = canonical(item);
      const queue = this.left.get(key);
      if (queue === undefined) this.left.set(key, [index]);
      else queue.push(index);
    });
  }

  /** Answers one host call as a whole. @throws NotRecorded */
  answer(call: string, request: Json, onItem: (answered: Answered) => void = () => undefined): Json {
    const parts = partsOf(call, request);
    const asWhole = whole(call, request);
    const once = this.take(asWhole);
    if (once !== undefined) {
      onItem({ item: asWhole, answer: once });
      return once;
    }
    if (parts === null) throw new NotRecorded(asWhole);
    const answers = parts.map((asked) => {
      const item = part(call, asked);
      const said = this.take(item);
      if (said === undefined) throw new NotRecorded(item);
      onItem({ item, answer: said });
      return said;
    });
    return { ok: { [PARTS[call]?.answered ?? ""]: answers } };
  }

  /** The first recorded effect that nobody asked for. */
  missing(): Item | null {
    return this.recorded.find(({ item }, index) => isEffect(item) && !this.used.has(index))?.item ?? null;
  }

  private take(item: Item): Json | undefined {
    const index = this.left.get(canonical(item))?.shift();
    if (index === undefined) return undefined;
    this.used.add(index);
    return this.recorded[index]?.answer;
  }
}
