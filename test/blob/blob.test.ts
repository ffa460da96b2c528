// The blob that ships: as-pect tests the same sources, but on another runtime.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Blob, methodsOf, prepareInput, SHIPPED, volume, worldOf, type Json, type Run } from "./instance.ts";

const blob = Blob.shipped();

function ok(run: Run): Record<string, Json> {
  assert.equal(run.answer.error, undefined, run.text);
  return run.answer.ok as Record<string, Json>;
}

/** The sections of a wasm binary, by id. */
function sections(bytes: Uint8Array): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  let at = 8;
  while (at < bytes.length) {
    const id = bytes[at++] ?? 0;
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0;
      size |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    found.set(id, bytes.subarray(at, at + size));
    at += size;
  }
  return found;
}

test("the blob has the shape that the ABI asks for", () => {
  const exported = new Map(WebAssembly.Module.exports(blob.module).map(({ name, kind }) => [name, kind]));
  const operations = ["configure", "parse", "prepare", "cleanup", "recover", "canary"];
  for (const name of ["dvdi_alloc", ...operations]) assert.equal(exported.get(name), "function", name);
  assert.equal(exported.get("memory"), "memory");
  assert.ok(exported.has("dvdi_abi_1"));
  assert.equal(exported.size, operations.length + 3, `it exports more: ${[...exported.keys()].join(" ")}`);

  const imported = WebAssembly.Module.imports(blob.module).map(({ module, name }) => `${module}.${name}`);
  const offered = ["plugin_call", "stage", "query", "log", "now", "sleep", "random"].map((name) => `dvdi.${name}`);
  assert.deepEqual(
    imported.filter((name) => name !== "env.abort" && !offered.includes(name)),
    [],
  );
  assert.equal(sections(readFileSync(SHIPPED)).has(8), false, "it has a start function");

  const manifests = WebAssembly.Module.customSections(blob.module, "dvdi.manifest");
  assert.equal(manifests.length, 1);
  const manifest = JSON.parse(new TextDecoder().decode(manifests[0])) as { abi: number; imports: string[] };
  assert.equal(manifest.abi, 1);
  const needed = imported.filter((name) => name.startsWith("dvdi.")).map((name) => name.slice("dvdi.".length));
  assert.deepEqual(new Set(manifest.imports), new Set(needed));
});

test("configure answers a configuration that every operation takes", () => {
  const engine = { version: "1.0.0", abi: 1 };
  assert.deepEqual(ok(blob.run("configure", { settings: {}, engine })), {});
  const config = ok(blob.run("configure", { settings: { retry: { attempts: 2 }, call_timeout_ms: 30_000 }, engine }));
  assert.deepEqual(config, { retry: { attempts: 2, base_ms: 200, max_ms: 5000 } });
  assert.deepEqual(ok(blob.run("configure", { settings: config })), config);
  assert.deepEqual(ok(blob.run("parse", { config, sources: [] })), { volumes: [], notes: [] });
  assert.equal(typeof ok(blob.run("canary", { config }))["checks"], "number");
  assert.deepEqual(ok(blob.run("prepare", prepareInput([], config))), { volumes: [], notes: [] });
  // How releases are tried again is the operator's to say.
  assert.deepEqual(ok(blob.run("cleanup", { config, scope: { owner: "run", id: "s" }, volumes: [] })), { report: [] });
  assert.deepEqual(ok(blob.run("recover", { config, owner: "run", pending: [] })), { report: [] });
});

