// `dvdi-policy replay`: the blob that ships and the house rule of examples/ on recorded operations.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { withManifest } from "../../host/src/manifest.ts";
import { policyModule } from "../../host/test/modules.ts";
import { exported, recordOf } from "../../host/test/records.ts";
import { ROOT, SHIPPED } from "./instance.ts";

const TOOL = join(ROOT, "build/host/dvdi-policy.mjs");
const stock = readFileSync(SHIPPED);
const folder = mkdtempSync(join(tmpdir(), "dvdi-replay-test-"));
const HOUSE = join(ROOT, "build/house.wasm");
const STUCK = join(folder, "stuck.wasm");
after(() => rmSync(folder, { recursive: true, force: true }));

interface Report {
  records: number;
  counts: Record<string, number>;
  groups: { outcome: string; title: string; count: number; examples: { scope: string; first_call: string | null }[] }[];
}

function tool(...args: string[]): { status: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [TOOL, ...args], { cwd: ROOT, encoding: "utf8" });
  return { status, out: stdout, err: stderr };
}

function records(name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
}

function replay(file: string, policy: string, ...more: string[]): Report & { status: number | null } {
  const { status, out, err } = tool("replay", file, "--policy", policy, "--json", ...more);
  assert.ok(out.startsWith("{"), err);
  return { status, ...(JSON.parse(out) as Report) };
}

before(() => {
  const about = { name: "stuck", version: "1.0.0", description: "" };
  writeFileSync(STUCK, withManifest(policyModule({ endless: true }), about));
});

const UNSIZED = "type=volume,src=data,dst=/data,volume-driver=nfs";

test("what a policy decided it decides again, whatever went wrong then", () => {
  const all = Array.from({ length: 300 }, (_, seed) =>
    recordOf(stock, { seed, faults: 0.4, missing: seed % 2 ? ["data"] : [], used: seed % 7 === 0 ? ["data"] : [] }),
  );
  const told = replay(records("stock.jsonl", exported(all)), SHIPPED);
  assert.deepEqual(told.counts, { same: 300, different: 0, undecidable: 0, failed: 0, skipped: 0 });
  assert.equal(told.status, 0);
  assert.deepEqual(told.groups, []);
});

test("another policy's decisions are grouped, with the first call that differs, and the exit code tells", () => {
  const all = [
    recordOf(stock, {}, { scope: "sized" }),
    recordOf(stock, { text: UNSIZED, missing: ["data"] }, { scope: "one" }),
    recordOf(stock, { text: UNSIZED.replace("src=data", "src=logs"), missing: ["logs"] }, { scope: "two" }),
    recordOf(stock, { text: UNSIZED }, { scope: "there" }),
    recordOf(stock, { text: `${UNSIZED},volume-opt=size=1t` }, { scope: "large" }),
    { operation: "1", kind: "rm", owner: "manual", scope: "rm", outcome: "ok", calls: [] },
    recordOf(stock, {}, { scope: "payments-db" }),
  ];
  const file = records("house.jsonl", exported(all));
  const told = replay(file, HOUSE);
  assert.equal(told.status, 4);
  assert.deepEqual(told.counts, { same: 3, different: 3, undecidable: 0, failed: 0, skipped: 1 });
  assert.deepEqual(
    told.groups.map(({ outcome, title, count, examples }) => [outcome, title, count, examples[0]?.first_call]),
    [
      ["different", "prepare: ok → refused, no Create", 2, "Create data: was made, and would not be"],
      ["different", "prepare: ok → refused, no Mount", 1, "Mount data: was made, and would not be"],
      ["skipped", "no policy was asked", 1, null],
    ],
  );
  assert.equal(replay(file, HOUSE, "--allow", "3").status, 0);
  const { out, status } = tool("replay", file, "--policy", HOUSE);
  assert.equal(status, 4);
  assert.match(
    out,
    /^7 records, decided again by house 1\.0\.0[^]*different: prepare: ok → refused, no Create \(2\)\n/,
  );
  assert.match(out, /prepare of run\/two \(0123456789abcdef, 2023-11-14 22:13:20\)\n +Create logs: was made/);
});

test("a call that came to nothing then is not told as one that was made", () => {
  const one = recordOf(stock, { text: UNSIZED, missing: ["data"] }) as {
    calls: { request: { calls?: { method: string }[] }; answer: unknown }[];
    answer: { prepare: string };
  };
  const at = one.calls.findIndex(({ request }) => request.calls?.some(({ method }) => method === "Create"));
  const create = one.calls[at];
  assert.ok(create);
  create.answer = { ok: { answers: [{ kind: "refused", error: "it can destroy data" }] } };
  one.calls.splice(at + 1);
  const error = { code: "refused", message: "Create was not sent", volume: "data", driver: "nfs" };
  one.answer.prepare = JSON.stringify({ error });
  const { groups } = replay(records("refused.jsonl", exported([one])), HOUSE);
  const firsts = groups.map(({ title, examples }) => [title, examples[0]?.first_call]);
  assert.deepEqual(firsts, [["prepare: no Create", "Create data: was asked for (refused), and would not be"]]);
});

