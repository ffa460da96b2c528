// The fake world of `dvdi-policy simulate` and of the policy's unit tests beside the real engine: the same blob on the same
// inputs asks for the same, in the same order, and is answered alike. The engine's side is what it recorded.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";

import { createFake, type Fake } from "../../assembly/testing/fake.mjs";
import { hostOf } from "../../host/src/fake-host.ts";
import type { OperationRecord } from "../../host/src/replay/records.ts";
import { PolicyBlob } from "../../host/src/runner.ts";
import { SHIPPED } from "../blob/instance.ts";
import { ScriptedPlugin, type Answer, type Behaviour } from "./lib/plugin.ts";
import { skip, World } from "./lib/world.ts";

const policy = new PolicyBlob(readFileSync(SHIPPED));
const QUICK = "policy: {call_timeout_ms: 300, mount_timeout_ms: 300, retry: {attempts: 2, base_ms: 20, max_ms: 40}}";

interface Input {
  volumes: { driver: string; name: string; attachment: { state: string } }[];
}

/** What both are compared by: who was asked for what, and what was answered, without what only one of them can know. */
interface Call {
  call: string;
  request: unknown;
  answers: unknown;
}

/** An answer without folders and the words of an error. */
function alike(answer: unknown): unknown {
  const { ok } = answer as { ok?: { answers?: object[]; stages?: object[] } };
  const plain = (one: object): object =>
    Object.fromEntries(Object.entries(one).filter(([name]) => name !== "mountpoint" && name !== "error"));
  return ok?.answers?.map(plain) ?? ok?.stages?.map(plain) ?? Object.keys(ok ?? {}).sort();
}

/** Prepares on a real node, by the engine, and returns its newest record. A volume: its name, or `name:target`. */
async function real(world: World, volumes: string[], code: number): Promise<OperationRecord> {
  const mounts = volumes
    .map((volume) => volume.split(":"))
    .flatMap(([name = "", path = name]) => ["-v", `${name}:${world.target(path)}`]);
  const ran = await world.dvdi(["run", ...mounts, "--volume-driver", "plain", "--", "true"]);
  assert.equal(ran.code, code, ran.all);
  const { operations } = await world.json<{ operations: OperationRecord[] }>(["explain", "--last", "10"]);
  return operations.find(({ kind }) => kind === "prepare") ?? assert.fail("nothing was recorded");
}

/** The same input in the fake world. What is chance in both is the same chance. */
function fake(
  record: OperationRecord,
  set: (fake: Fake, record: OperationRecord) => void,
): { calls: Call[]; answer: string } {
  const input = record.input?.prepare ?? assert.fail("prepare was not asked");
  const { volumes } = JSON.parse(input) as Input;
  const world = createFake({ volumes });
  for (const { call, answer } of record.calls ?? []) {
    if (call === "random") world.script(call, answer);
  }
  set(world, record);
  const answer = policy.begin().call("prepare", input, hostOf(world, "prepare"));
  const calls = world.state.log.map((entry) => ({ call: entry.import, request: entry.request, answer: entry.answer }));
  return { calls: calls.map(({ answer: said, ...asked }) => ({ ...asked, answers: alike(said) })), answer };
}

function recorded(record: OperationRecord): Call[] {
  return (record.calls ?? []).map(({ call, request, answer }) => ({ call, request, answers: alike(answer) }));
}

/** Both, and that they are one. Returns the methods that were called, as `Get + Get`. */
async function same(
  t: TestContext,
  volumes: string[],
  of: {
    behaviour: Behaviour;
    code?: number;
    fake?: (fake: Fake, record: OperationRecord) => void;
    before?: (world: World) => Promise<unknown>;
  },
): Promise<string[]> {
  const world = await World.make(t, { settings: QUICK });
  await ScriptedPlugin.serve(world, "plain", of.behaviour);
  await of.before?.(world);
  const record = await real(world, volumes, of.code ?? 0);
  const made = fake(record, of.fake ?? ((): void => undefined));
  assert.deepEqual(made.calls, recorded(record));
  const decided = (text: string): unknown => {
    const { ok, error } = JSON.parse(text) as { ok?: { volumes: { what: string }[] }; error?: { code: string } };
    return ok?.volumes.map(({ what }) => what) ?? error?.code;
  };
  assert.deepEqual(decided(made.answer), decided(record.answer?.prepare ?? ""));
  return recorded(record).map(({ call, request }) => {
    const { calls } = request as { calls?: { method: string }[] };
    return calls?.map(({ method }) => method).join(" + ") ?? call;
  });
}

