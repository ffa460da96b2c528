// What a node tells its operator: the audit log, the metrics, and the lines that journald gets.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { run, until, type Result } from "./lib/process.ts";
import { ScriptedPlugin } from "./lib/plugin.ts";
import { BUILD, DRIVER, DVDI, skip, World } from "./lib/world.ts";

const SANITY = join(BUILD, "native/sanity/dvdi-sanity");

interface Line {
  time: string;
  event: string;
  driver: string;
  volume: string;
  id?: string;
  outcome: string;
  scope?: string;
  owner?: string;
  error?: string;
  policy?: { name: string; version: string; sha256: string };
}

/** The audit log of a node, the older files first. */
function audit(world: World): Line[] {
  const names = readdirSync(world.state).filter((name) => /^audit\.log(\.\d+)?$/.test(name));
  const age = (name: string): number => Number(name.split(".")[2] ?? 0);
  const text = names.sort((a, b) => age(b) - age(a)).map((name) => readFileSync(join(world.state, name), "utf8"));
  const lines = text.join("").trimEnd().split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Line);
}

const events = (world: World): string[] => audit(world).map(({ event, outcome }) => `${event} ${outcome}`);

test("each thing done to a volume is a line of the audit log, with its scope and policy", { skip }, async (t) => {
  const world = await World.make(t);
  await world.driver();
  const volume = ["-v", `data:${world.target("d")}`, "--volume-driver", "dvdi"];
  const first = await world.dvdi(["run", "--name", "job-7", ...volume, "--", "true"]);
  assert.equal(first.code, 0, first.all);
  await until("it was released", () => events(world).includes("unmounted ok"));
  assert.deepEqual(events(world), ["created ok", "mounted ok", "staged ok", "unstaged ok", "unmounted ok"]);
  const lines = audit(world);
  assert.equal(new Set(lines.map(({ id }) => id)).size, 1);
  assert.ok(lines.every(({ driver, volume: name }) => driver === "dvdi" && name === "data"));
  for (const { scope, owner, policy } of lines.slice(0, 4)) {
    assert.deepEqual([scope, owner, policy?.name], ["job-7", "run", "stock"]);
    assert.match(policy?.sha256 ?? "", /^[0-9a-f]{64}$/);
  }
  assert.equal(statSync(join(world.state, "audit.log")).mode & 0o777, 0o600);

  const refused = await world.dvdi(["run", "-v", "x:/etc", "--volume-driver", "dvdi", "--", "true"]);
  assert.equal(refused.code, 125, refused.all);
  const last = audit(world).at(-1);
  assert.deepEqual([last?.event, last?.volume, last?.outcome], ["refused", "x", "refused"]);
  assert.match(last?.error ?? "", /\/etc/);
});

test("several processes rotate one audit log and lose no line", { skip }, async (t) => {
  const settings = "audit:\n  max_bytes: 4KiB\n  keep: 100";
  const world = await World.make(t, { settings });
  await ScriptedPlugin.serve(world, "plain", { volumes: ["a", "b", "c", "d"] });
  const rounds = 5;
  await Promise.all(
    ["a", "b", "c", "d"].map(async (name) => {
      const args = ["run", "-v", `${name}:${world.target(name)}`, "--volume-driver", "plain", "--", "true"];
      for (let i = 0; i < rounds; ++i) {
        const ran = await world.dvdi(args);
        assert.equal(ran.code, 0, ran.all);
      }
    }),
  );
  const count = (event: string): number => events(world).filter((one) => one === `${event} ok`).length;
  // A run may take over the volume that the one before it was about to release.
  await world.dvdi(["recover"]);
  await until("all are released", () => count("unmounted") === count("mounted"));
  assert.deepEqual([count("staged"), count("unstaged")], [4 * rounds, 4 * rounds]);
  assert.ok(count("mounted") >= 4);
  assert.ok(existsSync(join(world.state, "audit.log.3")), "it was rotated");
  assert.ok(statSync(join(world.state, "audit.log")).size <= 4096);
});

