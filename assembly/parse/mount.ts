// `docker run --mount type=volume,source=NAME,target=/path,…`: one CSV record, quoted as encoding/csv has it.
import { show } from "../json/text";
import { didYouMean } from "../model/errors";
import { OptionValue, VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { isTrue, isTruth } from "../options/check";
import { Context, Declaration } from "./context";
import { containerPath, subpath } from "./paths";

const FIELD: string = "mount";
const FORM: string = "write type=volume,source=NAME,target=/path";
const KEYS: string[] = [
  "type",
  "source",
  "src",
  "target",
  "dst",
  "destination",
  "readonly",
  "ro",
  "volume-driver",
  "volume-opt",
  "volume-subpath",
  "volume-nocopy",
];

export function parseMount(context: Context, text: string): Failure | null {
  if (text.length == 0) return fail(text, "is empty", FORM);
  const fields: string[] = [];
  const broken = splitCsv(text, fields);
  if (broken.length) return fail(text, broken, 'quote a whole part: "volume-opt=o=addr=10.0.0.1,vers=4"');

  const request = context.request("--mount " + show(text));
  let seenTarget = false;
  let seenReadOnly = false;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i];
    const equals = field.indexOf("=");
    const key = (equals < 0 ? field : field.substring(0, equals)).trim().toLowerCase();
    const value = equals < 0 ? "" : field.substring(equals + 1);
    if (key == "readonly" || key == "ro" || key == "volume-nocopy") {
      if (equals >= 0 && !isTruth(value)) return bad(key, value, "true or false");
      if (key == "volume-nocopy") continue;
      const mode = equals < 0 || isTrue(value) ? "ro" : "rw";
      if (seenReadOnly && mode != request.mode)
        return fail(text, "says both read-only and not read-only", "write one of them");
      seenReadOnly = true;
      request.mode = mode;
      continue;
    }
    if (equals < 0) {
      if (KEYS.includes(key)) return fail(text, 'has "' + show(key) + '" without "=" and a value', FORM);
      return fail(text, 'has the part "' + show(field) + '", which is no key=value', FORM);
    }
    if (key == "type") {
      if (value.toLowerCase() == "volume") continue;
      const known = value == "bind" || value == "tmpfs" || value == "npipe" || value == "cluster" || value == "image";
      return bad(
        key,
        value,
        "volume",
        known ? "only volumes of volume drivers are given to workloads here" : didYouMean(value, ["volume"]),
      );
    }
    if (key == "source" || key == "src") {
      if (request.name.length && request.name != value) return fail(text, "names two sources", "name one volume");
      if (value.startsWith("/") || value.startsWith("./") || value.startsWith("../") || value.startsWith("~")) {
        return fail(
          text,
          "has a folder of the host as its source; that is a bind mount, not a volume, and is not done here",
          "name a volume",
        );
      }
      request.name = value;
    } else if (key == "target" || key == "dst" || key == "destination") {
      const path = containerPath(FIELD + " " + key, value, true);
      const error = path.error;
      if (error !== null) return error.of(request.name);
      if (seenTarget && path.value! != request.containerPath) return fail(text, "names two targets", "name one path");
      seenTarget = true;
      request.containerPath = path.value!;
    } else if (key == "volume-driver") {
      if (value.length == 0) return bad(key, value, "the name of a driver");
      if (request.driver.length && request.driver != value) return fail(text, "names two drivers", "name one driver");
      request.driver = value;
    } else if (key == "volume-opt") {
      const error = addOption(text, request, value);
      if (error !== null) return error;
    } else if (key == "volume-subpath") {
      const path = subpath(FIELD + " " + key, value);
      const error = path.error;
      if (error !== null) return error.of(request.name);
      request.subpath = path.value!;
    } else if (key == "volume-label" || key == "consistency") {
      context.note(FIELD + ": " + key + "=" + show(value) + " means nothing here and was left out");
    } else {
      return fail(text, 'has the unknown key "' + show(key) + '"; it takes ' + KEYS.join(", "), didYouMean(key, KEYS));
    }
  }
  if (request.name.length == 0) return fail(text, "names no volume", "add source=NAME");
  if (!seenTarget) return fail(text, "names no target", "add target=/path").of(request.name);
  return context.add(new Declaration(request), FIELD + " source", FIELD + " volume-driver", FIELD + " volume-opt");
}

function addOption(text: string, request: VolumeRequest, pair: string): Failure | null {
  if (request.options.tooMany) return null;
  const equals = pair.indexOf("=");
  const name = equals < 0 ? pair : pair.substring(0, equals);
  const value = equals < 0 ? "" : pair.substring(equals + 1);
  if (name.length == 0) return fail(text, "has a volume-opt without a name", "write volume-opt=NAME=VALUE");
  const before = request.options.get(name);
  if (before !== null && before.text != value) {
    return fail(text, 'gives the option "' + show(name) + '" twice', "give it once");
  }
  request.options.set(name, new OptionValue(value));
  return null;
}

/** Splits one CSV record. Returns what is wrong with it, or "". */
function splitCsv(text: string, out: string[]): string {
  let at = 0;
  while (true) {
    if (at < text.length && text.charCodeAt(at) == 0x22) {
      const parts: string[] = [];
      let from = at + 1;
      while (true) {
        const end = text.indexOf('"', from);
        if (end < 0) return "has a quote that is not closed";
        parts.push(text.substring(from, end));
        from = end + 1;
        if (from >= text.length || text.charCodeAt(from) != 0x22) break;
        from++;
      }
      if (from < text.length && text.charCodeAt(from) != 0x2c) return "has text after a closing quote";
      out.push(parts.join('"'));
      at = from;
    } else {
      let end = text.indexOf(",", at);
      if (end < 0) end = text.length;
      const field = text.substring(at, end);
      if (field.includes('"')) return "has a quote inside a part that does not begin with one";
      out.push(field);
      at = end;
    }
    if (at >= text.length) return "";
    at++;
  }
}

function bad(key: string, value: string, accepted: string, hint: string = ""): Failure {
  const field = FIELD + " " + key;
  return new Failure("invalid", field + " must be " + accepted + ', not "' + show(value) + '"', hint).at(
    field,
    show(value),
  );
}

function fail(text: string, problem: string, hint: string): Failure {
  return new Failure("invalid", FIELD + ' "' + show(text) + '" ' + problem, hint).at(FIELD, show(text));
}
