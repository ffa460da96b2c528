// The engine's side of the imports, for unit tests: a healthy world that a spec file can script (world.ts). Answers are
// found in this order: a scripted answer for the import or plugin method (and volume or driver), else what a healthy
// plugin would say. Every host call is kept for transcript() and calls().

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function createWorld() {
  let exports = null;
  let state;

  const reset = () => {
    state = { script: [], missing: new Set(), scopes: new Map(), clock: 1_700_000_000_000, left: 60_000, log: [] };
  };
  reset();

  const read = (ptr, len) => decoder.decode(new Uint8Array(exports.memory.buffer, ptr >>> 0, len));
  const write = (text) => {
    const bytes = encoder.encode(text);
    // An ArrayBuffer of the module's own (class id 1), pinned: nobody there refers to it.
    const ptr = exports.__pin(exports.__new(bytes.length, 1));
    new Uint8Array(exports.memory.buffer, ptr >>> 0, bytes.length).set(bytes);
    return (BigInt(ptr >>> 0) << 32n) | BigInt(bytes.length);
  };

  /** The next scripted answer for `on`, or undefined. A rule without volume or driver fits all. */
  const scripted = (on, volume, driver) => {
    const index = state.script.findIndex(
      (rule) =>
        rule.on === on && (rule.volume < 0 || rule.volume === volume) && (rule.driver === "" || rule.driver === driver),
    );
    if (index < 0) return undefined;
    const rule = state.script[index];
    if (rule.times > 0 && --rule.times === 0) state.script.splice(index, 1);
    return rule.answer;
  };

  const plugin = (call) => {
    const canned = scripted(call.method, call.volume, call.driver);
    if (canned !== undefined) {
      if (call.method === "Create" && canned.kind === "ok") state.missing.delete(call.volume);
      return canned;
    }
    switch (call.method) {
      case "Activate":
        return { kind: "ok", implements: ["VolumeDriver"] };
      case "Capabilities":
        return { kind: "ok", scope: state.scopes.get(call.driver) ?? "local" };
      case "List":
        return { kind: "ok", volumes: [] };
      case "Create":
        state.missing.delete(call.volume);
        return { kind: "ok" };
      case "Get":
      case "Path":
        if (state.missing.has(call.volume)) return { kind: "error", error: "no such volume" };
        return { kind: "ok", mountpoint: "" };
      case "Mount":
        if (state.missing.has(call.volume)) return { kind: "error", error: "no such volume" };
        return { kind: "ok", mountpoint: `/plugin/mnt/${call.volume}` };
      default:
        throw new Error(`no such plugin method: ${call.method}`);
    }
  };

  const healthy = {
    plugin_call: ({ calls }) => ({ ok: { answers: calls.map(plugin) } }),
    stage: ({ stages }) => ({
      ok: { stages: stages.map((stage) => scripted("stage.one", stage.volume) ?? { ok: true }) },
    }),
    query: () => ({
      ok: { attachment: { state: "none", users: [] }, history: { known: false, created_by_us: false } },
    }),
    log: () => ({ ok: {} }),
    now: () => ({ ok: { unix_ms: state.clock, left_ms: state.left } }),
    sleep: ({ ms }) => {
      state.clock += ms;
      state.left = Math.max(0, state.left - ms);
      return { ok: {} };
    },
    random: () => ({ ok: { u32: 0x12345678 } }),
  };

  const imports = { dvdi: {}, world: {} };
  for (const [name, answer] of Object.entries(healthy)) {
    imports.dvdi[name] = (ptr, len) => {
      const request = JSON.parse(read(ptr, len));
      // A scripted text is given as it is, JSON or not.
      const given = scripted(name, request.volume, undefined) ?? answer(request);
      state.log.push({ import: name, request, answer: given });
      return write(typeof given === "string" ? given : JSON.stringify(given));
    };
  }

  const short = ({ import: name, request }) => {
    if (name === "plugin_call") {
      return request.calls
        .map((call) => {
          const options = call.options && Object.keys(call.options).length ? " " + JSON.stringify(call.options) : "";
          return `${call.method} ${call.driver ?? call.volume}${options}`;
        })
        .join(" + ");
    }
    if (name === "stage")
      return request.stages.map((s) => `stage ${s.volume} ${s.read_only ? "ro" : "rw"}`).join(" + ");
    if (name === "sleep") return `sleep ${request.ms}`;
    if (name === "query") return `query ${request.volume}`;
    return name;
  };

  const commands = {
    reset,
    answer: ({ on, volume, driver, times, answer }) => {
      let value = answer;
      try {
        value = JSON.parse(answer);
      } catch {
        // Not JSON: given to the policy as it is.
      }
      state.script.push({ on, volume, driver, times, answer: value });
    },
    exists: ({ volume, there }) => (there ? state.missing.delete(volume) : state.missing.add(volume)),
    scope: ({ driver, scope }) => state.scopes.set(driver, scope),
    left: ({ ms }) => (state.left = ms),
    files: ({ variable }) => {
      const folder = process.env[variable];
      if (!folder) return "[]";
      const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
      return JSON.stringify(names.sort().map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") })));
    },
    transcript: () => JSON.stringify(state.log),
    calls: () =>
      state.log
        .filter((entry) => !["log", "now", "random"].includes(entry.import))
        .map(short)
        .join("; "),
    logs: () =>
      state.log
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
