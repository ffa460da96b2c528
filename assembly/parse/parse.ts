// From what users wrote, in whatever forms, to the volumes of one workload.
import { Node } from "../json/reader";
import { JsonWriter } from "../json/writer";
import { Config } from "../model/config";
import { MAX_DRIVER, MAX_PATH, checkDriverName, notOneOf } from "../model/errors";
import { VolumeRequest } from "../model/request";
import { Failure, Result, oneLine } from "../model/result";
import { Context } from "./context";
import { parseEnv } from "./env";
import { parseMarathon } from "./marathon";
import { merge } from "./merge";
import { parseMesos } from "./mesos";
import { parseMount } from "./mount";
import { parseStatement } from "./statement";
import { parseVolume } from "./volume";

const FORMS: string[] = ["volume", "mount", "statement", "marathon", "mesos", "env"];
const MAX_SOURCES: i32 = 4096;

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
}

/** `input` is parse's whole input (docs/abi.md); its `config` has been read into `config`. */
export function parseSources(input: Node, config: Config): Result<ParseOutcome> {
  const driver = input.string("default_driver", config.defaultDriver, MAX_DRIVER);
  const sources = input.array("sources");
  let failure = input.failure;
  if (failure === null && driver != config.defaultDriver) failure = checkDriverName("default_driver", driver);
  if (failure !== null) return Result.fail<ParseOutcome>(failure);

  const context = new Context(config, driver);
  if (sources !== null) {
    if (sources.length > MAX_SOURCES) sources.refuse("has more than " + MAX_SOURCES.toString() + " elements");
    for (let i = 0; i < sources.length; i++) {
      const source = sources.at(i);
      context.origin = "";
      failure = parseSource(context, source);
      if (failure === null) failure = input.failure;
      if (failure !== null) {
        if (context.origin.length) failure.message = context.origin + ": " + failure.message;
        return Result.fail<ParseOutcome>(failure);
      }
    }
  }
  failure = merge(context);
  if (failure !== null) return Result.fail<ParseOutcome>(failure);

  const out = new ParseOutcome();
  for (let i = 0; i < context.declarations.length; i++) out.volumes.push(context.declarations[i].request);
  out.notes = context.notes;
  return Result.ok<ParseOutcome>(out);
}

function parseSource(context: Context, source: Node): Failure | null {
  if (!source.mustBeObject()) return source.failure;
  const form = source.string("form");
  const origin = source.string("origin", "", MAX_PATH);
  if (source.failure !== null) return source.failure;
  context.origin = oneLine(origin);
  if (form == "env") {
    const env = source.object("env");
    if (env === null) {
      source.refuse('has no "env"');
      return source.failure;
    }
    return parseEnv(context, env);
  }
  if (!FORMS.includes(form)) return notOneOf(source.path() + ".form", form, FORMS);
  const text = source.get("text");
  if (text === null) {
    source.refuse('has no "text"');
    return source.failure;
  }
  const written = text.text();
  const failure = source.failure;
  if (failure !== null) return failure;
  if (form == "volume") return parseVolume(context, written);
  if (form == "mount") return parseMount(context, written);
  if (form == "statement") return parseStatement(context, written);
  if (form == "marathon") return parseMarathon(context, written);
  return parseMesos(context, written);
}
