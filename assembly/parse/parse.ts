// From what users wrote, in whatever forms, to the volumes of one workload.
import { Node } from "../json/reader";
import { JsonWriter } from "../json/writer";
import { Config } from "../model/config";
import { VolumeRequest } from "../model/request";
import { Failure, Result } from "../model/result";

/** The volumes of a workload, and what its writer should know about how they were read. */
export class ParseOutcome {
  volumes: VolumeRequest[] = [];
  notes: string[] = [];

  writeTo(w: JsonWriter): void {
    w.beginObject();
    w.key("volumes").beginArray();
    for (let i = 0; i < this.volumes.length; i++) this.volumes[i].writeTo(w);
    w.endArray();
    w.key("notes").beginArray();
    for (let i = 0; i < this.notes.length; i++) w.string(this.notes[i]);
    w.endArray();
    w.endObject();
  }

  toJson(): string {
    const w = new JsonWriter();
    this.writeTo(w);
    return w.toString();
  }
}

/** `input` is parse's whole input (docs/abi.md); its `config` has been read into `config`. */
export function parseSources(input: Node, config: Config): Result<ParseOutcome> {
  const out = new ParseOutcome();
  const sources = input.array("sources");
  const failure = input.failure;
  if (failure !== null) return Result.fail<ParseOutcome>(failure);
  if (sources !== null && sources.length > 0) {
    return Result.fail<ParseOutcome>(new Failure("unsupported", "no form is read yet"));
  }
  return Result.ok<ParseOutcome>(out);
}
