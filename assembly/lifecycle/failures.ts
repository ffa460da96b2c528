// What went wrong with a plugin, in words: one wording for one cause.
import { Failure } from "../model/result";
import { Call, Kind } from "./calls";
import { Volume } from "./volume";

const SHOWS_PLUGINS = "`dvdi doctor` shows the plugins that are found";

/** The driver's own error, for a call that it answered with no. */
export function pluginSaidNo(call: Call): Failure {
  const text = call.answer.error.length ? call.answer.error : "an error without a text";
  let hint = "this is the driver's own answer; its log may say more";
  if (call.method == "Mount" && heldElsewhere(text)) {
    hint = "end the workload that holds it, or wait until its node has released it, then run this again";
  } else if (call.method == "Create") {
    hint = "check the volume's options against what the driver takes; its log may say more";
  }
  return new Failure("driver", "driver " + call.driver + " answered " + call.subject + ' with "' + text + '"', hint).of(
    call.name,
    call.driver,
  );
}

/** Nothing is known of the call, and asking again has not helped. */
export function nothingKnown(call: Call): Failure {
  const answer = call.answer;
  const reason = answer.reason;
  const driver = "driver " + call.driver;
  const tail = (answer.error.length ? ": " + answer.error : "") + tries(call.attempts);
  let code = "unavailable";
  let message: string;
  let hint = "see whether the plugin runs (`dvdi doctor`) and what its log says, then run this again";
  if (reason == "not-found") {
    code = "not-found";
    // The engine's text names it, and where it was looked for.
    message = answer.error.length ? answer.error + tries(call.attempts) : "there is no plugin for " + driver;
    hint = "check the driver's name, or start its plugin (" + SHOWS_PLUGINS + ")";
  } else if (reason == "unreachable") {
    message = driver + " cannot be reached for " + call.subject + tail;
    hint = "start its plugin, then run this again (`dvdi doctor` shows its socket)";
  } else if (reason == "breaker-open") {
    message =
      driver + " has failed too often and is left alone for a while, so " + call.subject + " was not sent" + tail;
  } else if (reason == "timeout") {
    code = "timeout";
    message = driver + " did not answer " + call.subject + " in time" + tail;
  } else if (reason == "lost") {
    message = driver + " broke off the connection during " + call.subject + tail;
  } else if (reason == "invalid") {
    code = "invalid";
    message = call.subject + " was not sent to " + driver + tail;
    // The plugin is found before any option is sent to it.
    hint =
      call.method == "Create" || call.method == "Mount"
        ? "check the volume's options: what its workload, its pool and this policy say"
        : "check the driver's name and its file in the plugin folders";
  } else {
    code = "driver";
    message = driver + " answered " + call.subject + " with what cannot be understood (" + reason + ")" + tail;
    hint = "it may be no volume plugin, or one that has broken down: see its log";
  }
  return new Failure(code, message, hint).of(call.name, call.driver);
}

/**
 * The first call to a driver has failed. Where there is no such driver, and volumes that name none are given to it, whoever
 * named none is to learn where the name comes from.
 */
export function noGreeting(call: Call, defaultDriver: string): Failure {
  const failure = failureOfCall(call);
  if (call.answer.kind == Kind.Unknown && call.answer.reason == "not-found" && call.driver == defaultDriver) {
    failure.hint =
      "a volume that names no driver is given to " +
      call.driver +
      ": name another one with the volume, or for the node (policy.default_driver in its settings), or start its plugin (" +
      SHOWS_PLUGINS +
      ")";
  }
  return failure;
}

/** The engine did not send the call, or does not take what a Mount was answered with. It says what to do itself. */
export function engineRefused(call: Call): Failure {
  const refused = call.method == "Mount" ? " is refused: " : " was not sent to driver " + call.driver + ": ";
  return new Failure("refused", call.subject + refused + call.answer.error).of(call.name, call.driver);
}

/** The failure of a call whose answer is not yes. */
export function failureOfCall(call: Call): Failure {
  const kind = call.answer.kind;
  if (kind == Kind.Error) return pluginSaidNo(call);
  if (kind == Kind.Refused) return engineRefused(call);
  return nothingKnown(call);
}

/** Whether a volume is there is not known, and what is not known is not created: its driver gave no List. */
export function listFailed(volume: Volume, list: Call): Failure {
  const cause = failureOfCall(list);
  return notKnown(volume, cause.code, ", and " + cause.message, cause.hint);
}

/** The same where Get's error tells of the driver's own state: many a driver's List names nothing then, or never does. */
export function getFailed(volume: Volume): Failure {
  return notKnown(
    volume,
    "unavailable",
    ", which reads as if it would pass, and its List does not name the volume",
    "see what ails the driver (its log may say more), then run this again",
  );
}

function notKnown(volume: Volume, code: string, why: string, hint: string): Failure {
  const title = volume.request.title();
  return new Failure(
    code,
    "it is not known whether " + title + ' exists: the driver answered Get with "' + volume.getError + '"' + why,
    "nothing was created; " + hint,
  ).of(volume.name, volume.driver);
}

function tries(attempts: i32): string {
  return attempts > 1 ? " (tried " + attempts.toString() + " times)" : "";
}

/** Whether a plugin's error to Mount says that somebody else has the volume: asking again would not help. */
export function heldElsewhere(text: string): bool {
  return holds(text, HELD);
}

/** Whether a plugin's error to Mount reads as if it would pass by itself. */
export function transient(text: string): bool {
  return !holds(text, HELD) && holds(text, PASSING);
}

/**
 * Whether a plugin's error to Get reads as if it would pass, and so says nothing about whether the volume is there: its
 * backend is away, or has too much to do. A volume may be called by any of these words.
 */
export function unclear(text: string, name: string): bool {
  if (holds(text, MISSING)) return false;
  const words = text.toLowerCase().replaceAll(name.toLowerCase(), "");
  return holds(words, PASSING) || holds(words, AWAY);
}

/** Whether a plugin's error to Create says that the volume is there already. */
export function existsAlready(text: string): bool {
  return holds(text, EXISTS);
}

const HELD: string[] = [
  "in use",
  "busy",
  "held by",
  "attached to",
  "already attached",
  "already mounted",
  "locked by",
  "leased",
  "another node",
];
const PASSING: string[] = [
  "try again",
  "temporar",
  "timed out",
  "timeout",
  "rate exceeded",
  "throttl",
  "too many requests",
  "connection re", // refused, reset
  "unavailable",
];
/** Of a plugin's backend, where it is no word on a volume. */
const AWAY: string[] = ["busy", "deadline exceeded", "unreachable", "no route to host", "to connect", "broken pipe"];
const MISSING: string[] = ["not found", "notfound", "no such", "not exist", "n't exist", "unknown volume", "not know"];
const EXISTS: string[] = ["exist", "duplicate", "in use", "conflict"];

function holds(text: string, parts: string[]): bool {
  const lower = text.toLowerCase();
  for (let i = 0; i < parts.length; i++) if (lower.includes(parts[i])) return true;
  return false;
}

/** Names the volume in a failure that names none. */
export function named(failure: Failure, volume: Volume): Failure {
  if (!failure.volume.length) failure.volume = volume.name;
  if (!failure.driver.length) failure.driver = volume.driver;
  return failure;
}
