// Options held against the schema of their driver, before anything is done with them.
import { badLine, numberText, show } from "../json/text";
import { quantity } from "../model/attributes";
import { MAX_OPTIONS, MAX_OPTION_NAME, MAX_OPTION_VALUE, didYouMean, wrong } from "../model/errors";
import { VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { schemaOf } from "./schemas";

/**
 * Checks all options of a request; null where they can be sent. `field` names where they were written. An option that the
 * driver's schema names is spelled as it is there from now on.
 */
export function checkOptions(field: string, request: VolumeRequest): Failure | null {
  const options = request.options;
  if (options.size == 0) return null;
  if (options.tooMany) {
    return new Failure("invalid", field + " has more than " + MAX_OPTIONS.toString() + " options")
      .at(field)
      .of(request.name, request.driver);
  }
  const schema = schemaOf(request.driver);
  for (let i = 0; i < options.size; i++) {
    const name = options.names[i];
    const value = options.values[i];
    let failure = checkName(field, name);
    const place = field + "." + name;
    if (failure === null && value.text.length > MAX_OPTION_VALUE) {
      failure = new Failure("invalid", place + " is longer than " + MAX_OPTION_VALUE.toString() + " characters").at(
        place,
      );
    }
    if (failure === null && !value.isSecret) {
      const bad = badLine(value.text);
      if (bad.length) failure = new Failure("invalid", place + " " + bad).at(place, show(value.text));
    }
    if (failure !== null) return failure.of(request.name, request.driver);
    if (schema === null) continue;
    const rule = ruleFor(schema, name);
    // Where any name may be, one that is nearly another is taken for a slip.
    const slip = rule.startsWith("* ") && didYouMean(name, namesOf(schema)).length > 0;
    if (rule.length == 0 || slip) failure = unknown(place, name, request.driver, schema);
    else if (!value.isSecret) failure = checkValue(place, value.text, rule);
    if (failure !== null) return failure.of(request.name, request.driver);
    if (!rule.startsWith("* ")) options.respell(i, nameOf(rule));
  }
  return null;
}

/**
 * A size that was asked for beside the options, as the driver's option wants it: whole GB where its schema counts in GB,
 * else as it was written. Null where it cannot be had.
 */
export function sizeFor(driver: string, text: string): string | null {
  const schema = schemaOf(driver);
  if (schema === null) return text;
  if (!ruleFor(schema, "size").startsWith("size int ")) return text;
  const gigabytes = quantity("size", text);
  if (isNaN(gigabytes) || gigabytes != Math.floor(gigabytes)) return null;
  return numberText(gigabytes);
}

function checkName(field: string, name: string): Failure | null {
  if (name.length == 0) return new Failure("invalid", field + " has an option without a name").at(field);
  if (name.length > MAX_OPTION_NAME) {
    return new Failure("invalid", field + " has an option whose name is too long").at(field, show(name));
  }
  const bad = badLine(name);
  if (bad.length == 0) return null;
  return new Failure("invalid", field + ' has an option "' + show(name) + '" whose name ' + bad).at(field, show(name));
}

/**
 * The rule's line, or "". A name with a blank would fit a line beyond its name, and one beyond ASCII may only become that of a
 * rule by its lower case, which the engine does not take for the same when it looks for secrets.
 */
function ruleFor(schema: string[], name: string): string {
  const lower = isWord(name) ? name.toLowerCase() : " ";
  for (let i = 0; i < schema.length; i++) {
    const rule = unchecked(schema[i]);
    // The last one.
    if (rule.startsWith("* ")) return rule;
    if (rule.length > lower.length && rule.charCodeAt(lower.length) == 0x20 && rule.startsWith(lower)) {
      return rule;
    }
  }
  return "";
}

function isWord(name: string): bool {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) <= 0x20 || name.charCodeAt(i) >= 0x7f) return false;
  return true;
}

function namesOf(schema: string[]): string[] {
  const names: string[] = [];
  for (let i = 0; i < schema.length; i++) {
    if (!schema[i].startsWith("* ")) names.push(nameOf(schema[i]));
  }
  return names;
}

function nameOf(rule: string): string {
  return rule.substring(0, rule.indexOf(" "));
}

function unknown(place: string, name: string, driver: string, schema: string[]): Failure {
  const names = namesOf(schema);
  return new Failure(
    "invalid",
    place + ": driver " + driver + ' has no option "' + show(name) + '"; it takes ' + names.join(", "),
    didYouMean(name, names),
  ).at(place, show(name));
}

function checkValue(place: string, value: string, rule: string): Failure | null {
  const words = rule.split(" ");
  const kind = words[1];
  if (kind == "int") return checkInteger(place, value, words[2], words[3], words[4]);
  if (kind == "one") {
    const accepted = words[2].split("|");
    const lower = value.toLowerCase();
    for (let i = 0; i < accepted.length; i++) if (accepted[i].toLowerCase() == lower) return null;
    return wrong(place, value, "one of " + accepted.join(", "), didYouMean(value, accepted));
  }
  if (kind == "bool") {
    return isTruth(value) ? null : wrong(place, value, "true or false");
  }
  if (kind == "size") {
    const size = quantity("size", value);
    if (size > 0) return null;
    return wrong(place, value, "a size such as 10 (GB), 512m or 1GiB");
  }
  if (kind == "label") {
    if (value.length > 0 && isLabel(value)) return null;
    return wrong(place, value, "a word of letters, digits and _ . - : +");
  }
  return value.length > 0 ? null : wrong(place, value, "a text that is not empty");
}

function checkInteger(place: string, value: string, minText: string, maxText: string, unit: string): Failure | null {
  let digits = value.length > 0 && value.length <= 15;
  for (let i = 0; i < value.length && digits; i++) {
    const code = value.charCodeAt(i);
    digits = code >= 0x30 && code <= 0x39;
  }
  if (digits) {
    const number = I64.parseInt(value);
    if (number >= I64.parseInt(minText) && number <= I64.parseInt(maxText)) return null;
  }
  let hint = "";
  if (unit == "GB") {
    const gigabytes = quantity("size", value);
    if (!isNaN(gigabytes) && gigabytes >= 1 && gigabytes == Math.floor(gigabytes) && numberText(gigabytes) != value) {
      hint = "write " + numberText(gigabytes) + ": the unit is always GB";
    }
  }
  return wrong(place, value, "a whole number of " + unit + " from " + minText + " to " + maxText, hint);
}

/** The words that Go's ParseBool takes: what plugins read. */
export function isTruth(value: string): bool {
  return (
    isTrue(value) ||
    value == "false" ||
    value == "False" ||
    value == "FALSE" ||
    value == "f" ||
    value == "F" ||
    value == "0"
  );
}

export function isTrue(value: string): bool {
  return value == "true" || value == "True" || value == "TRUE" || value == "t" || value == "T" || value == "1";
}

function isLabel(value: string): bool {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    const fine =
      (code >= 0x30 && code <= 0x39) ||
      (code >= 0x41 && code <= 0x5a) ||
      (code >= 0x61 && code <= 0x7a) ||
      code == 0x5f ||
      code == 0x2e ||
      code == 0x2d ||
      code == 0x3a ||
      code == 0x2b;
    if (!fine) return false;
  }
  return true;
}
