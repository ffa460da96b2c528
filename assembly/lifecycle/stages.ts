// Stages: what the workload is given of each volume.
import { stage } from "../dvdi";
import { JsonWriter } from "../json/writer";
import { Failure } from "../model/result";
import { AT_ONCE } from "./calls";
import { named } from "./failures";
import { answerOf, badAnswer, failureOf, misread } from "./host";
import { Policy } from "./policy";
import { Volume } from "./volume";

/** Stages all volumes, as many with one request as the engine takes; they are mounted. The first failure, by the volumes' order, or null. */
export function stageAll(policy: Policy, volumes: Volume[]): Failure | null {
  for (let from = 0; from < volumes.length; from += AT_ONCE) {
    const failure = stageSome(policy, volumes.slice(from, from + AT_ONCE));
    if (failure !== null) return failure;
  }
  return null;
}

function stageSome(policy: Policy, volumes: Volume[]): Failure | null {
  const w = new JsonWriter(160 * volumes.length + 64);
  w.beginObject().key("stages").beginArray();
  for (let i = 0; i < volumes.length; i++) {
    const volume = unchecked(volumes[i]);
    const request = volume.request;
    w.beginObject().key("volume").int(volume.index);
    w.key("read_only").bool(request.readOnly);
    w.key("nosuid").bool(policy.nosuid(volume));
    w.key("nodev").bool(policy.nodev(volume));
    w.key("subpath").string(request.subpath);
    w.key("ownership").string(volume.ownership);
    w.endObject();
  }
  w.endArray().endObject();
  const result = answerOf(stage(w.start, w.length), "stage");
  if (result.error !== null) return result.error;
  const node = result.value!;
  const answers = node.array("stages");
  if (answers === null || answers.length != volumes.length) {
    return badAnswer("stage", "it must hold " + volumes.length.toString() + " stages");
  }
  for (let i = 0; i < volumes.length; i++) {
    const answer = answers.at(i);
    const error = answer.object("error");
    if (error !== null) return named(failureOf(error), unchecked(volumes[i]));
    if (!answer.bool("ok", false))
      return named(badAnswer("stage", "a stage has neither ok nor error"), unchecked(volumes[i]));
  }
  return misread(node, "stage");
}
