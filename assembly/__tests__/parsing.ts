// Parsing as parse does it, in short, for the specs of the forms.
import { readJson } from "../json/reader";
import { JsonWriter } from "../json/writer";
import { Config } from "../model/config";
import { VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { ParseOutcome, parseSources } from "../parse/parse";

/** {"form", "text"} as JSON. */
export function source(form: string, text: string): string {
  return new JsonWriter().beginObject().key("form").string(form).key("text").string(text).endObject().toString();
}

/** {"form": "env", "env"} from names and values in turn. */
export function env(pairs: string[]): string {
  const w = new JsonWriter();
  w.beginObject().key("form").string("env").key("env").beginObject();
  for (let i = 0; i < pairs.length; i += 2) w.key(pairs[i]).string(pairs[i + 1]);
  return w.endObject().endObject().toString();
}

/** What became of it: the outcome, or the failure. */
export class Parsed {
  constructor(
    public outcome: ParseOutcome | null,
    public failure: Failure | null,
  ) {}

  get volumes(): VolumeRequest[] {
    const outcome = this.outcome;
    const failure = this.failure;
    if (outcome === null) throw new Error("refused: " + (failure === null ? "" : failure.message));
    return outcome.volumes;
  }

  get first(): VolumeRequest {
    return this.volumes[0];
  }

  get notes(): string {
    return this.outcome!.notes.join("\n");
  }

  /** The refusal's message; "" where it was taken. */
  get message(): string {
    const failure = this.failure;
    return failure === null ? "" : failure.message;
  }

  get hint(): string {
    const failure = this.failure;
    return failure === null ? "" : failure.hint;
  }

  get field(): string {
    const failure = this.failure;
    return failure === null ? "" : failure.field;
  }

  /** `driver/name at path mode {options}` for each volume, joined by "; ". */
  get short(): string {
    const out: string[] = [];
    const volumes = this.volumes;
    for (let i = 0; i < volumes.length; i++) {
      const v = volumes[i];
      const w = new JsonWriter();
      v.options.writeTo(w);
      out.push(v.driver + " " + v.name + " at " + v.containerPath + " " + v.mode + " " + w.toString());
    }
    return out.join("; ");
  }
}

/** Parses sources (JSON each) under settings (JSON). */
export function parseWith(settings: string, sources: string[], defaultDriver: string = ""): Parsed {
  const config = Config.fromNode(readJson(settings, "the settings").value);
  const w = new JsonWriter();
  w.beginObject();
  if (defaultDriver.length) w.key("default_driver").string(defaultDriver);
  w.key("sources").beginArray();
  for (let i = 0; i < sources.length; i++) w.raw(sources[i]);
  w.endArray().endObject();
  const read = readJson(w.toString(), "the input");
  const unread = read.error;
  if (unread !== null) return new Parsed(null, unread);
  const result = parseSources(read.value!, config);
  return new Parsed(result.value, result.error);
}

export function parse(form: string, text: string): Parsed {
  return parseWith("{}", [source(form, text)]);
}
