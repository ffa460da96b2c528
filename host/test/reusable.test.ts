import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { MEMORY, reusable } from "../src/reusable.ts";
import { customBytes, policyModule, section, text, vec } from "./modules.ts";

const ROOT = process.env["DVDI_ROOT"] ?? process.cwd();
const PAGE = 65_536;
/** In a data section: copied to that place of the memory when the module is instantiated. */
const piece = (at: number[], ...bytes: number[]): number[] => [0, 0x41, ...at, 0x0b, ...vec(...bytes.map((b) => [b]))];
const AT_16 = [16];
const AT_200 = [0xc8, 0x01];

/** Its `bump` adds one to the byte at 16 and returns it, or does as `body` says. */
function counter(data: number[], { body, dataCount }: { body?: number[]; dataCount?: number } = {}): Uint8Array {
  const load = [0x41, 16, 0x2d, 0, 0];
  const bump = [0x41, 16, ...load, 0x41, 1, 0x6a, 0x3a, 0, 0, ...load];
  const code = [0, ...(body ?? []), ...bump, 0x0b];
  return customBytes(
    section(0, [...text("before"), 1]),
    section(1, vec([0x60, ...vec(), ...vec([0x7f])])),
    section(3, vec([0])),
    section(5, vec([1, 1, 2])),
    section(7, vec([...text("bump"), 0, 0], [...text("memory"), 2, 0])),
    ...(dataCount === undefined ? [] : [section(12, [dataCount])]),
    section(10, vec([code.length, ...code])),
    section(11, data),
  );
}

interface Counter {
  bump: () => number;
  memory: WebAssembly.Memory;
}

function instance(bytes: Uint8Array, memory?: WebAssembly.Memory): Counter {
  const imports = memory === undefined ? {} : { [MEMORY.module]: { [MEMORY.name]: memory } };
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports as unknown as Counter;
}

test("an instance in a memory of zeroes is what the module's own would be, and the next one too", () => {
  const bytes = counter(vec(piece(AT_200, 9, 8, 7), piece(AT_16, 41, 5), piece([17], 6)), { dataCount: 3 });
  const plain = instance(bytes);
  const changed = reusable(bytes);
  assert.ok(changed);
  assert.deepEqual(changed.memory, { min: 1, max: 2, shared: false, memory64: false, ownPages: false });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 2 });
  const first = instance(changed.bytes, memory);
  assert.deepEqual(new Uint8Array(memory.buffer), new Uint8Array(plain.memory.buffer));
  assert.deepEqual([first.bump(), first.bump()], [42, 43]);
  new Uint8Array(memory.buffer).fill(0);
  assert.equal(instance(changed.bytes, memory).bump(), 42);
});

test("the shipped blob is of that kind, in one piece, and the smallest policy too", () => {
  const shipped = readFileSync(join(ROOT, "build/policy.wasm"));
  const changed = reusable(shipped);
  assert.ok(changed);
  const names = (bytes: Uint8Array): string[] =>
    WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ module, name }) => `${module}.${name}`);
  assert.deepEqual(names(changed.bytes), [...names(Uint8Array.from(shipped)), "memory.memory"]);
  assert.ok(reusable(policyModule()));
});

test("what would not stay the same is left alone", () => {
  const whole = vec(piece(AT_16, 1));
  assert.ok(reusable(counter(whole, { dataCount: 1 })));
  // data.drop 0: code that knows its pieces by number.
  assert.equal(reusable(counter(whole, { body: [0xfc, 9, 0], dataCount: 1 })), null);
  assert.equal(reusable(counter(vec([1, 1, 7]))), null, "copied by code only");
  const lastByte = [0xff, 0xff, 0x03];
  assert.ok(reusable(counter(vec(piece(lastByte, 1)))));
  assert.equal(reusable(counter(vec(piece(lastByte, 1, 2)))), null, `does not fit into ${PAGE} bytes`);
  assert.equal(reusable(counter(vec([0, 0x23, 0, 0x0b, 1, 7]))), null, "at a place that is not a number");
  assert.equal(reusable(policyModule({ memories: [] })), null);
  assert.equal(reusable(policyModule({ memories: [[3, 1, 2]] })), null, "shared");
  assert.equal(reusable(new TextEncoder().encode("#!/bin/sh")), null);
});
