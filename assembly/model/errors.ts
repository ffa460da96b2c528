// Error texts and word lists that several parts share: one wording for one mistake.
import { Failure } from "./result";
import { badLine, show } from "../json/text";
import { nearest } from "../json/near";

export const ACCESS_MODES: string[] = ["single-writer", "multi-reader", "multi-writer"];
export const CREATE_MODES: string[] = ["never", "if-missing"];
export const OWNERSHIP_MODES: string[] = ["none", "root-dir", "idmap", "recursive"];
export const MODES: string[] = ["rw", "ro"];

/** UTF-16 units of a volume's or driver's name, a container path, an option's name, an option's value. */
export const MAX_NAME: i32 = 255;
export const MAX_DRIVER: i32 = 255;
export const MAX_PATH: i32 = 4095;
export const MAX_OPTION_NAME: i32 = 255;
export const MAX_OPTION_VALUE: i32 = 16384;
/** Options of one volume, volumes of one workload. */
export const MAX_OPTIONS: i32 = 128;
export const MAX_VOLUMES: i32 = 1024;

/** FIELD must be WHAT, not "VALUE". */
export function wrong(field: string, value: string, what: string, hint: string = ""): Failure {
  return new Failure("invalid", field + " must be " + what + ', not "' + show(value) + '"', hint).at(
    field,
    show(value),
  );
}

/** FIELD must be one of …, with the nearest as the hint. */
export function notOneOf(field: string, value: string, accepted: string[]): Failure {
  return wrong(field, value, "one of " + accepted.join(", "), didYouMean(value, accepted));
}

/** A hint, or "" where nothing is near. */
export function didYouMean(value: string, accepted: string[]): string {
  const near = nearest(value, accepted);
  return near.length ? 'did you mean "' + near + '"?' : "";
}

/** A volume's name that cannot be one; null where it can. A plugin decides about the rest. */
export function checkVolumeName(field: string, name: string): Failure | null {
  if (name.length == 0) {
    return new Failure("invalid", field + " is empty; a volume needs a name").at(field);
  }
  const problem = nameProblem(name, MAX_NAME, false);
  if (problem.length == 0) return null;
  return new Failure(
    "invalid",
    field + ' "' + show(name) + '" ' + problem,
    "a volume's name is 1 to " + MAX_NAME.toString() + " characters without slashes, not starting with . or -",
  ).at(field, show(name));
}

/** A driver's name that cannot be one; null where it can. */
export function checkDriverName(field: string, name: string): Failure | null {
  if (name.length == 0) return new Failure("invalid", field + " is empty; a driver has a name").at(field);
  const problem = nameProblem(name, MAX_DRIVER, true);
  if (problem.length == 0) return null;
  return new Failure(
    "invalid",
    field + ' "' + show(name) + '" ' + problem,
    "a driver's name is the name of its plugin socket, such as rexray or rclone: letters, digits and _ . - : / @",
  ).at(field, show(name));
}

/** A driver's name becomes a socket's path, so that it is held to a narrow alphabet; a volume's name does not. */
function nameProblem(name: string, limit: i32, isDriver: bool): string {
  const bad = badLine(name);
  if (bad.length) return bad;
  if (name.length > limit) return "is longer than " + limit.toString() + " characters";
  const first = name.charCodeAt(0);
  if (first == 0x2e || first == 0x2d) return 'starts with "' + name.charAt(0) + '"';
  if (!isDriver) {
    for (let i = 0; i < name.length; i++) {
      const code = name.charCodeAt(i);
      if (code == 0x2f || code == 0x5c) return "holds a slash";
    }
    if (first == 0x20 || name.charCodeAt(name.length - 1) == 0x20) return "starts or ends with a space";
    return "";
  }
  let partStart = 0;
  for (let i = 0; i <= name.length; i++) {
    const code = i < name.length ? name.charCodeAt(i) : 0x2f;
    if (code == 0x2f) {
      if (i == partStart) return "has an empty part";
      if (name.charCodeAt(partStart) == 0x2e) return "has a part that starts with a dot";
      partStart = i + 1;
      continue;
    }
    const fine =
      (code >= 0x61 && code <= 0x7a) ||
      (code >= 0x41 && code <= 0x5a) ||
      (code >= 0x30 && code <= 0x39) ||
      code == 0x5f ||
      code == 0x2e ||
      code == 0x2d ||
      code == 0x3a ||
      code == 0x40;
    if (!fine) return 'holds "' + name.charAt(i) + '"';
  }
  return "";
}
