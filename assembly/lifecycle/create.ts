// Volumes that are missing are made: all of them may be, or none is. A Create is sent once, whatever became of it.
import { Failure } from "../model/result";
import { Call, Kind } from "./calls";
import { existsAlready, failureOfCall, named, nothingKnown, pluginSaidNo } from "./failures";
import { findAgain } from "./find";
import { Volume } from "./volume";
import { Work } from "./work";

/** Whether each volume that is missing may be created. Nothing is created before all of them may. */
export function decideCreates(work: Work): Failure | null {
  for (let i = 0; i < work.distinct.length; i++) {
    const volume = work.distinct[i];
    if (volume.there) continue;
    const request = volume.request;
    if (request.create == "never") {
      return named(
        new Failure(
          "not-found",
          request.title() +
            ' does not exist (the driver says "' +
            volume.getError +
            '"), and it is not created because create is never',
          "check the name, create the volume first, or say create: if-missing",
        ),
        volume,
      );
    }
    const failure = work.policy.mayCreate(volume);
    if (failure !== null) return named(failure, volume);
  }
  return null;
}

/** Create of each volume that is missing. */
export function createMissing(work: Work): Failure | null {
  let calls: Call[] = [];
  let missing: Volume[] = [];
  for (let i = 0; i < work.distinct.length; i++) {
    const volume = work.distinct[i];
    if (volume.there) continue;
    const call = work.call("Create", volume);
    call.options = work.policy.options(volume);
    calls.push(call);
    missing.push(volume);
  }
  while (calls.length) {
    let failure = work.asker.settle(calls);
    if (failure !== null) return failure;
    const unclear: Volume[] = [];
    const unclearCalls: Call[] = [];
    const unsent: Volume[] = [];
    const unsentCalls: Call[] = [];
    let wait: i64 = 0;
    for (let i = 0; i < calls.length; i++) {
      const call = calls[i];
      const answer = call.answer;
      if (answer.kind == Kind.Ok) {
        missing[i].created = true;
        missing[i].there = true;
      } else if (answer.kind == Kind.Unknown && !answer.sent) {
        const ms = work.policy.retry(answer.reason, call.attempts, work.config);
        if (ms < 0) return failureOfCall(call);
        if (ms > wait) wait = ms;
        unsent.push(missing[i]);
        unsentCalls.push(call);
      } else if (answer.kind == Kind.Unknown || (answer.kind == Kind.Error && existsAlready(answer.error))) {
        unclear.push(missing[i]);
        unclearCalls.push(call);
      } else {
        return failureOfCall(call);
      }
    }
    for (let i = 0; i < unclear.length; i++) {
      failure = afterCreate(work, unclear[i], unclearCalls[i]);
      if (failure !== null) return failure;
    }
    if (unsent.length == 0) return null;
    if (!work.asker.pause(wait, unsentCalls[0])) return failureOfCall(unsentCalls[0]);
    failure = findAgain(work, unsent);
    if (failure !== null) return failure;
    calls = [];
    missing = [];
    for (let i = 0; i < unsent.length; i++) {
      if (unsent[i].there) continue;
      calls.push(unsentCalls[i]);
      missing.push(unsent[i]);
    }
  }
  return null;
}

/**
 * Create was not answered, or the driver says that the volume exists (another node was faster): Get tells. Create
 * is never sent a second time, for there are plugins that lose what they know of a volume by it.
 */
function afterCreate(work: Work, volume: Volume, create: Call): Failure | null {
  let attempt = 0;
  while (true) {
    attempt++;
    const get = work.call("Get", volume);
    const failure = work.asker.settle([get]);
    if (failure !== null) return failure;
    const answer = get.answer;
    if (answer.kind == Kind.Ok) {
      volume.there = true;
      volume.createdAt = answer.createdAt;
      volume.created = create.answer.kind == Kind.Unknown;
      return null;
    }
    if (answer.kind != Kind.Error) return failureOfCall(get);
    if (create.answer.kind == Kind.Error) return pluginSaidNo(create);
    // It may be at it still.
    const ms = work.policy.retry(create.answer.reason, attempt, work.config);
    if (ms < 0 || !work.asker.pause(ms, create)) {
      const cause = nothingKnown(create);
      return named(
        new Failure(
          cause.code,
          cause.message + '; it may be at it still, for it answers Get with "' + answer.error + '"',
          "wait a while and run this again: the volume is used if it is there by then",
        ),
        volume,
      );
    }
  }
}
