// The policy is swapped on a node that runs: the house rule of examples/ in place of the stock policy.
import assert from "node:assert/strict";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { house, STOCK } from "./lib/house.ts";
import { must } from "./lib/process.ts";
import { ScriptedPlugin } from "./lib/plugin.ts";
import { ROOT, skip, World } from "./lib/world.ts";

const TOOL = join(ROOT, "build/host/dvdi-policy.mjs");
const PLAIN = ["--volume-driver", "plain"];

interface Policy {
  name: string;
  version: string;
  sha256: string;
  source: string;
}

test("dvdi policy install swaps the policy between two runs, and under a workload", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain");
  const run = (name: string): ReturnType<World["dvdi"]> =>
    world.dvdi(["run", "-v", `${name}:${world.target(name)}`, ...PLAIN, "--", "true"]);
  const active = async (): Promise<Policy> => (await world.json<{ policy: Policy }>(["status"])).policy;
  assert.deepEqual([(await active()).name, (await active()).source], ["stock", "built-in"]);
  assert.match((await run("one")).err, /^dvdi: created new volume one\n$/);
  const held = await world.hold(["-v", `held:${world.target("held")}`, ...PLAIN]);

  const installed = await world.json<Policy>(["policy", "install", await house(world)]);
  assert.deepEqual([installed.name, installed.version], ["house", "1.0.0"]);
  assert.equal((await active()).sha256, installed.sha256);
  const refused = await run("two");
  assert.equal(refused.code, 125, refused.all);
  assert.match(refused.err, /^dvdi: house rule: volume two does not exist yet.*give it one.*\n$/i);
  assert.equal(plugin.count("Create two"), 0);
  const again = await run("one");
  assert.equal(again.code, 0, again.all);
  assert.match(again.err, /re-attached one[^]*decided by the house rule, for 1 volume/);
  const mount = `type=volume,src=two,dst=${world.target("two")},volume-driver=plain,volume-opt=size=64m`;
  const sized = await world.dvdi(["run", "--mount", mount, "--", "true"]);
  assert.equal(sized.code, 0, sized.all);
  assert.match(sized.err, /^dvdi: created new volume two$/m);
  assert.equal((await held.release()).code, 0, "what began under the old one ends");

  const explained = await world.json<{ operations: { policy: Policy; outcome: string }[] }>([
    ...["explain", "plain/two", "--last", "10"],
  ]);
  const by = new Set(explained.operations.map(({ policy }) => policy.name));
  assert.deepEqual([...by], ["house"], "the record says who decided");

  const older = await world.dvdi(["policy", "install", STOCK]);
  assert.equal(older.code, 12, older.all);
  assert.match(older.err, /older than 1\.0\.0.*--allow-downgrade/);
  assert.equal((await active()).name, "house");
  assert.equal((await world.dvdi(["policy", "install", STOCK, "--allow-downgrade"])).code, 0);
  assert.equal((await run("three")).code, 0);
});

test("a blob that is none, or asks for too much, is not installed", { skip }, async (t) => {
  const world = await World.make(t);
  await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const blob = readFileSync(STOCK);
  const flipped = Buffer.from(blob);
  // Somewhere in the code: it does not compile, or its canary says so.
  flipped.fill(0xff, Math.floor(blob.length / 2), Math.floor(blob.length / 2) + 64);
  const foreign = Buffer.from(blob);
  const at = foreign.indexOf("plugin_call");
  assert.ok(at > 0);
  foreign.write("plugin_kall", at);
  const bad: Record<string, Buffer> = {
    "empty.wasm": Buffer.alloc(0),
    "text.wasm": Buffer.from("not a module"),
    "cut.wasm": blob.subarray(0, blob.length / 2),
    "flipped.wasm": flipped,
    "foreign.wasm": foreign,
    "header.wasm": Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]),
    "huge.wasm": Buffer.alloc(8 << 20),
  };
  for (const [name, bytes] of Object.entries(bad)) {
    const path = join(world.home, name);
    writeFileSync(path, bytes);
    const done = await world.dvdi(["policy", "install", path]);
    assert.ok(done.code >= 11 && done.code <= 19, `${name}: ${done.all}`);
    assert.match(done.err, /^dvdi: [^\n]*\n$/, name);
  }
  mkdirSync(join(world.home, "folder.wasm"));
  for (const path of ["folder.wasm", "missing.wasm"]) {
    assert.notEqual((await world.dvdi(["policy", "install", join(world.home, path)])).code, 0);
  }
  const done = await world.dvdi(["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "true"]);
  assert.equal(done.code, 0, "the one before decides still");
});

