// What of an export's answer is its decision: texts for people do not count (docs/replay.md, "Answers").
import { CODES } from "../abi.ts";
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

/** Whether an error is one as the ABI has it: a code of its list, and a message that says something. */
function isFailure(error: Json | undefined): error is JsonObject {
  if (!isObject(error)) return false;
  const { code, message } = error;
  return typeof code === "string" && CODES.includes(code) && typeof message === "string" && /[^ \t\r\n]/.test(message);
}

/** The decision in an answer; null where the answer is none. */
export function decisionOf(name: Export, answer: Json | undefined): Json {
  if (!isObject(answer) || Object.keys(answer).length !== 1) return null;
  const { ok, error } = answer;
  if (ok === undefined) {
    if (!isFailure(error)) return null;
    const told = ["code", "volume", "driver"].flatMap((member): [string, Json][] => {
      const value = error[member];
      return typeof value !== "string" || value === "" ? [] : [[member, value]];
    });
    return { error: Object.fromEntries(told) };
  }
  if (!isObject(ok)) return { ok };
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
