// `dvdi-policy simulate` with the blob that ships, and the fake world that it runs in.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { createFake, type Operation } from "../../assembly/testing/fake.mjs";
import { simulate, simulationText, type Simulation } from "../../host/src/simulate.ts";
import { ROOT, SHIPPED } from "./instance.ts";

const blob = readFileSync(SHIPPED);
const folder = mkdtempSync(join(tmpdir(), "dvdi-simulate-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const MOUNT = "type=volume,src=data,dst=/data,volume-driver=nfs";
const run = (more: Partial<Simulation> = {}): ReturnType<typeof simulate> =>
  simulate(blob, {
    ...{ form: "mount", text: MOUNT, settings: {}, missing: [], global: [], used: [], seed: 1, faults: 0 },
    ...more,
  });
const steps = (told: ReturnType<typeof simulate>): string[] =>
  simulationText(told)
    .split("\n")
    .filter((line) => / ms /.test(line))
    .map((line) => line.replace(/ {2,}/g, " ").trim());

test("a volume that is there is mounted and staged", () => {
  assert.deepEqual(steps(run({ global: ["nfs"] })), [
    "0 ms Activate nfs ok",
    "0 ms Capabilities nfs + Get data ok (global) + ok",
    "0 ms Mount data ok",
    "0 ms stage data rw ok",
  ]);
  assert.match(simulationText(run()), /^volume {4}data \(driver nfs\) at \/data$[^]*^re-attached +re-attached data/m);
});

test("one that is missing is listed before it is created", () => {
  const told = run({ missing: ["data"] });
  assert.deepEqual(steps(told), [
    "0 ms Activate nfs ok",
    "0 ms Capabilities nfs + Get data ok (local) + error: no such volume",
    "0 ms List nfs ok",
    "0 ms Create data ok",
    "0 ms Mount data ok",
    "0 ms stage data rw ok",
  ]);
  assert.equal(told.ok?.volumes[0]?.what, "created");
});

test("one that is asked for twice is one volume", () => {
  const text = JSON.stringify({
    volumes: ["/one", "/two"].map((path) => ({
      name: "data",
      driver: "nfs",
      container_path: path,
      create: "if-missing",
    })),
  });
  const told = run({ form: "statement", text, missing: ["data"] });
  assert.deepEqual(steps(told).slice(3), [
    "0 ms Create data ok",
    "0 ms Mount data ok",
    "0 ms Mount data ok",
    "0 ms stage data rw + stage data rw ok + ok",
  ]);
});

test("a refusal is told, and by which call", () => {
  const used = run({ used: ["data"] });
  assert.equal(used.ok, null);
  assert.equal(used.operation, "prepare");
  assert.equal(used.error?.code, "refused");
  assert.match(simulationText(used), /prepare says no \(refused\): .*simulate\/another/);
  const wrong = run({ text: "type=volume,src=data" });
  assert.equal(wrong.operation, "parse");
  assert.throws(() => run({ missing: ["date"] }), /no volume is called date/);
  const settings = run({ settings: { default_drivr: "x" } });
  assert.equal(settings.operation, "configure");
});

test("the same seed gives the same faults, and whatever goes wrong, the policy comes to an end of its own", () => {
  const ends = new Map<string, number>();
  for (let seed = 0; seed < 300; seed++) {
    const told = run({ seed, faults: 0.4, missing: seed % 2 ? ["data"] : [] });
    assert.deepEqual(run({ seed, faults: 0.4, missing: seed % 2 ? ["data"] : [] }), told);
    const end = told.error?.code ?? "ok";
    ends.set(end, (ends.get(end) ?? 0) + 1);
    // A Create that may have arrived is never sent again, and none where the engine would have to refuse it.
    const creates = told.calls.flatMap(({ request, answer }) => {
      const calls = (request as { calls?: { method: string }[] }).calls ?? [];
      const { answers = [] } = (answer as { ok: { answers?: { sent?: boolean }[] } }).ok;
      return calls.filter(({ method }, i) => method === "Create" && answers[i]?.sent !== false);
    });
    assert.ok(creates.length <= 1, `seed ${seed}`);
    assert.doesNotMatch(JSON.stringify(told.calls), /"kind":"refused"/, `seed ${seed}`);
  }
  assert.ok((ends.get("ok") ?? 0) > 100 && ends.size > 1, JSON.stringify([...ends]));
});

test("the fake world keeps the engine's promise about Create", () => {
  const fake = createFake({ volumes: [{ driver: "nfs", name: "data" }] });
  fake.state.missing.add(0);
  const ask = (...calls: object[]): string => fake.answer("plugin_call", JSON.stringify({ calls })) ?? "";
  const create = { method: "Create", volume: 0, options: {} };
  assert.match(ask(create), /"refused"/);
  ask({ method: "Get", volume: 0 });
  assert.match(ask(create), /"refused"/);
  assert.match(ask({ method: "List", driver: "nfs" }), /"volumes":\[\]/);
  assert.match(ask(create), /"kind":"ok"/);
  assert.match(ask({ method: "List", driver: "nfs" }), /"volumes":\[\{"name":"data"\}\]/);
  assert.match(ask(create), /"refused"/, "a second one wants to be asked for again");
  // It is so whatever a test prescribes.
  fake.script("Get", { kind: "error", error: "I forgot" });
  ask({ method: "Get", volume: 0 });
  assert.match(ask(create), /"refused"/, "it is listed");
  fake.script("List", { kind: "ok", volumes: [] });
  ask({ method: "List", driver: "nfs" });
  assert.match(ask(create), /"kind":"ok"/);
});

test("the fake world takes as many calls at once as the engine does", () => {
  const fake = createFake();
  const asked = (name: string, what: string, one: object, count: number): string =>
    fake.answer(name, JSON.stringify({ [what]: Array(count).fill(one) })) ?? "";
  for (const [name, what, one] of [
    ["plugin_call", "calls", { method: "List", driver: "nfs" }],
    ["stage", "stages", { volume: 0 }],
  ] as const) {
    assert.match(asked(name, what, one, 256), /^\{"ok"/);
    for (const count of [0, 257]) assert.match(asked(name, what, one, count), /"policy".* wants 1 to 256 /);
  }
});

test("the fake world offers to each export what the engine does", () => {
  const fake = createFake();
  const request = '{"calls":[{"method":"Activate","driver":"nfs"}],"stages":[{"volume":0}],"ms":1,"volume":0}';
  /** How each import is answered: by a value, by an error, or by the end of the export. */
  const offers = (operation: Operation): string =>
    fake.names
      .map((name) => /"(ok|error)"/.exec(fake.answer(name, request, operation) ?? "")?.[1] ?? "end")
      .map((how, i) => `${fake.names[i] ?? ""} ${how}`)
      .join(", ");
  assert.equal(offers("prepare"), fake.names.map((name) => `${name} ok`).join(", "));
  const asked = "plugin_call error, stage error, query error, log ok, now ok, sleep error, random ok";
  assert.equal(offers("configure"), asked);
  assert.equal(offers("canary"), asked);
  assert.equal(offers("parse"), fake.names.map((name) => `${name} ${name === "log" ? "ok" : "end"}`).join(", "));
  assert.equal(offers("cleanup"), asked.replaceAll("error", "end"));
  assert.equal(offers("recover"), asked.replaceAll("error", "end"));
});

test("the tool reads YAML and JSON, and its exit code tells", () => {
  const statement = join(folder, "statement.yaml");
  writeFileSync(statement, "volumes:\n  - {name: data, driver: nfs, container_path: /data}\n");
  const tool = (...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(process.execPath, [join(ROOT, "build/host/dvdi-policy.mjs"), "simulate", "--policy", SHIPPED, ...args], {
      encoding: "utf8",
    });
  const told = tool(statement, "--json");
  assert.equal(told.status, 0, String(told.stderr));
  assert.equal((JSON.parse(String(told.stdout)) as { operation: string }).operation, "prepare");
  assert.equal(tool(statement, "--used", "data").status, 1);
  for (const option of ["--missing", "--used", "--global"]) {
    const before = tool(option, option === "--global" ? "nfs" : "data", statement);
    assert.doesNotMatch(String(before.stderr), /missing required argument/, option);
  }
  const wrong = join(folder, "wrong.json");
  writeFileSync(wrong, '{"volumes":[{"container_path":"/data"}]}');
  assert.match(String(tool(wrong).stdout), /wrong\.json: volumes\[0\] has no name/);
  assert.equal(tool(MOUNT, "--form", "mount").status, 0);
  assert.match(String(tool(join(folder, "none.yaml")).stderr), /none\.yaml cannot be read/);
  const odd = tool(statement, "--faults", "2");
  assert.equal(odd.status, 64);
  assert.match(
    String(odd.stderr),
    /^dvdi-policy: option '--faults <share>' argument '2' is invalid\. It must be a share/,
  );
  assert.equal(tool(statement, "--seed", "").status, 64);
  assert.match(
    String(tool(statement, "--policy", statement).stderr),
    /statement\.yaml: an engine would refuse it: not a/,
  );
  assert.equal(
    String(tool("[]", "--form", "env").stderr).split("\n")[0],
    "dvdi-policy: [] cannot be read: no such file or directory",
  );
  const variables = join(folder, "env.json");
  for (const value of ["5", '{"secret": "x"}', "null"]) {
    writeFileSync(variables, `{"DVDI_VOLUME_NAME": "data", "DVDI_VOLUME_OPTS": ${value}}`);
    const refused = tool(variables, "--form", "env");
    assert.equal(refused.status, 1);
    assert.match(String(refused.stderr), /^dvdi-policy: variable DVDI_VOLUME_OPTS is not text\n/);
  }
  writeFileSync(variables, '["DVDI_VOLUME_NAME"]');
  assert.match(String(tool(variables, "--form", "env").stderr), /the variables are no object of names and values/);
  writeFileSync(join(folder, "none.json"), '{"volumes":[]}');
  assert.equal(String(tool(join(folder, "none.json")).stdout), "no volume is declared\n");
  writeFileSync(join(folder, "broken.yaml"), "volumes: [");
  assert.match(String(tool(join(folder, "broken.yaml")).stderr), /neither YAML nor JSON: .*line 1, column \d+\n/);
});