test("without a policy that works nothing starts, and everything ends", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data", "other"] });
  const blob = await house(world);
  assert.equal((await world.dvdi(["policy", "install", blob])).code, 0);
  const run = ["run", "-v", `other:${world.target("o")}`, ...PLAIN, "--", "true"];
  const folder = join(world.state, "policy");
  const state = readFileSync(join(folder, "state.json"));
  const { active } = JSON.parse(state.toString()) as { active: string };
  const damages: [string, Buffer][] = [
    [join(folder, "state.json"), Buffer.from("{")],
    [join(folder, "state.json"), Buffer.alloc(0)],
    [join(folder, "blobs", `${active}.wasm`), Buffer.from("not the blob that was installed")],
  ];
  for (const [file, bytes] of damages) {
    const before = readFileSync(file);
    const held = await world.hold(["-v", `data:${world.target("d")}`, ...PLAIN]);
    writeFileSync(file, bytes);
    const refused = await world.dvdi(run);
    assert.equal(refused.code, 125, refused.all);
    assert.match(refused.err, /^dvdi: [^\n]*policy[^\n]*\n$/);
    const mounted = plugin.count("Unmount data");
    const done = await held.release();
    assert.equal(done.code, 0, done.all);
    assert.equal(plugin.count("Unmount data"), mounted + 1, "a release needs no policy");
    await world.nothingLeft();
    const status = await world.json<{ policy: { error?: { message: string } } }>(["status"]);
    assert.ok(status.policy.error, "status says so");
    writeFileSync(file, before);
  }
  assert.equal(plugin.count("Mount other"), 0);
  writeFileSync(join(folder, "state.json"), state);
  assert.equal((await world.dvdi(run)).code, 0);
});

test(
  "only what an allowed key of the stock minisign signed is taken, and keys are changed over time",
  { skip },
  async (t) => {
    const world = await World.make(t);
    const path = (name: string): string => join(world.home, name);
    const blob = path("house.wasm");
    copyFileSync(await house(world), blob);
    const line = (name: string): string => readFileSync(path(`${name}.pub`), "utf8").split("\n")[1] ?? "";
    for (const name of ["old", "new"]) {
      await must(["minisign", "-G", "-W", "-p", path(`${name}.pub`), "-s", path(`${name}.key`)]);
    }
    const sign = async (key: string, kind: string): Promise<void> =>
      void (await must(["minisign", "-S", kind, "-s", path(`${key}.key`), "-m", blob, "-t", `house by ${key}`]));
    const install = (...more: string[]): ReturnType<World["dvdi"]> => world.dvdi(["policy", "install", blob, ...more]);

    world.settings(`policies:\n  keys: [${line("old")}]`);
    const unsigned = await install();
    assert.equal(unsigned.code, 12, unsigned.all);
    assert.match(unsigned.err, /it is not signed.*house\.wasm|it is not signed.*--signature/i);
    for (const kind of ["-H", "-l"]) {
      await sign("old", kind);
      const done = await install();
      assert.equal(done.code, 0, done.all);
      assert.match(done.out, /signed by: [0-9A-F]{16} \(house by old\)/);
    }
    assert.equal((await install("--sha256", "0".repeat(64))).code, 12, "pinned to another one");

    await sign("new", "-H");
    assert.match((await install()).err, /signed by the key [0-9A-F]{16}, which is not one that the settings allow/);
    world.settings(`policies:\n  keys: [${line("old")}, ${path("new.pub")}]`);
    assert.equal((await install()).code, 0, "while keys are changed one of them is enough");
    world.settings(`policies:\n  keys: [${path("new.pub")}]`);
    assert.equal((await install()).code, 0);
    const changed = readFileSync(blob);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    writeFileSync(blob, changed);
    assert.match((await install()).err, /the blob or its signature was changed/);
    const listed = await world.json<{ policies: { state: string; signed_by?: string }[] }>(["policy", "ls"]);
    assert.ok(listed.policies.find(({ state }) => state === "active")?.signed_by);
  },
);

