// Volumes that are there are mounted by their drivers, each once.
import { Options } from "../model/request";
import { Failure } from "../model/result";
import { Call, Kind } from "./calls";
import { failureOfCall, transient } from "./failures";
import { Volume } from "./volume";
import { Work } from "./work";

/** Mount of each volume that is there and not mounted yet. */
export function mountFound(work: Work): Failure | null {
  let todo: Call[] = [];
  let volumes: Volume[] = [];
  for (let i = 0; i < work.distinct.length; i++) {
    const volume = work.distinct[i];
    if (!volume.there || volume.mounted) continue;
    const call = work.call("Mount", volume);
    // A size that was chosen is the least that would do: the volume may have grown since.
    const sized = !volume.created && volume.request.sizeIsSaid && work.driverOf(volume.driver).mountOpts;
    if (sized) call.options = sizeOf(work.policy.options(volume));
    todo.push(call);
    volumes.push(volume);
  }
  while (todo.length) {
    const failure = work.asker.settle(todo);
    if (failure !== null) return failure;
    let wait: i64 = 0;
    const again: Call[] = [];
    const againVolumes: Volume[] = [];
    const asks: Call[] = [];
    for (let i = 0; i < todo.length; i++) {
      const call = todo[i];
      const answer = call.answer;
      if (answer.kind == Kind.Ok) {
        volumes[i].mounted = true;
        continue;
      }
      let kind = "";
      if (answer.kind == Kind.Unknown && answer.sent) kind = answer.reason;
      else if (answer.kind == Kind.Error && transient(answer.error)) kind = "transient";
      if (!kind.length) return failureOfCall(call);
      const ms = work.policy.retry(kind, call.attempts, work.config);
      if (ms < 0) return failureOfCall(call);
      if (ms > wait) wait = ms;
      again.push(call);
      againVolumes.push(volumes[i]);
      if (answer.kind == Kind.Unknown) asks.push(work.call("Get", volumes[i]));
    }
    if (again.length == 0) return null;
    if (!work.asker.pause(wait, again[0])) return failureOfCall(again[0]);
    // A Mount that was not answered may be sent again with the same ID, but to a plugin that is alive and knows the volume.
    const failed = askBeforeMount(work, asks);
    if (failed !== null) return failed;
    todo = again;
    volumes = againVolumes;
  }
  return null;
}

function askBeforeMount(work: Work, asks: Call[]): Failure | null {
  const failure = work.asker.settle(asks);
  if (failure !== null) return failure;
  for (let i = 0; i < asks.length; i++) {
    if (asks[i].answer.kind != Kind.Ok) return failureOfCall(asks[i]);
  }
  return null;
}

/** Mount of the volumes that are asked for once more: the engine answers, the plugin sees nothing of it. */
export function mountRepeated(work: Work): Failure | null {
  const calls: Call[] = [];
  for (let i = 0; i < work.volumes.length; i++) {
    const volume = unchecked(work.volumes[i]);
    if (volume.first == i) continue;
    calls.push(work.call("Mount", volume));
    volume.created = work.volumes[volume.first].created;
    volume.createdAt = work.volumes[volume.first].createdAt;
  }
  const failure = work.asker.settle(calls);
  if (failure !== null) return failure;
  for (let i = 0; i < calls.length; i++) {
    if (calls[i].answer.kind != Kind.Ok) return failureOfCall(calls[i]);
  }
  return null;
}

/** The size that is asked for, alone: a volume that exists is to be as large, its other options stay as they were. */
function sizeOf(options: Options): Options | null {
  for (let i = 0; i < options.size; i++) {
    const value = options.values[i];
    if (value.isSecret || options.names[i].toLowerCase() != "size") continue;
    const size = new Options();
    size.setText(options.names[i], value.text);
    return size;
  }
  return null;
}
