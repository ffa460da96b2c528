import assert from "node:assert/strict";
import { test } from "node:test";

import { customSections, readModule, WasmError, withCustomSection } from "../src/wasm.ts";
import { customBytes, policyModule, section, text, vec } from "./modules.ts";

const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value);

test("reads imports, exports, types and the memory", () => {
  const module = readModule(policyModule());
  assert.deepEqual(
    module.imports.map((entry) => `${entry.module}.${entry.name} ${entry.kind}`),
    ["env.abort function", "dvdi.log function"],
  );
  assert.deepEqual(module.imports[1]?.type, { params: ["i32", "i32"], results: ["i64"] });
  const prepare = module.exports.find((entry) => entry.name === "prepare");
  assert.deepEqual(prepare?.type, { params: ["i32", "i32"], results: ["i64"] });
  const alloc = module.exports.find((entry) => entry.name === "dvdi_alloc");
  assert.deepEqual(alloc?.type, { params: ["i32"], results: ["i32"] });
  assert.deepEqual(module.memories, [{ min: 1, max: null, shared: false, memory64: false, ownPages: false }]);
  assert.equal(module.hasStart, false);
});

test("a cut module is an error, wherever it is cut, or holds whole sections only", () => {
  const bytes = withCustomSection(policyModule(), "dvdi.manifest", utf8("{}"));
  const ends = new Set(readModule(bytes).sections.map((one) => one.end));
  for (let length = 0; length < bytes.length; length += 1) {
    const cut = bytes.subarray(0, length);
    if (length === 8 || ends.has(length)) assert.doesNotThrow(() => readModule(cut), `${length} bytes`);
    else assert.throws(() => readModule(cut), WasmError, `${length} bytes`);
  }
});

test("a damaged byte is an error or another module, never another exception or an endless loop", () => {
  const bytes = policyModule();
  for (let at = 0; at < bytes.length; at += 1) {
    for (const value of [0x00, 0x7f, 0x80, 0xff]) {
      const damaged = Uint8Array.from(bytes);
      damaged[at] = value;
      try {
        readModule(damaged);
      } catch (error) {
        assert.ok(error instanceof WasmError, `byte ${at}: ${String(error)}`);
      }
    }
  }
});

test("counts and lengths that are more than what is there are refused before anything is made of them", () => {
  const hugeCount = customBytes(section(1, [0xff, 0xff, 0xff, 0xff, 0x0f]));
  assert.throws(() => readModule(hugeCount), /4294967295 entries are announced where 0 bytes are left/);
  const hugeSection = customBytes([1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
  assert.throws(() => readModule(hugeSection), /4294967295 bytes are announced/);
  const tooLong = customBytes([1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]);
  assert.throws(() => readModule(tooLong), /more than 32 bits/);
});

test("what is wrong is named", () => {
  assert.throws(() => readModule(utf8("#!/bin/sh\n")), /does not begin with/);
  assert.throws(() => readModule(customBytes(section(3, vec([7])))), /type 7 does not exist/);
  assert.throws(() => readModule(customBytes(section(1, vec([0x5f])))), /type 0x5f is not a function's/);
  const twice = [...section(8, [0]), ...section(8, [0])];
  assert.throws(() => readModule(customBytes(twice)), /section 8 is there twice/);
  assert.throws(() => readModule(customBytes(section(7, vec([...text("f"), 0, 3])))), /function 3 does not exist/);
  assert.throws(() => readModule(customBytes(section(0, [2, 0xc3, 0x28]))), /name is not UTF-8/);
  assert.throws(() => readModule(customBytes(section(1, [0, 0]))), /1 bytes too many/);
});

test("a custom section is put at the end in the place of others of its name, and the rest stays as it was", () => {
  const plain = policyModule();
  const once = withCustomSection(plain, "x", utf8("first"));
  const again = withCustomSection(once, "x", utf8("second"));
  assert.equal(Buffer.from(again.subarray(0, plain.length)).equals(plain), true);
  const module = readModule(again);
  assert.deepEqual(
    customSections(module, "x").map((one) => Buffer.from(one).toString()),
    ["second"],
  );
  assert.deepEqual(customSections(module, "y"), []);
});

test("a section of more than 127 bytes has its length in several bytes", () => {
  for (const size of [127, 128, 16383, 16384, 70000]) {
    const payload = new Uint8Array(size).fill(7);
    const [read] = customSections(readModule(withCustomSection(policyModule(), "big", payload)), "big");
    assert.deepEqual(read && Buffer.from(read), Buffer.from(payload));
  }
});