test("what dvdi-policy signs is taken, and nothing of it that was changed", { skip }, async (t) => {
  const world = await World.make(t);
  const path = (name: string): string => join(world.home, name);
  const tool = (...args: string[]): Promise<unknown> => must([process.execPath, TOOL, ...args], { cwd: ROOT });
  const blob = path("house.wasm");
  const minisig = `${blob}.minisig`;
  copyFileSync(await house(world), blob);
  for (const name of ["ours", "theirs"]) {
    await tool("keygen", "--no-password", "--secret-key", path(`${name}.key`), "--public-key", path(`${name}.pub`));
  }
  const sign = (by: string, file = blob): Promise<unknown> =>
    tool("sign", file, "--key", path(`${by}.key`), "--comment", "house, for all");
  world.settings(`policies:\n  keys: [${path("ours.pub")}]\n  unsigned: refuse`);
  await sign("ours");
  const installed = await world.dvdi(["policy", "install", blob]);
  assert.equal(installed.code, 0, installed.all);
  const [, key = ""] = /signed by: ([0-9A-F]{16}) \(house, for all\)/.exec(installed.out) ?? assert.fail(installed.all);

  const bytes = readFileSync(blob);
  const signature = readFileSync(minisig, "utf8");
  /** The blob with another byte there. */
  const flipped = (at: number): Buffer => {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    return changed;
  };
  /** The signature, with other bytes in its second line: kind, key and signature proper. */
  const forged = (text: string, change: (of: Buffer) => void): string => {
    const lines = text.split("\n");
    const of = Buffer.from(lines[1] ?? "", "base64");
    change(of);
    return lines.with(1, of.toString("base64")).join("\n");
  };
  copyFileSync(STOCK, path("other.wasm"));
  await sign("ours", path("other.wasm"));
  const ofAnother = readFileSync(path("other.wasm.minisig"), "utf8");
  await sign("theirs");
  const byThem = readFileSync(minisig, "utf8");
  const ours = Buffer.from(signature.split("\n")[1] ?? "", "base64").subarray(2, 10);

  const changed = new RegExp(`it is not what the key ${key} signed: the blob or its signature was changed`);
  const refused: [what: string, blob: Buffer, signature: string | null, says: RegExp][] = [
    ["the first byte", flipped(0), signature, changed],
    ["a byte in the middle", flipped(bytes.length >> 1), signature, changed],
    ["the last byte", flipped(bytes.length - 1), signature, changed],
    ["a byte more", Buffer.concat([bytes, Buffer.from([0])]), signature, changed],
    ["a byte less", bytes.subarray(0, -1), signature, changed],
    ["another blob's signature", bytes, ofAnother, changed],
    ["a byte of the signature", bytes, forged(signature, (of) => of.writeUInt8((of[40] ?? 0) ^ 1, 40)), changed],
    ["a comment", bytes, signature.replace("for all", "for you"), /the trusted comment of its signature was changed/],
    [
      "another key",
      bytes,
      byThem,
      new RegExp(`signed by the key (?!${key})[0-9A-F]{16}, which is not one.*\\(${key}\\)`),
    ],
    ["another key by our name", bytes, forged(byThem, (of) => ours.copy(of, 2)), changed],
    ["no signature in the file", bytes, "signed\n", /is no minisign signature/],
    ["none", bytes, null, /it is not signed/],
  ];
  for (const [what, file, beside, says] of refused) {
    writeFileSync(blob, file);
    rmSync(minisig, { force: true });
    if (beside !== null) writeFileSync(minisig, beside);
    const done = await world.dvdi(["policy", "install", blob]);
    assert.ok(done.code === 11 || done.code === 12, `${what}: ${done.all}`);
    assert.match(done.err, /^dvdi: [^\n]*\n$/, what);
    assert.match(done.err, says, what);
  }
  const { history } = await world.json<{ history: { event: string }[] }>(["policy", "history"]);
  assert.deepEqual(
    history.map(({ event }) => event),
    ["installed"],
  );
  const audit = readFileSync(join(world.state, "audit.log"), "utf8");
  assert.equal(audit.match(/"event":"installed"[^\n]*"outcome":"(refused|invalid)"/g)?.length, refused.length);
  // Nor where somebody else could have named the key.
  writeFileSync(blob, bytes);
  writeFileSync(minisig, signature);
  chmodSync(path("ours.pub"), 0o664);
  const anybodys = await world.dvdi(["policy", "install", blob]);
  assert.equal(anybodys.code, 12, anybodys.all);
  assert.match(anybodys.err, /^dvdi: \S+ours\.pub can be written by others \(mode 0664\)[^\n]*\n$/);
  chmodSync(path("ours.pub"), 0o644);
  // What is not signed in a signature may be another.
  writeFileSync(minisig, signature.replace(/^untrusted comment: .*/, "untrusted comment: no matter"));
  writeFileSync(blob, bytes);
  assert.equal((await world.dvdi(["policy", "install", blob])).code, 0);
});

