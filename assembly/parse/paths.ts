// Paths that users name: where a volume is to be in the workload, and which folder of the volume.
import { badLine, show } from "../json/text";
import { MAX_PATH } from "../model/errors";
import { Failure, Result } from "../model/result";

/** Bytes of UTF-8 that one part of a path may have (NAME_MAX). */
const MAX_PART: i32 = 255;

/**
 * The path in the workload, without doubled slashes, "." parts and a slash at the end. Relative ones are relative to the
 * workload's working folder (a Mesos sandbox); `absolute` refuses them.
 */
export function containerPath(field: string, text: string, absolute: bool): Result<string> {
  if (text.length == 0) {
    return Result.fail<string>(
      new Failure("invalid", field + " is empty", "name the folder where the workload wants the volume").at(field),
    );
  }
  if (absolute && text.charCodeAt(0) != 0x2f) {
    return fail(field, text, "must be absolute", 'begin it with "/"');
  }
  const result = normalize(field, text);
  const path = result.value;
  if (path !== null && (path == "/" || path.length == 0)) {
    return fail(field, text, "is the root of the workload's files, which no volume can replace", "name a folder");
  }
  return result;
}

/** The same of a volume that is an object at `place`, whose member `key` it is; "" where it does not have it. */
export function memberPath(place: string, key: string, text: string): Result<string> {
  if (text.length) return containerPath(place + "." + key, text, false);
  return Result.fail<string>(
    new Failure(
      "invalid",
      place + " has no " + key,
      'write "' + key + '": "/data", with the folder where the workload wants the volume',
    ).at(place + "." + key),
  );
}

/** A folder in the volume: relative, "" for the volume itself. A slash at the front is taken as the volume's root. */
export function subpath(field: string, text: string): Result<string> {
  let from = 0;
  while (from < text.length && text.charCodeAt(from) == 0x2f) from++;
  return normalize(field, text.substring(from));
}

function normalize(field: string, text: string): Result<string> {
  const bad = badLine(text);
  if (bad.length) return fail(field, text, bad, "");
  if (text.length > MAX_PATH) return fail(field, text, "is longer than " + MAX_PATH.toString() + " characters", "");
  const parts = text.split("/");
  const kept: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    if (part.length == 0 || part == ".") continue;
    if (part == "..") return fail(field, text, 'holds ".."', "write the folder that is meant");
    if (part.length > 63 && String.UTF8.byteLength(part) > MAX_PART) {
      return fail(field, text, "has a part that is longer than " + MAX_PART.toString() + " bytes", "");
    }
    kept.push(part);
  }
  const joined = kept.join("/");
  return Result.ok<string>(text.length > 0 && text.charCodeAt(0) == 0x2f ? "/" + joined : joined);
}

function fail(field: string, text: string, problem: string, hint: string): Result<string> {
  return Result.fail<string>(
    new Failure("invalid", field + ' "' + show(text) + '" ' + problem, hint).at(field, show(text)),
  );
}
