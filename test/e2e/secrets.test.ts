// A secret given by reference reaches its driver, and nothing else: no log, record, ledger, metric or memory holds it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin } from "./lib/plugin.ts";
import { ROOT, skip, World } from "./lib/world.ts";

/** A value that JSON has to escape, around a part that stands as it is however it is written. */
function secret(): { value: string; part: string } {
  const part = randomBytes(20).toString("hex");
  return { value: `a"b\\c/ä${part}`, part };
}

function statement(world: World, name: string, options: Record<string, unknown>, driver = "plain"): string {
  const file = join(world.home, `${name}.json`);
  const volume = { driver, name, container_path: world.target(name), options };
  writeFileSync(file, JSON.stringify({ volumes: [volume] }));
  return file;
}

function writeSecret(folder: string, name: string, value: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, name), `${value}\n`, { mode: 0o600 });
}

/** Every file of the node but those that its operator wrote the secrets into, as bytes. */
function files(folder: string, without: string[]): { path: string; bytes: Buffer }[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (without.includes(path)) return [];
    if (entry.isDirectory()) return files(path, without);
    return entry.isFile() ? [{ path, bytes: readFileSync(path) }] : [];
  });
}

/** What a core of the process would hold: all that it can read of what it has written. */
function memory(pid: number): Buffer {
  const mem = openSync(`/proc/${pid}/mem`, "r");
  const parts: Buffer[] = [];
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw.p .*(?<!\[vvar\])$/.exec(line) ?? [];
    if (!from || !to) continue;
    const begin = BigInt(`0x${from}`);
    const part = Buffer.alloc(Number(BigInt(`0x${to}`) - begin));
    readSync(mem, part, 0, part.length, begin);
    parts.push(part);
  }
  closeSync(mem);
  return Buffer.concat(parts);
}

test("a secret by reference is in nothing that dvdi writes, says or keeps in memory", { skip }, async (t) => {
  const world = await World.make(t);
  const secrets = join(world.home, "secrets");
  const credentials = join(world.home, "credentials");
  world.settings(`secrets:\n  dir: ${secrets}\n  options: [password]`);
  const [filed, credential, repeated, written] = [secret(), secret(), secret(), secret()];
  writeSecret(secrets, "db", filed.value);
  writeSecret(secrets, "repeated", repeated.value);
  writeSecret(credentials, "unit", credential.value);
  const plugin = await ScriptedPlugin.serve(world, "plain", {
    // One that tells everybody what it was given.
    Create: (body) =>
      body.Name === "repeats"
        ? { status: 500, text: JSON.stringify({ Err: `bad option ${JSON.stringify(body.Opts)}` }) }
        : plugin.usual("Create", body),
  });
  const env = { CREDENTIALS_DIRECTORY: credentials };
  const said: string[] = [];
  const dvdi = async (args: string[]): Promise<void> => {
    const done = await world.dvdi(args, { env });
    said.push(done.all);
  };

  await dvdi(["run", "--statement", statement(world, "one", { key: { secret: "db" } }), "--", "true"]);
  await dvdi(["run", "--statement", statement(world, "two", { key: { secret: "unit" } }), "--", "true"]);
  await dvdi(["run", "--statement", statement(world, "repeats", { key: { secret: "repeated" } }), "--", "true"]);
  const inline = ["--mount", `type=volume,src=three,dst=${world.target("three")},volume-opt=password=${written.part}`];
  const quiet = await world.dvdi(["run", "--volume-driver", "plain", ...inline, "--", "true"]);
  said.push(quiet.err, quiet.out);

  const file = statement(world, "held", { key: { secret: "db" }, other: { secret: "unit" } });
  const held = world.begin(["run", "--statement", file, "--", "cat"], { env });
  held.write("it runs\n");
  await held.says(/^it runs$/m);
  const given = plugin.bodies.flatMap(({ method, body }) =>
    method === "Create" ? Object.values(body.Opts ?? {}) : [],
  );
  assert.deepEqual(
    given,
    [filed.value, credential.value, repeated.value, written.part, filed.value, credential.value],
    "the driver got each value",
  );

  for (const args of [["explain", "--last", "100"], ["status"], ["ls"], ["inspect", "plain/one"], ["metrics"]]) {
    await dvdi([...args, "--json"]);
    await dvdi(args);
  }
  const look = (): void => {
    const all = [
      { path: "the memory of the run", bytes: memory(held.pid) },
      ...files(world.home, [secrets, credentials]),
      ...said.map((text, i) => ({ path: `output ${i}`, bytes: Buffer.from(text) })),
      { path: "output of the run that holds", bytes: Buffer.from(held.out + held.err) },
    ];
    for (const name of ["memory of the run", "ledger.db", "ledger.db-wal"]) {
      const seen = all.filter(
        ({ path, bytes }) => path.endsWith(name) && (name === "ledger.db" || bytes.includes("container_path")),
      );
      assert.equal(seen.length, 1, `${name} is looked at, and is what it should be`);
    }
    for (const { part } of [filed, credential, repeated, written]) {
      const found = all.filter(({ bytes }) => bytes.includes(part)).map(({ path }) => path);
      assert.deepEqual(found, []);
    }
  };
  look();
  assert.ok(
    said.some((text) => text.includes("[secret]")),
    "the driver's error was shown without it",
  );
  held.closeInput();
  assert.equal((await held.end()).code, 0);
});