interface Shadow {
  shadow: { decisions: Record<string, number> } | null;
  last?: { decisions: Record<string, number> };
}

test("a policy is kept, watched in shadow, made active, taken back and barred", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain");
  const run = (name: string): ReturnType<World["dvdi"]> =>
    world.dvdi(["run", "-v", `${name}:${world.target(name)}`, ...PLAIN, "--", "true"]);
  assert.equal((await world.dvdi(["policy", "install", STOCK])).code, 0);
  const kept = await world.json<Policy & { active: boolean }>(["policy", "install", await house(world), "--inactive"]);
  assert.equal(kept.active, false);
  assert.equal((await world.dvdi(["policy", "shadow", "house", "--operations", "2"])).code, 0);
  assert.equal((await run("one")).code, 0, "the house would have refused it");
  assert.equal(plugin.count("Create one"), 1);
  const seen = await world.json<Shadow>(["policy", "shadow"]);
  assert.deepEqual(seen.shadow?.decisions, { different: 1 });
  assert.equal((await run("one")).code, 0);
  const over = await world.json<Shadow>(["policy", "shadow"]);
  assert.equal(over.shadow, null, "it has had its number");
  assert.equal(over.last?.decisions["different"], 1);
  const activated = await world.json<Policy & { active: boolean }>([
    "policy",
    "activate",
    "house",
    "--allow-downgrade",
  ]);
  assert.deepEqual([activated.sha256, activated.active], [kept.sha256, true]);
  assert.equal((await run("two")).code, 125);
  const back = await world.json<Policy>(["policy", "rollback", "--bar", "--why", "refuses too much"]);
  assert.equal(back.name, "stock");
  assert.equal((await run("two")).code, 0);
  assert.match((await world.dvdi(["policy", "activate", "house", "--allow-downgrade"])).err, /is barred/);
  const { history } = await world.json<{ history: { event: string }[] }>(["policy", "history"]);
  const events = history.map(({ event }) => event);
  assert.deepEqual(events, ["installed", "kept", "shadow-began", "shadow-ended", "activated", "rolled-back"]);
  const good = await world.json<{ barred: boolean }>(["policy", "unbar", kept.sha256]);
  const bad = await world.json<{ barred: boolean; active: string }>(["policy", "bar", kept.sha256, "--why", "no"]);
  assert.deepEqual([good.barred, bad.barred, bad.active], [false, true, back.sha256]);
  const inspected = await world.json<Policy & { state: string }>(["policy", "inspect", kept.sha256]);
  assert.deepEqual([inspected.name, inspected.state], ["house", "barred"]);
  // Each verb that changes something has a line, with who did it and how it ended.
  const audit = readFileSync(join(world.state, "audit.log"), "utf8");
  for (const event of [...events, "unbarred", "barred"]) {
    assert.match(audit, new RegExp(`"event":"${event}"[^\\n]*"owner":"(operator|engine)"`), event);
  }
});
