// The fake world (testing/fake.mjs) behind the imports of a unit test, scripted from a spec file (world.ts). Answers are
// found in this order: a scripted answer for the import or plugin method (and volume or driver), else what a healthy
// plugin would say. Every host call is kept for transcript() and calls().

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { createFake, inWords } from "../testing/fake.mjs";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function createWorld() {
  let exports = null;
  let fake = createFake();

  const read = (ptr, len) => decoder.decode(new Uint8Array(exports.memory.buffer, ptr >>> 0, len));
  const write = (text) => {
    const bytes = encoder.encode(text);
    // An ArrayBuffer of the module's own (class id 1), pinned: nobody there refers to it.
    const ptr = exports.__pin(exports.__new(bytes.length, 1));
    new Uint8Array(exports.memory.buffer, ptr >>> 0, bytes.length).set(bytes);
    return (BigInt(ptr >>> 0) << 32n) | BigInt(bytes.length);
  };

  const imports = { dvdi: {}, world: {} };
  for (const name of fake.names) imports.dvdi[name] = (ptr, len) => write(fake.answer(name, read(ptr, len)));

  const commands = {
    reset: () => (fake = createFake()),
    answer: ({ on, volume, driver, times, answer }) => {
      let value = answer;
      try {
        value = JSON.parse(answer);
      } catch {
        // Not JSON: given to the policy as it is.
      }
      fake.script(on, value, { volume, driver, times });
    },
    exists: ({ volume, there }) => (there ? fake.state.missing.delete(volume) : fake.state.missing.add(volume)),
    scope: ({ driver, scope }) => fake.state.scopes.set(driver, scope),
    left: ({ ms }) => (fake.state.left = ms),
    files: ({ variable }) => {
      const folder = process.env[variable];
      if (!folder) return "[]";
      const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
      return JSON.stringify(names.sort().map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") })));
    },
    transcript: () => JSON.stringify(fake.state.log),
    calls: () =>
      fake.state.log
        .filter((entry) => !["log", "now", "random"].includes(entry.import))
        .map(inWords)
        .join("; "),
    logs: () =>
      fake.state.log
        .filter((entry) => entry.import === "log")
        .map((entry) => `${entry.request.level}: ${entry.request.message}`)
        .join("\n"),
  };
  imports.world.world_command = (ptr, len) => {
    const { command, ...rest } = JSON.parse(read(ptr, len));
    const out = commands[command](rest);
    return write(typeof out === "string" ? out : "");
  };

  return {
    imports,
    attach(instance) {
      exports = instance.exports;
    },
  };
}
