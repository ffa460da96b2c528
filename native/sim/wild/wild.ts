// The stock policy with things in between that no sane one does, as chance has it: calls that nobody waits for, a
// Create of what is there, a stage again or before its Mount, nonsense, an end in the middle. What the engine
// promises holds whatever a policy does, and the simulation holds it to that.
import { plugin_call, query, stage } from "../../../assembly/dvdi";
import { JsonWriter } from "../../../assembly/json/writer";
import { log, random, sleep } from "../../../assembly/lifecycle/host";
import { Operation } from "../../../assembly/lifecycle/operations";
import { Failure, Policy, Scope, Volume } from "../../../assembly/library";

const METHODS: string[] = ["Activate", "Capabilities", "List", "Get", "Path", "Create", "Mount", "Unmount", "Remove"];
const PATHS: string[] = ["", "..", "/etc", "a", "a/../..", "./"];
const OWNERSHIPS: string[] = ["none", "root-dir", "idmap", "recursive", "mine"];

/** Not while the canary runs: that is of what is sane. */
let armed: bool = false;
/** The operation's volumes, as far as they were met. */
const met: Volume[] = [];

/** An operation of the stock policy's, whose answer may be another one. */
export function wildly(operation: Operation, ptr: usize, len: usize): u64 {
  armed = true;
  if (once(40)) unreachable();
  const answer = operation(ptr, len);
  if (once(12)) return new Failure("policy", "the wild policy has changed its mind").toAnswer().packed();
  // Whoever was refused stays refused, or two would write to what each wants alone: whether they may is its word.
  if (once(24) && answer.toString().startsWith('{"ok"'))
    return new JsonWriter().beginObject().key("ok").beginObject().endObject().endObject().packed();
  if (once(40)) return (<u64>0xffff_fff0 << 32) | 0xffff;
  return answer.packed();
}

export class Wild extends Policy {
  admit(volume: Volume, scope: Scope): Failure | null {
    met.push(volume);
    act(4);
    return super.admit(volume, scope);
  }

  mayCreate(volume: Volume): Failure | null {
    act(2);
    return super.mayCreate(volume);
  }

  nosuid(volume: Volume): bool {
    act(3);
    return super.nosuid(volume);
  }

  notes(volumes: Volume[], scope: Scope): string[] {
    act(3);
    return super.notes(volumes, scope);
  }
}

function below(limit: i32): i32 {
  return <i32>(random() % <u32>limit);
}

function once(inSoMany: i32): bool {
  return below(inSoMany) == 0;
}

/** One to four things, once in so many times. */
function act(inSoMany: i32): void {
  if (!armed || met.length == 0 || !once(inSoMany)) return;
  for (let left = 1 + below(4); left > 0; left--) {
    const what = below(8);
    if (what < 4) callSome();
    else if (what == 4) stageSome();
    else if (what == 5) ask();
    else if (what == 6) sleep(<i64>below(3000));
    else if (once(16)) unreachable();
    else log("info", "wild");
  }
}

/** The number of a volume, nearly always. */
function index(volume: Volume): i32 {
  return once(30) ? below(4) - 2 : volume.index;
}

function callSome(): void {
  const w = new JsonWriter().beginObject().key("calls").beginArray();
  for (let left = 1 + below(3); left > 0; left--) {
    const volume = met[below(met.length)];
    const which = below(60);
    const method = METHODS[which < METHODS.length ? which : which % 7];
    w.beginObject().key("method").string(method);
    if (method == "Activate" || method == "Capabilities" || method == "List")
      w.key("driver").string(once(30) ? "blue" : volume.request.driver);
    else w.key("volume").int(index(volume));
    if (method == "Create" && once(2)) {
      w.key("options");
      volume.request.options.writeTo(w);
    } else if (method == "Mount" && once(20)) {
      w.key("options").beginObject().key("size").string("1g").endObject();
    }
    if (once(4)) w.key("timeout_ms").int(1 + <i64>below(3000));
    w.endObject();
  }
  w.endArray().endObject();
  plugin_call(w.start, w.length);
}

function stageSome(): void {
  const w = new JsonWriter().beginObject().key("stages").beginArray();
  for (let left = 1 + below(2); left > 0; left--) {
    const volume = met[below(met.length)];
    w.beginObject().key("volume").int(index(volume));
    w.key("read_only").bool(volume.request.readOnly);
    w.key("nosuid").bool(true).key("nodev").bool(true);
    w.key("subpath").string(once(4) ? PATHS[below(PATHS.length)] : volume.request.subpath);
    w.key("ownership").string(once(4) ? OWNERSHIPS[below(OWNERSHIPS.length)] : "none");
    w.endObject();
  }
  w.endArray().endObject();
  stage(w.start, w.length);
}

function ask(): void {
  const volume = met[below(met.length)];
  const w = new JsonWriter().beginObject().key("what").string("volume").key("volume").int(index(volume)).endObject();
  query(w.start, w.length);
}
