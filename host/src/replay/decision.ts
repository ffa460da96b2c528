// What of an export's answer is its decision: texts for people do not count (docs/replay.md, "Answers").
import { malformed } from "../answer.ts";
import { isObject, type Export, type Json, type JsonObject } from "./records.ts";

function without(value: Json, ...names: string[]): Json {
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
}

function volumesBy(ok: JsonObject, change: (volume: Json) => Json): JsonObject {
  const { volumes } = ok;
  return Array.isArray(volumes) ? { ...ok, volumes: volumes.map(change) } : ok;
}

function parsedVolume(volume: Json): Json {
  const rest = without(volume, "from");
  if (!isObject(rest) || rest["class"] === undefined) return rest;
  return { ...rest, class: without(rest["class"], "passed_over") };
}

/** The decision in an answer; null where the answer is none. */
export function decisionOf(name: Export, answer: Json | undefined): Json {
  if (!isObject(answer) || malformed(answer) !== null) return null;
  const { ok, error } = answer;
  if (isObject(error)) {
    const told = ["code", "volume", "driver"].flatMap((member): [string, Json][] => {
      const value = error[member];
      return typeof value !== "string" || value === "" ? [] : [[member, value]];
    });
    return { error: Object.fromEntries(told) };
  }
  if (ok === undefined || !isObject(ok)) return { ok: ok ?? null };
  switch (name) {
    case "parse":
      return { ok: without(volumesBy(ok, parsedVolume), "notes") };
    case "prepare":
      return {
        ok: without(
          volumesBy(ok, (volume) => without(volume, "message")),
          "notes",
        ),
      };
    case "cleanup":
    case "recover":
      return { ok: without(ok, "report") };
  }
}
