// Inputs of prepare, and its answers, for the spec files.
import { JsonWriter } from "../json/writer";
import { Node, readJson } from "../json/reader";
import { ask, runPrepare } from "../lifecycle/operations";

/** One volume of prepare's input; its members at what most tests want. */
export class Asked {
  driver: string = "rexray";
  mode: string = "rw";
  access: string = "single-writer";
  create: string = "if-missing";
  ownership: string = "none";
  subpath: string = "";
  options: string = '{"size":"5"}';
  /** JSON; "" for a volume without a class. */
  choice: string = "";
  state: string = "none";
  /** JSON. */
  users: string = "[]";
  history: string = '{"known":false,"created_by_us":false}';

  constructor(public name: string) {}

  /** Somebody uses it on this node. */
  usedBy(scope: string, access: string = "single-writer", mode: string = "rw"): Asked {
    this.state = "attached";
    const w = new JsonWriter();
    w.beginObject().key("owner").string("run").key("scope").string(scope);
    w.key("access").string(access).key("mode").string(mode).endObject();
    this.users =
      this.users == "[]"
        ? "[" + w.toString() + "]"
        : this.users.substring(0, this.users.length - 1) + "," + w.toString() + "]";
    return this;
  }

  writeTo(w: JsonWriter, index: i32): void {
    w.beginObject().key("index").int(index).key("driver").string(this.driver).key("name").string(this.name);
    w.key("options")
      .raw(this.options)
      .key("container_path")
      .string("/mnt/" + index.toString());
    w.key("mode").string(this.mode).key("subpath").string(this.subpath).key("access").string(this.access);
    w.key("create").string(this.create).key("ownership").string(this.ownership).key("from").string("a test");
    w.key("attachment").beginObject().key("state").string(this.state).key("users").raw(this.users).endObject();
    if (this.choice.length) w.key("class").raw(this.choice);
    w.key("history").raw(this.history).endObject();
  }
}

/** The settings of the tests: three tries, small waits. */
export const CONFIG: string =
  '{"retry":{"attempts":3,"base_ms":100,"max_ms":2000},"call_timeout_ms":1000,"mount_timeout_ms":9000}';

export function inputOf(
  volumes: Asked[],
  user: string = "",
  config: string = CONFIG,
  goal: string = "",
  scope: string = "me",
): string {
  const w = new JsonWriter();
  w.beginObject().key("config").raw(config).key("node").string("node-a").key("left_ms").int(60000);
  w.key("scope").beginObject().key("owner").string("run").key("id").string(scope);
  if (user.length) w.key("user").raw(user);
  w.endObject().key("volumes").beginArray();
  for (let i = 0; i < volumes.length; i++) volumes[i].writeTo(w, i);
  w.endArray();
  if (goal.length) w.key("goal").string(goal);
  return w.endObject().toString();
}

/** What an operation answered. */
export class Outcome {
  readonly node: Node;

  constructor(readonly text: string) {
    const read = readJson(text, "the answer");
    assert(read.error === null, "the answer is JSON: " + text);
    this.node = read.value!;
  }

  get ok(): bool {
    return this.node.has("ok") && !this.node.has("error");
  }
  get code(): string {
    return this.member("code");
  }
  get message(): string {
    return this.member("message");
  }
  get hint(): string {
    return this.member("hint");
  }
  get volume(): string {
    return this.member("volume");
  }
  get driver(): string {
    return this.member("driver");
  }

  private member(name: string): string {
    const error = this.node.object("error");
    return error === null ? "" : error.string(name);
  }

  /** `what: message` of each volume, in lines. */
  get stories(): string {
    const ok = this.node.object("ok");
    if (ok === null) return "no answer but " + this.text;
    const list = ok.array("volumes")!;
    const out: string[] = [];
    for (let i = 0; i < list.length; i++) out.push(list.at(i).string("what") + ": " + list.at(i).string("message"));
    return out.join("\n");
  }

  /** The notes, in lines. */
  get notes(): string {
    const ok = this.node.object("ok");
    if (ok === null) return "no answer but " + this.text;
    const list = ok.array("notes")!;
    const out: string[] = [];
    for (let i = 0; i < list.length; i++) out.push(list.at(i).text());
    return out.join("\n");
  }
}

export function prepare(volumes: Asked[], user: string = ""): Outcome {
  return new Outcome(ask(runPrepare, inputOf(volumes, user)));
}

/** prepare for scope `run/ID`, whose processes are this user's. */
export function prepareAs(volumes: Asked[], id: string, uid: i32): Outcome {
  const user = '{"uid":' + uid.toString() + ',"gid":' + uid.toString() + "}";
  return new Outcome(ask(runPrepare, inputOf(volumes, user, CONFIG, "", id)));
}

/** prepare of volumes that are only to exist. */
export function create(volumes: Asked[]): Outcome {
  return new Outcome(ask(runPrepare, inputOf(volumes, "", CONFIG, "create")));
}

/** prepare of one volume. */
export function prepareOne(volume: Asked): Outcome {
  return prepare([volume]);
}

/** Expects a part in a text; a failure shows the text. (as-pect's toInclude is for arrays.) */
export function holds(text: string, part: string, why: string = ""): void {
  expect(text.includes(part) ? part : text).toBe(part, why);
}

/** Expects a text without that part. */
export function lacks(text: string, part: string, why: string = ""): void {
  expect(text.includes(part) ? text : "").toBe("", why + part);
}