test("the driver that ships may repeat a value in its error; it is shown without it", { skip }, async (t) => {
  const world = await World.make(t);
  const secrets = join(world.home, "secrets");
  world.settings(`secrets:\n  dir: ${secrets}`);
  const { part } = secret();
  writeSecret(secrets, "size", part);
  await world.driver();
  const file = statement(world, "data", { size: { secret: "size" } }, "dvdi");
  const failed = await world.dvdi(["run", "--statement", file, "--", "true"]);
  assert.equal(failed.code, 125, failed.all);
  const explained = await world.dvdi(["explain", "--json"]);
  const ledger = files(world.state, []);
  for (const text of [failed.all, explained.out]) assert.ok(!text.includes(part), text);
  assert.deepEqual(
    ledger.filter(({ bytes }) => bytes.includes(part)).map(({ path }) => path),
    [],
  );
});

test("a secret of the settings, in a pool, is in no record, export, shadow or canary", { skip }, async (t) => {
  const world = await World.make(t);
  const { part } = secret();
  const policy = `policy: {pools: [{name: gold, driver: plain, attributes: {tier: gold}, options: {password: ${part}}}]}`;
  world.settings(`secrets: {options: [password]}\n${policy}`);
  const plugin = await ScriptedPlugin.serve(world, "plain");
  const statementOf = (name: string): string => {
    const file = join(world.home, `${name}.json`);
    const volume = { class: { tier: "gold" }, name, container_path: world.target(name) };
    writeFileSync(file, JSON.stringify({ volumes: [volume] }));
    return file;
  };
  const said: string[] = [];
  const dvdi = async (...args: string[]): Promise<string> => {
    const done = await world.dvdi(args);
    assert.equal(done.code, 0, done.all);
    said.push(done.all);
    return done.out;
  };
  await dvdi("run", "--statement", statementOf("one"), "--", "true");
  const given = plugin.bodies.filter(({ method }) => method === "Create").map(({ body }) => body.Opts?.["password"]);
  assert.deepEqual(given, [part], "the driver got the value");

  // The house refuses what has no size: the canary and the shadow have differences to show.
  const [stock, house] = [join(ROOT, "build/policy.wasm"), join(ROOT, "build/house.wasm")];
  await dvdi("policy", "install", stock);
  await dvdi("policy", "shadow", "--file", house, "--json");
  await dvdi("run", "--statement", statementOf("two"), "--", "true");
  const shadow = await dvdi("policy", "shadow", "--json");
  assert.match(shadow, /"different":1/);
  await dvdi("policy", "install", house, "--allow-differences", "--json");
  await dvdi("explain", "--export");
  await dvdi("explain", "--last", "100", "--json");
  await dvdi("explain", "--export", "--output", join(world.home, "records.jsonl"));
  await dvdi("pools", "--json");
  await dvdi("status", "--json");
  for (const [i, text] of said.entries()) assert.ok(!text.includes(part), `output ${i}: ${text}`);
  const found = files(world.home, [world.config]).filter(({ bytes }) => bytes.includes(part));
  assert.deepEqual(
    found.map(({ path }) => path),
    [],
  );

  // What was exported comes out the same elsewhere, with the settings that came with it.
  const replay = ["replay", join(world.home, "records.jsonl"), "--policy", stock, "--json"];
  const { stdout } = spawnSync(process.execPath, [join(ROOT, "build/host/dvdi-policy.mjs"), ...replay], {
    encoding: "utf8",
  });
  const { counts } = JSON.parse(stdout) as { counts: Record<string, number> };
  assert.ok((counts["same"] ?? 0) >= 4, stdout);
  assert.equal(counts["different"], 0, stdout);
});

test("a folder of secrets that others can look into serves nobody", { skip }, async (t) => {
  const world = await World.make(t);
  const secrets = join(world.home, "secrets");
  world.settings(`secrets:\n  dir: ${secrets}`);
  const plugin = await ScriptedPlugin.serve(world, "plain");
  mkdirSync(secrets, { mode: 0o755 });
  writeFileSync(join(secrets, "db"), "value\n", { mode: 0o600 });
  assert.equal(statSync(secrets).mode & 0o777, 0o755);
  const file = statement(world, "data", { key: { secret: "db" } });
  const refused = await world.dvdi(["run", "--statement", file, "--", "true"]);
  assert.equal(refused.code, 125, refused.all);
  assert.match(refused.err, /is open to others than root/);
  assert.equal(plugin.count("Create"), 0);
});