test("the metrics are Prometheus', from any process, and in the collector's file", { skip }, async (t) => {
  const world = await World.make(t);
  const collector = join(world.home, "collector");
  mkdirSync(collector);
  const file = join(collector, "dvdi.prom");
  world.settings(`metrics:\n  file: ${file}`);
  await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const held = await world.hold(["-v", `data:${world.target("d")}`, "--volume-driver", "plain"]);
  const metrics = async (): Promise<string> => {
    const shown = await world.dvdi(["metrics"]);
    assert.equal(shown.code, 0, shown.all);
    return shown.out;
  };
  const during = await metrics();
  for (const line of [
    'dvdi_operations_total{kind="prepare",outcome="ok"} 1',
    'dvdi_attachments{driver="plain",state="attached"} 1',
    'dvdi_scopes{owner="run"} 1',
    'dvdi_plugin_calls_total{driver="plain",method="Mount",answer="ok"} 1',
    "dvdi_policy_ok 1",
    "dvdi_audit_ok 1",
  ]) {
    assert.ok(during.split("\n").includes(line), `${line} is missing in\n${during}`);
  }
  // Killed: what it had counted stays, and its end is counted by another.
  held.kill("SIGKILL");
  await held.ended;
  await until("the workload ended", async () => {
    assert.equal((await world.dvdi(["recover", "--wait"])).code, 0);
    return (await metrics()).includes('dvdi_operations_total{kind="release",outcome="ok"} 1');
  });
  const after = await metrics();
  assert.match(after, /^dvdi_operations_total\{kind="prepare",outcome="ok"\} 1$/m);
  assert.match(after, /^dvdi_operations_total\{kind="recover",outcome="ok"\} 1$/m);
  assert.doesNotMatch(after, /^dvdi_attachments/m);
  assert.deepEqual(readdirSync(collector), ["dvdi.prom"]);
  assert.match(readFileSync(file, "utf8"), /^dvdi_operations_total\{kind="release",outcome="ok"\} 1$/m);
  assert.equal(statSync(file).mode & 0o777, 0o644);
});

test("promtool finds nothing wrong with the metrics", { skip }, async (t) => {
  const found = await run(["which", "promtool"]);
  if (found.code !== 0) return t.skip("promtool is not installed: Debian's package prometheus has it");
  const world = await World.make(t);
  await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const volume = ["-v", `data:${world.target("d")}`, "--volume-driver"];
  assert.equal((await world.dvdi(["run", ...volume, "plain", "--", "true"])).code, 0);
  assert.equal((await world.dvdi(["run", ...volume, 'no "such" driver', "--", "true"])).code, 125);
  const { out } = await world.dvdi(["metrics"]);
  const checked = await run(["promtool", "check", "metrics"], { input: out });
  assert.equal(checked.all.includes("error"), false, checked.all);
  assert.equal(checked.code, 0, `${checked.all}\n${out}`);
});

test("lines carry their priority where journald reads them, and only there", { skip }, async (t) => {
  const world = await World.make(t);
  const log = join(world.home, "journal");
  const script = (stream: string): string =>
    `exec 2>"$1"; shift; JOURNAL_STREAM=${stream}; export JOURNAL_STREAM; exec "$@"`;
  const said = async (stream: string): Promise<string> => {
    const command = ["sh", "-c", script(stream), "sh", log, DVDI, "--config", world.config, "forget", "none/such"];
    assert.notEqual((await world.run(command)).code, 0);
    return readFileSync(log, "utf8");
  };
  assert.match(await said("$(stat -L -c %d:%i /dev/stderr)"), /^<3>[^<]+\n$/);
  assert.match(await said("1:1"), /^dvdi: [^<]+\n$/);
});

test("whoever cannot write what was asked for says so, and fails", { skip }, async (t) => {
  const world = await World.make(t);
  await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const lost = (command: string[]): Promise<Result> =>
    world.run(["sh", "-c", 'exec "$0" "$@" >/dev/full', ...command], { env: { DVDI_CONFIG: world.config } });
  const why =
    /^(dvdi|dvdcli|dvdi-sanity|dvdi-driver: error): the output cannot be written to standard output: No space left/m;
  for (const [code, ...command] of [
    [17, DVDI, "mount", "plain/data"],
    [17, DVDI, "ls"],
    [17, DVDI, "--json", "status"],
    [17, DVDI, "metrics"],
    [1, world.dvdcliPath, "list", "--volumedriver=plain"],
    [1, SANITY, "--list"],
    [1, SANITY, "--version"],
    [1, DRIVER, "--help"],
  ] as [number, ...string[]][]) {
    const done = await lost(command);
    assert.equal(done.code, code, done.all);
    assert.match(done.err, why);
  }
  assert.equal((await world.dvdi(["unmount", "data"])).code, 0, "it was mounted all the same");
});

test("doctor says where a plugin's socket belongs on this node, where it finds none", { skip }, async (t) => {
  const world = await World.make(t);
  const doctor = await world.dvdi(["doctor"]);
  assert.ok(doctor.out.includes(`its socket belongs in ${world.plugins}, or `), doctor.all);
});
