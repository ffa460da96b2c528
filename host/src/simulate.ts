// `dvdi-policy simulate`: a blob decides about a statement in a world that is made up, and what it asked for is told.
import { createFake, type Entry, type Fake } from "../../assembly/testing/fake.mjs";
import { ABI } from "./abi.ts";
import { malformed } from "./answer.ts";
import { UserError } from "./errors.ts";
import { hostOf } from "./fake-host.ts";
import { printable } from "./printable.ts";
import { PolicyBlob, PolicyTrap } from "./runner.ts";
import { askedInWords, saidInWords } from "./words.ts";

export const FORMS = ["statement", "mount", "volume", "marathon", "mesos", "env"] as const;

export interface Simulation {
  /** The text of a form; of `env`, JSON of the variables. */
  form: (typeof FORMS)[number];
  text: string;
  /** The file that it is from, for errors; undefined where it was given itself. */
  origin?: string;
  /** The engine's settings for the policy. */
  settings: Record<string, unknown>;
  /** Volumes, by name, that their plugin does not know. */
  missing: string[];
  /** Drivers whose volumes are to be had on every node. */
  global: string[];
  /** Volumes, by name, that somebody uses on this node already, single-writer and rw. */
  used: string[];
  seed: number;
  /** The share of plugin calls, 0 to 1, of which something goes wrong. */
  faults: number;
}

export interface Failure {
  code: string;
  message: string;
  hint?: string;
  /** Of prepare: the engine asks again after so long. */
  again_ms?: number;
}

export interface Told {
  /** Which call of the policy answered last. */
  operation: "configure" | "parse" | "prepare";
  volumes: { driver: string; name: string; container_path: string }[];
  /** What each call of the policy was given, and what it answered, as the text that crossed. */
  input: Partial<Record<"configure" | "parse" | "prepare", string>>;
  answer: Partial<Record<"configure" | "parse" | "prepare", string>>;
  calls: { at_ms: number; import: string; request: unknown; answer: unknown }[];
  /** The answer's `ok`, or null. */
  ok: { volumes: { what: string; message: string }[]; notes: string[] } | null;
  error: Failure | null;
}

interface Request {
  driver: string;
  name: string;
  container_path: string;
}

/** The variables of a text of JSON, as an environment has them: an engine gets no others. */
function variables(text: string): Record<string, string> {
  const given = JSON.parse(text) as unknown;
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new UserError("the variables are no object of names and values", 'write {"DVDI_VOLUME_NAME": "data"}');
  }
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "string") continue;
    throw new UserError(`variable ${name} is not text`, "put its value in quotes");
  }
  return given as Record<string, string>;
}

/** Runs configure, parse and prepare as the engine does. @throws UserError where the blob traps or answers no JSON */
export function simulate(blob: Uint8Array, simulation: Simulation): Told {
  const instance = new PolicyBlob(blob).begin();
  const told: Told = { operation: "configure", volumes: [], input: {}, answer: {}, calls: [], ok: null, error: null };
  /** The answer's `ok`; null where it is an error, which is told then. */
  const ask = <T>(operation: Told["operation"], input: unknown, fake: Fake): T | null => {
    told.operation = operation;
    let answer: { ok?: T; error?: Failure };
    let text: string;
    try {
      const given = JSON.stringify(input);
      told.input[operation] = given;
      text = instance.call(operation, given, hostOf(fake, operation));
      told.answer[operation] = text;
      answer = JSON.parse(text) as typeof answer;
    } catch (error) {
      if (!(error instanceof PolicyTrap) && !(error instanceof SyntaxError)) throw error;
      const why = error instanceof PolicyTrap ? error.message : "its answer is not JSON";
      throw new UserError(`${operation}: ${why}`, "an engine would end the operation here, and undo it");
    }
    const wrong = malformed(answer);
    if (wrong !== null)
      throw new UserError(
        `${operation}: its answer is malformed: ${wrong}: ${text.slice(0, 300)}`,
        "an engine would count this as the policy's failure, and undo the operation",
      );
    told.error = answer.error ?? null;
    return answer.ok ?? null;
  };

  const { settings, form, text, origin } = simulation;
  // Which volumes there are is known from parse on.
  const empty = createFake();
  const config = ask("configure", { settings, engine: { version: "0.0.0", abi: ABI } }, empty);
  if (config === null) return told;
  const source = { form, origin, ...(form === "env" ? { env: variables(text) } : { text }) };
  const parsed = ask<{ volumes: Request[]; notes: string[] }>("parse", { config, sources: [source] }, empty);
  if (parsed === null) return told;
  told.volumes = parsed.volumes.map(({ driver, name, container_path }) => ({ driver, name, container_path }));
  for (const name of [...simulation.missing, ...simulation.used]) {
    if (!parsed.volumes.some((volume) => volume.name === name)) {
      throw new UserError(`no volume is called ${name}`, `there are ${told.volumes.map((v) => v.name).join(", ")}`);
    }
  }
  const fake = createFake({ volumes: parsed.volumes, seed: simulation.seed, faults: simulation.faults });
  parsed.volumes.forEach(({ name }, index) => {
    if (simulation.missing.includes(name)) fake.state.missing.add(index);
  });
  for (const driver of simulation.global) fake.state.scopes.set(driver, "global");
  const input = {
    config,
    node: "simulated",
    left_ms: fake.state.left,
    now_ms: fake.state.clock,
    scope: { owner: "simulate", id: "workload" },
    volumes: parsed.volumes.map((volume, index) => inputOf(volume, index, simulation)),
  };
  told.ok = ask<NonNullable<Told["ok"]>>("prepare", input, fake);
  told.ok?.notes.unshift(...parsed.notes);
  told.calls = fake.state.log.map((entry) => ({
    at_ms: entry.at - fake.began,
    import: entry.import,
    request: entry.request,
    answer: entry.answer,
  }));
  return told;
}

function inputOf(volume: Request, index: number, { used, missing }: Simulation): unknown {
  const user = { owner: "simulate", scope: "another", access: "single-writer", mode: "rw" };
  const attachment = used.includes(volume.name)
    ? { state: "attached", mountpoint: `/plugin/mnt/${index}`, users: [user] }
    : { state: "none", users: [] };
  const known = !missing.includes(volume.name);
  return { ...volume, index, attachment, history: { known, created_by_us: false } };
}

/** A simulation as lines for a person. */
export function simulationText(told: Told): string {
  const lines: string[] = [];
  for (const { driver, name, container_path } of told.volumes) {
    lines.push(`volume    ${name} (driver ${driver})${container_path === "" ? "" : ` at ${container_path}`}`);
  }
  if (told.volumes.length === 0 && told.error === null) lines.push("no volume is declared");
  for (const call of told.calls) {
    const entry = { ...call, at: call.at_ms } as unknown as Entry;
    const named = askedInWords(entry, told.volumes);
    lines.push(`${`${call.at_ms} ms`.padStart(8)}  ${named.padEnd(40)}  ${saidInWords(entry)}`.trimEnd());
  }
  if (told.error !== null) {
    lines.push(`${told.operation} says no (${told.error.code}): ${told.error.message}`);
    if (told.error.hint) lines.push(`  hint: ${told.error.hint}`);
    if (told.error.again_ms) lines.push(`  an engine asks again after ${told.error.again_ms} ms`);
  }
  for (const { what, message } of told.ok?.volumes ?? []) lines.push(`${what.padEnd(12)} ${message}`);
  for (const note of told.ok?.notes ?? []) lines.push(`note         ${note}`);
  return `${lines.map(printable).join("\n")}\n`;
}