test("what parse answers is what prepare takes", () => {
  const sources = [
    { form: "volume", text: "data:/data" },
    { form: "mount", text: "type=volume,source=logs,target=/logs,volume-driver=nfs,readonly" },
  ];
  const parsed = ok(blob.run("parse", { config: {}, sources }))["volumes"] as Record<string, Json>[];
  assert.equal(parsed.length, 2);
  const facts = { attachment: { state: "none", users: [] }, history: { known: false, created_by_us: false } };
  const run = blob.run("prepare", prepareInput(parsed.map((request, index) => ({ ...request, index, ...facts }))));
  assert.deepEqual(
    (ok(run)["volumes"] as Record<string, Json>[]).map(({ what }) => what),
    ["re-attached", "re-attached"],
  );
  assert.deepEqual(
    run.calls.map((call) => call.import),
    ["plugin_call", "plugin_call", "plugin_call", "stage"],
  );
});

test("prepare creates only what Get and List do not know", () => {
  const volumes = [volume(0)];
  const run = blob.run("prepare", prepareInput(volumes), worldOf(volumes, [0]));
  assert.deepEqual(ok(run)["volumes"], [{ index: 0, what: "created", message: "created new volume v0" }]);
  assert.deepEqual(methodsOf(run), ["Activate", "Capabilities", "Get", "List", "Create", "Mount"]);

  const silent = worldOf(volumes, [0]);
  silent.script("Get", { kind: "unknown", reason: "timeout", error: "5 s", sent: true }, { times: 0 });
  const untold = blob.run("prepare", prepareInput(volumes), silent);
  assert.equal(untold.answer.error?.["code"], "timeout");
  assert.ok(!methodsOf(untold).includes("Create"));
});

test("text of every script comes through as it was, in and out", () => {
  const texts = ["ä", "中文", "🙂🙃", "e\u0301", "\u2028", "\ufeff", 'a"b\\c/d', "ሴ", "\u{10ffff}", "x".repeat(200)];
  for (const text of texts) {
    const volumes = [volume(0, { options: { size: text } })];
    const said = worldOf(volumes);
    said.script("Mount", { kind: "error", error: text });
    const message = blob.run("prepare", prepareInput(volumes), said).answer.error?.["message"];
    // Line separators do not break a message's one line.
    assert.equal(message, `driver rexray answered Mount of volume "v0" with "${text.replace("\u2028", " ")}"`);
    const missing = worldOf(volumes, [0]);
    missing.script("Get", { kind: "error", error: text });
    const created = blob.run("prepare", prepareInput(volumes), missing);
    const calls = created.calls.flatMap(({ request }) => request.calls ?? []);
    assert.deepEqual(calls.find(({ method }) => method === "Create")?.options, { size: text });
  }
});

test("an instance leaves nothing to the next", () => {
  const input = prepareInput([volume(0), volume(1)]);
  const first = blob.run("prepare", input);
  const second = blob.run("prepare", input);
  assert.equal(first.text, second.text);
  assert.deepEqual(first.calls, second.calls);
});

test("memory grows with the input, and no faster", () => {
  const page = 65_536;
  assert.ok(blob.run("prepare", prepareInput([volume(0)])).memoryBytes <= 4 * page);
  const many = Array.from({ length: 1000 }, (_, index) => volume(index));
  const input = prepareInput(many);
  const { answer, memoryBytes } = blob.run("prepare", input);
  assert.ok(answer.ok);
  assert.ok(memoryBytes <= 64 * JSON.stringify(input).length, `${memoryBytes} bytes`);
  // A plugin that never comes up: the tries are bounded, and so is what they cost.
  const down = worldOf([volume(0)]);
  const unreachable = { kind: "unknown", reason: "unreachable", error: "x".repeat(1000), sent: false };
  down.script("Activate", unreachable, { times: 0 });
  down.script("random", { ok: { u32: 4_000_000_000 } }, { times: 0 });
  const config = { retry: { attempts: 100, base_ms: 1, max_ms: 1 } };
  const run = blob.run("prepare", prepareInput([volume(0)], config), down);
  assert.equal(run.answer.error?.["code"], "unavailable");
  assert.equal(run.calls.filter((call) => call.import === "plugin_call").length, 100);
  assert.ok(run.memoryBytes <= 64 * page, `${run.memoryBytes} bytes`);
});
