// The blob's tests of itself, run when it is installed: what it must not get wrong, on known inputs. An error bars
// the blob from becoming active. No plugin is called and nothing is staged.
import { JsonWriter } from "../json/writer";
import { readJson } from "../json/reader";
import { Config } from "../model/config";
import { VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { existsAlready, heldElsewhere, transient } from "./failures";
import { ask, readInput, runParse } from "./operations";
import { policyInPlace } from "./policy";
import { contradiction, shareRules } from "./share";
import { ago } from "./text";
import { User } from "./volume";

class Checks {
  count: i32 = 0;
  failure: Failure | null = null;

  that(holds: bool, what: string): void {
    this.count++;
    if (holds || this.failure !== null) return;
    this.failure = new Failure(
      "policy",
      "the policy failed its own check: " + what,
      "do not install this blob; build it again, or take another version",
    );
  }
}

export function runCanary(ptr: usize, len: usize): JsonWriter {
  const read = readInput(ptr, len, "canary");
  if (read.error !== null) return read.error!.toAnswer();
  const input = read.value!;
  const config = Config.fromNode(input.get("config"));
  if (input.failure !== null) return input.failure!.toAnswer();
  const checks = new Checks();
  checkText(checks);
  checkConfig(checks, config);
  checkParse(checks, config);
  checkSharing(checks);
  checkErrors(checks);
  checkRetry(checks, config);
  if (checks.failure !== null) return checks.failure!.toAnswer();
  return new JsonWriter().beginObject().key("ok").beginObject().key("checks").int(checks.count).endObject().endObject();
}

/** What is written is read back as it was, whatever the text. */
function checkText(checks: Checks): void {
  const texts = ["", 'quote " backslash \\ slash / tab \t', "ä 中 🙂 \u2028", "a".repeat(2000)];
  for (let i = 0; i < texts.length; i++) {
    const w = new JsonWriter(8);
    w.beginObject().key("text").string(texts[i]).key("n").int(-9007199254740991).key("b").bool(true).endObject();
    const read = readJson(w.toString(), "the check");
    checks.that(read.error === null, "JSON that was written can be read");
    if (read.error !== null) continue;
    const node = read.value!;
    checks.that(node.string("text") == texts[i], "a text comes back as it was");
    checks.that(node.int("n", 0) == -9007199254740991, "a number comes back as it was");
    checks.that(node.bool("b", false), "a truth value comes back as it was");
  }
  const refused = [
    "",
    "{",
    "[1,]",
    '{"a":1,"a":2}',
    '{"a":1} x',
    "nul",
    '"\\ud800',
    "01",
    "[".repeat(400) + "]".repeat(400),
  ];
  for (let i = 0; i < refused.length; i++) {
    checks.that(readJson(refused[i], "the check").error !== null, "what is no JSON is refused (" + i.toString() + ")");
  }
}

/** The configuration that configure answered is read back as it was written. */
function checkConfig(checks: Checks, config: Config): void {
  const read = readJson(config.toJson(), "the check");
  checks.that(read.error === null, "the configuration can be read back");
  if (read.error !== null) return;
  const again = Config.fromNode(read.value);
  checks.that(read.value!.failure === null, "the configuration is accepted as its own input");
  checks.that(again.toJson() == config.toJson(), "the configuration comes back as it was");
}

/** Each form is read: one volume that is right, and one that is wrong. */
function checkParse(checks: Checks, config: Config): void {
  // None of them has a class, and pools, which may be many, would be read anew with each.
  const pools = config.pools;
  config.pools = [];
  const settings = config.toJson();
  config.pools = pools;
  checks.that(parsed(settings, source("volume", "data:/data:ro")).includes('"name":"data"'), "--volume is read");
  checks.that(parsed(settings, source("volume", "data:data")).startsWith('{"error"'), "a wrong --volume is refused");
  const env = source(
    "env",
    '{"DVDI_VOLUME_NAME":"data","DVDI_VOLUME_DRIVER":"nfs","DVDI_VOLUME_CONTAINERPATH":"/data"}',
  );
  checks.that(parsed(settings, env).includes('"driver":"nfs","name":"data"'), "the environment is read");
  const dvdcli = source("env", '{"DVDI_VOLUME_NAME":"data","DVDI_VOLUME_DVDCLI":"/bin/sh"}');
  checks.that(parsed(settings, dvdcli).startsWith('{"error"'), "a program to run is refused");
  checks.that(parsed(settings, "").includes('"volumes":[]'), "no source is no volume");
  checks.that(!parsed(settings, "{}").startsWith('{"ok"'), "a source without a form is refused");
  for (let i = 0; i < FORMS.length; i += 3) {
    const right = parsed(settings, source(FORMS[i], FORMS[i + 1]));
    checks.that(
      right.includes('"driver":"nfs","name":"data"') && right.includes('"container_path":"/data","mode":"ro"'),
      "a volume in the form " + FORMS[i] + " is read",
    );
    checks.that(
      parsed(settings, source(FORMS[i], FORMS[i + 2])).startsWith('{"error"'),
      "a wrong volume in the form " + FORMS[i] + " is refused",
    );
  }
}

function source(form: string, text: string): string {
  const w = new JsonWriter();
  w.beginObject().key("form").string(form);
  if (form == "env") w.key("env").raw(text);
  else w.key("text").string(text);
  return w.endObject().toString();
}

/** A form, what it must take, what it must refuse. */
const FORMS: string[] = [
  "mount",
  "type=volume,source=data,target=/data,volume-driver=nfs,readonly",
  "type=volume,source=data,target=data,volume-driver=nfs",
  "statement",
  '{"volumes":[{"name":"data","driver":"nfs","container_path":"/data","mode":"ro"}]}',
  '{"volumes":[{"name":"data","driver":"nfs","container_path":"/data","mode":"wr"}]}',
  "marathon",
  '{"container":{"volumes":[{"containerPath":"/data","mode":"RO","external":{"name":"data","provider":"dvdi","options":{"dvdi/driver":"nfs"}}}]}}',
  '{"container":{"volumes":[{"containerPath":"/data","mode":"RO","external":{"name":"","provider":"dvdi","options":{"dvdi/driver":"nfs"}}}]}}',
  "mesos",
  '{"volumes":[{"container_path":"/data","mode":"RO","source":{"type":"DOCKER_VOLUME","docker_volume":{"driver":"nfs","name":"data"}}}]}',
  '{"volumes":[{"container_path":"/data","mode":"RO","source":{"type":"DOCKER_VOLUME","docker_volume":{"driver":"n f s","name":"data"}}}]}',
];

/** parse's answer to one source in JSON, under these settings. */
function parsed(settings: string, source: string): string {
  return ask(runParse, '{"config":' + settings + ',"sources":[' + source + "]}");
}

function checkSharing(checks: Checks): void {
  const modes = ["single-writer", "multi-reader", "multi-writer"];
  // For each access of the user that is there: whether single-writer rw, single-writer ro, multi-reader ro,
  // multi-writer rw and multi-writer ro are granted beside it.
  const besideWriter = ["nynny", "", "nynyy"];
  const besideReader = ["yyyyy", "nyyny", "yyyyy"];
  for (let i = 0; i < modes.length; i++) {
    if (modes[i] != "multi-reader") checkBeside(checks, new User("run", "a", modes[i], "rw"), besideWriter[i]);
    checkBeside(checks, new User("run", "a", modes[i], "ro"), besideReader[i]);
  }
  checks.that(contradiction(request("multi-reader", "rw")) !== null, "a reader that writes is refused");
}

function checkBeside(checks: Checks, user: User, granted: string): void {
  const accesses = ["single-writer", "single-writer", "multi-reader", "multi-writer", "multi-writer"];
  const modes = ["rw", "ro", "ro", "rw", "ro"];
  for (let i = 0; i < accesses.length; i++) {
    const failure = shareRules(request(accesses[i], modes[i]), [user]);
    checks.that(
      (failure === null) == (granted.charAt(i) == "y"),
      accesses[i] + " " + modes[i] + " beside " + user.description,
    );
  }
}

function request(access: string, mode: string): VolumeRequest {
  const out = new VolumeRequest();
  out.driver = "d";
  out.name = "v";
  out.access = access;
  out.mode = mode;
  return out;
}

function checkErrors(checks: Checks): void {
  checks.that(heldElsewhere("Volume is in use by node-a"), "a volume in use is held");
  checks.that(!transient("Volume is BUSY, try again"), "a volume that is held does not pass by itself");
  checks.that(transient("Rate exceeded"), "a throttled call may be tried again");
  checks.that(!transient("no such volume"), "a volume that is not there does not come by itself");
  checks.that(existsAlready("volume already exists"), "a volume that exists is known as such");
  checks.that(ago(3 * 60_000) == "3 minutes ago" && ago(86_400_000) == "1 day ago", "times are told right");
}

/** Whatever the hooks say, asking again comes to an end. */
function checkRetry(checks: Checks, config: Config): void {
  const kinds = [
    "unreachable",
    "not-found",
    "breaker-open",
    "lost",
    "timeout",
    "not-json",
    "malformed",
    "too-large",
    "invalid",
    "transient",
  ];
  const policy = policyInPlace();
  for (let i = 0; i < kinds.length; i++) {
    let attempt = 1;
    while (attempt < 1000 && policy.retry(kinds[i], attempt, config) >= 0) attempt++;
    checks.that(attempt < 1000, "asking again after " + kinds[i] + " comes to an end");
  }
}
