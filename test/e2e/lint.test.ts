// `dvdi-policy lint` says before what an engine says then: the same blobs go to both.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { lintPolicy } from "../../host/src/lint.ts";
import { withCustomSection } from "../../host/src/wasm.ts";
import { must } from "./lib/process.ts";
import { skip, World } from "./lib/world.ts";

const OPERATIONS = ["configure", "parse", "prepare", "cleanup", "recover", "canary"];
const ANSWER = '{"ok":{"checks":1}}';
const MANIFEST = { name: "house", version: "1.0.0", abi: 1, description: "", imports: [] as unknown };

interface Parts {
  types?: string;
  imports?: string;
  memory?: string;
  answer?: string;
  marker?: string;
  alloc?: string;
  /** Exports that are left out. */
  without?: string;
  /** More of the module. */
  more?: string;
}

/** A policy in WebAssembly's text format that answers everything with the same text, changed in parts. */
function policy(parts: Parts = {}): string {
  const answer = parts.answer ?? ANSWER;
  const packed = (16n << 32n) | BigInt(answer.length);
  return `(module
    ${parts.types ?? ""}
    ${parts.imports ?? ""}
    ${parts.memory ?? '(memory (export "memory") 1)'}
    (data (i32.const 16) ${JSON.stringify(answer)})
    ${parts.marker ?? '(global (export "dvdi_abi_1") i32 (i32.const 1))'}
    ${parts.alloc ?? '(func (export "dvdi_alloc") (param i32) (result i32) (i32.const 1024))'}
    (func $answer (param i32 i32) (result i64) (i64.const ${packed}))
    ${OPERATIONS.filter((name) => name !== parts.without)
      .map((name) => `(export "${name}" (func $answer))`)
      .join("\n")}
    ${parts.more ?? ""})`;
}

type Case = [what: string, policy: string, manifest?: unknown];

const dvdi = (name: string): string => `(import "dvdi" "${name}" (func (param i32 i32) (result i64)))`;
/** A policy whose `configure` is an import: the configuration is the engine's answer. */
const configuredBy = (name: string): string =>
  policy({
    imports: `(import "dvdi" "${name}" (func $host (param i32 i32) (result i64)))`,
    without: "configure",
    more: '(export "configure" (func $host))',
  });
const code = (text: string): string => policy({ more: `(func ${text})` });
const many = (count: number, text: string): string => policy({ more: text.repeat(count) });

const TAKEN: Case[] = [
  ["a plain one", policy()],
  ["imports", policy({ imports: dvdi("log") + dvdi("now") }), { ...MANIFEST, imports: ["now", "log"] }],
  ["a marker that is a function", policy({ marker: '(func (export "dvdi_abi_1"))' })],
  ["no description", policy(), { name: "house", version: "1.0.0", abi: 1, imports: [] }],
  ["a table", policy({ more: "(table 10 funcref) (elem (i32.const 0) $answer)" })],
  ["bulk memory", code("(memory.copy (i32.const 0) (i32.const 8) (i32.const 8))")],
  ["sign extension", code("(drop (i32.extend8_s (i32.const 1)))")],
  ["conversions that do not trap", code("(drop (i32.trunc_sat_f64_s (f64.const 1e300)))")],
  ["several values", code("(block (result i32 i32) (i32.const 1) (i32.const 2)) drop drop")],
  ["a branch table", code("(block (block (br_table 0 1 (i32.const 3))))")],
  ["a manifest with a byte order mark", policy(), `\ufeff${JSON.stringify(MANIFEST)}`],
  ["a function as a value", code("(param funcref)")],
  ["a reference to no function", code("(drop (ref.null func))")],
  ["a reference to a function", policy({ more: "(elem declare func $answer) (func (drop (ref.func $answer)))" })],
  ["a table that grows", policy({ more: "(table 1 funcref) (func (drop (table.size 0)))" })],
  ["a choice of typed values", code("(drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 0)))")],
  ["a canary without checks", policy({ answer: '{"ok":{"checks":0}}' })],
  ...["log", "now", "random"].map((name): Case => [
    `a configure that calls ${name}`,
    configuredBy(name),
    { ...MANIFEST, imports: [name] },
  ]),
];

