// The one fake world: what the engine and its plugins would answer to a policy. The policy's unit tests script it
// (__tests__/world.mjs), so do the tests of blobs (test/blob), and `dvdi-policy simulate` runs blobs in it. All in memory;
// the same seed gives the same faults.

/**
 * @typedef {{method: string, driver?: string, volume?: number, options?: Record<string, unknown>, timeout_ms?: number}} PluginCall
 * @typedef {{driver: string, name: string}} Named
 * @typedef {{import: string, request: any, answer: any, at: number}} Entry  at: the world's time when it was answered
 * @typedef {{volumes?: Named[], seed?: number, faults?: number}} Options
 *   volumes: those of the operation, by index, where their names matter (List); faults: the share of plugin calls, 0 to 1,
 *   of which something goes wrong
 */

const BEGAN = 1_700_000_000_000;

/** So many calls, or stages, an engine takes with one request. */
const AT_ONCE = 256;
const HARMLESS = ["log", "now", "random"];
/**
 * What the engine offers to each export. `left_ms`: what `now` says where that is not the operation's deadline. `says`:
 * what else is called is answered with an error; without it, it ends the export.
 */
export const OFFERED = {
  configure: { imports: HARMLESS, left_ms: 1_000, says: true },
  canary: { imports: HARMLESS, left_ms: 1_000, says: true },
  parse: { imports: ["log"] },
  prepare: { imports: ["log", "now", "plugin_call", "query", "random", "sleep", "stage"] },
  cleanup: { imports: HARMLESS, left_ms: 0 },
  recover: { imports: HARMLESS, left_ms: 0 },
};