const always = (on: string, answer: object) => (world: Fake) => world.script(on, answer, { times: 0 });

test("parity: a volume that is there", { skip }, async (t) => {
  const called = await same(t, ["data"], { behaviour: { volumes: ["data"] } });
  assert.deepEqual(called, ["Activate", "Capabilities + Get", "Mount", "stage"]);
});

test("parity: a volume that is created", { skip }, async (t) => {
  const called = await same(t, ["data"], { behaviour: {}, fake: (world) => world.state.missing.add(0) });
  assert.deepEqual(called, ["Activate", "Capabilities + Get", "List", "Create", "Mount", "stage"]);
});

test("parity: several volumes, of which some are there", { skip }, async (t) => {
  const set = (world: Fake): void => [0, 2].forEach((index) => world.state.missing.add(index));
  const called = await same(t, ["a", "b", "c"], { behaviour: { volumes: ["b"] }, fake: set });
  assert.ok(called.includes("Create + Create"), called.join("; "));
});

test("parity: one volume at two paths", { skip }, async (t) => {
  const called = await same(t, ["data:one", "data:two"], {
    behaviour: {},
    fake: (world) => world.state.missing.add(0),
  });
  assert.equal(called.filter((call) => call === "Create").length, 1, called.join("; "));
  assert.equal(called.filter((call) => call === "Mount").length, 2, called.join("; "));
});

test("parity: volumes that are to be had on every node", { skip }, async (t) => {
  const Capabilities = (): Answer => ({ Capabilities: { Scope: "global" } });
  const behaviour = { volumes: ["data"], Capabilities };
  await same(t, ["data"], { behaviour, fake: (world) => world.state.scopes.set("plain", "global") });
});

test("parity: an error of the plugin's own to Create", { skip }, async (t) => {
  const behaviour = { Create: () => ({ Err: "no room" }) };
  const set = (world: Fake): void => {
    world.state.missing.add(0);
    always("Create", { kind: "error", error: "no room" })(world);
  };
  const called = await same(t, ["data"], { behaviour, code: 125, fake: set });
  assert.equal(called.at(-1), "Create", called.join("; "));
});

test("parity: a refusal, where another workload writes to it", { skip }, async (t) => {
  let held: { release: () => Promise<unknown> } | undefined;
  const before = async (world: World): Promise<void> => {
    held = await world.hold(["-v", `data:${world.target("held")}`, "--volume-driver", "plain"]);
  };
  const called = await same(t, ["data"], { behaviour: { volumes: ["data"] }, code: 125, before });
  assert.deepEqual(called, []);
  await held?.release();
});

test("parity: an error of the plugin's own to Mount", { skip }, async (t) => {
  const behaviour = { volumes: ["data"], Mount: () => ({ Err: "the disk is gone" }) };
  const said = always("Mount", { kind: "error", error: "the disk is gone" });
  const called = await same(t, ["data"], { behaviour, code: 125, fake: said });
  assert.equal(called.at(-1), "Mount");
});

test("parity: a plugin that does not answer in time", { skip }, async (t) => {
  const behaviour: Behaviour = { volumes: ["data"], Get: () => () => undefined };
  // The words of the error are the engine's; they come back in what the policy logs.
  const late = (world: Fake, record: OperationRecord): void => {
    const [, error = ""] = /"error":"([^"]*no answer in time)"/.exec(JSON.stringify(record.calls)) ?? [];
    always("Get", { kind: "unknown", reason: "timeout", error, sent: true })(world);
  };
  const called = await same(t, ["data"], { behaviour, code: 125, fake: late });
  assert.ok(called.includes("sleep"), called.join("; "));
});