const REFUSED: Case[] = [
  ["a foreign module", policy({ imports: '(import "wasi_snapshot_preview1" "fd_write" (func))' })],
  ["an unknown import", policy({ imports: dvdi("exec") })],
  ["an import of another type", policy({ imports: '(import "dvdi" "log" (func (param i32)))' })],
  ["a memory from outside", policy({ imports: '(import "env" "memory" (memory 1))', memory: "" })],
  ["a global from outside", policy({ imports: '(import "dvdi" "log" (global i32))' })],
  ["no exported memory", policy({ memory: "(memory 1)" })],
  ["a shared memory", policy({ memory: '(memory (export "memory") 1 2 shared)' })],
  ["a 64-bit memory", policy({ memory: '(memory (export "memory") i64 1)' })],
  ["too much memory", policy({ memory: '(memory (export "memory") 1025)' })],
  ["two memories", policy({ more: "(memory 1)" })],
  ["a start function", policy({ more: "(func $start) (start $start)" })],
  ["no marker", policy({ marker: "" })],
  ["an export too few", policy({ without: "recover" })],
  ["an allocator of another type", policy({ alloc: '(func (export "dvdi_alloc") (result i32) (i32.const 1024))' })],
  ["a pointer outside", policy({ alloc: '(func (export "dvdi_alloc") (param i32) (result i32) (i32.const -8))' })],
  ["a large table", policy({ more: "(table 10001 funcref)" })],
  ["two tables", policy({ more: "(table 1 funcref) (table 1 funcref)" })],
  ["a table of foreign values", policy({ more: "(table 1 externref)" })],
  ["many locals", code(`(local ${"i32 ".repeat(5001)})`)],
  ["a long function", code("(drop (i32.const 1000000))".repeat(60_000))],
  ["many types", policy({ types: Array.from({ length: 5_001 }, () => "(type (func))").join("") })],
  ["many exports", policy({ more: Array.from({ length: 1_001 }, (_, i) => `(export "x${i}" (func 0))`).join("") })],
  ["many functions", many(20_001, "(func)")],
  ["SIMD", code("(drop (i32x4.splat (i32.const 1)))")],
  ["a SIMD local", code("(local v128)")],
  ["tail calls", code("(param i32 i32) (result i64) (return_call $answer (i32.const 1) (i32.const 1))")],
  ["threads", code("(drop (i32.atomic.load (i32.const 0)))")],
  ["exceptions", code("(block (try (do) (catch_all)))")],
  ["a tag", policy({ more: "(tag)" })],
  ["a foreign value", code("(param externref)")],
  ["a foreign local", code("(local externref)")],
  ["a reference to no foreign value", code("(drop (ref.null extern))")],
  ["an answer that is no JSON", policy({ answer: "no" })],
  ["an answer of two kinds", policy({ answer: '{"ok":{"checks":1},"error":{}}' })],
  ["a refusal of no settings", policy({ answer: '{"error":{"code":"invalid","message":"no"}}' })],
  ...["plugin_call", "stage", "query", "sleep"].map((name): Case => [
    `a configure that calls ${name}`,
    configuredBy(name),
    { ...MANIFEST, imports: [name] },
  ]),
  ["a canary that counts nothing", policy({ answer: '{"ok":{}}' })],
  ["a canary of half a check", policy({ answer: '{"ok":{"checks":0.5}}' })],
  ["no manifest", policy(), null],
  ["a manifest that is no JSON", policy(), "{"],
  ["a list in its place", policy(), []],
  ["a long manifest", policy(), { ...MANIFEST, more: "x".repeat(70_000) }],
  ["a deep manifest", policy(), { ...MANIFEST, more: [[[[[[[[1]]]]]]]] }],
  ["no name", policy(), { ...MANIFEST, name: "" }],
  ["a name with a space", policy(), { ...MANIFEST, name: "a b" }],
  ["a version of two numbers", policy(), { ...MANIFEST, version: "1.0" }],
  ["a version with a tag", policy(), { ...MANIFEST, version: "1.0.0-rc1" }],
  ["another ABI", policy(), { ...MANIFEST, abi: 2 }],
  ["no list of imports", policy(), { ...MANIFEST, imports: {} }],
  ["an import that is not used", policy(), { ...MANIFEST, imports: ["log"] }],
  ["an import that is not named", policy({ imports: dvdi("log") })],
  ["an import named twice", policy({ imports: dvdi("log") }), { ...MANIFEST, imports: ["log", "log"] }],
];

test("what an engine takes and refuses, lint does too", { skip }, async (t) => {
  const world = await World.make(t);
  const text = join(world.home, "policy.wat");
  const file = join(world.home, "policy.wasm");
  const compiled = async ([, wat, manifest = MANIFEST]: Case): Promise<Uint8Array> => {
    writeFileSync(text, wat);
    await must(["wat2wasm", "--enable-all", "--no-check", text, "-o", file]);
    const bytes = new Uint8Array(readFileSync(file));
    const payload = typeof manifest === "string" ? manifest : JSON.stringify(manifest);
    return manifest === null ? bytes : withCustomSection(bytes, "dvdi.manifest", Buffer.from(payload));
  };
  const verdicts = async (what: string, bytes: Uint8Array): Promise<{ lint: string; engine: string }> => {
    writeFileSync(file, bytes);
    const done = await world.dvdi(["policy", "install", file, "--allow-downgrade"]);
    assert.ok(done.code < 20, `${what}: ${done.all}`);
    return { lint: lintPolicy(bytes).join("; "), engine: done.code === 0 ? "" : done.err };
  };
  for (const one of TAKEN) {
    const { lint, engine } = await verdicts(one[0], await compiled(one));
    assert.deepEqual([lint, engine], ["", ""], one[0]);
  }
  const wrong: string[] = [];
  const refused = async (what: string, bytes: Uint8Array): Promise<void> => {
    const { lint, engine } = await verdicts(what, bytes);
    if (lint === "" || engine === "") wrong.push(`${what}: lint ${lint || "takes it"}; engine ${engine || "takes it"}`);
  };
  for (const one of REFUSED) await refused(one[0], await compiled(one));
  const good = await compiled(["", policy()]);
  await refused("an empty file", new Uint8Array());
  await refused("no module", Buffer.from("#!/bin/sh\n"));
  await refused("a component", Uint8Array.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]));
  await refused("a header alone", good.subarray(0, 8));
  await refused("a module that is cut", good.subarray(0, good.length / 2));
  await refused("a section twice", Buffer.concat([good, Uint8Array.from([5, 3, 1, 0, 1])]));
  await refused("a section of the future", Buffer.concat([good, Uint8Array.from([14, 1, 0])]));
  await refused("a large one", withCustomSection(good, "padding", new Uint8Array(4 << 20)));
  assert.deepEqual(wrong, []);
});