/** @param {Options} [options] */
export function createFake({ volumes = [], seed = 1, faults = 0 } = {}) {
  const random = randomBy(seed);
  const state = {
    /** Answers that were prescribed: used up in their order. */
    script: [],
    /** Volumes (by index) that their plugin does not know. */
    missing: new Set(),
    scopes: new Map(),
    clock: BEGAN,
    left: 60_000,
    /** @type {Entry[]} */
    log: [],
    /** Volumes to whose Get the plugin said no, and those that its List was answered without: one Create needs both. */
    denied: new Set(),
    unlisted: new Set(),
  };

  /** Prescribes the next `times` answers (0: every one) of one kind of call, of one volume or driver or of all. */
  const script = (on, answer, { volume = -1, driver = "", times = 1 } = {}) =>
    void state.script.push({ on, volume, driver, times, answer });

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

  /** A volume that is asked for twice is one: its first index stands for it. */
  const byName = new Map();
  const firsts = volumes.map(({ driver, name }, index) => {
    const key = `${driver} ${name}`;
    if (!byName.has(key)) byName.set(key, index);
    return byName.get(key);
  });
  const firstOf = (volume) => firsts[volume] ?? volume;

  /** What a plugin that is well answers. @param {PluginCall} call */
  const healthy = (call) => {
    switch (call.method) {
      case "Activate":
        return { kind: "ok", implements: ["VolumeDriver"] };
      case "Capabilities":
        return { kind: "ok", scope: state.scopes.get(call.driver) ?? "local" };
      case "List": {
        const there = volumes.filter(
          ({ driver }, index) => driver === call.driver && firstOf(index) === index && !state.missing.has(index),
        );
        return { kind: "ok", volumes: there.map(({ name }) => ({ name })) };
      }
      case "Create":
        state.missing.delete(firstOf(call.volume));
        return { kind: "ok" };
      case "Get":
      case "Path":
        if (state.missing.has(firstOf(call.volume))) return { kind: "error", error: "no such volume" };
        return { kind: "ok", mountpoint: "" };
      case "Mount":
        if (state.missing.has(firstOf(call.volume))) return { kind: "error", error: "no such volume" };
        return { kind: "ok", mountpoint: `/plugin/mnt/${firstOf(call.volume)}` };
      default:
        throw new Error(`no such plugin method: ${call.method}`);
    }
  };

  /** What the engine knows from an answer, whoever made it up. @param {PluginCall} call */
  const learn = ({ method, volume, driver }, answer) => {
    if (method === "Get") {
      if (answer?.kind === "error") state.denied.add(firstOf(volume));
      else state.denied.delete(firstOf(volume));
    }
    if (method === "List") {
      const named = Array.isArray(answer?.volumes) ? answer.volumes.map((one) => one?.name) : [];
      volumes.forEach((one, index) => {
        if (one.driver !== driver) return;
        if (answer?.kind === "ok" && !named.includes(one.name)) state.unlisted.add(index);
        else state.unlisted.delete(index);
      });
    }
    if (method === "Create" && answer?.kind === "ok") state.missing.delete(firstOf(volume));
  };

  /** @param {PluginCall} call */
  const plugin = (call) => {
    if (call.method === "Create" && volumes.length > 0) {
      // The engine's promise, whatever a policy asks for and a plugin would say; it is asked again before another Create.
      const first = firstOf(call.volume);
      if (!state.denied.has(first) || !state.unlisted.has(first))
        return {
          kind: "refused",
          error: "Create is sent only where Get was answered with an error, and List without it",
        };
      state.denied.delete(first);
      state.unlisted.delete(first);
    }
    const canned = scripted(call.method, call.volume, call.driver);
    const well = () => (faults > 0 && random() < faults ? faulty(call, random, healthy) : healthy(call));
    const answer = canned === undefined ? well() : canned;
    learn(call, answer);
    return answer;
  };

  const imports = {
    plugin_call: ({ calls }) => atOnce("plugin_call", "calls", calls) ?? { ok: { answers: calls.map(plugin) } },
    stage: ({ stages }) =>
      atOnce("stage", "stages", stages) ?? {
        ok: { stages: stages.map((stage) => scripted("stage.one", stage.volume) ?? { ok: true }) },
      },
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

  /** What is answered to a call that has no script; null where the engine ends the export for it. */
  const unscripted = (name, request, operation) => {
    const { imports: offered, left_ms, says } = OFFERED[operation];
    if (offered.includes(name)) {
      return name === "now" && left_ms !== undefined
        ? { ok: { unix_ms: state.clock, left_ms } }
        : imports[name](request);
    }
    if (!says) return null;
    return { error: { code: "refused", message: `${name} is not available outside of an operation` } };
  };

  /**
   * Answers one host call of an export; texts as they cross the border. A scripted text is given as it is, JSON or not. null
   * where the call is not to be had, and ends the export.
   * @param {string} name @param {string} text
   */
  const answer = (name, text, operation = "prepare") => {
    const request = JSON.parse(text);
    const at = state.clock;
    const canned = scripted(name, request.volume, undefined);
    const given = canned === undefined ? unscripted(name, request, operation) : canned;
    if (given === null) return null;
    state.log.push({ import: name, request, answer: given, at });
    return typeof given === "string" ? given : JSON.stringify(given);
  };

  return { state, script, answer, began: BEGAN, names: Object.keys(imports) };
}

/** What an engine answers to a request for none, or for more than it takes; undefined for any other. */
function atOnce(name, what, { length }) {
  if (length >= 1 && length <= AT_ONCE) return undefined;
  return { error: { code: "policy", message: `${name} wants 1 to ${AT_ONCE} ${what}` } };
}

/** A call that goes wrong: it never arrives, or it arrives and its answer does not, or the plugin has a bad moment. */
function faulty(call, random, healthy) {
  const kinds = [
    { kind: "unknown", reason: "unreachable", error: "connection refused", sent: false },
    { kind: "unknown", reason: "timeout", error: "no answer in time", sent: true },
    { kind: "unknown", reason: "lost", error: "the connection was lost", sent: true },
    { kind: "unknown", reason: "not-json", error: "the answer is no JSON", sent: true },
    { kind: "error", error: "throttled, try again later" },
  ];
  const fault = kinds[Math.floor(random() * kinds.length)];
  // Of what was sent, nobody knows whether it was done.
  if (fault.sent && random() < 0.5) healthy(call);
  return fault;
}

/** Numbers from 0 to 1 that follow from a seed (mulberry32). */
function randomBy(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A host call in a few words: what was asked, without its answer. @param {Entry} entry */
export function inWords({ import: name, request }) {
  if (name === "plugin_call") {
    return request.calls
      .map((call) => {
        const options = call.options && Object.keys(call.options).length ? " " + JSON.stringify(call.options) : "";
        return `${call.method} ${call.driver ?? call.volume}${options}`;
      })
      .join(" + ");
  }
  if (name === "stage") {
    return request.stages.map((stage) => `stage ${stage.volume} ${stage.read_only ? "ro" : "rw"}`).join(" + ");
  }
  if (name === "sleep") return `sleep ${request.ms}`;
  if (name === "query") return `query ${request.volume}`;
  return name;
}
