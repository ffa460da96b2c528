// docs/statement.md, docs/statement.schema.json and the shipped blob must say the same.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Ajv } from "ajv";

import { Blob, ROOT, type Json } from "./instance.ts";

const blob = Blob.shipped();
const schema = JSON.parse(readFileSync(join(ROOT, "docs/statement.schema.json"), "utf8")) as Record<string, Json>;
const valid = new Ajv({ strict: false, allErrors: true }).compile(schema);

const POOLS = [
  { name: "any", driver: "own", attributes: { media: ["ssd", "nvme"], iops: { min: 1 }, encrypted: true } },
];
const config = blob.run("configure", { settings: { pools: POOLS } }).answer.ok as Json;

function parse(statement: Json): { ok?: Json; error?: Record<string, Json> } {
  return blob.run("parse", { config, sources: [{ form: "statement", text: JSON.stringify(statement) }] }).answer;
}

/** The message of the refusal; "" where there was none. */
function refusal(statement: Json): string {
  const message = parse(statement).error?.["message"];
  return typeof message === "string" ? message : "";
}

const one = (members: Record<string, Json>): Json => ({ volumes: [{ name: "v", container_path: "/d", ...members }] });

const RIGHT: Json[] = [
  { volumes: [] },
  { $schema: "docs/statement.schema.json", volumes: [] },
  one({}),
  one({ driver: "rexray/ebs:0.11", size: 10, mode: "ro", options: { iops: 100, volumetype: "io1", encrypted: true } }),
  one({ driver: "own", options: { key: { secret: "db-key" }, empty: "" }, subpath: "a/b", access: "multi-writer" }),
  one({ create: "never", ownership: "idmap", size: "1TB" }),
  one({ size: "10 GiB" }),
  one({ name: "a b=c,d", container_path: "relative/./path/" }),
  one({ container_path: "/a..b/..c/d.." }),
  one({ class: { media: "ssd", iops: { min: 3000, max: "5k" }, encrypted: true } }),
  one({ class: { media: ["nvme", "tape"] }, size: 5 }),
  one({ class: {} }),
];

const WRONG: Json[] = [
  {},
  [],
  { volumes: {} },
  { volume: [] },
  { volumes: [], version: 1 },
  { volumes: [{ name: "v" }] },
  { volumes: [{ container_path: "/d" }] },
  one({ nmae: "x" }),
  one({ name: "" }),
  one({ name: "a/b" }),
  one({ name: "a\\b" }),
  one({ name: ".hidden" }),
  one({ name: "-x" }),
  one({ name: "a\nb" }),
  one({ name: " a" }),
  one({ name: "a " }),
  one({ name: "a\u0085" }),
  one({ name: "x".repeat(256) }),
  one({ name: 5 }),
  one({ driver: "a b" }),
  one({ driver: "../x" }),
  one({ driver: "a//b" }),
  one({ driver: "a/.b" }),
  one({ driver: "-a" }),
  one({ driver: "own", class: { media: "ssd" } }),
  one({ container_path: "" }),
  one({ container_path: "/" }),
  one({ container_path: "//" }),
  one({ container_path: ".." }),
  one({ container_path: "/a/../b" }),
  one({ container_path: "a/.." }),
  one({ container_path: "/a\tb" }),
  one({ subpath: "../x" }),
  one({ mode: "RO" }),
  one({ access: "single" }),
  one({ create: "always" }),
  one({ create: false }),
  one({ ownership: "chown" }),
  one({ size: 0 }),
  one({ size: -1 }),
  one({ size: "0" }),
  one({ size: "big" }),
  one({ size: "10 XB" }),
  one({ size: [10] }),
  one({ options: [] }),
  one({ options: { a: null } }),
  one({ options: { a: { secret: "x", more: 1 } } }),
  one({ options: { a: ["x"] } }),
  one({ options: Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`k${i}`, "v"])) }),
  one({ class: { iops: { least: 5 } } }),
  one({ class: { iops: {} } }),
  one({ class: { iops: null } }),
  one({ class: { media: [] } }),
  one({ class: { media: [5] } }),
  one({ class: { iops: { min: "many" } } }),
];

test("what the schema takes, the policy takes", () => {
  for (const statement of RIGHT) {
    const text = JSON.stringify(statement);
    assert.equal(valid(statement), true, `${text}: ${JSON.stringify(valid.errors)}`);
    assert.ok(parse(statement).ok, `${text}: ${JSON.stringify(parse(statement).error)}`);
  }
});

test("what the schema refuses, the policy refuses, with a message on one line", () => {
  for (const statement of WRONG) {
    const text = JSON.stringify(statement);
    assert.equal(valid(statement), false, text);
    assert.equal(parse(statement).error?.["code"], "invalid", text);
    assert.match(refusal(statement), /^[^\n]{10,}$/, text);
  }
});

test("the schema's lists are those of the policy", () => {
  const known = /it takes ([^\n]*)$/.exec(refusal(one({ "no such": 1 })))?.[1]?.split(", ");
  const definitions = schema["definitions"] as Record<string, { properties: Record<string, { enum?: string[] }> }>;
  const properties = definitions["volume"]?.properties ?? {};
  assert.deepEqual([...(known ?? [])].sort(), Object.keys(properties).sort());
  for (const [name, { enum: words }] of Object.entries(properties)) {
    if (!words) continue;
    const accepted = /one of ([^\n]*), not /.exec(refusal(one({ [name]: "no such" })))?.[1];
    assert.deepEqual(accepted?.split(", "), words, name);
  }
});
