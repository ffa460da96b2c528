// The task environment variables of the original Mesos module, bare and with a digit: DVDI_VOLUME_NAME, DVDI_VOLUME_NAME1, ….
// What it did and what is done here are told apart in docs/statement.md.
import { Node } from "../json/reader";
import { badLine, show } from "../json/text";
import { nearest } from "../json/near";
import { wrong } from "../model/errors";
import { OptionValue, VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { Context, Declaration } from "./context";
import { containerPath } from "./paths";

const PREFIX: string = "DVDI_";
const NAME: i32 = 0;
const DRIVER: i32 = 1;
const OPTS: i32 = 2;
const CONTAINERPATH: i32 = 3;
const EXPLICITCREATE: i32 = 4;
const KINDS: string[] = [
  "DVDI_VOLUME_NAME",
  "DVDI_VOLUME_DRIVER",
  "DVDI_VOLUME_OPTS",
  "DVDI_VOLUME_CONTAINERPATH",
  "DVDI_VOLUME_EXPLICITCREATE",
];
const REFUSED: string = "DVDI_VOLUME_DVDCLI";
/** Bare, and 1 to 9. */
const SLOTS: i32 = 10;

/** `node` is an object of variables: all of a task's, of which those that begin with DVDI_ are ours. */
export function parseEnv(context: Context, node: Node): Failure | null {
  if (!node.mustBeObject()) return node.failure;
  const keys = node.keys();
  const values = new Array<string>(KINDS.length * SLOTS).fill("");
  let any = false;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    if (!key.startsWith(PREFIX)) continue;
    const slot = slotOf(key);
    if (slot < 0) return unknown(key);
    const value = node.get(key)!;
    if (!value.isString) {
      // Marathon writes a secret as an object; its value is not known when volumes are decided.
      value.expected("text");
      return node.failure;
    }
    const text = value.text();
    const failure = node.failure;
    if (failure !== null) return failure;
    const bad = badLine(text);
    if (bad.length) return new Failure("invalid", key + " " + bad).at(key, show(text));
    values[slot] = text.trim();
    any = true;
  }
  if (!any) return null;
  for (let slot = 0; slot < SLOTS; slot++) {
    const failure = parseSlot(context, values, slot);
    if (failure !== null) return failure;
  }
  return null;
}

/** Index in `values` of a variable's name, or -1. */
function slotOf(key: string): i32 {
  for (let kind = 0; kind < KINDS.length; kind++) {
    const name = KINDS[kind];
    if (!key.startsWith(name)) continue;
    if (key.length == name.length) return kind * SLOTS;
    if (key.length != name.length + 1) continue;
    const digit = key.charCodeAt(name.length) - 0x30;
    if (digit >= 1 && digit <= 9) return kind * SLOTS + digit;
  }
  return -1;
}

function unknown(key: string): Failure {
  if (key.startsWith(REFUSED)) {
    return new Failure(
      "refused",
      key + " is refused: it named a program that the node would run with root's rights, and no program is run here",
      "remove " + key + "; volume plugins are called directly",
    ).at(key);
  }
  const accepted = KINDS.join(", ") + ", each bare or with one digit from 1 to 9";
  let base = key;
  while (base.length > 0) {
    const code = base.charCodeAt(base.length - 1);
    if (code < 0x30 || code > 0x39) break;
    base = base.substring(0, base.length - 1);
  }
  const digits = key.substring(base.length);
  if (KINDS.includes(base)) {
    return new Failure(
      "invalid",
      key + ' has the suffix "' + show(digits) + '"; accepted are ' + accepted,
      digits == "0" ? "write " + base : "",
    ).at(key);
  }
  const near = nearest(base, KINDS);
  return new Failure(
    "invalid",
    show(key) + " is not known; accepted are " + accepted,
    near.length ? "did you mean " + near + (isDigit(digits) ? digits : "") + "?" : "",
  ).at(show(key));
}

function isDigit(digits: string): bool {
  return digits.length == 1 && digits != "0";
}

function parseSlot(context: Context, values: string[], slot: i32): Failure | null {
  const suffix = slot == 0 ? "" : slot.toString();
  const name = values[NAME * SLOTS + slot];
  const nameKey = KINDS[NAME] + suffix;
  if (name.length == 0) {
    // The original passed over such a set without a word, and the workload ran without its volume.
    for (let kind = 1; kind < KINDS.length; kind++) {
      if (values[kind * SLOTS + slot].length == 0) continue;
      return new Failure(
        "invalid",
        KINDS[kind] + suffix + " is set, but " + nameKey + " is not; a volume needs a name",
        "set " + nameKey,
      ).at(nameKey);
    }
    return null;
  }
  const request = context.request(nameKey);
  const declared = new Declaration(request);
  declared.firstClass = false;
  request.name = name;
  request.driver = values[DRIVER * SLOTS + slot];
  const explicit = values[EXPLICITCREATE * SLOTS + slot].toLowerCase();
  if (explicit == "true") request.create = "if-missing";
  else if (explicit.length && explicit != "false") {
    return wrong(KINDS[EXPLICITCREATE] + suffix, explicit, "true or false").of(name);
  }
  const optsKey = KINDS[OPTS] + suffix;
  const failure = parseOpts(optsKey, values[OPTS * SLOTS + slot], request);
  if (failure !== null) return failure.of(name);

  const pathKey = KINDS[CONTAINERPATH] + suffix;
  const path = values[CONTAINERPATH * SLOTS + slot];
  if (path.length) {
    const result = containerPath(pathKey, path, false);
    const error = result.error;
    if (error !== null) return error.of(name);
    request.containerPath = result.value!;
  } else {
    declared.pathGiven = false;
  }
  const refused = context.add(declared, nameKey, KINDS[DRIVER] + suffix, optsKey);
  if (refused === null && !declared.pathGiven) {
    // Where REX-Ray mounted it, and where commands written for the original module look.
    const slash = request.driver.indexOf("/");
    const family = slash < 0 ? request.driver : request.driver.substring(0, slash);
    request.containerPath = "/var/lib/" + family.replaceAll(":", "_") + "/volumes/" + name;
  }
  return refused;
}

/** "size=5,iops=150": pairs between commas; the first "=" parts name and value. */
function parseOpts(key: string, text: string, request: VolumeRequest): Failure | null {
  if (text.length == 0) return null;
  const pieces = text.split(",");
  for (let i = 0; i < pieces.length && !request.options.tooMany; i++) {
    const piece = pieces[i].trim();
    if (piece.length == 0) continue;
    const equals = piece.indexOf("=");
    if (equals <= 0) {
      return new Failure(
        "invalid",
        key + ' has "' + show(piece) + '", which is no name=value',
        "write pairs between commas: size=5,newfstype=xfs",
      ).at(key, show(piece));
    }
    const name = piece.substring(0, equals).trim();
    const value = piece.substring(equals + 1).trim();
    const before = request.options.get(name);
    if (before !== null && before.text != value) {
      return new Failure("invalid", key + ' gives "' + show(name) + '" twice', "give it once").at(key, show(text));
    }
    request.options.set(name, new OptionValue(value));
  }
  return null;
}
