// A class (what a workload wants of its storage) becomes a pool of the operator's (what there is).
import { numberText } from "../json/text";
import { JsonWriter } from "../json/writer";
import { Attribute, Attributes } from "../model/attributes";
import { Config, Pool } from "../model/config";
import { ClassChoice, OptionValue, PassedOver, VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { sizeFor } from "../options/check";

const SIZE: string = "size";

/**
 * Gives `request` the driver and the options of the first pool, in the settings' order, that has all attributes that are wanted,
 * and the choice's explanation. A pool's attribute is one value, several ("media": ["ssd", "nvme"]) or a range; a pool that says nothing
 * about size takes any. In a pool's options, "${NAME}" stands for what was wanted of the attribute NAME; the option is left out where
 * nothing was. A size that is wanted becomes the option `size` where the pool sets none. An error where no pool fits.
 */
export function resolveClass(request: VolumeRequest, wanted: Attributes, config: Config): Failure | null {
  const choice = new ClassChoice();
  const w = new JsonWriter(128);
  wanted.writeTo(w);
  choice.attributes = w.toString();
  request.classChoice = choice;
  for (let i = 0; i < config.pools.length; i++) {
    const pool = config.pools[i];
    const reason = mismatch(pool, wanted);
    if (reason.length) {
      choice.passedOver.push(new PassedOver(pool.name, reason));
      continue;
    }
    choice.pool = pool.name;
    request.driver = pool.driver;
    choice.sizeChosen = !request.options.has(SIZE) && !isAsked(pool, wanted.get(SIZE));
    fillOptions(request, pool, wanted);
    return null;
  }
  let reasons = "";
  for (let i = 0; i < choice.passedOver.length; i++) {
    reasons += (i ? "; " : ": ") + choice.passedOver[i].pool + " " + choice.passedOver[i].reason;
  }
  return new Failure(
    "invalid",
    'volume "' +
      request.name +
      '": no pool fits its class' +
      (reasons.length ? reasons : ": the settings have no pools"),
    config.pools.length
      ? "ask for less, or name a driver"
      : "name a driver, or have pools set in policy.pools of the node's settings",
  ).of(request.name);
}

/** Why a pool does not fit, or "". */
function mismatch(pool: Pool, wanted: Attributes): string {
  for (let i = 0; i < wanted.all.length; i++) {
    const want = wanted.all[i];
    const have = pool.attributes.get(want.name);
    if (have === null) {
      if (want.name == SIZE) continue;
      return "has no " + want.name;
    }
    if (!have.gives(want)) return "has " + want.name + " " + have.toString() + ", not " + want.toString();
  }
  return "";
}

/** Whether the size that the pool gives is the one that was asked for, and no other would be. */
function isAsked(pool: Pool, size: Attribute | null): bool {
  if (size === null) return !pool.options.has(SIZE);
  const own = pool.options.get(SIZE);
  return size.isOne && (own === null || (!own.isSecret && own.text == "${" + SIZE + "}"));
}

function fillOptions(request: VolumeRequest, pool: Pool, wanted: Attributes): void {
  const own = request.options;
  for (let i = 0; i < pool.options.size; i++) {
    const name = pool.options.names[i];
    const value = pool.options.values[i];
    if (own.has(name)) continue;
    const text = value.text;
    if (!value.isSecret && text.startsWith("${") && text.endsWith("}")) {
      const given = chosen(pool, wanted, text.substring(2, text.length - 1));
      if (given.length) own.set(name, new OptionValue(given));
    } else {
      own.set(name, value);
    }
  }
  if (!own.has(SIZE)) {
    const size = chosen(pool, wanted, SIZE);
    if (size.length) own.set(SIZE, new OptionValue(sizeOption(request.driver, size)));
  }
}

/** Gigabytes as a driver's option wants them. A bare number would be bytes to many a driver that we know nothing of. */
function sizeOption(driver: string, gigabytes: string): string {
  const number = parseFloat(gigabytes);
  if (isNaN(number)) return gigabytes; // a word, which the check of the options sees
  const whole = number == Math.floor(number);
  const text = sizeFor(driver, whole ? gigabytes + "GB" : numberText(Math.ceil(number * 1024)) + "MB");
  // A part of a GB, for a driver that counts in whole ones: the check of its options says so.
  return text === null ? gigabytes : text;
}

/**
 * What of a wanted attribute the pool gives: the first text that both have, as the workload wrote it, or the least number that
 * both take (the greatest, where neither names a least one). "" where nothing was wanted.
 */
export function chosen(pool: Pool, wanted: Attributes, name: string): string {
  const want = wanted.get(name);
  if (want === null) return "";
  const have = pool.attributes.get(name);
  const text = have !== null ? have.shared(want) : want.texts.length > 0 ? 0 : -1;
  if (text >= 0) return want.written[text];
  if (!want.isNumber) return "";
  let number = have === null ? want.min : max(want.min, have.min);
  if (number == -Infinity) number = have === null ? want.max : min(want.max, have.max);
  return isFinite(number) ? numberText(number) : "";
}