test("the settings that came with the records, or others, configure the policy", () => {
  const settings = { default_driver: "nfs" };
  const one = recordOf(stock, { text: "type=volume,src=data,dst=/data", settings });
  assert.equal(replay(records("own.jsonl", exported([one], settings)), SHIPPED).status, 0);
  const bare = records("bare.jsonl", exported([one], null));
  assert.equal(replay(bare, SHIPPED).status, 0, "without any, each record's own");
  writeFileSync(join(folder, "other.yaml"), "default_driver: ceph\n");
  const other = replay(bare, SHIPPED, "--settings", join(folder, "other.yaml"));
  assert.equal(other.status, 4);
  assert.equal(other.groups[0]?.title, "parse: ok, with another volumes[].driver");
  writeFileSync(join(folder, "wrong.yaml"), "default_drivr: ceph\n");
  const wrong = tool("replay", bare, "--settings", join(folder, "wrong.yaml"));
  assert.equal(wrong.status, 1);
  assert.match(wrong.err, /configure does not take the settings: .*default_drivr/);
});

test("exports that were joined are read as one, where their policy was configured alike", () => {
  const settings = { default_driver: "nfs", call_timeout_ms: 60_000 };
  const one = recordOf(stock, { settings });
  const [first, second] = [
    exported([one], settings),
    exported([one], { call_timeout_ms: 60_000, default_driver: "nfs" }),
  ];
  const other = second.replace('"node":"n1"', '"node":"n2"');
  const page = join(folder, "joined.html");
  const told = replay(records("joined.jsonl", first + other + first), SHIPPED, "--html", page);
  assert.equal(told.status, 0);
  assert.equal(told.counts["same"], 3);
  assert.match(readFileSync(page, "utf8"), /<p>3 operations of nodes n1, n2, decided again/);

  const differ = records("differ.jsonl", first + exported([one], { default_driver: "ceph" }));
  for (const file of [differ, records("later.jsonl", exported([one], null) + first)]) {
    const refused = tool("replay", file, "--policy", SHIPPED);
    assert.equal(refused.status, 1);
    assert.match(
      refused.err,
      /\.jsonl: it is several exports, whose policies had different settings\n {2}hint: .*--settings/,
    );
  }
  writeFileSync(join(folder, "one.yaml"), "default_driver: nfs\n");
  assert.equal(replay(differ, SHIPPED, "--settings", join(folder, "one.yaml")).counts["same"], 2);
  const newer = records("newer-later.jsonl", `${first}{"dvdi":"records","version":2}\n`);
  assert.match(tool("replay", newer).err, /of a kind that this tool does not know/);
});

test("what `dvdi explain --json` wrote is taken, too", () => {
  const file = records("explained.json", `${JSON.stringify({ operations: [recordOf(stock), recordOf(stock)] })}\n`);
  assert.equal(replay(file, SHIPPED).counts["same"], 2);
});

test("a policy that does not come to an end costs its records alone, and then the replay", () => {
  const of = (scope: string): object => recordOf(stock, {}, { scope });
  const two = records("two.jsonl", exported([of("a"), of("b")], null));
  const told = replay(two, STUCK, "--patience", "0.5");
  assert.equal(told.status, 4);
  assert.equal(told.counts["failed"], 2);
  assert.equal(told.groups[0]?.title, "it does not come to an end");
  const many = records("many.jsonl", exported([of("a"), of("b"), of("c"), of("d")], null));
  const given = tool("replay", many, "--policy", STUCK, "--patience", "0.5");
  assert.equal(given.status, 1);
  assert.match(given.err, /did not come to an end for 3 records/);
});

test("what is no file of records is said to be none", () => {
  assert.match(tool("replay", join(folder, "none")).err, /none cannot be read: no such file or directory\n/);
  const damaged = records("damaged.jsonl", `${exported([recordOf(stock)])}{"operation": `);
  assert.match(tool("replay", damaged).err, /damaged\.jsonl: record 2 cannot be read: .*JSON/);
  const other = records("other.json", '{"volumes":[]}\n');
  assert.match(tool("replay", other).err, /other\.json: record 1 cannot be read: it is no record of an operation/);
  const newer = records("newer.jsonl", '{"dvdi":"records","version":2}\n');
  assert.match(tool("replay", newer).err, /of a kind that this tool does not know/);
  // A file of another kind, longer in one line than any text can be.
  const huge = join(folder, "huge");
  writeFileSync(huge, "");
  truncateSync(huge, 600 << 20);
  const refused = tool("replay", huge);
  assert.equal(refused.status, 1);
  assert.match(refused.err, /^dvdi-policy: \S+huge cannot be read: a line has more than 268435456 bytes\n {2}hint: /);
  const empty = tool("replay", records("empty.jsonl", exported([])));
  assert.equal(empty.status, 1);
  assert.match(empty.err, /nothing could be decided again/);
});
